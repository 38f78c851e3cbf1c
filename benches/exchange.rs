//! Exchanges a second, each with its durable record, beside a bare handler that parses the form, hashes the key, signs the same claims with ES256 and answers the same: no database, no
//! rules, no record.
//!
//! SQLite is measured twice, on a disk and in memory (`/dev/shm`), where the record costs everything but the wait for the disk.
//!
//! ```sh
//! cargo bench --bench exchange                                                     # SQLite
//! TEST_POSTGRES_URL=postgres://user@127.0.0.1/postgres cargo bench --bench exchange   # and PostgreSQL
//! ```
//!
//! Client and server share the machine, so the ratio says more than the numbers: the median of several rounds, in which both take turns. It talks to 127.0.0.1 alone, for a few seconds a line, and ends by itself.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark fails by panicking, reads the clock, and makes databases by name"
)]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hourpass::app::{Application, system_sources};
use hourpass::config::Config;
use hourpass::domain::claims::AccessTokenClaims;
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::keys::{SigningKey, mint};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::runtime::{Builder, Runtime};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Its tasks would otherwise be queued among the server's.
static CLIENT: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().thread_name("client").enable_all().build().unwrap());

const LASTING: Duration = Duration::from_secs(1);
/// An odd number.
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    run("SQLite", &format!("sqlite://{}", folder.path().join("exchange.db").display())).await;
    if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
        run("SQLite in /dev/shm", &format!("sqlite://{}", memory.path().join("exchange.db").display())).await;
    }
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

    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1_000).build().unwrap();
    let answer = client.post(format!("{base}/auth/login")).form(&[("password", key.expose())]).send().await.unwrap();
    let ceiling = bare(&answer.json::<serde_json::Value>().await.unwrap());
    println!("\n{engine}\n\n| connections | exchanges/s | p50 ms | p99 ms | bare handler/s | ratio |\n|---|---|---|---|---|---|");
    for connections in [1, 16, 64, 256] {
        let (mut exchanges, mut most, mut ratios, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // In turns, so that what else happens on the machine meets both.
        for _ in 0..ROUNDS {
            let (rate, took) = load(connections, || client.post(format!("{base}/auth/login")).form(&[("password", key.expose())])).await;
            let (ceiling, _) = load(connections, || client.post(&ceiling).form(&[("password", key.expose())])).await;
            exchanges.push(rate);
            most.push(ceiling);
            ratios.push(rate / ceiling);
            times.extend(took);
        }
        times.sort_unstable();
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1_000.0;
        let (exchanges, most, ratio) = (median(exchanges), median(most), median(ratios));
        println!("| {connections} | {exchanges:.0} | {:.1} | {:.1} | {most:.0} | {ratio:.2} |", at(50), at(99));
    }
    drop(stop);
    running.await.unwrap().unwrap();
}

#[derive(serde::Deserialize)]
struct Form {
    password: String,
}

/// A server that only parses, hashes, signs and answers, as in `example`. Returns where.
fn bare(example: &serde_json::Value) -> String {
    let claims = example["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: AccessTokenClaims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let key = web::Data::new(SigningKey::generate(SigningAlgorithm::Es256).unwrap().0);
    let claims = web::Data::new(claims);
    let answer = async |key: web::Data<SigningKey>, claims: web::Data<AccessTokenClaims>, form: web::Form<Form>| {
        std::hint::black_box(digest::digest(&digest::SHA256, form.password.as_bytes()));
        let now = system_sources().now().as_seconds();
        let claims = AccessTokenClaims { iat: now, exp: now + 3_600, ..AccessTokenClaims::clone(&claims) };
        let access_token = mint(&key, &claims).unwrap();
        HttpResponse::Ok().json(serde_json::json!({
            "access_token": access_token, "token_type": "bearer", "expires_in": 3_600, "device_id": null, "device_metadata": null,
        }))
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = HttpServer::new(move || App::new().app_data(key.clone()).app_data(claims.clone()).route("/", web::post().to(answer)))
        .disable_signals()
        .listen(listener)
        .unwrap();
    tokio::spawn(server.run());
    url
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Requests a second with so many at once, and how long each took.
async fn load(connections: usize, request: impl Fn() -> reqwest::RequestBuilder) -> (f64, Vec<Duration>) {
    let started = Instant::now();
    let workers = (0..connections).map(|_| {
        let request = request();
        CLIENT.spawn(async move {
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
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is small")]
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    (rate, times)
}
