//! Exchanges a second, each with its durable record, beside a bare handler that parses the form, hashes the key, signs the same claims with ES256 and answers the same: no database, no
//! rules, no record.
//!
//! First with one key and a growing number of connections; then with 1, 1,000 and 20,000 keys that take turns, and with one key again after all of those were used: the rate
//! must not depend on how many keys are in use. `EXCHANGE_ONLY=keys` or `EXCHANGE_ONLY=connections` measures one of the two.
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

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hourpass::app::{Application, system_sources};
use hourpass::config::Config;
use hourpass::domain::api_key::{KeyPrefix, RawApiKey};
use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::claims::AccessTokenClaims;
use hourpass::domain::entity::{ApiKey, KeyValue, ServiceAccount};
use hourpass::domain::id::{ApiKeyId, KeyValueId, ServiceAccountId, SessionId};
use hourpass::domain::name::Name;
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::keys::{SigningKey, mint};
use hourpass::store::Store;
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
/// How many connections the measurements with many keys use.
const CONNECTIONS: usize = 64;

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
    let (base, store) = (application.url().to_owned(), application.store().clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(application.run_until(async { drop(stopped.await) }));

    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1_000).build().unwrap();
    let answer = client.post(format!("{base}/auth/login")).form(&[("password", key.expose())]).send().await.unwrap();
    let ceiling = bare(&answer.json::<serde_json::Value>().await.unwrap());
    let only = std::env::var("EXCHANGE_ONLY").ok();
    let measures = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if measures("connections") {
        println!("\n{engine}\n\n| connections | exchanges/s | p50 ms | p99 ms | bare handler/s | ratio |\n|---|---|---|---|---|---|");
        for connections in [1, 16, 64, 256] {
            let row = measure(&client, &base, &ceiling, std::slice::from_ref(&key), connections).await;
            println!("| {connections} | {row} |");
        }
    }
    if measures("keys") {
        let keys = insert_keys(&store, 20_000).await;
        println!("\n{engine}\n\n| keys in use | exchanges/s | p50 ms | p99 ms | bare handler/s | ratio |\n|---|---|---|---|---|---|");
        for count in [1, 1_000, 20_000] {
            // Each is used once before, so that all are cached, and all have a use that waits to be written.
            use_each(&client, &base, &keys[..count]).await;
            let row = measure(&client, &base, &ceiling, &keys[..count], CONNECTIONS).await;
            println!("| {count} | {row} |");
        }
        use_each(&client, &base, &keys).await;
        let row = measure(&client, &base, &ceiling, &keys[..1], CONNECTIONS).await;
        println!("| 1, after 20,000 | {row} |");
    }
    drop(stop);
    running.await.unwrap().unwrap();
}

/// Exchanges a second with keys that take turns, and beside them the bare handler: the cells of a row.
async fn measure(client: &reqwest::Client, base: &str, handler: &str, keys: &[RawApiKey], connections: usize) -> String {
    let (mut exchanges, mut most, mut ratios, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let url = format!("{base}/auth/login");
    let exchange = Requests::new(keys.iter().map(|key| client.post(&url).form(&[("password", key.expose())])));
    let plain = Requests::new([client.post(handler).form(&[("password", keys[0].expose())])]);
    // In turns, so that what else happens on the machine meets both.
    for _ in 0..ROUNDS {
        let (rate, took) = load(connections, &exchange).await;
        let (ceiling, _) = load(connections, &plain).await;
        exchanges.push(rate);
        most.push(ceiling);
        ratios.push(rate / ceiling);
        times.extend(took);
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1_000.0;
    let (exchanges, most, ratio) = (median(exchanges), median(most), median(ratios));
    format!("{exchanges:.0} | {:.1} | {:.1} | {most:.0} | {ratio:.2}", at(50), at(99))
}

/// Exchanges each key once.
async fn use_each(client: &reqwest::Client, base: &str, keys: &[RawApiKey]) {
    for keys in keys.chunks(CONNECTIONS) {
        let answers = keys.iter().map(|key| client.post(format!("{base}/auth/login")).form(&[("password", key.expose())]).send());
        for answer in answers.map(|answer| CLIENT.spawn(answer)).collect::<Vec<_>>() {
            assert!(answer.await.unwrap().unwrap().status().is_success());
        }
    }
}

/// So many keys, each of an account of its own, in one transaction.
async fn insert_keys(store: &Store, count: usize) -> Vec<RawApiKey> {
    let sources = system_sources();
    let (now, random) = (sources.now(), sources.random());
    let organization_id = store.find_organization("default").await.unwrap().unwrap().id;
    let prefix = KeyPrefix::parse("hp_live_").unwrap();
    let mut keys = Vec::with_capacity(count);
    let mut tx = store.begin().await.unwrap();
    for index in 0..count {
        let account = ServiceAccount {
            id: ServiceAccountId::generate(now, random),
            organization_id,
            name: Name::parse(&format!("account-{index}")).unwrap(),
            description: "made by the benchmark of exchanges".to_owned(),
            labels: Labels::default(),
            claims: CustomClaims::default(),
            active: true,
            created_at: now,
            last_use: None,
            next_key_expires_at: None,
            exchanges_per_minute: None,
        };
        let key = ApiKey {
            id: ApiKeyId::generate(now, random),
            service_account_id: account.id,
            name: Name::parse("default").unwrap(),
            active: true,
            compromised_at: None,
            created_at: now,
            last_use: None,
        };
        let raw = RawApiKey::generate(&prefix, random);
        let value = KeyValue {
            id: KeyValueId::generate(now, random),
            hint: raw.hint(),
            grant: SessionId::generate(now, random),
            created_at: now,
            expires_at: None,
            retained_until: None,
            last_use: None,
        };
        tx.insert_service_account(&account).await.unwrap();
        tx.insert_api_key(&key, &value, &raw.hash(), None).await.unwrap();
        keys.push(raw);
    }
    tx.commit().await.unwrap();
    keys
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

/// Requests that take turns.
#[derive(Clone)]
struct Requests(Arc<(Vec<reqwest::RequestBuilder>, AtomicUsize)>);

impl Requests {
    fn new(requests: impl IntoIterator<Item = reqwest::RequestBuilder>) -> Self {
        Self(Arc::new((requests.into_iter().collect(), AtomicUsize::new(0))))
    }

    fn next(&self) -> reqwest::RequestBuilder {
        let (requests, turn) = &*self.0;
        requests[turn.fetch_add(1, Ordering::Relaxed) % requests.len()].try_clone().unwrap()
    }
}

/// Requests a second with so many at once, and how long each took.
async fn load(connections: usize, requests: &Requests) -> (f64, Vec<Duration>) {
    let started = Instant::now();
    let workers = (0..connections).map(|_| {
        let requests = requests.clone();
        CLIENT.spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < LASTING {
                let began = Instant::now();
                let answer = requests.next().send().await.unwrap();
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
