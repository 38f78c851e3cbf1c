//! What validators and libraries read.

use std::time::Duration;

use hourpass::domain::signing::SigningAlgorithm;
use serde_json::json;

use crate::support::{TestApp, on_both_engines};

on_both_engines! {
    async fn only_key_types_in_use_are_published(engine: Engine) {
        let app = TestApp::start(engine).await;
        let types = async || {
            let answer = app.anyone().get("/.well-known/jwks.json").await;
            assert_eq!(answer.header("cache-control"), "public, max-age=60");
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            let keys = answer.expect(200);
            for key in keys["keys"].as_array().unwrap() {
                assert!(["d", "p", "q", "k"].iter().all(|private| key.get(private).is_none()), "{key}");
            }
            keys["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(types().await, ["ES256"]);
        app.create_workspace("default", "rs", None, SigningAlgorithm::Rs256, Duration::from_hours(1)).await;
        // Before the first token.
        assert_eq!(types().await, ["ES256", "RS256"]);
        let openid = app.anyone().get("/.well-known/openid-configuration").await.expect(200);
        assert_eq!(openid["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
        app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "rs")]).await.token();
    }

    async fn metadata_lists_what_works(engine: Engine) {
        let app = TestApp::start(engine).await;
        let metadata = app.anyone().get("/.well-known/oauth-authorization-server").await.expect(200);
        let expected = json!({
            "issuer": app.url, "token_endpoint": format!("{}/auth/login", app.url), "jwks_uri": format!("{}/.well-known/jwks.json", app.url),
            "grant_types_supported": ["password"], "response_types_supported": [], "token_endpoint_auth_methods_supported": ["none"],
            "authorization_details_types_supported": ["project", "workspace"], "scopes_supported": metadata["scopes_supported"],
            "status_list_aggregation_endpoint": format!("{}/status-lists", app.url),
        });
        assert_eq!(metadata, expected);
        let openid = app.anyone().get("/.well-known/openid-configuration").await.expect(200);
        assert_eq!((&openid["issuer"], &openid["id_token_signing_alg_values_supported"]), (&metadata["issuer"], &json!(["ES256"])));
    }

    async fn two_servers_on_one_database_agree(engine: Engine) {
        let app = TestApp::start(engine).await;
        let mut other = app.build_another(&[("HOURPASS_SERVER__PUBLIC_URL", &app.url)]).await.unwrap();
        assert!(other.take_first_start().is_none());
        let url = other.url().to_owned();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(other.run_until(async { drop(stopped.await) }));
        let there = crate::support::Client::new(&url);
        let token = there.login(app.admin_key()).await.token();
        assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 200);
        assert_eq!(there.get("/.well-known/jwks.json").await.text, app.anyone().get("/.well-known/jwks.json").await.text);
        drop(stop);
        running.await.unwrap().unwrap();
    }
}
