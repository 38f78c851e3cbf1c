//! Exchanges a second, each with its durable record, beside what the same server and client do without any work: `GET /healthz`.
//!
//! ```sh
//! cargo bench --bench exchange                                                     # SQLite
//! TEST_POSTGRES_URL=postgres://user@127.0.0.1/postgres cargo bench --bench exchange   # and PostgreSQL
//! ```
//!
//! Client and server share the machine, so the ratio says more than the numbers. It talks to 127.0.0.1 alone, for a few seconds a line, and ends by itself.
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
use sqlx::{AssertSqlSafe, Connection, Executor};

const LASTING: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    run("SQLite", &format!("sqlite://{}", folder.path().join("exchange.db").display())).await;
    if let Ok(server) = std::env::var("TEST_POSTGRES_URL") {
        let name = format!("exchange_{}", std::process::id());
        let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        run("PostgreSQL", &format!("{}/{name}", server.rsplit_once('/').unwrap().0)).await;
        connection.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
    }
}

async fn run(engine: &str, url: &str) {
    let settings = [
        ("HOURPASS_SERVER__PORT", "0"),
        ("HOURPASS_DATABASE__URL", url),
        ("HOURPASS_SIGNING__MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ];
    let config = Config::load(None, settings.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let mut application = Application::build(config, system_sources()).await.unwrap();
    let key = application.take_first_start().unwrap().api_key;
    let base = application.url().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(application.run_until(async { drop(stopped.await) }));

    println!("\n{engine}\n\n| connections | exchanges/s | p50 ms | p99 ms | healthz/s | ratio |\n|---|---|---|---|---|---|");
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1_000).build().unwrap();
    for connections in [1, 16, 64, 256] {
        let exchange = || client.post(format!("{base}/auth/login")).form(&[("password", key.expose())]);
        let (exchanges, times) = load(connections, exchange).await;
        let (ceiling, _) = load(connections, || client.get(format!("{base}/healthz"))).await;
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1_000.0;
        println!("| {connections} | {exchanges:.0} | {:.1} | {:.1} | {ceiling:.0} | {:.2} |", at(50), at(99), exchanges / ceiling);
    }
    drop(stop);
    running.await.unwrap().unwrap();
}

/// Requests a second with so many at once, and how long each took, in order.
async fn load(connections: usize, request: impl Fn() -> reqwest::RequestBuilder) -> (f64, Vec<Duration>) {
    let started = Instant::now();
    let workers = (0..connections).map(|_| {
        let request = request();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < LASTING {
                let began = Instant::now();
                let answer = request.try_clone().unwrap().send().await.unwrap();
                assert!(answer.status().is_success());
                answer.bytes().await.unwrap();
                times.push(began.elapsed());
            }
            times
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await.unwrap());
    }
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is small")]
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    (rate, times)
}
