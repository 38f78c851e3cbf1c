//! Keys in wrong hands.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";
const KEY: &str = "/api/v1/service_accounts/ci/api_keys/default";
const REPORT: &str = "/api/v1/api_keys/report";

async fn ci(admin: &Client) -> String {
    let made = admin.post(ACCOUNTS, &json!({ "name": "ci", "default_key": true })).await.expect(201);
    made["key"].as_str().unwrap().to_owned()
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

on_both_engines! {
    async fn a_compromised_key_is_over_for_good(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let old = ci(&admin).await;
        let rotated = admin.post(&format!("{KEY}/rotate"), &json!({ "retain_minutes": 60 })).await.expect(200);
        let key = rotated["key"].as_str().unwrap();
        let token = app.anyone().login(key).await.token();
        let marked = admin.call(&format!("{KEY}/compromised")).await.expect(200);
        assert_eq!((&marked["active"], &marked["compromised_at"]), (&json!(false), &json!("2026-01-01T00:00:00Z")));
        for dead in [key, &old] {
            assert_eq!(app.anyone().login(dead).await.problem(), code(401, "api_key_inactive"));
        }
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
        assert_eq!(admin.patch(KEY, &json!({ "active": true })).await.problem(), code(409, "key_compromised"));
        assert_eq!(admin.call(&format!("{KEY}/rotate")).await.problem(), code(409, "key_compromised"));
        // Once more does no harm.
        app.clock.advance_seconds(60);
        assert_eq!(admin.call(&format!("{KEY}/compromised")).await.expect(200)["compromised_at"], "2026-01-01T00:00:00Z");
    }

    async fn whoever_holds_a_leaked_key_ends_it(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = ci(&admin).await;
        let token = app.anyone().login(&key).await.token();
        assert_eq!(app.anyone().post(REPORT, &json!({ "key": format!("{key}\n") })).await.expect(200), json!({ "status": "ended" }));
        assert_eq!(app.anyone().login(&key).await.problem(), code(401, "api_key_inactive"));
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
        assert_eq!(admin.get(KEY).await.expect(200)["compromised_at"], "2026-01-01T00:00:00Z");
        let event = admin.get("/api/v1/audit_events?action=api_key.compromise").await.expect(200)["items"][0].clone();
        assert_eq!((&event["actor_name"], &event["address"], &event["details"]["how"]), (&json!("ci"), &json!("127.0.0.1"), &json!("presented")));
        assert!(!event.to_string().contains(&key));
        // It is still recognised, and leaves no second record; and junk is not.
        assert_eq!(app.anyone().post(REPORT, &json!({ "key": key })).await.status, 200);
        assert_eq!(admin.get("/api/v1/audit_events?action=api_key.compromise").await.expect(200)["items"].as_array().unwrap().len(), 1);
        assert_eq!(app.anyone().post(REPORT, &json!({ "key": "hp_live_junk" })).await.problem(), code(401, "invalid_credentials"));
    }

    async fn a_leaked_old_value_ends_alone(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let old = ci(&admin).await;
        let old_token = app.anyone().login(&old).await.token();
        let rotated = admin.post(&format!("{KEY}/rotate"), &json!({ "retain_minutes": 60 })).await.expect(200);
        app.anyone().post(REPORT, &json!({ "key": old })).await.expect(200);
        assert_eq!(app.anyone().login(&old).await.problem(), code(401, "api_key_rotated"));
        assert_eq!(app.anyone().with(&old_token).get("/users/me").await.status, 401);
        assert_eq!(app.anyone().login(rotated["key"].as_str().unwrap()).await.status, 200);
        assert_eq!(admin.get(KEY).await.expect(200)["compromised_at"], Value::Null);
    }

    async fn what_was_ended_is_not_brought_back_by_import(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let leaked = ci(&admin).await;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaked.as_bytes());
        let sha256 = digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let import = async |name: &str| admin.post(&format!("{ACCOUNTS}/ci/api_keys"), &json!({ "name": name, "sha256": sha256 })).await;
        app.anyone().post(REPORT, &json!({ "key": leaked })).await.expect(200);
        assert_eq!(import("a").await.problem(), code(409, "hash_taken"));
        assert_eq!(admin.delete(KEY).await.status, 204);
        assert_eq!(import("b").await.problem(), code(409, "hash_taken"));
        // Nor by way of another account, when this one is gone.
        assert_eq!(admin.delete(&format!("{ACCOUNTS}/ci")).await.status, 204);
        ci(&admin).await;
        assert_eq!(import("c").await.problem(), code(409, "hash_taken"));
        assert_eq!(app.anyone().login(&leaked).await.status, 401);
    }

    async fn keys_in_the_wrong_place_are_not_kept(engine: Engine) {
        let database = engine.database().await;
        let server = crate::support::Process::start(crate::support::hourpass(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
        let issued = crate::support::hourpass(database.folder.path())
            .env("HOURPASS_DATABASE__URL", &database.url)
            .args(["admin", "issue-key", "--organization", "default", "--service-account", "admin", "--role", "organization-admin"])
            .output()
            .unwrap();
        let key = String::from_utf8(issued.stdout).unwrap().trim().to_owned();
        let admin = Client::new(&server.url).with(&key);
        admin.get(&format!("{ACCOUNTS}/{key}")).await.expect(404);
        admin.post_form(&format!("/workspaces/{key}/api/v1/login"), &[("password", &key)]).await.expect(400);
        for body in [json!({ "name": key }), json!({ "name": "x", "description": format!("the key is {key}.") })] {
            assert_eq!(admin.post(ACCOUNTS, &body).await.problem(), code(422, "validation_failed"));
        }
        let request = admin.request(reqwest::Method::POST, ACCOUNTS).header("user-agent", format!("ci ({key})")).json(&json!({ "name": "ci" }));
        crate::support::Answer::of(request).await.expect(201);
        let trail = admin.get("/api/v1/audit_events").await;
        assert!(trail.text.contains("ci ((API key))") && !trail.text.contains(&key));
        let log = String::from_utf8(server.stop().stderr).unwrap();
        assert!(log.contains("/api/v1/service_accounts/(API key)") && !log.contains(&key), "{log}");
    }

    async fn reports_are_limited_by_address(engine: Engine) {
        let database = engine.database().await;
        let settings = [("HOURPASS_API_KEYS__REPORTS_PER_MINUTE", "3"), ("HOURPASS_SERVER__TRUSTED_PROXIES", "127.0.0.0/8")];
        let app = TestApp::start_with(database, &settings).await;
        let report = async |address: &str| {
            let request = app.anyone().request(reqwest::Method::POST, REPORT).header("x-forwarded-for", address);
            crate::support::Answer::of(request.json(&json!({ "key": "hp_live_junk" }))).await
        };
        for _ in 0..3 {
            assert_eq!(report("198.51.100.1").await.status, 401);
        }
        let refused = report("198.51.100.1").await;
        assert_eq!(refused.problem(), code(429, "too_many_requests"));
        // Three a minute is one in twenty seconds.
        assert!((10..=21).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{refused:?}");
        assert_eq!(report("198.51.100.2").await.status, 401);
        // All of an IPv6 network of 64 bits is one caller.
        for last in 1..=3 {
            assert_eq!(report(&format!("2001:db8::{last}")).await.status, 401);
        }
        assert_eq!((report("2001:db8::4").await.status, report("2001:db8:0:1::4").await.status), (429, 401));
    }

    async fn reports_can_be_switched_off(engine: Engine) {
        let database = engine.database().await;
        let app = TestApp::start_with(database, &[("HOURPASS_API_KEYS__REPORT", "false")]).await;
        let key = ci(&app.admin_client()).await;
        assert_eq!(app.anyone().post(REPORT, &json!({ "key": key })).await.problem(), code(404, "not_found"));
        assert_eq!(app.anyone().login(&key).await.status, 200);
    }
}
