//! `GET /users/me`: who is calling, with any credential.

use serde_json::json;

use crate::support::{Answer, TestApp, claims, on_both_engines};

on_both_engines! {
    async fn a_key_and_its_token_are_the_same_account(engine: Engine) {
        let app = TestApp::start(engine).await;
        let token = app.anyone().login(app.admin_key()).await.token();
        let by_key = app.admin_client().get("/users/me").await.expect(200);
        assert_eq!(by_key, app.anyone().with(&token).get("/users/me").await.expect(200));
        let expected = json!({
            "id": by_key["id"], "name": "bootstrap", "email": null, "principal_type": "service_account", "is_service_account": true, "active": true,
            "organization_id": by_key["organization_id"], "organization": "default", "api_key_id": by_key["api_key_id"],
            "permissions": claims(&token)["scope"].as_str().unwrap().split(' ').collect::<Vec<_>>(), "created_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(by_key, expected);
    }

    async fn a_person_is_who_they_are(engine: Engine) {
        let app = TestApp::start(engine).await;
        let token = app.anyone().post_form("/auth/login", &[("username", "admin@localhost"), ("password", app.admin_password())]).await.token();
        let me = app.anyone().with(&token).get("/users/me").await.expect(200);
        assert_eq!((&me["email"], &me["principal_type"], &me["is_service_account"]), (&json!("admin@localhost"), &json!("user"), &json!(false)));
    }

    async fn a_token_ends_after_an_hour(engine: Engine) {
        let app = TestApp::start(engine).await;
        let token = app.anyone().login(app.admin_key()).await.token();
        app.clock.advance_seconds(3_599);
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
        app.clock.advance_seconds(1);
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
    }

    async fn nobody_is_told_how_to_sign_in(engine: Engine) {
        let app = TestApp::start(engine).await;
        let answer = app.anyone().get("/users/me").await;
        assert_eq!(answer.problem(), (401, "missing_credentials".to_owned()));
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"hourpass\"");
        for junk in ["junk", "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30."] {
            let answer = app.anyone().with(junk).get("/users/me").await;
            assert_eq!(answer.problem(), (401, "invalid_credentials".to_owned()), "{junk}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"hourpass\", error=\"invalid_token\"");
        }
        for header in ["", "Bearer", "Bearer ", "Basic YTpi", "bearer\ta"] {
            let request = app.anyone().request(reqwest::Method::GET, "/users/me").header("authorization", header);
            assert_eq!(Answer::of(request).await.problem(), (401, "invalid_credentials".to_owned()), "{header:?}");
        }
    }

    async fn the_scheme_has_no_case(engine: Engine) {
        let app = TestApp::start(engine).await;
        let request = app.anyone().request(reqwest::Method::GET, "/users/me").header("authorization", format!("bEARER {}", app.admin_key()));
        assert_eq!(Answer::of(request).await.status, 200);
    }

    async fn direct_use_can_be_switched_off(engine: Engine) {
        let database = engine.database().await;
        let app = TestApp::start_with(database, &[("HOURPASS_API_KEYS__DIRECT_USE", "false")]).await;
        assert_eq!(app.admin_client().get("/users/me").await.problem(), (401, "api_key_direct_use_disabled".to_owned()));
        let token = app.anyone().login(app.admin_key()).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
    }

    async fn a_token_of_another_server_is_nobody_s(engine: Engine) {
        let (app, other) = (TestApp::start(engine).await, TestApp::start(engine).await);
        let token = other.anyone().login(other.admin_key()).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), (401, "invalid_credentials".to_owned()));
    }
}
