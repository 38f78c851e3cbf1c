//! A stand-by takes over while keys are exchanged.
#![expect(clippy::disallowed_methods, reason = "how long it takes is measured on the monotonic clock")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::{Client, Database, Engine, Postgres, Process, TestApp, claims, eventually, hourpass};

const ACCOUNTS: &str = "/api/v1/service_accounts";
/// Without a restart.
const RECOVERY: Duration = Duration::from_secs(5);

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn run(postgres: &Postgres, sql: &'static str) {
    let mut connection = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    for statement in sql.split(';') {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
}

async fn is_following(primary: &Postgres, how: &str) -> bool {
    let mut connection = sqlx::PgConnection::connect(&primary.url()).await.unwrap();
    let states: Vec<String> =
        sqlx::query_scalar("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'").fetch_all(&mut connection).await.unwrap();
    states == [how]
}

fn url(first: &Postgres, second: &Postgres) -> String {
    format!("postgres://hourpass@{},{}/postgres?target_session_attrs=read-write", first.address(), second.address())
}

async fn pair() -> (Arc<Postgres>, Arc<Postgres>) {
    blocking(|| {
        let primary = Postgres::start();
        let standby = Postgres::standby_of(&primary);
        (Arc::new(primary), Arc::new(standby))
    })
    .await
}

/// With a stand-by that confirms each commit, nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_to_a_synchronous_standby_loses_nothing_acknowledged() {
    let (primary, standby) = pair().await;
    run(&primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby';SELECT pg_reload_conf()").await;
    eventually(async || is_following(&primary, "sync").await).await;
    // The stand-by comes first: it is passed over while it is one.
    let database = Database { url: url(&standby, &primary), folder: tempfile::tempdir().unwrap() };
    let app = TestApp::start_with(database, &[]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = |number: usize| {
        let (client, admin, key, stopped) = (app.anyone(), app.admin_client(), app.admin_key().to_owned(), stopped.clone());
        tokio::spawn(async move {
            let (mut tokens, mut created, mut others) = (Vec::new(), Vec::new(), BTreeSet::new());
            for round in 0.. {
                if *stopped.borrow() {
                    break;
                }
                let answer = client.login(&key).await;
                if answer.status == 200 {
                    tokens.push(answer.token());
                } else {
                    assert!(others.insert(answer.status) || answer.status == 503);
                }
                let name = format!("ci-{number}-{round}");
                let answer = admin.post(ACCOUNTS, &json!({ "name": name })).await;
                if answer.status == 201 { created.push(name) } else { assert!(others.insert(answer.status) || answer.status == 503) }
            }
            (tokens, created, others)
        })
    };
    let loads: Vec<_> = (0..4).map(load).collect();
    let made = async || app.admin_client().get(&format!("{ACCOUNTS}/ci-0-20")).await.status == 200;
    eventually(made).await;

    let gone = Arc::clone(&primary);
    blocking(move || gone.crash()).await;
    eventually(async || app.anyone().login(app.admin_key()).await.status == 503).await;
    eventually(async || app.anyone().get("/readyz").await.status == 503).await;
    let promoted = Arc::clone(&standby);
    blocking(move || promoted.promote()).await;
    let since = Instant::now();
    eventually(async || app.anyone().login(app.admin_key()).await.status == 200).await;
    eventually(async || app.anyone().get("/readyz").await.status == 200).await;
    assert!(since.elapsed() < RECOVERY, "{:?}", since.elapsed());
    eventually(async || app.admin_client().post(ACCOUNTS, &json!({ "name": "after" })).await.status != 503).await;
    stop.send_replace(true);
    let mut answered = Vec::new();
    for load in loads {
        answered.push(load.await.unwrap());
    }

    let export = app.admin_client().get("/api/v1/audit_events/export").await.text;
    let recorded: BTreeSet<String> = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["details"]["jti"].to_string()).collect();
    for (tokens, created, others) in answered {
        assert!(others.iter().all(|status| *status == 503), "{others:?}");
        for token in tokens {
            assert!(recorded.contains(&claims(&token)["jti"].to_string()), "a token was issued and its record is lost");
        }
        for name in created {
            assert_eq!(app.admin_client().get(&format!("{ACCOUNTS}/{name}")).await.status, 200, "{name} was acknowledged and is lost");
        }
    }
}

/// A stand-by that had not received everything: what it does not know is lost, and this node says so and answers by what
/// is there, not by what it remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_to_a_standby_that_was_behind_is_told_and_nothing_stale_is_served() {
    let (primary, standby) = pair().await;
    eventually(async || is_following(&primary, "async").await).await;
    let folder = tempfile::tempdir().unwrap();
    let url = url(&primary, &standby);
    let mut server = Process::start(hourpass(folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &url));
    let output = hourpass(folder.path())
        .env("HOURPASS_DATABASE__URL", &url)
        .args(["admin", "issue-key", "--organization", "default", "--service-account", "admin", "--role", "organization-admin"])
        .output()
        .unwrap();
    let admin = Client::new(&server.url).with(String::from_utf8(output.stdout).unwrap().trim());
    let make =
        async |name: &str| admin.post(ACCOUNTS, &json!({ "name": name, "default_key": true })).await.expect(201)["key"].as_str().unwrap().to_owned();
    let kept = make("kept").await;
    admin.login(&kept).await.token();
    // All of that reaches the stand-by, and nothing after it.
    let caught_up = async || {
        let mut connection = sqlx::PgConnection::connect(&standby.url()).await.unwrap();
        let sql = "SELECT count(*) FROM service_accounts WHERE name = 'kept'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap() == 1
    };
    eventually(caught_up).await;
    let asleep = Arc::clone(&standby);
    blocking(move || asleep.crash()).await;
    let lost = make("lost").await;
    admin.login(&lost).await.token();
    admin.patch(&format!("{ACCOUNTS}/kept"), &json!({ "active": false })).await.expect(200);
    assert_eq!(admin.login(&kept).await.status, 401);

    let (gone, promoted) = (Arc::clone(&primary), Arc::clone(&standby));
    blocking(move || {
        gone.crash();
        promoted.start_again();
        promoted.promote();
    })
    .await;
    let told = server.wait_for("everything held in memory is forgotten");
    assert!(told.contains("ERROR") || told.contains("WARN"), "{told}");
    eventually(async || admin.login(&kept).await.status == 200).await;
    assert_eq!(admin.login(&lost).await.problem(), (401, "invalid_credentials".to_owned()));
    assert_eq!(admin.get(&format!("{ACCOUNTS}/lost")).await.status, 404);
    let log = String::from_utf8(server.stop().stderr).unwrap();
    // How long neither of them takes writes decides whether that is said; nothing is said with every request.
    assert!(log.matches("no PostgreSQL takes writes").count() <= 1, "{log}");
    assert!((1..=2).contains(&log.matches("connections to PostgreSQL failed").count()), "{log}");
}

/// The host of the primary loses its power: nobody closes the connections to it, and nothing answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_vanishes_from_the_network_is_replaced_by_the_next() {
    let database = Engine::Postgres.database().await;
    let (first, through_first) = database.behind_a_proxy().await;
    let (second, _) = database.behind_a_proxy().await;
    let url = through_first.replace(&first.address.to_string(), &format!("{},{}", first.address, second.address));
    let settings = [("HOURPASS_DATABASE__TIMEOUT", "1s"), ("HOURPASS_STALENESS__BOUND", "2s"), ("HOURPASS_CACHE__ENTRIES", "0")];
    let app = TestApp::start_at(database, &url, &settings).await;
    app.anyone().login(app.admin_key()).await.token();
    // Each of its connections is in use or was, and none of them will ever say anything again.
    first.stall();
    let since = Instant::now();
    let works = async || app.anyone().login(app.admin_key()).await.status == 200 && app.anyone().get("/readyz").await.status == 200;
    eventually(works).await;
    assert!(since.elapsed() < RECOVERY, "{:?}", since.elapsed());
    for _ in 0..20 {
        assert!(works().await);
    }
}

/// Changes of the new primary may have the numbers of those that were lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_change_is_noticed_when_others_have_taken_its_number() {
    let app = TestApp::start(Engine::Postgres).await;
    let key = app.admin_client().post(ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.expect(201)["key"].as_str().unwrap().to_owned();
    app.settle().await;
    app.anyone().login(&key).await.token();
    let mut other = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    // The last change was of somebody else, the account is inactive, and more has changed since.
    let sql = "UPDATE changes SET subject = '00000000-0000-0000-0000-000000000001' WHERE position = (SELECT max(position) FROM changes); \
               UPDATE service_accounts SET active = FALSE WHERE name = 'ci'; \
               INSERT INTO changes (subject) VALUES ('00000000-0000-0000-0000-000000000001')";
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    app.settle().await;
    assert_eq!(app.anyone().login(&key).await.status, 401);
}
