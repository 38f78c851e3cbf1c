//! `/api/v1/service_accounts` and its keys.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";

async fn create(client: &Client, name: &str) -> Value {
    client.post(ACCOUNTS, &json!({ "name": name })).await.expect(201)
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

on_both_engines! {
    async fn an_account_is_made_and_found(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let made = admin.post(ACCOUNTS, &json!({ "name": " ci deployer ", "description": "deploys" })).await.expect(201);
        let me = admin.get("/users/me").await.expect(200);
        let expected = json!({
            "id": made["id"], "organization_id": me["organization_id"], "name": "ci deployer", "description": "deploys", "active": true, "labels": {}, "claims": {},
            "exchanges_per_minute": null, "created_at": "2026-01-01T00:00:00Z", "last_used_at": null, "last_used_address": null, "last_used_user_agent": null,
        });
        assert_eq!(made, expected);
        let id = made["id"].as_str().unwrap();
        for reference in [id, "ci%20deployer"] {
            assert_eq!(admin.get(&format!("{ACCOUNTS}/{reference}")).await.expect(200), made);
        }
        assert_eq!(admin.get(&format!("{ACCOUNTS}/nobody")).await.problem(), (404, "not_found".to_owned()));
        assert_eq!(admin.post(ACCOUNTS, &json!({ "name": "ci deployer" })).await.problem(), (409, "name_taken".to_owned()));
    }

    async fn two_at_once_with_one_name(engine: Engine) {
        let app = TestApp::start(engine).await;
        let tries = (0..8).map(|_| { let admin = app.admin_client(); tokio::spawn(async move { admin.post(ACCOUNTS, &json!({ "name": "ci" })).await.status }) });
        let mut statuses = Vec::new();
        for one in tries.collect::<Vec<_>>() {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    }

    async fn values_out_of_range_are_named(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let answer = admin.post(ACCOUNTS, &json!({ "name": "", "description": "x".repeat(1_001) })).await;
        assert_eq!(answer.problem(), (422, "validation_failed".to_owned()));
        let errors = json!([
            { "field": "name", "detail": "must not be empty" },
            { "field": "description", "detail": "must have at most 1000 characters, and has 1001" },
        ]);
        assert_eq!(answer.json()["errors"], errors);
        create(&admin, "ci").await;
        for days in [json!(0), json!(-1), json!(3_651), json!(i64::MAX)] {
            let answer = admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "k", "expires_in_days": days })).await;
            assert_eq!(answer.problem(), (422, "validation_failed".to_owned()));
            assert_eq!(answer.json()["errors"][0]["field"], "expires_in_days");
        }
    }

    async fn lists_come_in_pages(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for number in 0..5 {
            app.clock.advance_seconds(1);
            create(&admin, &format!("ci-{number}")).await;
        }
        let first = admin.get(&format!("{ACCOUNTS}?limit=4")).await.expect(200);
        assert_eq!(names(&first), ["bootstrap", "ci-0", "ci-1", "ci-2"]);
        let cursor = first["next_cursor"].as_str().unwrap();
        // What is made meanwhile does not disturb the order.
        app.clock.advance_seconds(1);
        create(&admin, "ci-5").await;
        let second = admin.get(&format!("{ACCOUNTS}?limit=4&cursor={cursor}")).await.expect(200);
        assert_eq!((names(&second), &second["next_cursor"]), (vec!["ci-3", "ci-4", "ci-5"], &Value::Null));
        let exact = admin.get(&format!("{ACCOUNTS}?limit=7")).await.expect(200);
        assert_eq!(exact["next_cursor"], Value::Null);

        assert_eq!(names(&admin.get(&format!("{ACCOUNTS}?name=ci-3")).await.expect(200)), ["ci-3"]);
        assert!(names(&admin.get(&format!("{ACCOUNTS}?active=false")).await.expect(200)).is_empty());
        for (query, field) in [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"), ("active=perhaps", "active")] {
            let answer = admin.get(&format!("{ACCOUNTS}?{query}")).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!(field)));
        }
        assert_eq!(admin.get(&format!("{ACCOUNTS}?nmae=x")).await.problem(), (400, "invalid_request".to_owned()));
    }

    async fn a_key_is_shown_once(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let account = create(&admin, "ci").await;
        let made = admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "github", "expires_in_days": 90 })).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let mut expected = json!({
            "id": made["id"], "service_account_id": account["id"], "name": "github", "hint": &key[..12], "active": true,
            "expires_at": "2026-04-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z", "key": key, "compromised_at": null, "rotated_at": null,
            "made_by_kind": "service_account", "made_by_id": admin.get("/users/me").await.expect(200)["id"],
            "last_used_at": null, "last_used_address": null, "last_used_user_agent": null, "retained_hint": null, "retained_until": null,
            "retained_last_used_at": null, "retained_last_used_address": null, "retained_last_used_user_agent": null,
        });
        assert_eq!(made, expected);
        expected.as_object_mut().unwrap().remove("key");
        let list = admin.get(&format!("{ACCOUNTS}/ci/api_keys")).await.expect(200);
        assert_eq!(list, json!({ "items": [expected], "next_cursor": null }));
        assert_eq!(app.anyone().with(key).get("/users/me").await.expect(200)["name"], "ci");

        assert_eq!(admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "github" })).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(admin.post(&format!("{ACCOUNTS}/nobody/api_keys"), &json!({ "name": "x" })).await.problem(), (404, "not_found".to_owned()));
        let never = admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "never", "expires_in_days": null })).await.expect(201);
        assert_eq!(never["expires_at"], Value::Null);
    }

    async fn the_permission_that_is_missing_is_named(engine: Engine) {
        let app = TestApp::start(engine).await;
        let nothing = app.anyone().with(&app.issue_key("default", "nothing", &[], None).await);
        let member = app.anyone().with(&app.issue_key("default", "member", &["organization-member"], None).await);
        let keys = format!("{ACCOUNTS}/nothing/api_keys");
        let body = json!({ "name": "x" });
        for (answer, permission) in [
            (nothing.get(ACCOUNTS).await, "service_accounts.read"),
            (nothing.get(&format!("{ACCOUNTS}/nothing")).await, "service_accounts.read"),
            (nothing.get(&keys).await, "service_accounts.read"),
            (member.post(ACCOUNTS, &body).await, "service_accounts.manage"),
            (member.post(&keys, &body).await, "api_keys.manage"),
        ] {
            assert_eq!(answer.problem(), (403, "permission_denied".to_owned()));
            assert!(answer.json()["detail"].as_str().unwrap().contains(permission));
        }
        assert_eq!(member.get(ACCOUNTS).await.status, 200);
        for (method, path) in [(reqwest::Method::GET, ACCOUNTS), (reqwest::Method::POST, ACCOUNTS), (reqwest::Method::GET, &keys), (reqwest::Method::POST, &keys)] {
            let answer = crate::support::Answer::of(app.anyone().request(method, path).json(&body)).await;
            assert_eq!(answer.problem(), (401, "missing_credentials".to_owned()));
        }
    }

    async fn nobody_makes_a_key_for_someone_stronger(engine: Engine) {
        let app = TestApp::start(engine).await;
        // A token that may make keys, and nothing else, in the hands of someone who borrowed it.
        let narrowed = [("password", app.admin_key()), ("scope", "api_keys.manage")];
        let narrowed = app.anyone().with(&app.anyone().post_form("/auth/login", &narrowed).await.token());
        app.issue_key("default", "viewer", &["workspace-viewer"], Some("default")).await;
        app.issue_key("default", "nothing", &[], None).await;
        let make = async |account: &str| narrowed.post(&format!("{ACCOUNTS}/{account}/api_keys"), &json!({ "name": "x" })).await;
        assert_eq!(make("bootstrap").await.problem(), (403, "permission_denied".to_owned()));
        assert_eq!(make("viewer").await.problem(), (403, "permission_denied".to_owned()));
        assert_eq!(make("nothing").await.status, 201);
    }

    async fn one_organization_never_sees_another(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.create_organization("rival").await;
        let rival = app.anyone().with(&app.issue_key("rival", "bootstrap", &["organization-admin"], None).await);
        let ours = create(&app.admin_client(), "ci").await;
        let id = ours["id"].as_str().unwrap();
        for path in [format!("{ACCOUNTS}/{id}"), format!("{ACCOUNTS}/ci"), format!("{ACCOUNTS}/{id}/api_keys"), format!("{ACCOUNTS}/ci/api_keys")] {
            assert_eq!(rival.get(&path).await.problem(), (404, "not_found".to_owned()), "{path}");
        }
        assert_eq!(rival.post(&format!("{ACCOUNTS}/{id}/api_keys"), &json!({ "name": "x" })).await.problem(), (404, "not_found".to_owned()));
        assert_eq!(names(&rival.get(ACCOUNTS).await.expect(200)), ["bootstrap"]);
        // The same name is free there.
        create(&rival, "ci").await;
        let theirs = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("audience", "urn:hourpass:rival:default")]).await;
        assert_eq!(theirs.problem(), (400, "invalid_target".to_owned()));
    }
}
