//! Service accounts: changed, deactivated, deleted, found.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, claims, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";

/// An account with a key.
async fn account(admin: &Client, name: &str) -> (Value, String) {
    let made = admin.post(ACCOUNTS, &json!({ "name": name, "default_key": true })).await.expect(201);
    let key = made["key"].as_str().unwrap().to_owned();
    (made, key)
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

on_both_engines! {
    async fn a_default_key_comes_with_the_account(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let answer = admin.post(ACCOUNTS, &json!({ "name": "ci", "default_key": true, "expires_in_days": 30 })).await;
        assert_eq!(answer.header("location"), format!("{ACCOUNTS}/{}", answer.json()["id"].as_str().unwrap()));
        assert_eq!(answer.header("cache-control"), "no-store");
        let made = answer.expect(201);
        let key = made["key"].as_str().unwrap();
        assert_eq!(app.anyone().with(key).get("/users/me").await.expect(200)["api_key_id"], made["api_key_id"]);
        let keys = admin.get(&format!("{ACCOUNTS}/ci/api_keys")).await.expect(200);
        assert_eq!((&keys["items"][0]["name"], &keys["items"][0]["expires_at"]), (&json!("default"), &json!("2026-01-31T00:00:00Z")));
        // Nothing is shown again.
        assert!(admin.get(&format!("{ACCOUNTS}/ci")).await.expect(200).get("key").is_none());
        let misplaced = admin.post(ACCOUNTS, &json!({ "name": "other", "expires_in_days": 30 })).await;
        assert_eq!(misplaced.problem(), (400, "invalid_request".to_owned()));
    }

    async fn an_account_is_renamed(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (made, _) = account(&admin, "ci").await;
        account(&admin, "other").await;
        let changed = admin.patch(&format!("{ACCOUNTS}/ci"), &json!({ "name": "deployer", "description": "deploys" })).await.expect(200);
        assert_eq!((&changed["id"], &changed["name"], &changed["description"]), (&made["id"], &json!("deployer"), &json!("deploys")));
        assert_eq!(admin.get(&format!("{ACCOUNTS}/ci")).await.status, 404);
        assert_eq!(admin.patch(&format!("{ACCOUNTS}/deployer"), &json!({ "name": "other" })).await.problem(), (409, "name_taken".to_owned()));
        // What stays as it is needs no record.
        let events = async || admin.get("/api/v1/audit_events?action=service_account.update").await.expect(200)["items"].as_array().unwrap().len();
        assert_eq!(events().await, 1);
        admin.patch(&format!("{ACCOUNTS}/deployer"), &json!({ "name": "deployer" })).await.expect(200);
        assert_eq!(events().await, 1);
        assert_eq!(admin.patch(&format!("{ACCOUNTS}/deployer"), &json!({ "name": "" })).await.problem(), (422, "validation_failed".to_owned()));
    }

    async fn deactivating_stops_everything_at_once_and_activating_revives_no_token(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (_, key) = account(&admin, "ci").await;
        let second = admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "off" })).await.expect(201);
        admin.patch(&format!("{ACCOUNTS}/ci/api_keys/off"), &json!({ "active": false })).await.expect(200);
        let token = app.anyone().login(&key).await.token();

        let off = admin.patch(&format!("{ACCOUNTS}/ci"), &json!({ "active": false })).await.expect(200);
        assert_eq!(off["active"], false);
        assert_eq!(app.anyone().login(&key).await.problem(), (401, "service_account_inactive".to_owned()));
        assert_eq!(app.anyone().with(&key).get("/users/me").await.problem(), (401, "service_account_inactive".to_owned()));
        // The token is over for good, whatever the account is.
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
        let refused = admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": "late" })).await;
        assert_eq!(refused.problem(), (409, "account_inactive".to_owned()));

        admin.patch(&format!("{ACCOUNTS}/ci"), &json!({ "active": true })).await.expect(200);
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
        let token = app.anyone().login(&key).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
        // A key's own flag is separate.
        assert_eq!(app.anyone().login(second["key"].as_str().unwrap()).await.problem(), (401, "api_key_inactive".to_owned()));
    }

    async fn deleting_is_final(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (made, key) = account(&admin, "ci").await;
        let token = app.anyone().login(&key).await.token();
        app.clock.advance_seconds(1);
        let deleted = admin.delete(&format!("{ACCOUNTS}/ci")).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        assert_eq!(app.anyone().login(&key).await.problem(), (401, "invalid_credentials".to_owned()));
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
        for path in [format!("{ACCOUNTS}/ci"), format!("{ACCOUNTS}/{}", made["id"].as_str().unwrap())] {
            assert_eq!(admin.delete(&path).await.problem(), (404, "not_found".to_owned()));
            assert_eq!(admin.patch(&path, &json!({ "active": true })).await.problem(), (404, "not_found".to_owned()));
        }
        // The events stay, with the name and without the link.
        let events = admin.get("/api/v1/audit_events?target=ci").await.expect(200);
        let actions: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["service_account.delete", "service_account.create"]);
        assert!(events["items"].as_array().unwrap().iter().all(|event| event["target_id"].is_null() && event["target_name"] == "ci"));
        let exchanges = admin.get("/api/v1/audit_events?action=token.issue").await.expect(200);
        assert_eq!((&exchanges["items"][0]["actor_name"], &exchanges["items"][0]["actor_id"]), (&json!("ci"), &Value::Null));
        // The name is free.
        account(&admin, "ci").await;
    }

    async fn tokens_are_ended_without_ending_the_account(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (_, key) = account(&admin, "ci").await;
        let before = app.anyone().login(&key).await.token();
        admin.call(&format!("{ACCOUNTS}/ci/revoke_tokens")).await.expect(200);
        let after = app.anyone().login(&key).await.token();
        assert_eq!(app.anyone().with(&before).get("/users/me").await.status, 401);
        assert_eq!(app.anyone().with(&after).get("/users/me").await.status, 200);
    }

    async fn lists_are_filtered_by_use_and_expiry(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for name in ["used", "used-long-ago", "never"] {
            app.clock.advance_seconds(1);
            account(&admin, name).await;
        }
        let key = async |account: &str, days: Value| {
            let made = admin.post(&format!("{ACCOUNTS}/{account}/api_keys"), &json!({ "name": "k", "expires_in_days": days })).await.expect(201);
            made["key"].as_str().unwrap().to_owned()
        };
        let (recent, old) = (key("used", json!(10)).await, key("used-long-ago", json!(60)).await);
        app.anyone().login(&old).await.token();
        app.upkeep.flush(true).await.unwrap();
        app.clock.advance_seconds(5 * 86_400);
        app.anyone().login(&recent).await.token();
        app.upkeep.flush(true).await.unwrap();

        let list = async |query: &str| names(&admin.get(&format!("{ACCOUNTS}?{query}")).await.expect(200)).into_iter().filter(|name| *name != "bootstrap").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(list("").await, ["used", "used-long-ago", "never"]);
        assert_eq!(list("never_used=true").await, ["never"]);
        assert_eq!(list("unused_since=2026-01-03T00:00:00Z").await, ["used-long-ago", "never"]);
        assert_eq!(list("unused_since=2026-01-03T01:00:00%2B01:00&active=true&never_used=false").await, ["used-long-ago", "never"]);
        assert_eq!(list("expiring_before=2026-01-20T00:00:00Z").await, ["used"]);
        assert_eq!(list("expiring_before=2026-06-01T00:00:00Z&limit=1").await, ["used"]);
        assert_eq!(list("name=never&never_used=true").await, ["never"]);
        assert!(list("name=used&never_used=true").await.is_empty());
        let wrong = admin.get(&format!("{ACCOUNTS}?unused_since=yesterday&never_used=1")).await;
        assert_eq!(wrong.problem(), (422, "validation_failed".to_owned()));
        assert_eq!(wrong.json()["errors"].as_array().unwrap().len(), 2);
    }

    async fn use_is_noted_at_most_once_a_minute(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (_, key) = account(&admin, "ci").await;
        let last_used = async || admin.get(&format!("{ACCOUNTS}/ci")).await.expect(200)["last_used_at"].clone();
        assert_eq!(last_used().await, Value::Null);
        app.anyone().login(&key).await.token();
        app.upkeep.flush(false).await.unwrap();
        assert_eq!(last_used().await, "2026-01-01T00:00:00Z");
        app.clock.advance_seconds(59);
        app.anyone().with(&key).get("/users/me").await.expect(200);
        app.upkeep.flush(false).await.unwrap();
        assert_eq!(last_used().await, "2026-01-01T00:00:00Z");
        // What waited is not forgotten.
        app.clock.advance_seconds(1);
        app.upkeep.flush(false).await.unwrap();
        assert_eq!(last_used().await, "2026-01-01T00:00:59Z");
        let shown = admin.get(&format!("{ACCOUNTS}/ci/api_keys/default")).await.expect(200);
        assert_eq!((&shown["last_used_at"], &shown["last_used_address"]), (&json!("2026-01-01T00:00:59Z"), &json!("127.0.0.1")));
    }

    async fn a_preview_says_what_would_stop(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let (_, key) = account(&admin, "ci").await;
        let other = app.issue_key("default", "ci", &["workspace-viewer"], Some("default")).await;
        let login = async |key: &str, receiver: &[(&str, &str)]| {
            let fields = [&[("password", key)], receiver].concat();
            app.anyone().post_form("/auth/login", &fields).await.token()
        };
        login(&key, &[]).await;
        app.clock.advance_seconds(23 * 3_600);
        login(&key, &[("workspace", "default")]).await;
        app.clock.advance_seconds(3_599);
        login(&other, &[("workspace", "default")]).await;
        app.anyone().post_form("/auth/login", &[("password", &key), ("workspace", "nowhere")]).await.expect(400);
        app.upkeep.flush(true).await.unwrap();

        let impact = admin.get(&format!("{ACCOUNTS}/ci/impact")).await.expect(200);
        let expected = json!({
            "exchanges_24h": 3, "distinct_addresses_24h": 1, "outstanding_tokens": 2,
            "receivers_24h": [{ "kind": "workspace", "name": "default", "exchanges": 2 }, { "kind": "hourpass", "name": "hourpass", "exchanges": 1 }],
            "last_used_at": "2026-01-02T00:00:00Z", "last_used_address": "127.0.0.1", "last_used_user_agent": null,
            "api_keys_made_for_others": 0, "passwords_set_for_others": 0,
        });
        assert_eq!(impact, expected);
        let of_key = admin.get(&format!("{ACCOUNTS}/ci/api_keys/default/impact")).await.expect(200);
        assert_eq!((&of_key["exchanges_24h"], &of_key["outstanding_tokens"]), (&json!(2), &json!(1)));
        // A day later, one of them is forgotten; and tokens that were ended do not count.
        app.clock.advance_seconds(2);
        assert_eq!(admin.get(&format!("{ACCOUNTS}/ci/impact")).await.expect(200)["exchanges_24h"], 2);
        assert_eq!(admin.get(&format!("{ACCOUNTS}/ci/impact")).await.expect(200)["outstanding_tokens"], 1);
        admin.call(&format!("{ACCOUNTS}/ci/revoke_tokens")).await.expect(200);
        assert_eq!(admin.get(&format!("{ACCOUNTS}/ci/impact")).await.expect(200)["outstanding_tokens"], 0);
    }

    async fn deleting_against_exchanging(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for round in 0..5 {
            let name = format!("ci-{round}");
            let (_, key) = account(&admin, &name).await;
            let exchanges: Vec<_> = (0..6).map(|_| { let (client, key) = (app.anyone(), key.clone()); tokio::spawn(async move { client.login(&key).await }) }).collect();
            assert_eq!(admin.delete(&format!("{ACCOUNTS}/{name}")).await.status, 204);
            // Whatever came through counts no more.
            assert_eq!(app.anyone().login(&key).await.status, 401);
            for exchange in exchanges {
                let answer = exchange.await.unwrap();
                if answer.status == 200 {
                    assert_eq!(app.anyone().with(&answer.token()).get("/users/me").await.status, 401);
                } else {
                    assert_eq!(answer.status, 401);
                }
            }
        }
    }

    async fn changes_of_an_organization_do_not_undo_each_other(engine: Engine) {
        let app = TestApp::start(engine).await;
        let organization = "/api/v1/organizations/default";
        for round in 1..=5 {
            let change = |body: Value| { let admin = app.admin_client(); tokio::spawn(async move { admin.patch(organization, &body).await.expect(200) }) };
            let name = format!("round {round}");
            for one in [change(json!({ "name": name })), change(json!({ "api_key_max_days": round }))] {
                one.await.unwrap();
            }
            let now = app.admin_client().get(organization).await.expect(200);
            assert_eq!((&now["name"], &now["api_key_max_days"]), (&json!(name), &json!(round)));
        }
    }

    async fn an_organization_has_a_key_policy(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        account(&admin, "ci").await;
        let organization = "/api/v1/organizations/default";
        let shown = admin.get(organization).await.expect(200);
        assert_eq!((&shown["api_key_max_days"], &shown["api_key_default_days"]), (&Value::Null, &Value::Null));
        assert_eq!(admin.get(&format!("/api/v1/organizations/{}", shown["id"].as_str().unwrap())).await.expect(200), shown);
        let changed = admin.patch(organization, &json!({ "api_key_max_days": 90, "api_key_default_days": 30 })).await.expect(200);
        assert_eq!((&changed["api_key_max_days"], &changed["api_key_default_days"]), (&json!(90), &json!(30)));

        let make = async |body: Value| admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &body).await;
        assert_eq!(make(json!({ "name": "a" })).await.expect(201)["expires_at"], "2026-01-31T00:00:00Z");
        assert_eq!(make(json!({ "name": "b", "expires_in_days": 90 })).await.expect(201)["expires_at"], "2026-04-01T00:00:00Z");
        for days in [json!(91), Value::Null] {
            let refused = make(json!({ "name": "c", "expires_in_days": days })).await;
            assert_eq!((refused.problem(), &refused.json()["errors"][0]["field"]), ((422, "validation_failed".to_owned()), &json!("expires_in_days")));
        }
        assert_eq!(admin.patch(organization, &json!({ "api_key_max_days": 7 })).await.problem(), (422, "validation_failed".to_owned()));
        // Null takes a limit away, and what is left out stays.
        let freed = admin.patch(organization, &json!({ "api_key_max_days": null })).await.expect(200);
        assert_eq!((&freed["api_key_max_days"], &freed["api_key_default_days"]), (&Value::Null, &json!(30)));

        let member = app.anyone().with(&app.issue_key("default", "member", &["organization-member"], None).await);
        assert_eq!(member.get(organization).await.status, 200);
        assert_eq!(member.patch(organization, &json!({ "name": "x" })).await.problem(), (403, "permission_denied".to_owned()));
        app.create_organization("rival").await;
        assert_eq!(member.get("/api/v1/organizations/rival").await.problem(), (404, "not_found".to_owned()));
    }

    async fn nobody_activates_someone_stronger(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let strong = app.issue_key("default", "strong", &["workspace-admin"], Some("default")).await;
        admin.patch(&format!("{ACCOUNTS}/strong"), &json!({ "active": false })).await.expect(200);
        let narrowed = [("password", app.admin_key()), ("scope", "service_accounts.manage api_keys.manage service_accounts.read")];
        let weak = app.anyone().with(&app.anyone().post_form("/auth/login", &narrowed).await.token());
        assert_eq!(weak.patch(&format!("{ACCOUNTS}/strong"), &json!({ "active": true })).await.problem(), (403, "permission_denied".to_owned()));
        // Taking away is never an escalation.
        assert_eq!(weak.patch(&format!("{ACCOUNTS}/strong"), &json!({ "active": false })).await.status, 200);
        assert_eq!(weak.delete(&format!("{ACCOUNTS}/strong")).await.status, 204);
        assert_eq!(app.anyone().login(&strong).await.status, 401);
    }

    async fn tokens_name_what_they_were_obtained_with(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (one, other) = (app.anyone().login(app.admin_key()).await.token(), app.anyone().login(app.admin_key()).await.token());
        assert_eq!(claims(&one)["sid"], claims(&other)["sid"]);
    }
}
