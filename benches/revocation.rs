//! From the sending of a deactivation to the refusal at a workspace that follows the status list, 200 trials each at the default `ttl` and at one second, beside the bounds that are stated.
//!
//! ```sh
//! cargo bench --bench revocation
//! ```
//!
//! It talks to 127.0.0.1 alone, and ends by itself after about a minute and a half.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "a benchmark fails by panicking, and reads the clock")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use hourpass::app::{Application, system_sources};
use hourpass::config::Config;
use hourpass_verifier::Verifier;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TRIALS: u32 = 200;

#[tokio::main]
async fn main() {
    println!("| ttl | lifetime | trials | p50 s | p99 s | greatest s |\n|---|---|---|---|---|---|");
    for ttl in [Duration::from_secs(5), Duration::from_secs(1)] {
        run(ttl).await;
    }
}

async fn run(ttl: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let (url, seconds) = (format!("sqlite://{}", folder.path().join("revocation.db").display()), format!("{}s", ttl.as_secs()));
    let settings = [
        ("HOURPASS_SERVER__PORT", "0"),
        ("HOURPASS_DATABASE__URL", url.as_str()),
        ("HOURPASS_SIGNING__MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        ("HOURPASS_STATUS_LIST__TTL", seconds.as_str()),
    ];
    let config = Config::load(None, settings.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let lifetime = config.status_list.lifetime;
    let mut application = Application::build(config, system_sources()).await.unwrap();
    let admin = application.take_first_start().unwrap().api_key.expose().to_owned();
    let base = application.url().to_owned();
    tokio::spawn(application.run_until(std::future::pending()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let workspace = format!("http://{}", listener.local_addr().unwrap());
    let verifier = Verifier::builder(&base).audience("urn:hourpass:default:default").build().await.unwrap();
    tokio::spawn(hourpass_example_workspace::serve(listener, verifier).unwrap());

    let client = Client::builder().no_proxy().build().unwrap();
    let mut trials = Vec::new();
    for number in 0..TRIALS {
        let account = json!({ "name": format!("ci-{number}"), "workspace": "default", "permissions": ["pipelines.read"], "default_key": true });
        let made = client.post(format!("{base}/api/v1/service_accounts")).bearer_auth(&admin).json(&account).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        let form = [("password", made["key"].as_str().unwrap())];
        let answer: Value = client.post(format!("{workspace}/api/v1/login")).form(&form).send().await.unwrap().json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let (client, admin, account, pipelines) =
            (client.clone(), admin.clone(), format!("{base}/api/v1/service_accounts/ci-{number}"), format!("{workspace}/api/v1/pipelines"));
        // Spread over twelve times the ttl, so that every moment between two looks at the list is as likely.
        let wait = ttl * 12 * number / TRIALS;
        trials.push(tokio::spawn(async move {
            let ask = async || client.get(&pipelines).bearer_auth(&token).send().await.unwrap().status();
            assert_eq!(ask().await, StatusCode::OK);
            tokio::time::sleep(wait).await;
            let sent = Instant::now();
            let done = client.patch(&account).bearer_auth(&admin).json(&json!({ "active": false })).send().await.unwrap();
            assert!(done.status().is_success());
            while ask().await != StatusCode::UNAUTHORIZED {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sent.elapsed()
        }));
    }
    let mut times = Vec::new();
    for trial in trials {
        times.push(trial.await.unwrap());
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64();
    println!("| {} s | {} s | {TRIALS} | {:.2} | {:.2} | {:.2} |", ttl.as_secs(), lifetime.as_secs(), at(50), at(99), at(100));
}
