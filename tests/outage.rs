//! The database is gone, and comes back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Client, Database, Engine, Postgres, Process, TestApp, claims, eventually, hourpass};

const ACCOUNTS: &str = "/api/v1/service_accounts";

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
    // Nothing of the inner error.
    assert_eq!(answer.json()["detail"], "the service cannot answer right now; try again in a few seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_goes_and_comes_back() {
    let database = Engine::Postgres.database().await;
    let (proxy, through) = database.behind_a_proxy().await;
    let app = TestApp::start_at(database, &through, &[("HOURPASS_DATABASE__TIMEOUT", "300ms"), ("HOURPASS_CACHE__ENTRIES", "0")]).await;
    let token = app.anyone().login(app.admin_key()).await.token();
    let keys = app.anyone().get("/.well-known/jwks.json").await.text;

    proxy.set_open(false);
    let anyone = app.anyone();
    assert_unavailable(&anyone.login(app.admin_key()).await);
    assert_unavailable(&anyone.with(&token).get("/users/me").await);
    assert_unavailable(&app.admin_client().get("/users/me").await);
    assert_unavailable(&app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci" })).await);
    assert_unavailable(&anyone.post_form("/auth/login", &[("username", "admin@localhost"), ("password", app.admin_password())]).await);
    assert_unavailable(&anyone.get("/readyz").await);
    assert_eq!(anyone.get("/healthz").await.status, 200);
    // Validators are not to stop because the database does.
    assert_eq!(anyone.get("/.well-known/jwks.json").await.text, keys);
    // Junk is told from a key without asking the database.
    let key = app.admin_key();
    let altered = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    assert_eq!(anyone.login(&altered).await.problem(), (401, "invalid_credentials".to_owned()));
    assert_eq!(anyone.with("a.b.c").get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));

    proxy.set_open(true);
    assert_eq!(anyone.get("/readyz").await.status, 200);
    anyone.login(app.admin_key()).await.token();
    // What was refused did not happen.
    assert_eq!(app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci" })).await.status, 201);
}

/// The disk is full, and later it is not. No acknowledged write is lost: sqlx by itself would go on in a transaction that never commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_on_a_full_disk() {
    let database = Engine::Sqlite.database().await;
    let folder = database.folder.path();
    // A process that ignores SIGXFSZ gets EFBIG from a write beyond its limit, as it would get ENOSPC from a full disk.
    let mut shell = crate::support::command("bash", folder);
    shell.args(["-c", &format!("trap '' XFSZ; exec {}", env!("CARGO_BIN_EXE_hourpass"))]);
    let mut server = Process::start(shell.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
    let issued = hourpass(folder)
        .env("HOURPASS_DATABASE__URL", &database.url)
        .args(["admin", "issue-key", "--organization", "default", "--service-account", "ci", "--role", "organization-admin"])
        .output()
        .unwrap();
    let key = String::from_utf8(issued.stdout).unwrap().trim().to_owned();
    let admin = Client::new(&server.url).with(&key);
    let limit = |bytes: &str| {
        let set = std::process::Command::new("prlimit").args(["--pid", &server.id().to_string(), &format!("--fsize={bytes}:")]).status().unwrap();
        assert!(set.success());
    };

    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let grown = std::fs::metadata(folder.join("hourpass.db-wal")).unwrap().len();
        // First it fills up while it is written to; later it is full from the beginning, wherever in the file SQLite goes on.
        limit(&if round == 0 { grown + 40_000 } else { 4_096 }.to_string());
        let mut refused = 0;
        for number in 0..60 {
            let name = format!("full-{round}-{number}");
            let answer = admin.post("/api/v1/service_accounts", &json!({ "name": name })).await;
            if answer.status == 201 {
                acknowledged.push(name);
            } else {
                assert_unavailable(&answer);
                refused += 1;
            }
        }
        assert!(refused > 0, "the disk was never full");
        eventually(async || Client::new(&server.url).get("/readyz").await.status == 503).await;
        limit("unlimited");
        eventually(async || Client::new(&server.url).get("/readyz").await.status == 200).await;
        for number in 0..20 {
            let name = format!("free-{round}-{number}");
            admin.post("/api/v1/service_accounts", &json!({ "name": name })).await.expect(201);
            acknowledged.push(name);
        }
        Client::new(&server.url).login(&key).await.token();
    }

    // As after a crash: only what was committed counts.
    server.signal("KILL");
    server.output();
    let server = Process::start(hourpass(folder).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
    let admin = Client::new(&server.url).with(&key);
    for name in acknowledged {
        assert_eq!(admin.get(&format!("/api/v1/service_accounts/{name}")).await.status, 200, "{name} was acknowledged and is lost");
    }
    server.stop();
}

/// Another process holds SQLite's lock for longer than a request waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_locked_by_another() {
    let app = TestApp::start_with(Engine::Sqlite.database().await, &[("HOURPASS_DATABASE__TIMEOUT", "200ms")]).await;
    let hourpass::store::Db::Sqlite(pool) = app.store.pool() else { panic!() };
    let other = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_unavailable(&app.anyone().login(app.admin_key()).await);
    // Who only reads is not kept waiting.
    assert_eq!(app.admin_client().get("/users/me").await.status, 200);
    other.rollback().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), app.anyone().login(app.admin_key())).await.unwrap().token();
}

/// PostgreSQL itself is restarted, as after a crash, while keys are exchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_restarts_in_mid_load() {
    let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let database = Database { url: postgres.url(), folder: tempfile::tempdir().unwrap() };
    let app = TestApp::start_with(database, &[("HOURPASS_DATABASE__TIMEOUT", "500ms"), ("HOURPASS_STALENESS__BOUND", "1s")]).await;
    let admin = app.admin_client();
    let make =
        async |name: &str| admin.post(ACCOUNTS, &json!({ "name": name, "default_key": true })).await.expect(201)["key"].as_str().unwrap().to_owned();
    let (kept, ended) = (make("kept").await, make("ended").await);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = |key: &str| {
        let (client, key, stopped) = (app.anyone(), key.to_owned(), stopped.clone());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while !*stopped.borrow() {
                answers.push(client.login(&key).await);
            }
            answers
        })
    };
    let loads: Vec<_> = (0..4).map(|_| load(&kept)).collect();
    admin.patch(&format!("{ACCOUNTS}/ended"), &json!({ "active": false })).await.expect(200);
    let of_ended = load(&ended);
    let postgres = Arc::new(postgres);
    let control = async |what: fn(&Postgres)| {
        let postgres = Arc::clone(&postgres);
        tokio::task::spawn_blocking(move || what(&postgres)).await.unwrap();
    };
    control(Postgres::crash).await;
    eventually(async || app.anyone().login(&kept).await.status == 503).await;
    eventually(async || app.anyone().get("/readyz").await.status == 503).await;
    control(Postgres::start_again).await;
    // Without a restart of the server.
    eventually(async || app.anyone().login(&kept).await.status == 200).await;
    eventually(async || app.anyone().get("/readyz").await.status == 200).await;
    stop.send_replace(true);

    let of_ended = of_ended.await.unwrap();
    assert!(of_ended.iter().all(|answer| [401, 503].contains(&answer.status)), "a key that was deactivated before");
    let mut answers = Vec::new();
    for load in loads {
        answers.extend(load.await.unwrap());
    }
    assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)));
    let export = admin.get("/api/v1/audit_events/export").await.text;
    let recorded: std::collections::BTreeSet<String> =
        export.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["details"]["jti"].to_string()).collect();
    for answer in answers.into_iter().filter(|answer| answer.status == 200) {
        assert!(recorded.contains(&claims(&answer.token())["jti"].to_string()), "a token left without its record");
    }
}
