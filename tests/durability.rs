//! What was acknowledged lasts: across `kill -9`, and across a clean stop.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Client, Database, Engine, Process, claims, hourpass, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";

fn start(database: &Database) -> Process {
    Process::start(hourpass(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url))
}

fn admin_key(database: &Database) -> String {
    let output = hourpass(database.folder.path())
        .env("HOURPASS_DATABASE__URL", &database.url)
        .args(["admin", "issue-key", "--organization", "default", "--service-account", "admin", "--role", "organization-admin"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What the server has acknowledged.
#[derive(Default)]
struct Acknowledged {
    accounts: Vec<String>,
    deactivated: Vec<String>,
    /// Keys that were rotated without retention: the old value and the new.
    rotated: Vec<(String, String)>,
    tokens: Vec<String>,
}

/// How many times the server is killed: a few in every run, dozens with `HOURPASS_TEST_KILLS=50`.
fn kills() -> usize {
    std::env::var("HOURPASS_TEST_KILLS").map_or(3, |text| text.parse().unwrap())
}

/// Makes accounts, deactivates some and rotates keys of others, and exchanges keys, until the server answers no more.
async fn work(client: Client, key: String, worker: usize, acknowledged: Arc<Mutex<Acknowledged>>, progress: tokio::sync::mpsc::UnboundedSender<()>) {
    for number in 0.. {
        let name = format!("ci-{worker}-{number}-{}", &key[8..14]);
        let made = client.with(&key).request(reqwest::Method::POST, ACCOUNTS).json(&json!({ "name": name })).send();
        let Ok(made) = made.await else { return };
        if made.status() == 201 {
            acknowledged.lock().unwrap().accounts.push(name.clone());
            let done = if number % 2 == 0 {
                deactivate(&client.with(&key), name, &acknowledged).await
            } else {
                rotate(&client.with(&key), &name, &acknowledged).await
            };
            if done.is_none() {
                return;
            }
        }
        let exchanged = client.request(reqwest::Method::POST, "/auth/login").form(&[("password", key.as_str())]).send();
        let Ok(exchanged) = exchanged.await else { return };
        let Ok(answer) = exchanged.json::<Value>().await else { return };
        if let Some(token) = answer["access_token"].as_str() {
            acknowledged.lock().unwrap().tokens.push(token.to_owned());
            let _over = progress.send(());
        }
    }
}

async fn deactivate(client: &Client, name: String, acknowledged: &Mutex<Acknowledged>) -> Option<()> {
    let answer = client.request(reqwest::Method::PATCH, &format!("{ACCOUNTS}/{name}")).json(&json!({ "active": false })).send().await.ok()?;
    if answer.status() == 200 {
        acknowledged.lock().unwrap().deactivated.push(name);
    }
    Some(())
}

async fn rotate(client: &Client, name: &str, acknowledged: &Mutex<Acknowledged>) -> Option<()> {
    let made = client.request(reqwest::Method::POST, &format!("{ACCOUNTS}/{name}/api_keys")).json(&json!({ "name": "key" })).send().await.ok()?;
    let old = made.json::<Value>().await.ok()?;
    let Some(old) = old["key"].as_str() else { return Some(()) };
    let rotated = client.request(reqwest::Method::POST, &format!("{ACCOUNTS}/{name}/api_keys/key/rotate")).send().await.ok()?;
    let new = rotated.json::<Value>().await.ok()?;
    if let Some(new) = new["key"].as_str() {
        acknowledged.lock().unwrap().rotated.push((old.to_owned(), new.to_owned()));
    }
    Some(())
}

on_both_engines! {
    async fn a_kill_in_mid_load_loses_nothing_acknowledged(engine: Engine) {
        let database = engine.database().await;
        let mut server = start(&database);
        // With PostgreSQL, another node goes on beside the one that is killed.
        let other = (engine == Engine::Postgres).then(|| start(&database));
        let key = admin_key(&database);
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        for round in 0..kills() {
            let (progress, mut progressed) = tokio::sync::mpsc::unbounded_channel();
            let begin = |url: &str, worker| tokio::spawn(work(Client::new(url), key.clone(), round * 8 + worker, Arc::clone(&acknowledged), progress.clone()));
            let workers: Vec<_> = (0..6).map(|worker| begin(&server.url, worker)).collect();
            let beside: Vec<_> = other.iter().flat_map(|other| (6..8).map(|worker| begin(&other.url, worker))).collect();
            for _ in 0..30 {
                progressed.recv().await.unwrap();
            }
            server.signal("KILL");
            server.output();
            for worker in workers {
                worker.await.unwrap();
            }
            beside.iter().for_each(tokio::task::JoinHandle::abort);
            server = start(&database);
        }

        let admin = Client::new(&server.url).with(&key);
        let export = admin.get("/api/v1/audit_events/export").await.text;
        let events: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let recorded: BTreeSet<_> = events.iter().filter_map(|event| event["details"]["jti"].as_str()).collect();
        let created: BTreeSet<_> = events.iter().filter(|event| event["action"] == "service_account.create").filter_map(|event| event["target_name"].as_str()).collect();
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        assert!(acknowledged.accounts.len() >= 60 && acknowledged.tokens.len() >= 60 && acknowledged.deactivated.len() >= 20 && acknowledged.rotated.len() >= 20);
        for name in &acknowledged.deactivated {
            assert_eq!(admin.get(&format!("{ACCOUNTS}/{name}")).await.expect(200)["active"], false, "the deactivation of {name} was acknowledged and is lost");
        }
        for (old, new) in &acknowledged.rotated {
            assert_eq!((admin.login(old).await.status, admin.login(new).await.status), (401, 200), "a rotation was acknowledged and is lost");
        }
        for token in &acknowledged.tokens {
            assert!(recorded.contains(claims(token)["jti"].as_str().unwrap()), "a token left without its record");
        }
        for name in &acknowledged.accounts {
            assert_eq!(admin.get(&format!("{ACCOUNTS}/{name}")).await.status, 200, "{name} was acknowledged and is lost");
            assert!(created.contains(name.as_str()), "{name} was made without its record");
        }
        // And nothing was made without its record, acknowledged or not.
        let mut cursor = String::new();
        loop {
            let page = admin.get(&format!("{ACCOUNTS}?limit=200{cursor}")).await.expect(200);
            for account in page["items"].as_array().unwrap() {
                assert!(created.contains(account["name"].as_str().unwrap()));
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        server.stop();
    }

    async fn a_clean_stop_writes_when_keys_were_last_used(engine: Engine) {
        let database = engine.database().await;
        let server = start(&database);
        let key = admin_key(&database);
        Client::new(&server.url).login(&key).await.token();
        server.stop();
        let server = start(&database);
        let account = Client::new(&server.url).with(&key).get(&format!("{ACCOUNTS}/admin")).await.expect(200);
        assert_eq!((&account["last_used_address"], account["last_used_at"].is_string()), (&json!("127.0.0.1"), true));
        server.stop();
    }
}
