//! API keys: changed, rotated, imported, ended.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";
const KEYS: &str = "/api/v1/service_accounts/ci/api_keys";
const KEY: &str = "/api/v1/service_accounts/ci/api_keys/k";

/// The account `ci` with the key `k`.
async fn ci(admin: &Client, days: Value) -> String {
    admin.post(ACCOUNTS, &json!({ "name": "ci" })).await.expect(201);
    let made = admin.post(KEYS, &json!({ "name": "k", "expires_in_days": days })).await.expect(201);
    made["key"].as_str().unwrap().to_owned()
}

async fn rotate(admin: &Client, body: Value) -> (Value, String) {
    let rotated = admin.post(&format!("{KEY}/rotate"), &body).await.expect(200);
    let key = rotated["key"].as_str().unwrap().to_owned();
    (rotated, key)
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

on_both_engines! {
    async fn a_key_is_changed(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = ci(&admin, Value::Null).await;
        let mut changed = admin.patch(KEY, &json!({ "name": "github", "expires_in_days": 7 })).await.expect(200);
        assert_eq!(changed.as_object_mut().unwrap().remove("propagation"), Some(json!({ "live_nodes": 1, "confirmed": 1 })));
        assert_eq!((&changed["name"], &changed["expires_at"]), (&json!("github"), &json!("2026-01-08T00:00:00Z")));
        assert_eq!(admin.get(KEY).await.problem(), code(404, "not_found"));
        let github = format!("{KEYS}/github");
        assert_eq!(admin.get(&github).await.expect(200), changed);
        assert_eq!(admin.get(&format!("{KEYS}/{}", changed["id"].as_str().unwrap())).await.expect(200), changed);
        assert_eq!(admin.patch(&github, &json!({ "expires_in_days": null })).await.expect(200)["expires_at"], Value::Null);
        admin.post(KEYS, &json!({ "name": "other" })).await.expect(201);
        assert_eq!(admin.patch(&github, &json!({ "name": "other" })).await.problem(), code(409, "name_taken"));
        assert_eq!(admin.get(&format!("{KEYS}?active=false")).await.expect(200)["items"], json!([]));
        assert_eq!(admin.get(&format!("{KEYS}?name=other")).await.expect(200)["items"].as_array().unwrap().len(), 1);
        assert_eq!(app.anyone().login(&key).await.status, 200);
    }

    async fn a_deactivated_key_and_its_tokens_stop_at_once(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = ci(&admin, Value::Null).await;
        let token = app.anyone().login(&key).await.token();
        admin.patch(KEY, &json!({ "active": false })).await.expect(200);
        assert_eq!(app.anyone().login(&key).await.problem(), code(401, "api_key_inactive"));
        assert_eq!(app.anyone().with(&key).get("/users/me").await.problem(), code(401, "api_key_inactive"));
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), code(401, "invalid_credentials"));
        assert_eq!(admin.call(&format!("{KEY}/rotate")).await.problem(), code(409, "key_inactive"));
        admin.patch(KEY, &json!({ "active": true })).await.expect(200);
        assert_eq!(app.anyone().login(&key).await.status, 200);
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);

        assert_eq!(admin.delete(KEY).await.status, 204);
        assert_eq!(app.anyone().login(&key).await.problem(), code(401, "invalid_credentials"));
        assert_eq!(admin.delete(KEY).await.problem(), code(404, "not_found"));
    }

    async fn the_old_value_works_until_its_time_is_over_to_the_second(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let old = ci(&admin, json!(30)).await;
        let old_token = app.anyone().login(&old).await.token();
        app.upkeep.flush(true).await.unwrap();
        app.clock.advance_seconds(86_400);
        let (rotated, new) = rotate(&admin, json!({ "retain_minutes": 10 })).await;
        assert_ne!(old, new);
        let expected = json!({
            "hint": &new[..12], "retained_hint": &old[..12], "retained_until": "2026-01-02T00:10:00Z", "rotated_at": "2026-01-02T00:00:00Z",
            "retained_last_used_at": "2026-01-01T00:00:00Z", "retained_last_used_address": "127.0.0.1", "last_used_at": "2026-01-01T00:00:00Z",
            // As long as the old one had from its beginning.
            "expires_at": "2026-02-01T00:00:00Z",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&rotated[name], value, "{name}");
            assert_eq!(&admin.get(KEY).await.expect(200)[name], value, "{name}");
        }

        let (old_token_now, new_token) = (app.anyone().login(&old).await.token(), app.anyone().login(&new).await.token());
        app.clock.advance_seconds(599);
        assert_eq!(app.anyone().login(&old).await.status, 200);
        assert_eq!(app.anyone().with(&old_token_now).get("/users/me").await.status, 200);
        app.clock.advance_seconds(1);
        assert_eq!(app.anyone().login(&old).await.problem(), code(401, "api_key_rotated"));
        assert_eq!(app.anyone().with(&old).get("/users/me").await.problem(), code(401, "api_key_rotated"));
        assert_eq!(app.anyone().with(&old_token_now).get("/users/me").await.problem(), code(401, "api_key_rotated"));
        assert_eq!(app.anyone().with(&old_token).get("/users/me").await.status, 401);
        assert_eq!(app.anyone().with(&new_token).get("/users/me").await.status, 200);
        assert_eq!(app.anyone().login(&new).await.status, 200);
    }

    async fn without_retention_the_old_value_ends_now(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let old = ci(&admin, Value::Null).await;
        // No body at all is a rotation, too.
        let new = admin.call(&format!("{KEY}/rotate")).await.expect(200);
        assert_eq!(app.anyone().login(&old).await.problem(), code(401, "api_key_rotated"));
        assert_eq!(app.anyone().login(new["key"].as_str().unwrap()).await.status, 200);
        assert_eq!(new["expires_at"], Value::Null);
    }

    async fn rotating_again_ends_the_older_value(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let first = ci(&admin, Value::Null).await;
        let (_, second) = rotate(&admin, json!({ "retain_minutes": 60 })).await;
        let (_, third) = rotate(&admin, json!({ "retain_minutes": 60 })).await;
        let statuses = [app.anyone().login(&first).await.status, app.anyone().login(&second).await.status, app.anyone().login(&third).await.status];
        assert_eq!(statuses, [401, 200, 200]);
    }

    async fn retention_is_ended_early_or_extended(engine: Engine) {
        let database = engine.database().await;
        let app = TestApp::start_with(database, &[("HOURPASS_API_KEYS__MAX_RETENTION", "2h")]).await;
        let admin = app.admin_client();
        let old = ci(&admin, Value::Null).await;
        assert_eq!(admin.patch(KEY, &json!({ "retain_minutes": 5 })).await.problem(), code(409, "nothing_retained"));
        for wrong in [json!(-1), json!(121), json!(i64::MAX)] {
            let answer = admin.post(&format!("{KEY}/rotate"), &json!({ "retain_minutes": wrong })).await;
            assert_eq!((answer.problem(), &answer.json()["errors"][0]["field"]), (code(422, "validation_failed"), &json!("retain_minutes")));
        }
        rotate(&admin, json!({ "retain_minutes": 60 })).await;
        app.clock.advance_seconds(50 * 60);
        let extended = admin.patch(KEY, &json!({ "retain_minutes": 60 })).await.expect(200);
        assert_eq!(extended["retained_until"], "2026-01-01T01:50:00Z");
        // Counted from the rotation, so moving it again and again is no way around the maximum.
        assert_eq!(admin.patch(KEY, &json!({ "retain_minutes": 80 })).await.problem(), code(422, "validation_failed"));
        app.clock.advance_seconds(30 * 60);
        assert_eq!(app.anyone().login(&old).await.status, 200);
        let ended = admin.patch(KEY, &json!({ "retain_minutes": 0 })).await.expect(200);
        assert_eq!(ended["retained_until"], "2026-01-01T01:20:00Z");
        assert_eq!(app.anyone().login(&old).await.problem(), code(401, "api_key_rotated"));
        // What is over is never revived.
        assert_eq!(admin.patch(KEY, &json!({ "retain_minutes": 5 })).await.problem(), code(409, "nothing_retained"));
    }

    async fn last_use_is_the_key_s_whatever_its_value(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = ci(&admin, Value::Null).await;
        app.anyone().login(&key).await.token();
        app.upkeep.flush(true).await.unwrap();
        for retained in ["2026-01-01T00:00:00Z", ""] {
            let (rotated, _) = rotate(&admin, json!({ "retain_minutes": 60 })).await;
            assert_eq!((&rotated["last_used_at"], rotated["retained_last_used_at"].as_str().unwrap_or_default()), (&json!("2026-01-01T00:00:00Z"), retained));
        }
    }

    async fn no_way_around_the_greatest_lifetime(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        ci(&admin, json!(3_650)).await;
        admin.patch("/api/v1/organizations/default", &json!({ "api_key_max_days": 30 })).await.expect(200);
        // A key that lives longer keeps its expiry, and its next value does not.
        assert_eq!(admin.get(KEY).await.expect(200)["expires_at"], "2035-12-30T00:00:00Z");
        assert_eq!(rotate(&admin, json!({})).await.0["expires_at"], "2026-01-31T00:00:00Z");
        app.clock.advance_seconds(86_400);
        for days in [json!(30), json!(31), Value::Null] {
            assert_eq!(admin.patch(KEY, &json!({ "expires_in_days": days })).await.problem(), code(422, "validation_failed"), "{days}");
        }
        assert_eq!(admin.patch(KEY, &json!({ "expires_in_days": 29 })).await.expect(200)["expires_at"], "2026-01-31T00:00:00Z");
        assert_eq!(rotate(&admin, json!({ "expires_in_days": 30 })).await.0["expires_at"], "2026-02-01T00:00:00Z");
    }

    async fn an_old_value_also_expires(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let old = ci(&admin, json!(1)).await;
        app.clock.advance_seconds(86_400 - 60);
        let (rotated, new) = rotate(&admin, json!({ "retain_minutes": 60 })).await;
        assert_eq!(rotated["retained_until"], "2026-01-02T00:00:00Z");
        app.clock.advance_seconds(60);
        assert_eq!(app.anyone().login(&old).await.problem(), code(401, "api_key_rotated"));
        assert_eq!(app.anyone().login(&new).await.status, 200);
    }

    async fn of_rotations_at_one_moment_one_wins(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        ci(&admin, Value::Null).await;
        for _ in 0..4 {
            let tries = (0..6).map(|_| { let admin = admin.clone(); tokio::spawn(async move { admin.post(&format!("{KEY}/rotate"), &json!({ "retain_minutes": 60 })).await }) });
            let mut given = Vec::new();
            for one in tries.collect::<Vec<_>>() {
                let answer = one.await.unwrap();
                if answer.status == 200 {
                    given.push(answer.json()["key"].as_str().unwrap().to_owned());
                } else {
                    assert_eq!(answer.problem(), code(409, "rotated_meanwhile"));
                }
            }
            // Who came later saw the earlier one's value, so at most the last two of those given work, and none was given twice.
            let mut working = 0;
            for key in &given {
                working += usize::from(app.anyone().login(key).await.status == 200);
            }
            assert_eq!(working, given.len().min(2));
            assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len(), given.len());
        }
    }

    async fn rotating_against_deactivating(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let first = ci(&admin, Value::Null).await;
        for _ in 0..5 {
            let rotation = { let admin = admin.clone(); tokio::spawn(async move { admin.post(&format!("{KEY}/rotate"), &json!({ "retain_minutes": 60 })).await }) };
            admin.patch(KEY, &json!({ "active": false })).await.expect(200);
            let answer = rotation.await.unwrap();
            if answer.status != 200 {
                assert_eq!(answer.problem(), code(409, "key_inactive"));
            }
            let new = answer.json()["key"].as_str().map(str::to_owned);
            // Whoever came first: the key is off, by whichever value.
            for key in new.iter().chain([&first]) {
                assert_eq!(app.anyone().login(key).await.status, 401);
            }
            assert_eq!(admin.get(KEY).await.expect(200)["active"], false);
            admin.patch(KEY, &json!({ "active": true })).await.expect(200);
        }
    }

    async fn tokens_of_a_key_are_ended(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = ci(&admin, Value::Null).await;
        let other = admin.post(KEYS, &json!({ "name": "other" })).await.expect(201);
        let (token, other_token) = (app.anyone().login(&key).await.token(), app.anyone().login(other["key"].as_str().unwrap()).await.token());
        admin.call(&format!("{KEY}/revoke_tokens")).await.expect(200);
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
        assert_eq!(app.anyone().with(&other_token).get("/users/me").await.status, 200);
        let token = app.anyone().login(&key).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
    }

    async fn a_key_of_another_system_is_imported_by_its_hash(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        ci(&admin, Value::Null).await;
        let raw = "vf_live_0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(app.anyone().login(raw).await.problem(), code(401, "invalid_credentials"));
        // As `printf %s KEY | sha256sum` prints it.
        let hash = "21659bdd49ad74b4f595e61c3065b42cdccc6ede192e0e1eed8d4b39eb859376";
        let imported = admin.post(KEYS, &json!({ "name": "vectorflow", "sha256": hash, "hint": "vf_live_0123" })).await.expect(201);
        assert_eq!((&imported["hint"], imported.get("key")), (&json!("vf_live_0123"), None));
        let token = app.anyone().login(raw).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.expect(200)["api_key_id"], imported["id"]);
        assert_eq!(app.anyone().with(raw).get("/users/me").await.status, 200);
        assert_eq!(admin.post(KEYS, &json!({ "name": "again", "sha256": hash })).await.problem(), code(409, "hash_taken"));
        assert_eq!(admin.post(KEYS, &json!({ "name": "x", "sha256": null })).await.problem(), code(422, "validation_failed"));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(admin.post(KEYS, &json!({ "name": "x", "sha256": wrong })).await.problem(), code(422, "validation_failed"), "{wrong}");
        }
        let whole = admin.post(KEYS, &json!({ "name": "x", "sha256": "0".repeat(64), "hint": raw })).await;
        assert_eq!(whole.problem(), code(422, "validation_failed"));
        assert_eq!(admin.post(KEYS, &json!({ "name": "x", "hint": "abc" })).await.problem(), code(400, "invalid_request"));
        // It rotates into one of ours.
        let rotated = admin.call(&format!("{KEYS}/vectorflow/rotate")).await.expect(200);
        assert!(rotated["key"].as_str().unwrap().starts_with("hp_live_"));
        assert_eq!(app.anyone().login(raw).await.problem(), code(401, "api_key_rotated"));
    }

    async fn what_a_token_or_key_may_not_do(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        ci(&admin, Value::Null).await;
        let member = app.anyone().with(&app.issue_key("default", "member", &["organization-member"], None).await);
        assert_eq!(member.get(KEY).await.status, 200);
        assert_eq!(member.get(&format!("{KEY}/impact")).await.status, 200);
        for answer in [
            member.patch(KEY, &json!({ "active": false })).await,
            member.delete(KEY).await,
            member.call(&format!("{KEY}/rotate")).await,
            member.call(&format!("{KEY}/revoke_tokens")).await,
            member.call(&format!("{KEY}/compromised")).await,
            member.post(KEYS, &json!({ "name": "x" })).await,
        ] {
            assert_eq!(answer.problem(), code(403, "permission_denied"));
            assert!(answer.json()["detail"].as_str().unwrap().contains("api_keys.manage"));
        }
        // The key of someone stronger is neither made, rotated, nor brought back to life.
        app.issue_key("default", "strong", &["workspace-admin"], Some("default")).await;
        let strong = format!("{ACCOUNTS}/strong/api_keys");
        let id = admin.get(&strong).await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        let narrowed = [("password", app.admin_key()), ("scope", "api_keys.manage service_accounts.read")];
        let weak = app.anyone().with(&app.anyone().post_form("/auth/login", &narrowed).await.token());
        assert_eq!(weak.call(&format!("{strong}/{id}/rotate")).await.problem(), code(403, "permission_denied"));
        assert_eq!(weak.patch(&format!("{strong}/{id}"), &json!({ "active": false })).await.status, 200);
        assert_eq!(weak.patch(&format!("{strong}/{id}"), &json!({ "active": true })).await.problem(), code(403, "permission_denied"));
        let imported = weak.post(&strong, &json!({ "name": "mine", "sha256": "0".repeat(64) })).await;
        assert_eq!(imported.problem(), code(403, "permission_denied"));
    }

    async fn one_organization_never_sees_another_s_keys(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        ci(&admin, Value::Null).await;
        app.create_organization("rival").await;
        let rival = app.anyone().with(&app.issue_key("rival", "bootstrap", &["organization-admin"], None).await);
        rival.post(ACCOUNTS, &json!({ "name": "ci" })).await.expect(201);
        let theirs = admin.get(KEY).await.expect(200)["id"].as_str().unwrap().to_owned();
        for key in ["k", &theirs] {
            let path = format!("{KEYS}/{key}");
            for answer in [
                rival.get(&path).await,
                rival.get(&format!("{path}/impact")).await,
                rival.patch(&path, &json!({ "active": false })).await,
                rival.delete(&path).await,
                rival.call(&format!("{path}/rotate")).await,
                rival.call(&format!("{path}/revoke_tokens")).await,
                rival.call(&format!("{path}/compromised")).await,
            ] {
                assert_eq!(answer.problem(), code(404, "not_found"));
            }
        }
        assert_eq!(admin.get(KEY).await.expect(200)["active"], true);
    }
}
