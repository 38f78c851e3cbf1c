//! Answers come from memory, and are never wrong for longer than the bound.
#![expect(clippy::disallowed_methods, reason = "how long it takes is measured on the monotonic clock")]

use std::time::{Duration, Instant};

use hourpass::app::Application;
use hourpass::domain::api_key::{ApiKeyHash, RawApiKey};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::sync::oneshot;

use crate::support::{Answer, Client, Engine, Proxy, TestApp, eventually, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";
const ASSIGNMENTS: &str = "/api/v1/role_assignments";

/// A second node on the database of the first.
pub(crate) struct Other {
    pub(crate) client: Client,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

impl Other {
    fn run(application: Application) -> Self {
        let client = Client::new(application.url());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move { Box::pin(application.run_until(async { drop(stopped.await) })).await.unwrap() });
        Self { client, stop: Some(stop), running }
    }

    /// Another node, and the first one knows of it.
    pub(crate) async fn beside(app: &TestApp, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("HOURPASS_SERVER__PUBLIC_URL", app.url.as_str())];
        all.extend(settings);
        let other = Self::run(app.build_another(&all).await.unwrap());
        let nodes = async || app.store.list_nodes(Duration::from_secs(10)).await.unwrap().len();
        eventually(async || nodes().await == 2).await;
        other
    }

    /// Another node with a bound of a second, whose way to the database can be cut.
    async fn behind_a_proxy(app: &TestApp) -> (Proxy, Self) {
        let (proxy, through) = app.database.behind_a_proxy().await;
        let settings = [("HOURPASS_DATABASE__URL", through.as_str()), ("HOURPASS_STALENESS__BOUND", "1s"), ("HOURPASS_DATABASE__TIMEOUT", "500ms")];
        let other = Self::beside(app, &settings).await;
        (proxy, other)
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.running.await.unwrap();
    }
}

pub(crate) async fn me(client: &Client, credential: &str) -> Answer {
    client.with(credential).get("/users/me").await
}

/// A way to change what an account may do, or whether it may do anything.
pub(crate) struct Change {
    pub name: &'static str,
    /// Done by this method, to this path, with this body. `ACCOUNT`, `KEY`, `GIVEN`, `ROLE`, `TEAM` and `MEMBER` stand for what was made for it.
    call: (&'static str, &'static str, Value),
    /// What `/users/me` answers to the key afterwards: status, and whether `audit.read` is still held.
    pub key: (u16, bool),
    /// The same to a token from before.
    pub token: (u16, bool),
}

pub(crate) fn changes() -> Vec<Change> {
    let change = |name, method, path, body, key, token| Change { name, call: (method, path, body), key, token };
    let off = json!({ "active": false });
    vec![
        change("account deactivated", "PATCH", "service_accounts/ACCOUNT", off.clone(), (401, false), (401, false)),
        change("account deleted", "DELETE", "service_accounts/ACCOUNT", Value::Null, (401, false), (401, false)),
        change("tokens of the account ended", "POST", "service_accounts/ACCOUNT/revoke_tokens", Value::Null, (200, true), (401, false)),
        change("key deactivated", "PATCH", "service_accounts/ACCOUNT/api_keys/KEY", off, (401, false), (401, false)),
        change("key expires", "PATCH", "service_accounts/ACCOUNT/api_keys/KEY", json!({ "expires_in_days": 1 }), (200, true), (200, true)),
        change("key rotated", "POST", "service_accounts/ACCOUNT/api_keys/KEY/rotate", json!({}), (401, false), (401, false)),
        change(
            "key rotated with retention",
            "POST",
            "service_accounts/ACCOUNT/api_keys/KEY/rotate",
            json!({ "retain_minutes": 5 }),
            (200, true),
            (200, true),
        ),
        change("tokens of the key ended", "POST", "service_accounts/ACCOUNT/api_keys/KEY/revoke_tokens", Value::Null, (200, true), (401, false)),
        change("key compromised", "POST", "service_accounts/ACCOUNT/api_keys/KEY/compromised", Value::Null, (401, false), (401, false)),
        change("key deleted", "DELETE", "service_accounts/ACCOUNT/api_keys/KEY", Value::Null, (401, false), (401, false)),
        change("role taken from the team", "DELETE", "role_assignments/GIVEN", Value::Null, (200, false), (200, false)),
        change("role changed", "PATCH", "roles/ROLE", json!({ "permissions": ["users.read"] }), (200, false), (200, false)),
        change("out of the team", "DELETE", "teams/TEAM/members/MEMBER", Value::Null, (200, false), (200, false)),
        change("team deleted", "DELETE", "teams/TEAM", Value::Null, (200, false), (200, false)),
    ]
}

/// An account that holds `audit.read` by a role of a team.
pub(crate) struct Subject {
    pub key: String,
    names: Vec<(&'static str, String)>,
}

impl Subject {
    pub(crate) async fn make(admin: &Client, number: usize) -> Self {
        let make = async |path: &str, body: Value| admin.post(path, &body).await.expect(201);
        let (account, role, team) = (format!("ci-{number}"), format!("role-{number}"), format!("team-{number}"));
        let born = make(ACCOUNTS, json!({ "name": account, "default_key": true })).await;
        make("/api/v1/roles", json!({ "name": role, "level": "organization", "permissions": ["audit.read"] })).await;
        make("/api/v1/teams", json!({ "name": team })).await;
        let given = make(ASSIGNMENTS, json!({ "team": team, "role": role })).await;
        make(&format!("/api/v1/teams/{team}/members"), json!({ "service_account": account })).await;
        let id = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let names = vec![
            ("ACCOUNT", account),
            ("KEY", id(&born, "api_key_id")),
            ("GIVEN", id(&given, "id")),
            ("ROLE", role),
            ("TEAM", team),
            ("MEMBER", id(&born, "id")),
        ];
        Self { key: id(&born, "key"), names }
    }

    pub(crate) async fn change(&self, admin: &Client, change: &Change) -> Answer {
        let (method, path, body) = &change.call;
        let path = self.names.iter().fold((*path).to_owned(), |path, (name, value)| path.replace(name, value));
        let request = admin.request(reqwest::Method::from_bytes(method.as_bytes()).unwrap(), &format!("/api/v1/{path}"));
        let answer = Answer::of(if body.is_null() { request } else { request.json(body) }).await;
        assert!([200, 204].contains(&answer.status), "{}: {}", change.name, answer.text);
        answer
    }

    pub(crate) fn hash(&self) -> ApiKeyHash {
        RawApiKey::from_presented(self.key.clone()).hash()
    }
}

/// `(status, whether audit.read is held)` of an answer of `/users/me`.
pub(crate) fn seen(answer: &Answer) -> (u16, bool) {
    (answer.status, answer.status == 200 && answer.text.contains("audit.read"))
}

/// `live_nodes` and `confirmed` of an answer, from its body or its header.
fn propagation(answer: &Answer) -> (u64, u64) {
    if answer.status == 204 {
        let numbers: Vec<u64> =
            answer.header("hourpass-propagation").split(", ").map(|part| part.split_once('=').unwrap().1.parse().unwrap()).collect();
        return (numbers[0], numbers[1]);
    }
    let told = &answer.json()["propagation"];
    (told["live_nodes"].as_u64().unwrap(), told["confirmed"].as_u64().unwrap())
}

on_both_engines! {
    async fn what_one_node_changes_counts_at_the_other(engine: Engine) {
        let app = TestApp::start_with(engine.database().await, &[("HOURPASS_STALENESS__CONFIRM_WAIT", "10s")]).await;
        let other = Other::beside(&app, &[]).await;
        let admin = app.admin_client();
        for (number, change) in changes().iter().enumerate() {
            let subject = Subject::make(&admin, number).await;
            eventually(async || seen(&me(&other.client, &subject.key).await) == (200, true)).await;
            let token = other.client.login(&subject.key).await.token();
            assert_eq!(seen(&me(&other.client, &token).await), (200, true));
            let told = subject.change(&admin, change).await;
            assert_eq!(propagation(&told), (2, 2), "{}: {}", change.name, told.text);
            assert_eq!(seen(&me(&other.client, &subject.key).await), change.key, "{}: right after the answer", change.name);
            eventually(async || seen(&me(&other.client, &subject.key).await) == change.key).await;
            eventually(async || seen(&me(&other.client, &token).await) == change.token).await;
            let exchanged = other.client.login(&subject.key).await.status;
            assert_eq!(exchanged, change.key.0, "{}", change.name);
        }
        let metrics = app.anyone().get("/metrics").await.text;
        assert_eq!(metrics.matches("hourpass_node_lag_changes{").count(), 2, "{metrics}");
        assert!(metrics.contains("hourpass_view_age_seconds"));
        other.stop().await;
        // It said that it goes.
        assert_eq!(app.store.list_nodes(Duration::from_secs(10)).await.unwrap().len(), 1);
    }

    async fn people_and_workspaces_are_followed_too(engine: Engine) {
        let app = TestApp::start(engine).await;
        let other = Other::beside(&app, &[]).await;
        let admin = app.admin_client();
        let password = "correct horse battery";
        admin.post("/api/v1/users", &json!({ "email": "ada@example.com", "password": password })).await.expect(201);
        let sign_in = async || other.client.post_form("/auth/login", &[("username", "ada@example.com"), ("password", password)]).await.token();
        for (method, path, body) in [
            ("POST", "/auth/logout", Value::Null), ("PATCH", "/api/v1/users/ada@example.com", json!({ "active": false })),
            ("PATCH", "/api/v1/users/ada@example.com", json!({ "active": true })), ("DELETE", "/api/v1/users/ada@example.com", Value::Null),
        ] {
            if body == json!({ "active": true }) {
                admin.patch(path, &body).await.expect(200);
                continue;
            }
            let token = sign_in().await;
            assert_eq!(me(&other.client, &token).await.status, 200);
            let caller = if path == "/auth/logout" { app.anyone().with(&token) } else { app.admin_client() };
            let request = caller.request(reqwest::Method::from_bytes(method.as_bytes()).unwrap(), path);
            let answer = Answer::of(if body.is_null() { request } else { request.json(&body) }).await;
            assert!(answer.status < 300, "{}", answer.text);
            assert_eq!(me(&app.anyone(), &token).await.status, 401, "{method} {path}");
            eventually(async || me(&other.client, &token).await.status == 401).await;
        }
        // A workspace, by each of its names.
        admin.post("/api/v1/workspaces", &json!({ "slug": "prod", "audience": "urn:acme:prod" })).await.expect(201);
        let exchange = async |field: &str, value: &str| other.client.post_form("/auth/login", &[("password", app.admin_key()), (field, value)]).await;
        for (field, value) in [("workspace", "prod"), ("audience", "urn:acme:prod")] {
            assert_eq!(exchange(field, value).await.status, 200);
        }
        admin.patch("/api/v1/workspaces/prod", &json!({ "audience": "urn:acme:next" })).await.expect(200);
        eventually(async || exchange("audience", "urn:acme:prod").await.status == 400).await;
        eventually(async || crate::support::claims(&exchange("workspace", "prod").await.token())["aud"] == "urn:acme:next").await;
        assert_eq!(admin.delete("/api/v1/workspaces/prod").await.status, 204);
        eventually(async || exchange("workspace", "prod").await.status == 400).await;
        other.stop().await;
    }

    async fn times_run_out_in_memory_and_do_not_come_back(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let made = admin.post(ACCOUNTS, &json!({ "name": "ci", "default_key": true, "expires_in_days": 1 })).await.expect(201);
        let old = made["key"].as_str().unwrap();
        let key = format!("{ACCOUNTS}/ci/api_keys/{}", made["api_key_id"].as_str().unwrap());
        let new = admin.post(&format!("{key}/rotate"), &json!({ "retain_minutes": 5 })).await.expect(200)["key"].as_str().unwrap().to_owned();
        app.settle().await;
        for key in [old, &new] {
            assert_eq!(app.anyone().login(key).await.status, 200);
        }
        app.clock.advance_seconds(5 * 60 - 1);
        assert_eq!(app.anyone().login(old).await.status, 200);
        app.clock.advance_seconds(1);
        assert_eq!(app.anyone().login(old).await.problem(), (401, "api_key_rotated".to_owned()));
        app.clock.advance_seconds(86_400 - 5 * 60 - 1);
        assert_eq!(app.anyone().login(&new).await.status, 200);
        app.clock.advance_seconds(1);
        assert_eq!(app.anyone().login(&new).await.problem(), (401, "api_key_expired".to_owned()));
        // The clock is set back.
        app.clock.advance_seconds(-86_400);
        assert_eq!(app.anyone().login(old).await.problem().0, 401);
        assert_eq!(app.anyone().login(&new).await.problem(), (401, "api_key_expired".to_owned()));
        assert_eq!(me(&app.anyone(), &new).await.problem().0, 401);
        assert_eq!(app.anyone().login(app.admin_key()).await.status, 200);
    }
}

/// A connection that keeps others from these tables while it lives.
async fn lock(app: &TestApp, tables: &str) -> sqlx::PgConnection {
    let mut other = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))).execute(&mut other).await.unwrap();
    other
}

/// All that an exchange reads where it does not know it yet.
const READ: &str = "organizations, service_accounts, api_keys, api_key_values, role_assignments, roles, teams, team_members, permissions, workspaces, projects, \
                    sessions, users, signing_keys";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_answers_read_no_row() {
    let app =
        TestApp::start_with(Engine::Postgres.database().await, &[("HOURPASS_DATABASE__TIMEOUT", "1s"), ("HOURPASS_CACHE__ENTRIES", "16")]).await;
    app.settle().await;
    let exchange = async || app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "default")]).await;
    let person = app.anyone().post_form("/auth/login", &[("username", "admin@localhost"), ("password", app.admin_password())]).await.token();
    let token = app.anyone().login(app.admin_key()).await.token();
    for _ in 0..2 {
        assert_eq!(exchange().await.status, 200);
        for credential in [&token, &person] {
            assert_eq!(me(&app.anyone(), credential).await.status, 200);
        }
    }
    // Keys that nobody knows take no place, however many they are.
    for number in 0..200_u8 {
        assert!(app.memory.key(ApiKeyHash([number; 32])).await.unwrap().is_none());
    }
    let locked = lock(&app, READ).await;
    for _ in 0..3 {
        // The record is written all the same.
        assert_eq!(exchange().await.status, 200);
        for credential in [&token, &person] {
            assert_eq!(me(&app.anyone(), credential).await.status, 200);
        }
    }
    // What is not known has to be read.
    assert_eq!(app.anyone().login("vf_live_0123456789abcdef0123456789abcdef").await.status, 503);
    locked.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sees_nothing_refuses_and_recovers() {
    let app = TestApp::start_with(Engine::Postgres.database().await, &[("HOURPASS_STALENESS__CONFIRM_WAIT", "100ms")]).await;
    let (proxy, other) = Other::behind_a_proxy(&app).await;
    let admin = app.admin_client();
    let subject = Subject::make(&admin, 0).await;
    eventually(async || seen(&me(&other.client, &subject.key).await) == (200, true)).await;
    let token = other.client.login(&subject.key).await.token();
    assert_eq!(me(&other.client, &token).await.status, 200);

    proxy.set_open(false);
    let cut = Instant::now();
    // Deactivated at the first, which says that the other has not confirmed.
    let told = admin.patch(&format!("{ACCOUNTS}/ci-0"), &json!({ "active": false })).await;
    assert_eq!(propagation(&told), (2, 1));
    // What it happens not to hold it refuses at once, and what it holds when its view is too old.
    for credential in [&subject.key, &token] {
        eventually(async || me(&other.client, credential).await.status == 503).await;
    }
    assert!(cut.elapsed() < Duration::from_secs(5), "{:?}", cut.elapsed());
    for answer in [
        me(&other.client, &subject.key).await,
        me(&other.client, &token).await,
        other.client.login(&subject.key).await,
        other.client.get("/readyz").await,
    ] {
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(other.client.get("/healthz").await.status, 200);
    // From the moment that it answers again, it answers by what is.
    proxy.set_open(true);
    let first = async || {
        loop {
            let answer = me(&other.client, &subject.key).await;
            if answer.status != 503 {
                return answer;
            }
        }
    };
    assert_eq!(first().await.problem(), (401, "service_account_inactive".to_owned()));
    assert_eq!(other.client.login(&subject.key).await.problem(), (401, "service_account_inactive".to_owned()));
    assert_eq!(me(&other.client, &token).await.problem().0, 401);
    eventually(async || other.client.get("/readyz").await.status == 200).await;
    assert_eq!(other.client.login(app.admin_key()).await.status, 200);
    other.stop().await;
}

/// One node loses the database in mid-load and finds it again, while the other goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_in_mid_load_costs_503s_and_nothing_else() {
    const BOUND: Duration = Duration::from_secs(1);
    let app = TestApp::start(Engine::Postgres).await;
    let (proxy, other) = Other::behind_a_proxy(&app).await;
    let admin = app.admin_client();
    let (kept, ended) = (Subject::make(&admin, 0).await, Subject::make(&admin, 1).await);
    for subject in [&kept, &ended] {
        eventually(async || other.client.login(&subject.key).await.status == 200).await;
    }
    // Each key is exchanged over and over, and each answer is kept with the moment at which it was asked for.
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = |key: &str| {
        let (client, key, stopped) = (other.client.clone(), key.to_owned(), stopped.clone());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while !*stopped.borrow() {
                let asked = Instant::now();
                answers.push((asked, client.login(&key).await.status));
            }
            answers
        })
    };
    let (first, second) = (load(&kept.key), load(&ended.key));
    proxy.set_open(false);
    let cut = Instant::now();
    admin.patch(&format!("{ACCOUNTS}/ci-1"), &json!({ "active": false })).await.expect(200);
    let deactivated = Instant::now();
    eventually(async || cut.elapsed() > BOUND * 2).await;
    proxy.set_open(true);
    eventually(async || other.client.login(&kept.key).await.status == 200).await;
    eventually(async || other.client.login(&ended.key).await.status == 401).await;
    stop.send_replace(true);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first.iter().all(|(_, status)| [200, 503].contains(status)), "{first:?}");
    assert!(first.iter().any(|(_, status)| *status == 503));
    let late = second.iter().filter(|(asked, status)| *status == 200 && *asked > deactivated + BOUND);
    assert_eq!(late.count(), 0, "a token for a key that was deactivated longer ago than the bound");
    assert!(second.iter().all(|(_, status)| [200, 401, 503].contains(status)));
    other.stop().await;
}
