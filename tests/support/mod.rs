//! How a test gets a server, a database, a clock and callers.

mod app;
mod browser;
mod client;
mod contract;
mod elsewhere;
mod engine;
mod pgbouncer;
mod postgres;
mod process;
mod proxy;
mod time;

pub use app::TestApp;
pub use browser::{Browser, Theme};
pub use client::{Answer, Client};
pub use contract::validator;
pub use elsewhere::Elsewhere;
pub use engine::{Database, Engine};
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use process::{Process, command, hourpass};
pub use proxy::{Cut, Proxy};
pub use time::{MockClock, seeded};

/// Turns `async fn name(engine: Engine)` into a test on SQLite and one on PostgreSQL.
macro_rules! on_both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($engine:ident: Engine) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all that its module imports")]
            use super::*;

            async fn run($engine: $crate::support::Engine) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run($crate::support::Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run($crate::support::Engine::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;

/// Waits until something becomes so that takes its time, such as what one process sees of another's work; not longer than ten seconds.
pub async fn eventually(becomes: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while !becomes().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "it did not become so within ten seconds");
}

/// The payload of a token, unverified.
pub fn claims(token: &str) -> serde_json::Value {
    part(token, 1)
}

/// The header of a token.
pub fn header(token: &str) -> serde_json::Value {
    part(token, 0)
}

fn part(token: &str, number: usize) -> serde_json::Value {
    use base64::Engine;
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
