//! Through PgBouncer, as it is installed, in both modes: nothing of a session is relied on, and nothing is left in one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hourpass::store::{Db, OpenMode, Pooler, PostgresOptions, Store};
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use crate::support::{Client, Engine, PgBouncer, Process, TestApp, eventually, hourpass};

const ACCOUNTS: &str = "/api/v1/service_accounts";
/// Sixty requests at once wait for each other.
const PATIENT: (&str, &str) = ("HOURPASS_DATABASE__TIMEOUT", "30s");

async fn bouncer(server: &str, mode: &'static str, lines: &'static str) -> PgBouncer {
    let server = server.to_owned();
    tokio::task::spawn_blocking(move || PgBouncer::start(&server, mode, lines)).await.unwrap()
}

/// Sixty accounts with a key and forty rotations, all at once; each secret that was answered works.
async fn create_and_rotate(app: &TestApp) {
    let admin = app.admin_client();
    let bodies: Vec<_> = (0..60).map(|number| json!({ "name": format!("ci-{number}"), "default_key": true })).collect();
    let created = join_all(bodies.iter().map(|body| admin.post(ACCOUNTS, body))).await;
    let created: Vec<_> = created.into_iter().map(|answer| answer.expect(201)).collect();
    let path =
        |account: &Value| format!("{ACCOUNTS}/{}/api_keys/{}/rotate", account["name"].as_str().unwrap(), account["api_key_id"].as_str().unwrap());
    let paths: Vec<_> = created.iter().take(40).map(path).collect();
    let rotated = join_all(paths.iter().map(|path| admin.call(path))).await;
    let anyone = app.anyone();
    let old = created.iter().map(|account| account["key"].as_str().unwrap().to_owned());
    for (number, key) in old.enumerate() {
        assert_eq!(anyone.login(&key).await.status, if number < 40 { 401 } else { 200 }, "{number}");
    }
    for answer in rotated {
        anyone.login(answer.expect(200)["key"].as_str().unwrap()).await.token();
    }
}

/// Two nodes and `hourpass admin` beside them, all through a pooler with its default settings and five connections.
async fn works_through(mode: &'static str, connections: &'static str) {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, mode, "").await;
    let through = bouncer.url(&database.url);
    let settings = [PATIENT, ("HOURPASS_DATABASE__MAX_CONNECTIONS", connections), ("HOURPASS_STALENESS__CONFIRM_WAIT", "10s")];
    let app = TestApp::start_at(database, &through, &settings).await;
    assert_eq!(app.anyone().get("/readyz").await.status, 200);
    create_and_rotate(&app).await;

    // Another node sees what this one changes, and this one waits for it.
    let of_the_other = [("HOURPASS_DATABASE__URL", through.as_str()), ("HOURPASS_SERVER__PUBLIC_URL", &app.url)];
    let other = app.build_another(&[&settings[..], &of_the_other[..]].concat()).await.unwrap();
    let client = Client::new(other.url());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { Box::pin(other.run_until(async { drop(stopped.await) })).await.unwrap() });
    eventually(async || app.store.list_nodes(Duration::from_secs(10)).await.unwrap().len() == 2).await;
    let admin = app.admin_client();
    let key = admin.post(ACCOUNTS, &json!({ "name": "seen", "default_key": true })).await.expect(201)["key"].as_str().unwrap().to_owned();
    client.login(&key).await.token();
    let told = admin.patch(&format!("{ACCOUNTS}/seen"), &json!({ "active": false })).await.expect(200);
    assert_eq!(told["propagation"], json!({ "live_nodes": 2, "confirmed": 2 }));
    assert_eq!(client.login(&key).await.status, 401);
    drop(stop);
    running.await.unwrap();

    let mut command = hourpass(app.database.folder.path());
    command.env("HOURPASS_DATABASE__URL", &through);
    let output = command.args(["admin", "issue-key", "--organization", "default", "--service-account", "beside"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    app.settle().await;
    app.anyone().login(String::from_utf8(output.stdout).unwrap().trim()).await.token();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_in_transaction_mode() {
    works_through("transaction", "10").await;
}

/// Each connection takes one of the five for as long as it is open: two nodes with one for requests and one for following
/// changes leave one for the command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_in_session_mode() {
    works_through("session", "1").await;
}

/// With the options ignored that a pooler refuses by default, nothing says at the start that there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_that_drops_options_is_noticed_and_nothing_is_left_in_its_sessions() {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "ignore_startup_parameters = extra_float_digits, options").await;
    let through = bouncer.url(&database.url);
    let app = TestApp::start_at(database, &through, &[PATIENT, ("HOURPASS_DATABASE__MAX_CONNECTIONS", "10")]).await;
    create_and_rotate(&app).await;
    assert!(!app.store.changes().hears());
    // On each of the sessions that were lent: several transactions at once have one each.
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut connection =
            sqlx::PgConnection::connect_with(&through.parse::<sqlx::postgres::PgConnectOptions>().unwrap().extra_float_digits(None)).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
        let left = "SELECT (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()), \
                    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), current_setting('statement_timeout')";
        let row = sqlx::raw_sql(left).fetch_one(&mut connection).await.unwrap();
        let left: (i64, i64, i64, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!(left, (0, 0, 0, "0".to_owned()));
        open.push(connection);
    }
}

/// However many nodes start at once on an empty database, one makes the tables and the others wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_may_start_at_once() {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "").await;
    let through = bouncer.url(&database.url);
    let opening = (0..4).map(|_| Store::open(&through, 2, Duration::from_secs(20), OpenMode::CreateIfMissing));
    for one in join_all(opening).await {
        one.unwrap().ping().await.unwrap();
    }
}

/// What is listened for goes to PostgreSQL itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_come_by_the_url_for_listening() {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "").await;
    let (through, direct) = (bouncer.url(&database.url), database.url.clone());
    let app = TestApp::start_at(database, &through, &[("HOURPASS_DATABASE__LISTEN_URL", &direct)]).await;
    eventually(async || app.store.changes().hears()).await;
    create_and_rotate_one(&app.admin_client()).await;

    // A pooler passes no notifications on, so that it is no URL for listening.
    let postgres = PostgresOptions { pooler: Pooler::Auto, listen_url: Some(&through) };
    let error = Store::open_with(&through, 2, Duration::from_secs(5), OpenMode::ExistingOnly, postgres).await.unwrap_err();
    assert!(error.to_string().starts_with("database.listen_url leads through a connection pooler"), "{error}");
}

async fn create_and_rotate_one(admin: &Client) {
    let made = admin.post(ACCOUNTS, &json!({ "name": "one", "default_key": true })).await.expect(201);
    let key = made["api_key_id"].as_str().unwrap();
    admin.post(&format!("{ACCOUNTS}/one/api_keys/{key}/rotate"), &json!({})).await.expect(200);
}

/// `database.timeout` is in force on a session of our own, through a pooler, and where a pooler is only claimed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_limits_are_in_force_with_and_without_a_pooler() {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "").await;
    let through = bouncer.url(&database.url);
    for (url, pooler) in [(&database.url, Pooler::Auto), (&through, Pooler::Auto), (&database.url, Pooler::Transaction)] {
        let store = Store::open_with(url, 2, Duration::from_millis(1_500), OpenMode::CreateIfMissing, PostgresOptions { pooler, listen_url: None })
            .await
            .unwrap();
        let Db::Postgres(pool) = store.pool() else { panic!() };
        for limit in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
            let value: String = sqlx::query_scalar("SELECT current_setting($1)").bind(limit).fetch_one(pool).await.unwrap();
            assert_eq!(value, "1500ms", "{limit} {pooler:?}");
        }
        let error = sqlx::query("SELECT pg_sleep(60)").execute(pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("57014"), "{error}");
        store.close().await;
    }
}

/// Where no session is kept, an exchange still answers by what it has read, and its record is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_restarts_in_mid_load() {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "").await;
    let through = bouncer.url(&database.url);
    let app = TestApp::start_at(database, &through, &[]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = |number: usize| {
        let (client, admin, key, stopped) = (app.anyone(), app.admin_client(), app.admin_key().to_owned(), stopped.clone());
        tokio::spawn(async move {
            let (mut answers, mut created) = (Vec::new(), Vec::new());
            for round in 0.. {
                if *stopped.borrow() {
                    break;
                }
                answers.push(client.login(&key).await.status);
                let name = format!("ci-{number}-{round}");
                let answer = admin.post(ACCOUNTS, &json!({ "name": name })).await;
                answers.push(answer.status);
                if answer.status == 201 {
                    created.push(name);
                }
            }
            (answers, created)
        })
    };
    let loads: Vec<_> = (0..4).map(load).collect();
    let bouncer = Arc::new(bouncer);
    let control = async |what: fn(&PgBouncer)| {
        let bouncer = Arc::clone(&bouncer);
        tokio::task::spawn_blocking(move || what(&bouncer)).await.unwrap();
    };
    for _ in 0..2 {
        control(PgBouncer::stop).await;
        eventually(async || app.anyone().get("/readyz").await.status == 503).await;
        eventually(async || app.anyone().login(app.admin_key()).await.status == 503).await;
        control(PgBouncer::start_again).await;
        eventually(async || app.anyone().get("/readyz").await.status == 200).await;
        eventually(async || app.anyone().login(app.admin_key()).await.status == 200).await;
    }
    stop.send_replace(true);
    for load in loads {
        let (answers, created) = load.await.unwrap();
        assert!(answers.iter().all(|status| [200, 201, 503].contains(status)), "{answers:?}");
        for name in created {
            assert_eq!(app.admin_client().get(&format!("{ACCOUNTS}/{name}")).await.status, 200, "{name} was acknowledged and is lost");
        }
    }
}

/// A pooler without a server behind it is named, and the sentence holds no password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_cannot_be_used_are_named() {
    let url = "postgres://ada:hunter2@127.0.0.1:1,127.0.0.1:2/db?target_session_attrs=read-write";
    let error = Store::open(url, 2, Duration::from_secs(1), OpenMode::CreateIfMissing).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1 cannot be reached") && error.contains("127.0.0.1:2 cannot be reached"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");

    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "").await;
    let missing = format!("{}_missing", bouncer.url(&database.url));
    let output = hourpass(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", missing).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("_missing"), "{message}");

    let missing = format!("{}_missing", database.url);
    let error = Store::open(&missing, 2, Duration::from_secs(1), OpenMode::CreateIfMissing).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no PostgreSQL database test_") && error.contains("correct database.url"), "{error}");
}

/// A server as a process says what it found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_is_told_at_the_start() {
    let database = Engine::Postgres.database().await;
    let bouncer = bouncer(&database.url, "transaction", "").await;
    let through = bouncer.url(&database.url);
    let server = Process::start(hourpass(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", through));
    let log = String::from_utf8(server.stop().stderr).unwrap();
    assert_eq!(log.matches("database.url leads through a connection pooler").count(), 1, "{log}");
    assert!(log.contains("stopped"), "{log}");
}
