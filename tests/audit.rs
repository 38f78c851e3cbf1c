//! The audit trail: what is on record, and how it is read.

use std::time::Duration;

use hourpass::domain::signing::SigningAlgorithm;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";
const EVENTS: &str = "/api/v1/audit_events";

async fn events(client: &Client, query: &str) -> Vec<Value> {
    let list = client.get(&format!("{EVENTS}?{query}")).await.expect(200);
    list["items"].as_array().unwrap().clone()
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["action"].as_str().unwrap()).collect()
}

on_both_engines! {
    async fn every_mutation_is_on_record(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = "/api/v1/service_accounts/ci/api_keys/k";
        let step = || app.clock.advance_seconds(1);
        admin.post(ACCOUNTS, &json!({ "name": "ci" })).await.expect(201);
        step();
        admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "k" })).await.expect(201);
        step();
        admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "i", "sha256": "0".repeat(64) })).await.expect(201);
        step();
        admin.patch(key, &json!({ "active": false })).await.expect(200);
        step();
        admin.patch(key, &json!({ "active": true })).await.expect(200);
        step();
        admin.call(&format!("{key}/rotate")).await.expect(200);
        step();
        admin.call(&format!("{key}/revoke_tokens")).await.expect(200);
        step();
        admin.call(&format!("{key}/compromised")).await.expect(200);
        step();
        admin.delete(key).await;
        step();
        admin.call(&format!("{ACCOUNTS}/ci/revoke_tokens")).await.expect(200);
        step();
        admin.patch(&format!("{ACCOUNTS}/ci"), &json!({ "description": "x", "active": false })).await.expect(200);
        step();
        admin.delete(&format!("{ACCOUNTS}/ci")).await;
        step();
        let last = admin.patch("/api/v1/organizations/default", &json!({ "api_key_max_days": 90 })).await;
        let request_id = last.header("x-request-id").to_owned();

        let mut trail = events(&admin, "actor=bootstrap").await;
        trail.reverse();
        assert_eq!(actions(&trail), [
            "service_account.create", "api_key.create", "api_key.import", "api_key.update", "api_key.update", "api_key.rotate", "api_key.revoke_tokens",
            "api_key.compromise", "api_key.delete", "service_account.revoke_tokens", "service_account.update", "service_account.delete", "organization.update",
        ]);
        let me = admin.get("/users/me").await.expect(200);
        let changed = &trail[12];
        let expected = json!({
            "id": changed["id"], "occurred_at": "2026-01-01T00:00:12Z", "organization_id": me["organization_id"], "actor_kind": "service_account",
            "actor_id": me["id"], "actor_name": "bootstrap", "api_key_id": me["api_key_id"], "session_id": changed["session_id"],
            "action": "organization.update", "target_kind": "organization", "target_id": me["organization_id"], "target_name": "default",
            "outcome": "granted", "reason": null, "address": "127.0.0.1", "user_agent": null, "request_id": request_id, "token_expires_at": null,
            "details": { "api_key_max_days": { "from": null, "to": 90 } },
        });
        assert_eq!(changed, &expected);
        assert_eq!(trail[3]["details"], json!({ "active": { "from": true, "to": false } }));
        assert_eq!(trail[10]["details"], json!({ "active": { "from": true, "to": false }, "description": { "from": "", "to": "x" } }));
    }

    async fn what_was_refused_is_not_recorded_as_done(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post(ACCOUNTS, &json!({ "name": "ci" })).await.expect(201);
        admin.post(ACCOUNTS, &json!({ "name": "ci" })).await.expect(409);
        assert_eq!(events(&admin, "action=service_account.create&actor=bootstrap").await.len(), 1);
    }

    async fn sign_ins_and_exchanges_are_on_record_granted_or_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let sign_in = async |password: &str| app.anyone().post_form("/auth/login", &[("username", "admin@localhost"), ("password", password)]).await;
        let request = app.anyone().request(reqwest::Method::POST, "/auth/login").header("user-agent", format!("ci/1 {}", "x".repeat(600)));
        let granted = Answer::of(request.form(&[("password", app.admin_key()), ("workspace", "default")])).await;
        let token = granted.token();
        app.clock.advance_seconds(1);
        sign_in(app.admin_password()).await.expect(200);
        app.clock.advance_seconds(1);
        sign_in("a wrong password").await.expect(401);
        app.clock.advance_seconds(1);
        app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", app.admin_key())]).await.expect(400);
        app.clock.advance_seconds(1);
        app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", &"w".repeat(5_000))]).await.expect(400);

        let trail = events(&admin, "action=token").await;
        let short: Vec<_> = trail.iter().map(|event| (event["actor_name"].as_str().unwrap(), event["outcome"].as_str().unwrap(), event["reason"].as_str())).collect();
        assert_eq!(short, [
            ("bootstrap", "denied", Some("invalid_target")), ("bootstrap", "denied", Some("invalid_target")),
            ("admin@localhost", "denied", Some("invalid_credentials")), ("admin@localhost", "granted", None), ("bootstrap", "granted", None),
        ]);
        // Someone pasted the key into the wrong field; and nobody fills the trail with prose.
        assert!(trail[..2].iter().all(|event| event["target_name"] == "(left out)"));
        assert!(trail.iter().all(|event| !event.to_string().contains(app.admin_key())));
        let exchange = &trail[4];
        assert_eq!((&exchange["target_kind"], &exchange["target_name"]), (&json!("workspace"), &json!("default")));
        assert_eq!(exchange["token_expires_at"], "2026-01-01T01:00:00Z");
        assert_eq!(exchange["details"]["jti"], crate::support::claims(&token)["jti"]);
        assert_eq!(exchange["session_id"], crate::support::claims(&token)["sid"]);
        assert_eq!(exchange["user_agent"].as_str().unwrap().len(), 500);
        assert_eq!(events(&admin, "outcome=denied").await.len(), 3);
        assert_eq!(events(&admin, "actor=admin@localhost&outcome=denied").await.len(), 1);
    }

    async fn strangers_do_not_show_in_anyone_s_trail(engine: Engine) {
        const SQL: &str = "SELECT actor_kind, actor_name, reason FROM audit_events WHERE organization_id IS NULL AND action = 'token.issue'";
        let app = TestApp::start(engine).await;
        app.anyone().login("vf_live_0123456789abcdef0123456789abcdef0123456789abcdef").await.expect(401);
        app.anyone().post_form("/auth/login", &[("username", "nobody@localhost"), ("password", "x")]).await.expect(401);
        assert!(events(&app.admin_client(), "action=token").await.is_empty());
        // The server's own record has them, without what they typed.
        let rows: Vec<(String, String, String)> = match app.store.pool() {
            hourpass::store::Db::Sqlite(pool) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
            hourpass::store::Db::Postgres(pool) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
        };
        assert_eq!(rows, vec![("unknown".to_owned(), "unknown".to_owned(), "invalid_credentials".to_owned()); 2]);
    }

    async fn filters_and_pages(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for number in 0..7 {
            app.clock.advance_seconds(60);
            admin.post(ACCOUNTS, &json!({ "name": format!("ci-{number}") })).await.expect(201);
        }
        let targets = |events: &[Value]| events.iter().map(|event| event["target_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let created = "action=service_account.create&actor=bootstrap";
        assert_eq!(targets(&events(&admin, &format!("{created}&since=2026-01-01T00:02:00Z&until=2026-01-01T00:05:00Z")).await), ["ci-3", "ci-2", "ci-1"]);
        assert_eq!(targets(&events(&admin, "action=service_account.&target=ci-4").await), ["ci-4"]);
        let id = admin.get(&format!("{ACCOUNTS}/ci-4")).await.expect(200)["id"].as_str().unwrap().to_owned();
        assert_eq!(targets(&events(&admin, &format!("target={id}&action=service_account")).await), ["ci-4"]);
        assert!(events(&admin, "action=api_key.rotate").await.is_empty());
        assert!(events(&admin, "actor=nobody").await.is_empty());

        // Whatever bore the name then: the key and the workspace "default", and not the workspace alone.
        admin.post(&format!("{ACCOUNTS}/ci-0/api_keys"), &json!({ "name": "default" })).await.expect(201);
        let of_default = events(&admin, "target=default").await;
        let kinds: std::collections::BTreeSet<_> = of_default.iter().map(|event| event["target_kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["api_key", "organization", "workspace"]);
        assert_eq!(targets(&events(&admin, "target=default&action=api_key&actor=bootstrap").await), ["default"]);

        // Newest first; what happens while someone pages through is not in their way.
        let first = admin.get(&format!("{EVENTS}?{created}&limit=3")).await.expect(200);
        assert_eq!(targets(first["items"].as_array().unwrap()), ["ci-6", "ci-5", "ci-4"]);
        app.clock.advance_seconds(60);
        admin.post(ACCOUNTS, &json!({ "name": "ci-7" })).await.expect(201);
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = admin.get(&format!("{EVENTS}?{created}&limit=3&cursor={cursor}")).await.expect(200);
        assert_eq!(targets(second["items"].as_array().unwrap()), ["ci-3", "ci-2", "ci-1"]);
        let third = admin.get(&format!("{EVENTS}?{created}&limit=3&cursor={}", second["next_cursor"].as_str().unwrap())).await.expect(200);
        assert_eq!((targets(third["items"].as_array().unwrap()), &third["next_cursor"]), (vec!["ci-0".to_owned()], &Value::Null));

        for (query, field) in [("action=boil", "action"), ("outcome=perhaps", "outcome"), ("since=noon", "since"), ("until=1", "until"), ("limit=500", "limit")] {
            let answer = admin.get(&format!("{EVENTS}?{query}")).await;
            assert_eq!((answer.problem(), &answer.json()["errors"][0]["field"]), ((422, "validation_failed".to_owned()), &json!(field)));
        }
    }

    async fn exchanges_are_found_by_the_names_of_their_day(engine: Engine) {
        const USERS: &str = "/api/v1/users";
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let later = || app.clock.advance_seconds(3 * 3_600);
        let exchange = async |key: &str, workspace: &str| {
            app.clock.advance_seconds(1);
            app.anyone().post_form("/auth/login", &[("password", key), ("workspace", workspace)]).await
        };
        app.create_workspace("default", "ml", None, SigningAlgorithm::Es256, Duration::from_hours(1)).await;
        let first = app.issue_key("default", "ci", &["organization-auditor"], None).await;
        // For Hourpass, for a workspace, and refused.
        app.anyone().login(&first).await.token();
        exchange(&first, "ml").await.token();
        exchange(&first, "nowhere").await.expect(400);
        later();
        admin.patch(&format!("{ACCOUNTS}/ci"), &json!({ "name": "old-ci" })).await.expect(200);
        exchange(&first, "ml").await.token();
        later();
        // And under the first name again, which then is another's; and the one after that has it now.
        admin.patch(&format!("{ACCOUNTS}/old-ci"), &json!({ "name": "ci", "description": "back" })).await.expect(200);
        exchange(&first, "ml").await.token();
        later();
        assert_eq!(admin.delete(&format!("{ACCOUNTS}/ci")).await.status, 204);
        let second = app.issue_key("default", "ci", &["organization-auditor"], None).await;
        exchange(&second, "ml").await.token();
        later();
        assert_eq!(admin.delete(&format!("{ACCOUNTS}/ci")).await.status, 204);
        let third = app.issue_key("default", "ci", &["organization-auditor"], None).await;
        exchange(&third, "ml").await.token();
        assert_eq!(admin.delete("/api/v1/workspaces/ml").await.status, 204);
        later();

        // What everything without a filter says is the truth.
        let all = events(&admin, "limit=200").await;
        let found = async |query: &str, wanted: &dyn Fn(&Value) -> bool, count: usize| {
            let wanted: Vec<_> = all.iter().filter(|event| wanted(event)).cloned().collect();
            assert_eq!((wanted.len(), &events(&admin, &format!("{query}&limit=200")).await), (count, &wanted), "{query}");
            // A page at a time, and as an export.
            let mut paged = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = admin.get(&format!("{EVENTS}?{query}&limit=2{cursor}")).await.expect(200);
                paged.extend(page["items"].as_array().unwrap().clone());
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(paged, wanted, "{query}, in pages");
            let export = admin.get(&format!("{EVENTS}/export?{query}")).await.text;
            assert_eq!(export.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(), wanted, "{query}, exported");
        };
        let token = |event: &Value| event["action"] == "token.issue";
        found("actor=ci", &|event| event["actor_name"] == "ci", 6).await;
        found("actor=ci&outcome=granted", &|event| event["actor_name"] == "ci" && event["outcome"] == "granted", 5).await;
        found("actor=ci&target=hourpass", &|event| event["actor_name"] == "ci" && event["target_name"] == "hourpass", 1).await;
        found("actor=old-ci", &|event| event["actor_name"] == "old-ci", 1).await;
        found("target=ml&action=token.issue", &|event| token(event) && event["target_name"] == "ml", 5).await;
        found("target=ml&actor=ci&action=token.", &|event| token(event) && event["target_name"] == "ml" && event["actor_name"] == "ci", 4).await;
        found("target=hourpass", &|event| event["target_name"] == "hourpass", 1).await;
        let since = "2026-01-01T05:00:00Z";
        found(&format!("actor=ci&since={since}"), &|event| event["actor_name"] == "ci" && event["occurred_at"].as_str() > Some(since), 3).await;
        found(&format!("actor=ci&until={since}"), &|event| event["actor_name"] == "ci" && event["occurred_at"].as_str() < Some(since), 3).await;

        // People by the address of their day.
        admin.post(USERS, &json!({ "email": "ada@example.com", "password": "correct horse battery" })).await.expect(201);
        let sign_in = async |email: &str| app.anyone().post_form("/auth/login", &[("username", email), ("password", "correct horse battery")]).await.token();
        sign_in("ada@example.com").await;
        later();
        admin.patch(&format!("{USERS}/ada@example.com"), &json!({ "email": "countess@example.com" })).await.expect(200);
        sign_in("countess@example.com").await;
        later();
        assert_eq!(admin.delete(&format!("{USERS}/countess@example.com")).await.status, 204);
        for email in ["ada@example.com", "countess@example.com"] {
            assert_eq!(actions(&events(&admin, &format!("actor={email}")).await), ["token.issue"], "{email}");
        }
        // They are nobody's elsewhere.
        app.create_organization("rival").await;
        let rival = app.anyone().with(&app.issue_key("rival", "auditor", &["organization-auditor"], None).await);
        assert!(events(&rival, "actor=ci").await.is_empty() && events(&rival, "target=ml").await.is_empty());
    }

    async fn of_many_who_had_a_name_none_is_left_out(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        // More than are read at once.
        for _ in 0..210 {
            app.clock.advance_seconds(60);
            app.anyone().login(&app.issue_key("default", "job", &["organization-member"], None).await).await.token();
            assert_eq!(admin.delete(&format!("{ACCOUNTS}/job")).await.status, 204);
        }
        let export = admin.get(&format!("{EVENTS}/export?actor=job")).await.text;
        let ids: Vec<_> = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect();
        assert!(ids.len() == 210 && ids.is_sorted_by(|one, next| one > next), "{}", ids.len());
        assert_eq!(events(&admin, "actor=job&until=2026-01-01T00:02:00Z").await.len(), 1);
    }

    async fn only_readers_of_the_organization_read_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let member = app.anyone().with(&app.issue_key("default", "member", &["organization-member"], None).await);
        for path in [EVENTS.to_owned(), format!("{EVENTS}/export")] {
            assert_eq!(app.anyone().get(&path).await.problem(), (401, "missing_credentials".to_owned()));
            let refused = member.get(&path).await;
            assert_eq!(refused.problem(), (403, "permission_denied".to_owned()));
            assert!(refused.json()["detail"].as_str().unwrap().contains("audit.read"));
        }
        let auditor = app.anyone().with(&app.issue_key("default", "auditor", &["organization-auditor"], None).await);
        assert!(!events(&auditor, "").await.is_empty());
        app.create_organization("rival").await;
        let rival = app.anyone().with(&app.issue_key("rival", "auditor", &["organization-auditor"], None).await);
        let theirs = events(&rival, "").await;
        assert!(theirs.iter().all(|event| event["organization_id"] == theirs[0]["organization_id"]));
        let ours = auditor.get("/users/me").await.expect(200)["organization_id"].clone();
        assert_ne!(theirs[0]["organization_id"], ours);
        // Nothing changes or deletes an event.
        for method in [reqwest::Method::POST, reqwest::Method::PUT, reqwest::Method::PATCH, reqwest::Method::DELETE] {
            assert_eq!(Answer::of(app.admin_client().request(method, EVENTS)).await.problem(), (405, "method_not_allowed".to_owned()));
        }
    }

    async fn an_export_holds_everything_a_line_each(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        // More than is read at once.
        let logins = (0..40).map(|_| {
            let (client, key) = (app.anyone(), app.admin_key().to_owned());
            tokio::spawn(async move { for _ in 0..30 { client.login(&key).await.token(); } })
        });
        for login in logins.collect::<Vec<_>>() {
            login.await.unwrap();
        }
        let answer = admin.get(&format!("{EVENTS}/export?action=token.issue")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"));
        let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: std::collections::BTreeSet<_> = lines.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!((lines.len(), ids.len()), (1_200, 1_200));
        assert!(lines.windows(2).all(|pair| pair[0]["id"].as_str() > pair[1]["id"].as_str()));
        assert_eq!(admin.get(&format!("{EVENTS}/export?actor=nobody")).await.text, "");
        assert_eq!(admin.get(&format!("{EVENTS}/export?limit=3")).await.problem(), (400, "invalid_request".to_owned()));
        assert_eq!(admin.get(&format!("{EVENTS}/export?outcome=x")).await.problem(), (422, "validation_failed".to_owned()));
    }

    async fn old_events_are_pruned_in_batches(engine: Engine) {
        let database = engine.database().await;
        let app = TestApp::start_with(database, &[("HOURPASS_AUDIT__RETENTION_DAYS", "30")]).await;
        let admin = app.admin_client();
        let before = events(&admin, "").await.len();
        app.clock.advance_seconds(86_400);
        let names = async || -> i64 {
            const SQL: &str = "SELECT count(*) FROM former_names";
            match app.store.pool() {
                hourpass::store::Db::Sqlite(pool) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
                hourpass::store::Db::Postgres(pool) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
            }
        };
        admin.patch("/api/v1/users/admin@localhost", &json!({ "email": "someone@example.com" })).await.expect(200);
        app.clock.advance_seconds(1);
        admin.post(ACCOUNTS, &json!({ "name": "ci" })).await.expect(201);
        app.clock.advance_seconds(29 * 86_400 - 1);
        assert_eq!(app.upkeep.prune().await.unwrap(), 0);
        app.clock.advance_seconds(1);
        // Those of the first start, with the one of the signing key, which is nobody's.
        assert_eq!(app.upkeep.prune().await.unwrap(), before as u64 + 1);
        assert_eq!(actions(&events(&admin, "").await), ["service_account.create", "user.update"]);
        assert_eq!(names().await, 1);
        app.clock.advance_seconds(2 * 86_400);
        assert_eq!(app.upkeep.prune().await.unwrap(), 2);
        assert_eq!(names().await, 0);
    }
}
