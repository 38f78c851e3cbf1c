//! The exchange: a key or a password for a token, and what the token says.

use std::time::Duration;

use hourpass::domain::signing::SigningAlgorithm;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, claims, header, on_both_engines};

/// Checks a token with the published keys, as a resource service would.
async fn verify(app: &TestApp, token: &str, audience: &str) -> Value {
    let keys: JwkSet = serde_json::from_value(app.anyone().get("/.well-known/jwks.json").await.expect(200)).unwrap();
    let key = keys.find(header(token)["kid"].as_str().unwrap()).expect("the key of the token is not published");
    let algorithm: Algorithm = key.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[&app.url]);
    // The clock of the test stands in the past.
    validation.validate_exp = false;
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

async fn events(app: &TestApp) -> Vec<(String, String, Option<String>)> {
    const SQL: &str = "SELECT actor_name, outcome, reason FROM audit_events WHERE action = 'token.issue' ORDER BY id";
    match app.store.pool() {
        hourpass::store::Db::Sqlite(pool) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
        hourpass::store::Db::Postgres(pool) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
    }
}

on_both_engines! {
    async fn a_key_yields_a_one_hour_token(engine: Engine) {
        let app = TestApp::start(engine).await;
        let answer = app.anyone().login(app.admin_key()).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        let body = answer.expect(200);
        let token = body["access_token"].as_str().unwrap();
        let rest = json!({ "access_token": token, "token_type": "bearer", "expires_in": 3600, "device_id": null, "device_metadata": null });
        assert_eq!(body, rest);

        let said = verify(&app, token, &app.url).await;
        assert_eq!(header(token)["typ"], "at+jwt");
        assert_eq!(header(token)["alg"], "ES256");
        let me = app.admin_client().get("/users/me").await.expect(200);
        let expected = json!({
            "iss": app.url, "aud": app.url, "sub": me["id"], "client_id": me["id"],
            "iat": app.clock.seconds(), "exp": app.clock.seconds() + 3600, "jti": said["jti"],
            "scope": "platform.manage organizations.manage service_accounts.read service_accounts.manage api_keys.manage workspaces.read workspaces.manage \
                      projects.manage roles.read roles.manage teams.read teams.manage users.read users.manage signing_keys.manage audit.read",
            "org_id": me["organization_id"], "api_key_id": me["api_key_id"], "sid": said["sid"],
            "status": { "status_list": { "idx": said["status"]["status_list"]["idx"], "uri": format!("{}/status-lists/0", app.url) } },
            "principal_type": "service_account", "name": "bootstrap",
        });
        assert_eq!(said, expected);
    }

    async fn every_token_has_an_id_of_its_own(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (one, other) = (app.anyone().login(app.admin_key()).await.token(), app.anyone().login(app.admin_key()).await.token());
        assert_ne!(claims(&one)["jti"], claims(&other)["jti"]);
    }

    async fn a_workspace_has_tokens_of_its_own(engine: Engine) {
        let app = TestApp::start(engine).await;
        for (slug, algorithm) in [("es", SigningAlgorithm::Es256), ("ed", SigningAlgorithm::EdDsa), ("rs", SigningAlgorithm::Rs256)] {
            app.create_workspace("default", slug, None, algorithm, Duration::from_mins(10)).await;
            let audience = format!("https://{slug}.default.example.com");
            let token = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", slug)]).await;
            assert_eq!(token.json()["expires_in"], 600);
            let token = token.token();
            let said = verify(&app, &token, &audience).await;
            assert_eq!(header(&token)["alg"], algorithm.as_str());
            assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);
            assert_eq!(said["scope"].as_str().unwrap().split(' ').count(), 9);

            // By id, audience and resource, too; and never for Hourpass itself.
            let id = said["workspace_id"].as_str().unwrap();
            for (field, value) in [("workspace", id), ("audience", audience.as_str()), ("resource", audience.as_str())] {
                let token = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), (field, value)]).await.token();
                assert_eq!(claims(&token)["aud"], audience, "{field}");
                assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
            }
        }
    }

    async fn the_workspace_login_finds_the_workspace(engine: Engine) {
        let app = TestApp::start(engine).await;
        let host = app.url.replace("127.0.0.1", "localhost");
        app.create_workspace("default", "here", Some(&host), SigningAlgorithm::Es256, Duration::from_hours(1)).await;
        let password = ("password", app.admin_key());

        let by_field = app.anyone().post_form("/api/v1/login", &[password, ("workspace", "here")]).await;
        let by_path = app.anyone().post_form("/workspaces/here/api/v1/login", &[password]).await;
        let with_host = app.anyone().request(reqwest::Method::POST, "/api/v1/login").header("host", host.strip_prefix("http://").unwrap());
        let by_host = Answer::of(with_host.form(&[password])).await;
        for answer in [by_field, by_path, by_host] {
            let body = answer.expect(200);
            assert_eq!(claims(body["access_token"].as_str().unwrap())["aud"], "https://here.default.example.com");
            assert_eq!((&body["token_type"], &body["expires_in"], &body["refresh_token"]), (&json!("bearer"), &json!(3600), &Value::Null));
            assert_eq!(body["scope"], claims(body["access_token"].as_str().unwrap())["scope"]);
            assert_eq!(body.as_object().unwrap().len(), 5);
        }
        let nowhere = app.anyone().post_form("/api/v1/login", &[password]).await;
        assert_eq!(nowhere.problem(), (400, "invalid_target".to_owned()));
        let twice = app.anyone().post_form("/workspaces/here/api/v1/login", &[password, ("workspace", "default")]).await;
        assert_eq!(twice.problem(), (400, "invalid_request".to_owned()));
    }

    async fn roles_decide_what_a_token_allows(engine: Engine) {
        let app = TestApp::start(engine).await;
        let viewer = app.issue_key("default", "viewer", &["workspace-viewer"], Some("default")).await;
        let token = app.anyone().post_form("/auth/login", &[("password", &viewer), ("workspace", "default")]).await.token();
        assert_eq!(claims(&token)["scope"], "pipelines.read nodes.read secrets.read alerts.read audit.read");
        // At Hourpass itself it may do nothing, and the token says so by saying nothing.
        let token = app.anyone().login(&viewer).await.token();
        assert_eq!(claims(&token).get("scope"), None);

        app.create_workspace("default", "other", None, SigningAlgorithm::Es256, Duration::from_hours(1)).await;
        let refused = app.anyone().post_form("/auth/login", &[("password", &viewer), ("workspace", "other")]).await;
        assert_eq!(refused.problem(), (403, "access_denied".to_owned()));
        assert_eq!(refused.json()["error"], "access_denied");
    }

    async fn scope_narrows_and_never_widens(engine: Engine) {
        let app = TestApp::start(engine).await;
        let narrowed = [("password", app.admin_key()), ("scope", "service_accounts.read")];
        let token = app.anyone().post_form("/auth/login", &narrowed).await.token();
        assert_eq!(claims(&token)["scope"], "service_accounts.read");
        let client = app.anyone().with(&token);
        assert_eq!(client.get("/api/v1/service_accounts").await.status, 200);
        assert_eq!(client.post("/api/v1/service_accounts", &json!({ "name": "x" })).await.status, 403);

        let wider = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("scope", "service_accounts.read pipelines.deploy")]).await;
        assert_eq!(wider.problem(), (400, "invalid_scope".to_owned()));
        assert!(wider.json()["error_description"].as_str().unwrap().contains("pipelines.deploy"));
    }

    async fn a_person_signs_in(engine: Engine) {
        let app = TestApp::start(engine).await;
        let fields = |password| [("username", "Admin@localhost"), ("password", password)];
        let token = app.anyone().post_form("/auth/login", &fields(app.admin_password())).await.token();
        let said = verify(&app, &token, &app.url).await;
        assert_eq!((&said["principal_type"], &said["name"], &said["client_id"]), (&json!("user"), &json!("admin@localhost"), &json!("hourpass")));
        assert!(said["sid"].is_string() && said.get("api_key_id").is_none());

        let wrong = app.anyone().post_form("/auth/login", &fields("wrong password")).await;
        assert_eq!(wrong.problem(), (401, "invalid_credentials".to_owned()));
        let unknown = app.anyone().post_form("/auth/login", &[("username", "nobody@localhost"), ("password", "wrong password")]).await;
        assert_eq!(unknown.problem(), wrong.problem());
        assert_eq!(unknown.json()["detail"], wrong.json()["detail"]);
    }

    async fn what_form_libraries_add_does_not_matter(engine: Engine) {
        let app = TestApp::start(engine).await;
        let swagger = [
            ("grant_type", "password"), ("username", ""), ("password", app.admin_key()), ("scope", ""), ("client_id", ""), ("client_secret", ""),
        ];
        assert_eq!(app.anyone().post_form("/auth/login", &swagger).await.status, 200);
        // ZenML's client sends the key as Bearer, too; the form decides.
        let zenml = app.anyone().with("junk").post_form("/auth/login", &[("grant_type", "zenml-api-key"), ("password", app.admin_key())]).await;
        assert_eq!(zenml.status, 200);
    }

    async fn an_expired_or_deactivated_key_is_refused_and_its_holder_told(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/service_accounts", &json!({ "name": "ci" })).await.expect(201);
        let key = admin.post("/api/v1/service_accounts/ci/api_keys", &json!({ "name": "k", "expires_in_days": 30 })).await.expect(201);
        let key = key["key"].as_str().unwrap();
        app.clock.advance_seconds(30 * 86_400 - 1);
        let token = app.anyone().login(key).await.token();
        app.clock.advance_seconds(1);
        let refused = app.anyone().login(key).await;
        assert_eq!(refused.problem(), (401, "api_key_expired".to_owned()));
        assert_eq!(refused.json()["error"], "invalid_grant");
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        // The token ends with the key that it was obtained with.
        assert_eq!(app.anyone().with(&token).get("/users/me").await.problem(), (401, "api_key_expired".to_owned()));
        assert_eq!(app.anyone().with(key).get("/users/me").await.problem(), (401, "api_key_expired".to_owned()));
    }

    async fn every_exchange_is_on_record(engine: Engine) {
        let app = TestApp::start(engine).await;
        let key = app.issue_key("default", "ci", &[], None).await;
        app.anyone().login(&key).await.token();
        app.clock.advance_seconds(1);
        app.anyone().post_form("/auth/login", &[("password", &key), ("workspace", "nowhere")]).await.expect(400);
        app.anyone().login("hp_live_junk").await.expect(401);
        let expected = [("ci", "granted", None), ("ci", "denied", Some("invalid_target"))];
        assert_eq!(events(&app).await, expected.map(|(name, outcome, reason)| (name.to_owned(), outcome.to_owned(), reason.map(str::to_owned))));
    }

    async fn a_person_signs_out(engine: Engine) {
        let app = TestApp::start(engine).await;
        let sign_in = async || app.anyone().post_form("/auth/login", &[("username", "admin@localhost"), ("password", app.admin_password())]).await.token();
        let (one, other) = (app.anyone().with(&sign_in().await), app.anyone().with(&sign_in().await));
        assert_eq!(one.call("/auth/logout").await.status, 204);
        assert_eq!((one.get("/users/me").await.status, other.get("/users/me").await.status), (401, 200));
        assert_eq!(one.call("/auth/logout").await.problem(), (401, "invalid_credentials".to_owned()));
        let event = other.get("/api/v1/audit_events?action=user.sign_out").await.expect(200)["items"][0].clone();
        assert_eq!((&event["actor_name"], &event["target_name"]), (&"admin@localhost".into(), &"admin@localhost".into()));
        // A machine has nothing to end.
        assert_eq!(app.admin_client().call("/auth/logout").await.status, 204);
        assert_eq!(app.admin_client().get("/users/me").await.status, 200);
    }

    async fn a_reset_password_ends_the_sign_ins(engine: Engine) {
        let app = TestApp::start(engine).await;
        let fields = |password| [("username", "admin@localhost"), ("password", password)];
        let token = app.anyone().post_form("/auth/login", &fields(app.admin_password())).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
        let email = hourpass::domain::name::Email::parse("admin@localhost").unwrap();
        app.admin.reset_password(&email, &"a new password".into()).await.unwrap();
        app.settle().await;
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401);
        assert_eq!(app.anyone().post_form("/auth/login", &fields(app.admin_password())).await.status, 401);
        let token = app.anyone().post_form("/auth/login", &fields("a new password")).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
    }

    async fn many_at_once(engine: Engine) {
        let app = TestApp::start(engine).await;
        let logins = (0..64).map(|_| { let client = app.anyone(); let key = app.admin_key().to_owned(); tokio::spawn(async move { client.login(&key).await.token() }) });
        let mut ids = std::collections::BTreeSet::new();
        for login in logins.collect::<Vec<_>>() {
            ids.insert(claims(&login.await.unwrap())["jti"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 64);
        assert_eq!(events(&app).await.len(), 64);
    }
}
