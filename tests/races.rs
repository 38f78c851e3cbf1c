//! A read that raced a change brings nothing back, whatever is read and whatever is changed.
//!
//! The read is held open: it has seen the old state, and what it saw is about to be held in memory when the change is made and answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::propagation::{Subject, changes, me, seen};
use crate::support::{Answer, Client, TestApp, claims, on_both_engines};

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Holds the next read of a table open.
#[derive(Default)]
struct Gate {
    armed: Mutex<Option<String>>,
    reached: Notify,
    opened: Notify,
}

impl Gate {
    fn of(app: &TestApp) -> Arc<Self> {
        let gate = Arc::new(Self::default());
        let hook = Arc::clone(&gate);
        app.memory.after_each_read(move |table| {
            let (gate, table) = (Arc::clone(&hook), table.to_owned());
            async move {
                if gate.armed.lock().unwrap().take_if(|armed| *armed == table).is_some() {
                    gate.reached.notify_one();
                    gate.opened.notified().await;
                }
            }
            .boxed()
        });
        gate
    }

    /// Asks, and changes something while what was read for it is not held yet. Returns what was answered to another who asked after the change, then and later.
    async fn race(&self, app: &TestApp, table: &str, name: &str, ask: impl AsyncFn() -> Answer, change: impl Future<Output = ()>) -> Vec<Answer> {
        // Of this organization nothing is held any more.
        app.admin_client()
            .post("/api/v1/permissions", &json!({ "name": format!("round.n{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }))
            .await
            .expect(201);
        app.settle().await;
        *self.armed.lock().unwrap() = Some(table.to_owned());
        let racing = async {
            self.reached.notified().await;
            change.await;
            // Whoever comes now may wait for the old read, and is not to believe it.
            tokio::join!(ask(), async { self.opened.notify_one() }).0
        };
        let (_, after) = tokio::time::timeout(PATIENCE, async { tokio::join!(ask(), racing) })
            .await
            .unwrap_or_else(|_| panic!("{table}, {name}: nothing was read, or the change waited for the read"));
        let mut answers = vec![after, ask().await, ask().await];
        app.settle().await;
        answers.push(ask().await);
        answers
    }
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A change: its name, method, path and body, and what is right after it.
type Case = (&'static str, &'static str, &'static str, Value, (u16, bool));

async fn call(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let request = client.request(reqwest::Method::from_bytes(method.as_bytes()).unwrap(), path);
    let answer = Answer::of(if body.is_null() { request } else { request.json(body) }).await;
    assert!(answer.status < 300, "{method} {path}: {}", answer.text);
    answer
}

on_both_engines! {
    async fn of_keys_and_their_tokens(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (gate, admin) = (Gate::of(&app), app.admin_client());
        for (table, with_token) in [("keys", false), ("grants", true)] {
            for change in &changes() {
                let subject = Subject::make(&admin, NUMBER.fetch_add(1, Ordering::Relaxed)).await;
                let token = app.anyone().login(&subject.key).await.token();
                let (credential, right) = if with_token { (&token, change.token) } else { (&subject.key, change.key) };
                let ask = async || me(&app.anyone(), credential).await;
                assert_eq!(seen(&ask().await), (200, true));
                let change_it = async { drop(subject.change(&admin, change).await) };
                for answer in gate.race(&app, table, change.name, ask, change_it).await {
                    assert_eq!(seen(&answer), right, "{table}, {}: {}", change.name, answer.text);
                }
            }
        }
    }

    async fn of_people(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (gate, admin) = (Gate::of(&app), app.admin_client());
        // (Who signs out waits for the same read.)
        let cases: [Case; 7] = [
            ("deactivated", "PATCH", "/api/v1/users/PERSON", json!({ "active": false }), (401, false)),
            ("deleted", "DELETE", "/api/v1/users/PERSON", Value::Null, (401, false)),
            ("role taken from the team", "DELETE", "/api/v1/role_assignments/GIVEN", Value::Null, (200, false)),
            ("role changed", "PATCH", "/api/v1/roles/ROLE", json!({ "permissions": ["users.read"] }), (200, false)),
            ("out of the team", "DELETE", "/api/v1/teams/TEAM/members/MEMBER", Value::Null, (200, false)),
            ("team deleted", "DELETE", "/api/v1/teams/TEAM", Value::Null, (200, false)),
            ("a new password by themselves elsewhere", "POST", "/users/me/password", json!({ "old_password": PASSWORD, "password": "correct horse staple" }), (401, false)),
        ];
        for (name, method, path, body, right) in cases {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let (email, role, team) = (format!("p{number}@example.com"), format!("role-{number}"), format!("team-{number}"));
            let person = call(&admin, "POST", "/api/v1/users", &json!({ "email": email, "password": PASSWORD })).await.json();
            call(&admin, "POST", "/api/v1/roles", &json!({ "name": role, "level": "organization", "permissions": ["audit.read"] })).await;
            call(&admin, "POST", "/api/v1/teams", &json!({ "name": team })).await;
            let given = call(&admin, "POST", "/api/v1/role_assignments", &json!({ "team": team, "role": role })).await.json();
            call(&admin, "POST", &format!("/api/v1/teams/{team}/members"), &json!({ "user": email })).await;
            let sign_in = async || app.anyone().post_form("/auth/login", &[("username", &email), ("password", PASSWORD)]).await.token();
            let (token, elsewhere) = (sign_in().await, sign_in().await);
            let ask = async || me(&app.anyone(), &token).await;
            assert_eq!(seen(&ask().await), (200, true));
            let names = [("PERSON", email.as_str()), ("GIVEN", given["id"].as_str().unwrap()), ("ROLE", &role), ("TEAM", &team), ("MEMBER", person["id"].as_str().unwrap())];
            let path = names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
            let caller = match path.as_str() {
                "/users/me/password" => app.anyone().with(&elsewhere),
                _ => admin.clone(),
            };
            let change = async { drop(call(&caller, method, &path, &body).await) };
            for answer in gate.race(&app, "sessions", name, ask, change).await {
                assert_eq!(seen(&answer), right, "{name}: {}", answer.text);
            }
        }
    }

    async fn of_workspaces_and_what_they_know(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (gate, admin) = (Gate::of(&app), app.admin_client());
        // A change, what the answer says of it, and what is right.
        let cases: [(&str, &str, &str, &str, Value, Says, Value); 7] = [
            ("workspaces", "audience", "PATCH", "/api/v1/workspaces/WORKSPACE", json!({ "audience": "urn:next" }), |answer| token(answer)["aud"].clone(), json!("urn:next")),
            ("workspaces", "lifetime", "PATCH", "/api/v1/workspaces/WORKSPACE", json!({ "token_lifetime_seconds": 60 }), |answer| answer.json()["expires_in"].clone(), json!(60)),
            ("workspaces", "claims", "PATCH", "/api/v1/workspaces/WORKSPACE", json!({ "claims": { "https://example.com/cost": "42" } }), |answer| token(answer)["https://example.com/cost"].clone(), json!("42")),
            ("workspaces", "algorithm", "PATCH", "/api/v1/workspaces/WORKSPACE", json!({ "signing_algorithm": "EdDSA" }), |answer| crate::support::header(&token_text(answer))["alg"].clone(), json!("EdDSA")),
            ("workspaces", "deleted", "DELETE", "/api/v1/workspaces/WORKSPACE", Value::Null, |answer| answer.json()["code"].clone(), json!("invalid_target")),
            ("catalogues", "permission withdrawn", "DELETE", "/api/v1/permissions/models.read", Value::Null, |answer| json!(token(answer)["scope"].as_str().unwrap().contains("models.read")), json!(false)),
            ("catalogues", "permission added", "POST", "/api/v1/permissions", json!({ "name": "rockets.launch" }), |answer| json!(token(answer)["scope"].as_str().unwrap().contains("rockets.launch")), json!(true)),
        ];
        admin.delete("/api/v1/permissions/models.read").await;
        admin.post("/api/v1/permissions", &json!({ "name": "models.read" })).await.expect(201);
        // So that the algorithm is published, and takes over at once.
        admin.post("/api/v1/workspaces", &json!({ "slug": "ed", "audience": "urn:ed", "signing_algorithm": "EdDSA" })).await.expect(201);
        app.clock.advance_seconds(75);
        for (table, name, method, path, body, says, right) in cases {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let slug = format!("ws-{number}");
            call(&admin, "POST", "/api/v1/workspaces", &json!({ "slug": slug, "audience": format!("urn:{slug}") })).await;
            let ask = async || app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", &slug)]).await;
            let before = ask().await;
            assert_eq!(before.status, 200, "{}", before.text);
            assert_ne!(says(&before), right, "{name}");
            let change = async { drop(call(&admin, method, &path.replace("WORKSPACE", &slug), &body).await) };
            for answer in gate.race(&app, table, name, ask, change).await {
                assert_eq!(says(&answer), right, "{table}, {name}: {}", answer.text);
            }
        }
    }

    async fn of_many_that_ask_for_one_thing_one_reads(engine: Engine) {
        let app = TestApp::start(engine).await;
        let subject = Subject::make(&app.admin_client(), 0).await;
        app.settle().await;
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        app.memory.after_each_read(move |table| {
            counted.fetch_add(usize::from(table == "keys"), Ordering::SeqCst);
            // All the others ask meanwhile.
            tokio::task::yield_now().boxed()
        });
        let hash = subject.hash();
        let found = futures_util::future::join_all((0..50).map(|_| app.memory.key(hash))).await;
        assert!(found.iter().all(|found| found.as_ref().is_ok_and(Option::is_some)));
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }
}

/// What is looked at of an answer.
type Says = fn(&Answer) -> Value;

const PASSWORD: &str = "correct horse battery";

fn token_text(answer: &Answer) -> String {
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

fn token(answer: &Answer) -> Value {
    claims(&token_text(answer))
}
