//! The connection to the database is lost while it commits: what is shown once is not lost, and "try again" is said only of what certainly was not done.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Cut, Database, Engine, Postgres, Process, Proxy, TestApp, eventually, hourpass};

const ACCOUNTS: &str = "/api/v1/service_accounts";

async fn behind_a_proxy() -> (TestApp, Proxy) {
    let database = Engine::Postgres.database().await;
    let (proxy, through) = database.behind_a_proxy().await;
    (TestApp::start_at(database, &through, &[]).await, proxy)
}

/// Everything that shows something once: what is sent, the text by which its transaction is recognised, and where the answer has what is shown.
async fn shown_once(app: &TestApp, round: &str) -> Vec<(String, Value, String, &'static str)> {
    let admin = app.admin_client();
    let name = |what: &str| format!("{what}-{round}");
    let (account, key_of, rotated, person) = (name("account"), name("key-of"), name("rotated"), format!("{round}@example.com"));
    admin.post(ACCOUNTS, &json!({ "name": key_of })).await.expect(201);
    admin.post(ACCOUNTS, &json!({ "name": rotated, "default_key": true })).await.expect(201);
    admin.post("/api/v1/users", &json!({ "email": person })).await.expect(201);
    let (invited, organization) = (format!("invited-{round}@example.com"), name("organization"));
    vec![
        (ACCOUNTS.to_owned(), json!({ "name": account, "default_key": true }), account, "/key"),
        (format!("{ACCOUNTS}/{key_of}/api_keys"), json!({ "name": "another" }), key_of, "/key"),
        (format!("{ACCOUNTS}/{rotated}/api_keys/default/rotate"), json!({ "retain_minutes": 0 }), rotated, "/key"),
        ("/api/v1/users".to_owned(), json!({ "email": invited }), invited, "/invitation"),
        (format!("/api/v1/users/{person}/invite"), json!({}), person, "/invitation"),
        (
            "/api/v1/organizations".to_owned(),
            json!({ "slug": organization, "admin_email": format!("first-{round}@example.com") }),
            organization,
            "/invitation",
        ),
    ]
}

/// What is shown once works.
async fn assert_works(app: &TestApp, place: &str, answer: &Answer) {
    assert!([200, 201].contains(&answer.status), "{}", answer.text);
    let secret = answer.json().pointer(place).and_then(Value::as_str).unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
    if place == "/key" {
        app.anyone().login(&secret).await.token();
    } else {
        let body = json!({ "invitation": secret, "password": "correct horse battery staple" });
        app.anyone().post("/api/v1/invitations/accept", &body).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answer_to_a_commit_that_was_made_is_found_out() {
    let (app, proxy) = behind_a_proxy().await;
    for (path, body, marker, place) in shown_once(&app, "after").await {
        proxy.cut_commit_of(&marker, Cut::After, false);
        let answer = app.admin_client().post(&path, &body).await;
        assert!(proxy.has_cut(), "{path}");
        assert_works(&app, place, &answer).await;
    }
    // What only changes or ends something, too; and this node answers by it at once.
    let key =
        app.admin_client().post(ACCOUNTS, &json!({ "name": "ended", "default_key": true })).await.expect(201)["key"].as_str().unwrap().to_owned();
    app.anyone().login(&key).await.token();
    proxy.cut_commit_of("ended", Cut::After, false);
    app.admin_client().patch(&format!("{ACCOUNTS}/ended"), &json!({ "active": false })).await.expect(200);
    assert!(proxy.has_cut());
    assert_eq!(app.anyone().login(&key).await.problem(), (401, "service_account_inactive".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_that_never_reached_the_database_is_worth_trying_again() {
    let (app, proxy) = behind_a_proxy().await;
    for (path, body, marker, place) in shown_once(&app, "before").await {
        proxy.cut_commit_of(&marker, Cut::Before, false);
        let refused = app.admin_client().post(&path, &body).await;
        assert!(proxy.has_cut(), "{path}");
        assert_eq!(refused.problem(), (503, "unavailable".to_owned()), "{path}");
        // It certainly was not done: nothing is taken, and what there was still works.
        let answer = app.admin_client().post(&path, &body).await;
        assert_works(&app, place, &answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_that_nobody_can_tell_is_called_unknown() {
    let (app, proxy) = behind_a_proxy().await;
    for (round, cut, there) in [("gone", Cut::Before, 404), ("there", Cut::After, 200)] {
        // With an Idempotency-Key, a repeat is done now or answered as the first would have been: what is shown once is never lost.
        let all = if cut == Cut::After { shown_once(&app, round).await } else { Vec::new() };
        for (number, (path, body, marker, place)) in all.into_iter().enumerate() {
            let send = async || {
                let key = format!("{round} {number}");
                Answer::of(app.admin_client().request(Method::POST, &path).header("idempotency-key", key).json(&body)).await
            };
            proxy.cut_commit_of(&marker, cut, true);
            assert_eq!(send().await.problem(), (503, "outcome_unknown".to_owned()), "{path}");
            proxy.set_open(true);
            eventually(async || app.anyone().get("/readyz").await.status == 200).await;
            let repeated = send().await;
            assert_eq!(repeated.header("idempotency-replayed"), "true", "{path}");
            assert_works(&app, place, &repeated).await;
        }
        // A page is sent again by a reload.
        let name = format!("page-{there}");
        let form = [("name", &*name), ("access", "none"), ("default_key", "yes"), ("expires", "never"), ("idempotency_key", round)];
        proxy.cut_commit_of(&name, cut, true);
        assert_eq!(app.admin_client().post_form("/service-accounts/new", &form).await.status, 503);
        proxy.set_open(true);
        eventually(async || app.anyone().get("/readyz").await.status == 200).await;
        let shown = app.admin_client().post_form("/service-accounts/new", &form).await;
        assert_eq!(shown.status, 201, "{}", shown.text);
        let key = shown.text.split("hp_live_").nth(1).unwrap().split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        app.anyone().login(&format!("hp_live_{key}")).await.token();

        let name = format!("unknown-{there}");
        proxy.cut_commit_of(&name, cut, true);
        let answer = app.admin_client().post(ACCOUNTS, &json!({ "name": name, "default_key": true })).await;
        assert_eq!(answer.problem(), (503, "outcome_unknown".to_owned()));
        assert_eq!(answer.header("retry-after"), "1");
        assert!(answer.json()["detail"].as_str().unwrap().contains("Idempotency-Key"), "{}", answer.text);
        proxy.set_open(true);
        eventually(async || app.anyone().get("/readyz").await.status == 200).await;
        assert_eq!(app.admin_client().get(&format!("{ACCOUNTS}/{name}")).await.status, there);
    }
}

/// After a restart or a failover the number of a transaction may be that of another one: what is there was committed, and of what is not there nobody can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_restarted_in_between_is_not_asked_for_the_transaction() {
    let postgres = Arc::new(tokio::task::spawn_blocking(Postgres::start).await.unwrap());
    let database = Database { url: postgres.url(), folder: tempfile::tempdir().unwrap() };
    let (proxy, through) = database.behind_a_proxy().await;
    let app = TestApp::start_at(database, &through, &[("HOURPASS_DATABASE__TIMEOUT", "20s"), ("HOURPASS_STALENESS__BOUND", "30s")]).await;
    for (cut, expected) in [(Cut::Before, 503), (Cut::After, 201)] {
        let name = format!("restart-{expected}");
        proxy.cut_commit_of(&name, cut, true);
        let (admin, body) = (app.admin_client(), json!({ "name": name, "default_key": true }));
        let request = tokio::spawn(async move { admin.post(ACCOUNTS, &body).await });
        eventually(async || proxy.has_cut()).await;
        let again = Arc::clone(&postgres);
        tokio::task::spawn_blocking(move || {
            again.crash();
            again.start_again();
        })
        .await
        .unwrap();
        proxy.set_open(true);
        let answer = request.await.unwrap();
        assert_eq!(answer.status, expected, "{}", answer.text);
        match answer.json()["key"].as_str() {
            Some(key) => drop(app.anyone().login(key).await.token()),
            None => assert_eq!(answer.problem().1, "outcome_unknown"),
        }
    }
}

/// The record of a token: the token is not handed out, and the record is not written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_of_a_token_whose_outcome_is_lost_is_written_once() {
    let (app, proxy) = behind_a_proxy().await;
    let account = app.admin_client().post(ACCOUNTS, &json!({ "name": "exchanges", "default_key": true })).await.expect(201);
    let key = account["key"].as_str().unwrap();
    let events = async || {
        let found = app.admin_client().get("/api/v1/audit_events?action=token.issue&limit=200").await.expect(200);
        found["items"].as_array().unwrap().iter().filter(|event| event["actor_name"] == "exchanges").count()
    };
    for (round, cut) in [(0, Cut::Before), (1, Cut::After)] {
        let before = events().await;
        proxy.cut_at(["token.issue", "exchanges"], cut);
        assert_eq!(app.anyone().login(key).await.problem(), (503, "unavailable".to_owned()));
        assert!(proxy.has_cut());
        // With a use of the key, the record is written in a transaction that was not committed; alone, the database may have written it.
        let there = events().await;
        assert!((before..=before + round).contains(&there), "{there} after {before}");
        app.anyone().login(key).await.token();
        assert_eq!(events().await, there + 1);
    }
}

/// Lets every sync of a file fail while the file named by the environment is there.
const FAILING_SYNC: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int sync_or_fail(long number, int fd) {
    const char *broken = getenv("BROKEN_DISK");
    if (broken && access(broken, F_OK) == 0) { errno = EIO; return -1; }
    return (int)syscall(number, fd);
}
int fsync(int fd) { return sync_or_fail(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_or_fail(SYS_fdatasync, fd); }
"#;

/// The disk does not say whether it has written a transaction: SQLite rolls it back, and after a crash it may come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_whose_disk_fails_to_sync_does_not_know_the_outcome() {
    let database = Engine::Sqlite.database().await;
    let folder = database.folder.path();
    let (source, library, broken) = (folder.join("sync.c"), folder.join("sync.so"), folder.join("broken"));
    std::fs::write(&source, FAILING_SYNC).unwrap();
    assert!(std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap().success());
    let mut command = hourpass(folder);
    command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url).env("HOURPASS_DATABASE__TIMEOUT", "1s");
    command.env("HOURPASS_STALENESS__BOUND", "60s").env("LD_PRELOAD", &library).env("BROKEN_DISK", &broken);
    let mut server = Process::start(&mut command);
    let issued = hourpass(folder)
        .env("HOURPASS_DATABASE__URL", &database.url)
        .args(["admin", "issue-key", "--organization", "default", "--service-account", "boss", "--role", "organization-admin"])
        .output()
        .unwrap();
    let admin_key = String::from_utf8(issued.stdout).unwrap().trim().to_owned();
    let body = json!({ "name": "ci", "default_key": true });
    let send = async |url: &str| {
        let admin = Client::new(url).with(&admin_key);
        Answer::of(admin.request(Method::POST, ACCOUNTS).header("idempotency-key", "one").json(&body)).await
    };
    std::fs::write(&broken, "").unwrap();
    assert_eq!(send(&server.url).await.problem(), (503, "outcome_unknown".to_owned()));
    // As after a crash: what lies in the write-ahead log counts.
    server.signal("KILL");
    server.output();
    std::fs::remove_file(&broken).unwrap();
    let server = Process::start(&mut command);
    let answer = send(&server.url).await;
    let key = answer.expect(201)["key"].as_str().unwrap().to_owned();
    Client::new(&server.url).login(&key).await.token();
    server.stop();
}
