//! `/readyz` tells whether the work can be done: writing.

use std::time::Duration;

use hourpass::store::Db;
use sqlx::Connection;

use crate::support::{Engine, Process, TestApp, eventually, hourpass, on_both_engines};

async fn statuses(app: &TestApp) -> (u16, u16) {
    (app.anyone().login(app.admin_key()).await.status, app.anyone().get("/readyz").await.status)
}

/// For connections that are made from now on.
async fn make_read_only(other: &mut sqlx::PgConnection, database: &str, read_only: bool) {
    let sql = format!("ALTER DATABASE {database} SET default_transaction_read_only = {read_only}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(other).await.unwrap();
}

async fn cut_connections(other: &mut sqlx::PgConnection, database: &str) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    sqlx::query(sql).bind(database).execute(other).await.unwrap();
}

/// Made read-only and back, with the connections cut each time: a connection stays as it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_postgres_is_unready_and_recovers_by_itself() {
    let app = TestApp::start(Engine::Postgres).await;
    let (server, name) = app.database.url.rsplit_once('/').unwrap();
    let mut other = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let mut set = async |read_only: bool, cut: bool| {
        make_read_only(&mut other, name, read_only).await;
        if cut {
            cut_connections(&mut other, name).await;
        }
    };
    assert_eq!(statuses(&app).await, (200, 200));
    for cut_again in [true, false] {
        set(true, true).await;
        eventually(async || statuses(&app).await == (503, 503)).await;
        assert_eq!(app.anyone().get("/readyz").await.problem(), (503, "unavailable".to_owned()));
        // Those who only read are answered.
        assert_eq!(app.admin_client().get("/users/me").await.status, 200);
        // The connections from meanwhile are read-only for as long as they live, and answer pings.
        set(false, cut_again).await;
        let recovered = tokio::time::timeout(Duration::from_secs(5), eventually(async || statuses(&app).await == (200, 200)));
        recovered.await.expect("within five seconds");
        // And all of them are: none that was kept answers one of many.
        for _ in 0..20 {
            assert_eq!(statuses(&app).await, (200, 200));
        }
    }
    let metrics = app.anyone().get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line.starts_with("hourpass_database_connection_replacements ") && !line.ends_with(" 0")), "{metrics}");
}

/// Another process holds SQLite's write lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_locked_by_another_is_unready_until_it_is_released() {
    let app = TestApp::start_with(Engine::Sqlite.database().await, &[("HOURPASS_DATABASE__TIMEOUT", "200ms")]).await;
    let Db::Sqlite(pool) = app.store.pool() else { panic!() };
    let other = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    eventually(async || app.anyone().get("/readyz").await.status == 503).await;
    assert_eq!(statuses(&app).await, (503, 503));
    other.rollback().await.unwrap();
    eventually(async || statuses(&app).await == (200, 200)).await;
}

/// The file is taken away or replaced while the server runs: what it would write now, nobody would find again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_file_replaced_while_running_is_unready_and_takes_no_writes() {
    let app = TestApp::start(Engine::Sqlite).await;
    let file = app.database.folder.path().join("hourpass.db");
    let aside = app.database.folder.path().join("aside.db");
    assert_eq!(statuses(&app).await, (200, 200));
    std::fs::rename(&file, &aside).unwrap();
    assert_eq!(statuses(&app).await, (503, 503));
    std::fs::write(&file, "").unwrap();
    assert_eq!(statuses(&app).await, (503, 503));
    let created = app.admin_client().post("/api/v1/service_accounts", &serde_json::json!({ "name": "lost" })).await;
    assert_eq!(created.status, 503);
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(statuses(&app).await, (200, 200));
}

/// The database is dropped from under the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_database_is_unready_and_no_error_of_ours() {
    let app = TestApp::start(Engine::Postgres).await;
    let (server, name) = app.database.url.rsplit_once('/').unwrap();
    let mut other = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut other).await.unwrap();
    for _ in 0..5 {
        assert_eq!(statuses(&app).await, (503, 503));
    }
}

on_both_engines! {
    /// Anyone may ask, as often as they like: while something was written lately, nothing is.
    async fn readiness_asked_often_writes_once(engine: Engine) {
        const WRITES: &str = "SELECT heartbeat_at FROM nodes";
        let app = TestApp::start(engine).await;
        let heartbeat = async || -> i64 {
            match app.store.pool() {
                Db::Sqlite(pool) => sqlx::query_scalar(WRITES).fetch_one(pool).await.unwrap(),
                Db::Postgres(pool) => sqlx::query_scalar(WRITES).fetch_one(pool).await.unwrap(),
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..300 {
            assert_eq!(app.anyone().get("/readyz").await.status, 200);
            seen.insert(heartbeat().await);
        }
        assert!(seen.len() < 30, "{} writes", seen.len());
    }
}

/// An outage is an error in the log once, and not with each request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_is_logged_once() {
    let database = Engine::Postgres.database().await;
    let mut server = Process::start(hourpass(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
    let key = {
        let mut command = hourpass(database.folder.path());
        command.env("HOURPASS_DATABASE__URL", &database.url);
        let output = command.args(["admin", "issue-key", "--organization", "default", "--service-account", "ci"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let client = crate::support::Client::new(&server.url);
    client.login(&key).await.token();
    let (address, name) = database.url.rsplit_once('/').unwrap();
    let mut other = sqlx::PgConnection::connect(&format!("{address}/postgres")).await.unwrap();
    let mut set = async |read_only: bool| {
        make_read_only(&mut other, name, read_only).await;
        cut_connections(&mut other, name).await;
    };
    set(true).await;
    server.wait_for("no PostgreSQL takes writes");
    for _ in 0..50 {
        assert_eq!(client.login(&key).await.status, 503);
    }
    set(false).await;
    eventually(async || client.login(&key).await.status == 200).await;
    let log = String::from_utf8(server.stop().stderr).unwrap();
    assert_eq!(log.matches("no PostgreSQL takes writes").count(), 1, "{log}");
    assert!(log.matches("ERROR").count() <= 3, "{log}");
}
