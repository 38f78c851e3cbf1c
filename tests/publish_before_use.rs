//! Whatever is published with a lifetime precedes its use by that lifetime: who keeps the keys, the metadata or the names of the lists for as long as their
//! `Cache-Control` says, at whatever moment it was read and from whatever node, knows everything that a token needs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, Client, MockClock, TestApp, claims, header, on_both_engines};

/// How long the first key of an algorithm is published before it signs.
const PUBLISHED_BEFORE: i64 = 75;

/// An answer that a cache may keep.
struct Kept {
    from: i64,
    until: i64,
    names: BTreeSet<String>,
}

/// Caches in front of the nodes: of each kind of answer, all that were ever read.
struct Caches {
    clock: MockClock,
    nodes: Vec<Client>,
    keys: Vec<Kept>,
    algorithms: Vec<Kept>,
    lists: Vec<Kept>,
    tokens: Vec<String>,
}

fn names(values: &Value, read: impl Fn(&Value) -> &Value) -> BTreeSet<String> {
    values.as_array().unwrap().iter().map(|value| read(value).as_str().unwrap().to_owned()).collect()
}

fn kept(now: i64, answer: &Answer, names: impl Fn(&Value) -> BTreeSet<String>) -> Kept {
    let lifetime = answer.header("cache-control").strip_prefix("public, max-age=").map_or(0, |seconds| seconds.parse().unwrap());
    assert_eq!(answer.status, 200, "{}", answer.text);
    Kept { from: now, until: now + lifetime, names: names(&answer.json()) }
}

impl Caches {
    fn before(clock: &MockClock, nodes: &[&Client]) -> Self {
        let nodes = nodes.iter().map(|node| (*node).clone()).collect();
        Self { clock: clock.clone(), nodes, keys: Vec::new(), algorithms: Vec::new(), lists: Vec::new(), tokens: Vec::new() }
    }

    /// Everything is read from every node.
    async fn read(&mut self) {
        let now = self.clock.seconds();
        for node in &self.nodes {
            self.keys.push(kept(now, &node.get("/.well-known/jwks.json").await, |body| names(&body["keys"], |key| &key["kid"])));
            let metadata = node.get("/.well-known/openid-configuration").await;
            self.algorithms.push(kept(now, &metadata, |body| names(&body["id_token_signing_alg_values_supported"], |name| name)));
            self.lists.push(kept(now, &node.get("/status-lists").await, |body| names(&body["status_lists"], |uri| uri)));
        }
    }

    /// A token is presented now, wherever what was read is still kept.
    fn present(&self, token: &str) {
        let now = self.clock.seconds();
        let (head, payload) = (header(token), claims(token));
        let status = &payload["status"]["status_list"]["uri"];
        let mut count = 0;
        for (what, all, needed) in [("key", &self.keys, &head["kid"]), ("algorithm", &self.algorithms, &head["alg"]), ("list", &self.lists, status)] {
            for kept in all.iter().filter(|kept| (kept.from..=kept.until).contains(&now)) {
                assert!(
                    kept.names.contains(needed.as_str().unwrap()),
                    "{what} {needed} is not in what was read {} s ago: {:?}",
                    now - kept.from,
                    kept.names
                );
                count += 1;
            }
        }
        assert!(count >= 3 * self.nodes.len());
    }

    /// For so many seconds: everything is read, tokens are got on all nodes, and all that were got so far are presented. Returns the algorithms of the tokens, a refusal as its code.
    async fn go_on(&mut self, seconds: i64, step: i64, key: &str, workspace: &str) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..seconds / step {
            self.read().await;
            for node in self.nodes.clone() {
                let answer = node.post_form("/auth/login", &[("password", key), ("workspace", workspace)]).await;
                if answer.status == 200 {
                    let token = answer.token();
                    seen.push(header(&token)["alg"].as_str().unwrap().to_owned());
                    self.tokens.push(token);
                } else {
                    let (status, code) = answer.problem();
                    assert_eq!(status, 503, "{}", answer.text);
                    seen.push(code);
                }
            }
            self.tokens.iter().for_each(|token| self.present(token));
            self.clock.advance_seconds(step);
        }
        seen.dedup();
        seen
    }
}

on_both_engines! {
    async fn algorithm_of_a_workspace_changed_every_token_verifies_with_cached_keys(engine: Engine) {
        let app = TestApp::start(engine).await;
        let other = app.build_another(&[("HOURPASS_SERVER__PUBLIC_URL", &app.url)]).await.unwrap();
        let (there, store) = (Client::new(other.url()), other.store().clone());
        let running = tokio::spawn(other.run_until(std::future::pending()));
        let (admin, anyone) = (app.admin_client(), app.anyone());
        admin.post("/api/v1/workspaces", &json!({ "slug": "ws", "audience": "urn:ws" })).await.expect(201);
        store.follow_changes().await.unwrap();
        let mut caches = Caches::before(&app.clock, &[&anyone, &there]);
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "ws").await, ["ES256"]);
        let mut before = "ES256";
        for algorithm in ["EdDSA", "RS256"] {
            let now = app.clock.seconds();
            let changed = admin.patch("/api/v1/workspaces/ws", &json!({ "signing_algorithm": algorithm })).await.expect(200);
            assert_eq!(changed["signing_algorithm"], algorithm);
            let at = chrono::DateTime::parse_from_rfc3339(changed["signing_algorithm_effective_at"].as_str().unwrap()).unwrap();
            assert_eq!(at.timestamp(), now + PUBLISHED_BEFORE);
            store.follow_changes().await.unwrap();
            // Published at once, and used in time.
            assert!(anyone.get("/.well-known/jwks.json").await.text.contains(algorithm));
            assert_eq!(caches.go_on(PUBLISHED_BEFORE, 5, app.admin_key(), "ws").await, [before]);
            assert_eq!(caches.go_on(60, 15, app.admin_key(), "ws").await, [algorithm]);
            assert_eq!(admin.get("/api/v1/workspaces/ws").await.expect(200)["signing_algorithm_effective_at"], Value::Null);
            before = algorithm;
        }
        // What is published already takes over at once.
        let changed = admin.patch("/api/v1/workspaces/ws", &json!({ "signing_algorithm": "ES256" })).await.expect(200);
        assert_eq!(changed["signing_algorithm_effective_at"], Value::Null);
        store.follow_changes().await.unwrap();
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "ws").await, ["ES256"]);
        running.abort();
    }

    async fn algorithm_changed_twice_within_a_minute_tokens_are_signed_as_at_first(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        admin.post("/api/v1/workspaces", &json!({ "slug": "ws", "audience": "urn:ws" })).await.expect(201);
        let mut caches = Caches::before(&app.clock, &[&anyone]);
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "ws").await, ["ES256"]);
        admin.patch("/api/v1/workspaces/ws", &json!({ "signing_algorithm": "EdDSA" })).await.expect(200);
        assert_eq!(caches.go_on(30, 5, app.admin_key(), "ws").await, ["ES256"]);
        admin.patch("/api/v1/workspaces/ws", &json!({ "signing_algorithm": "RS256" })).await.expect(200);
        assert_eq!(caches.go_on(PUBLISHED_BEFORE, 5, app.admin_key(), "ws").await, ["ES256"]);
        assert_eq!(caches.go_on(30, 15, app.admin_key(), "ws").await, ["RS256"]);
    }

    async fn workspace_created_with_a_new_algorithm_issues_no_token_before_its_key_is_known(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let mut caches = Caches::before(&app.clock, &[&anyone]);
        caches.read().await;
        let made = admin.post("/api/v1/workspaces", &json!({ "slug": "rs", "audience": "urn:rs", "signing_algorithm": "RS256" })).await.expect(201);
        assert_eq!(made["signing_algorithm_effective_at"], "2026-01-01T00:01:15Z");
        app.clock.advance_seconds(15);
        let answer = anyone.post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "rs")]).await;
        assert_eq!(answer.problem(), (503, "signing_key_not_yet_published".to_owned()));
        assert_eq!((answer.header("retry-after"), &answer.json()["error"]), ("61", &json!("temporarily_unavailable")));
        assert_eq!(caches.go_on(60, 5, app.admin_key(), "rs").await, ["signing_key_not_yet_published"]);
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "rs").await, ["RS256"]);
        // The next workspace has it at once.
        let next = admin.post("/api/v1/workspaces", &json!({ "slug": "rs2", "audience": "urn:rs2", "signing_algorithm": "RS256" })).await.expect(201);
        assert_eq!(next["signing_algorithm_effective_at"], Value::Null);
        assert_eq!(caches.go_on(15, 15, app.admin_key(), "rs2").await, ["RS256"]);
        // Nothing of it is a refusal on record.
        assert_eq!(admin.get("/api/v1/audit_events?outcome=denied").await.expect(200)["items"], json!([]));
    }

    async fn algorithm_taken_up_again_after_it_was_unpublished_signs_with_a_new_key_in_time(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        admin.post("/api/v1/workspaces", &json!({ "slug": "ws", "audience": "urn:ws", "signing_algorithm": "EdDSA" })).await.expect(201);
        app.clock.advance_seconds(PUBLISHED_BEFORE);
        let first = anyone.post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "ws")]).await.token();
        admin.patch("/api/v1/workspaces/ws", &json!({ "signing_algorithm": "ES256" })).await.expect(200);
        app.clock.advance_seconds(2 * 3_600);
        let mut caches = Caches::before(&app.clock, &[&anyone]);
        caches.read().await;
        assert_eq!(caches.algorithms[0].names, BTreeSet::from(["ES256".to_owned()]));
        admin.patch("/api/v1/workspaces/ws", &json!({ "signing_algorithm": "EdDSA" })).await.expect(200);
        assert_eq!(caches.go_on(PUBLISHED_BEFORE, 5, app.admin_key(), "ws").await, ["ES256"]);
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "ws").await, ["EdDSA"]);
        assert_ne!(header(caches.tokens.last().unwrap())["kid"], header(&first)["kid"]);
        // By the operator's command, too, which makes no key.
        admin.delete("/api/v1/workspaces/ws").await;
        app.clock.advance_seconds(2 * 3_600);
        let mut caches = Caches::before(&app.clock, &[&anyone]);
        caches.read().await;
        app.add_workspace("default", "beside", None, hourpass::domain::signing::SigningAlgorithm::EdDsa, std::time::Duration::from_hours(1)).await;
        app.settle().await;
        assert_eq!(caches.go_on(PUBLISHED_BEFORE, 5, app.admin_key(), "beside").await, ["signing_key_not_yet_published"]);
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "beside").await, ["EdDSA"]);
    }

    async fn key_rotated_every_token_verifies_with_cached_keys(engine: Engine) {
        // Less than the keys may be kept, which counts for nothing.
        let app = TestApp::start_with(engine.database().await, &[("HOURPASS_SIGNING__PUBLISH_AHEAD", "1m")]).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let mut caches = Caches::before(&app.clock, &[&anyone]);
        assert_eq!(caches.go_on(60, 15, app.admin_key(), "default").await, ["ES256"]);
        let next = admin.post("/api/v1/signing_keys/rotate", &json!({})).await.expect(200);
        caches.go_on(60, 5, app.admin_key(), "default").await;
        assert_ne!(header(caches.tokens.last().unwrap())["kid"], next["kid"]);
        caches.go_on(60, 5, app.admin_key(), "default").await;
        assert_eq!(header(caches.tokens.last().unwrap())["kid"], next["kid"]);
        // By itself, also where nobody was there in time.
        app.clock.advance_seconds(60 * 86_400);
        caches.tokens.clear();
        caches.read().await;
        app.upkeep.take_turns().await.unwrap();
        caches.go_on(150, 5, app.admin_key(), "default").await;
        assert_ne!(header(caches.tokens.last().unwrap())["kid"], next["kid"]);
    }

    async fn list_is_named_before_the_first_token_names_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (admin, anyone) = (app.admin_client(), app.anyone());
        let mut caches = Caches::before(&app.clock, &[&anyone]);
        caches.read().await;
        // As if a million had been given out at once.
        let (sql, id) = ("INSERT INTO status_entries (idx, grant_id) VALUES (1048575, $1)", uuid::Uuid::from_u128(1));
        match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => drop(sqlx::query(sql).bind(id).execute(pool).await.unwrap()),
            hourpass::store::Db::Postgres(pool) => {
                sqlx::query("INSERT INTO status_entries (idx, grant_id) OVERRIDING SYSTEM VALUE VALUES (1048575, $1)").bind(id).execute(pool).await.unwrap();
                sqlx::query("ALTER TABLE status_entries ALTER COLUMN idx RESTART WITH 1048576").execute(pool).await.unwrap();
            }
        }
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let token = anyone.login(made["key"].as_str().unwrap()).await.token();
        assert!(claims(&token)["status"]["status_list"]["uri"].as_str().unwrap().ends_with("/status-lists/1"));
        caches.present(&token);
        app.clock.advance_seconds(10);
        caches.read().await;
        caches.present(&token);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_without_its_database_lets_nobody_keep_its_keys() {
    let database = crate::support::Engine::Postgres.database().await;
    let (proxy, through) = database.behind_a_proxy().await;
    let app = TestApp::start_at(database, &through, &[]).await;
    let keys = async || app.anyone().get("/.well-known/jwks.json").await;
    assert_eq!(keys().await.header("cache-control"), "public, max-age=60");
    proxy.set_open(false);
    app.clock.advance_seconds(5);
    let answer = keys().await;
    // Validators go on, but for the next answer they ask again.
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-cache"));
    proxy.set_open(true);
}
