//! A database of its own for each test.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Connection, Executor};
use tempfile::TempDir;

use super::Proxy;

/// The engine that a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// An empty database, and a folder that goes with the test.
pub struct Database {
    pub url: String,
    pub folder: TempDir,
}

impl Database {
    /// A proxy before this PostgreSQL, and the URL by which the database is reached through it.
    pub async fn behind_a_proxy(&self) -> (Proxy, String) {
        let (user, rest) = self.url.split_once('@').unwrap();
        let (address, name) = rest.split_once('/').unwrap();
        let proxy = Proxy::start(address.to_owned()).await;
        let url = format!("{user}@{}/{name}", proxy.address);
        (proxy, url)
    }
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Engine {
    pub async fn database(self) -> Database {
        // In memory, where there is such a folder: nothing here has to outlive a power cut, and a disk that others use may stall for longer than a node may be wrong.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let url = match self {
            Self::Sqlite => format!("sqlite://{}", folder.path().join("hourpass.db").display()),
            Self::Postgres => {
                let server = std::env::var("TEST_POSTGRES_URL")
                    .expect("TEST_POSTGRES_URL is not set: run scripts/test, which starts a PostgreSQL for the tests");
                let name = format!("test_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
                let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
                connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
                connection.close().await.unwrap();
                format!("{}/{name}", server.rsplit_once('/').unwrap().0)
            }
        };
        Database { url, folder }
    }
}
