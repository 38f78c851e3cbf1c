//! How long it takes from the sending of a deactivation to node A until node B refuses the key, and until A has answered.
//!
//! ```sh
//! TEST_POSTGRES_URL=postgres://user@127.0.0.1/postgres cargo bench --bench propagation
//! ```
//!
//! Two nodes on one PostgreSQL, all on this machine. It talks to 127.0.0.1 alone, and ends after 500 trials (`TRIALS`).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark fails by panicking, reads the clock, and makes databases by name"
)]

use std::time::{Duration, Instant};

use hourpass::app::{Application, system_sources};
use hourpass::config::Config;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn start(database: &str, issuer: Option<&str>) -> (Application, String) {
    let settings = [
        ("HOURPASS_SERVER__PORT", "0"),
        ("HOURPASS_SERVER__PUBLIC_URL", issuer.unwrap_or_default()),
        ("HOURPASS_DATABASE__URL", database),
        ("HOURPASS_SIGNING__MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ];
    let config = Config::load(None, settings.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let application = Application::build(config, system_sources()).await.unwrap();
    let url = application.url().to_owned();
    (application, url)
}

#[tokio::main]
async fn main() {
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
        println!("NOT MEASURED: set TEST_POSTGRES_URL, or run scripts/test --run cargo bench --bench propagation");
        return;
    };
    let trials: usize = std::env::var("TRIALS").map_or(500, |text| text.parse().unwrap());
    let name = format!("propagation_{}", std::process::id());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let database = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let (mut a, url_a) = start(&database, None).await;
    let key = a.take_first_start().unwrap().api_key;
    let (b, url_b) = start(&database, Some(&url_a)).await;
    tokio::spawn(a.run_until(std::future::pending()));
    tokio::spawn(b.run_until(std::future::pending()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let (mut refused, mut answered, mut unconfirmed) = (Vec::new(), Vec::new(), 0);
    for trial in 0..trials {
        let made = client.post(format!("{url_a}/api/v1/service_accounts")).bearer_auth(key.expose());
        let made: Value = made.json(&json!({ "name": format!("ci-{trial}"), "default_key": true })).send().await.unwrap().json().await.unwrap();
        let (id, victim) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
        let me = || client.get(format!("{url_b}/users/me")).bearer_auth(&victim).send();
        assert_eq!(me().await.unwrap().status(), 200);
        let began = Instant::now();
        let (client, url, admin) = (client.clone(), url_a.clone(), key.expose().to_owned());
        let deactivated = tokio::spawn(async move {
            let asked = client.patch(format!("{url}/api/v1/service_accounts/{id}")).bearer_auth(admin).json(&json!({ "active": false }));
            let answer: Value = asked.send().await.unwrap().json().await.unwrap();
            (began.elapsed(), answer["propagation"]["live_nodes"] == answer["propagation"]["confirmed"])
        });
        while me().await.unwrap().status() != 401 {}
        refused.push(began.elapsed());
        let (took, confirmed) = deactivated.await.unwrap();
        answered.push(took);
        unconfirmed += usize::from(!confirmed);
    }
    println!("\n| of {trials} trials | p50 ms | p99 ms | greatest ms |\n|---|---|---|---|");
    for (what, mut times) in [("B refuses", refused), ("A has answered, and says that B confirmed", answered)] {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1_000.0;
        println!("| {what} | {:.1} | {:.1} | {:.1} |", at(50), at(99), at(100));
    }
    println!("\nnot confirmed within staleness.confirm_wait: {unconfirmed}");
}
