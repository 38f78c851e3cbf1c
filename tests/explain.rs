//! Who may do what and why, and why a credential works or does not.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, on_both_engines};

async fn explain(client: &Client, body: Value) -> Value {
    client.post("/api/v1/explain", &body).await.expect(200)
}

/// `(works, code)`.
fn verdict(answer: &Value) -> (bool, &str) {
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.len() > 6), "{answer}");
    (answer["works"].as_bool().unwrap(), answer["code"].as_str().unwrap())
}

on_both_engines! {
    async fn each_permission_says_where_it_comes_from(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let project = admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        let key = app.issue_key("default", "ci", &["workspace-viewer"], Some("default")).await;
        admin.post("/api/v1/teams", &json!({ "name": "ops" })).await.expect(201);
        admin.post("/api/v1/teams/ops/members", &json!({ "service_account": "ci" })).await.expect(201);
        let give = async |body: Value| admin.post("/api/v1/role_assignments", &body).await.expect(201)["id"].clone();
        let through_team = give(json!({ "team": "ops", "permissions": ["nodes.read", "nodes.manage"] })).await;
        let in_project = give(json!({ "service_account": "ci", "role": "Project Contributor", "workspace": "default", "project": "etl" })).await;

        let answer = admin.get("/api/v1/access?principal=ci&workspace=default").await.expect(200);
        assert_eq!((&answer["principal_type"], &answer["principal"], &answer["level"]), (&json!("service_account"), &json!("ci"), &json!("workspace")));
        let of = |answer: &Value, permission: &str| answer["permissions"].as_array().unwrap().iter().find(|it| it["permission"] == permission && it["receiver"] == "workspace").cloned();
        let source = of(&answer, "nodes.manage").unwrap()["sources"].clone();
        let expected = json!([{
            "role_assignment_id": through_team, "role": null, "permissions": ["nodes.manage", "nodes.read"], "team": "ops", "level": "organization",
            "workspace_id": null, "project_id": null,
        }]);
        assert_eq!(source, expected);
        // By the role in the workspace, and by the team.
        assert_eq!(of(&answer, "nodes.read").unwrap()["sources"].as_array().unwrap().len(), 2);
        assert_eq!(of(&answer, "pipelines.deploy"), None);
        let answer = admin.get("/api/v1/access?principal=ci&workspace=default&project=etl").await.expect(200);
        let source = of(&answer, "pipelines.deploy").unwrap()["sources"].clone();
        assert_eq!((&source[0]["role_assignment_id"], &source[0]["role"], &source[0]["project_id"]), (&in_project, &json!("Project Contributor"), &project["id"]));
        let answer = admin.get("/api/v1/access?principal=ops").await.expect(200);
        assert_eq!((&answer["principal_type"], answer["permissions"].as_array().unwrap().len()), (&json!("team"), 2));
        let answer = admin.get("/api/v1/access?principal=admin@localhost").await.expect(200);
        assert!(answer["permissions"].as_array().unwrap().iter().any(|it| it["permission"] == "platform.manage" && it["receiver"] == "hourpass"));

        // About oneself, and about others not.
        let own = app.anyone().with(&key);
        assert_eq!(own.get("/api/v1/access?principal=ci&workspace=default").await.status, 200);
        assert_eq!(own.get("/api/v1/access?principal=bootstrap").await.problem(), (403, "permission_denied".to_owned()));
        assert_eq!(admin.get("/api/v1/access?principal=nobody").await.problem().0, 404);
        assert_eq!(admin.get("/api/v1/access?principal=ci&workspace=nowhere").await.problem().0, 404);
        admin.post("/api/v1/teams", &json!({ "name": "ci" })).await.expect(201);
        assert_eq!(admin.get("/api/v1/access?principal=ci").await.problem(), (422, "validation_failed".to_owned()));
    }

    async fn a_key_is_explained(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/workspaces", &json!({ "slug": "other" })).await.expect(201);
        let key = app.issue_key("default", "ci", &["workspace-viewer"], Some("default")).await;
        let ask = async |more: Value| {
            let mut body = json!({ "credential": key });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            explain(&admin, body).await
        };
        let answer = ask(json!({ "workspace": "default", "permission": "nodes.read" })).await;
        assert_eq!(verdict(&answer), (true, "works"));
        assert_eq!((&answer["kind"], &answer["principal"], &answer["sources"][0]["role"]), (&json!("api_key"), &json!("ci"), &json!("Workspace Viewer")));
        assert_eq!(verdict(&ask(json!({})).await), (true, "works"));
        assert_eq!(verdict(&ask(json!({ "workspace": "default", "permission": "nodes.manage" })).await), (false, "permission_denied"));
        assert_eq!(verdict(&ask(json!({ "workspace": "other" })).await), (false, "access_denied"));
        assert_eq!(verdict(&ask(json!({ "workspace": "default", "permission": "no.such" })).await), (false, "no_such_permission"));
        assert_eq!(verdict(&ask(json!({ "permission": "audit.read" })).await), (false, "permission_denied"));
        for (credential, code) in [("hp_live_nothing", "malformed"), ("vf_live_0123456789abcdef0123456789abcdef", "unknown")] {
            assert_eq!(verdict(&explain(&admin, json!({ "credential": credential })).await), (false, code));
        }
        let keys = admin.get("/api/v1/service_accounts/ci/api_keys").await.expect(200);
        let path = format!("/api/v1/service_accounts/ci/api_keys/{}", keys["items"][0]["id"].as_str().unwrap());
        admin.patch(&path, &json!({ "active": false })).await.expect(200);
        assert_eq!(verdict(&ask(json!({})).await), (false, "api_key_inactive"));
        admin.patch("/api/v1/service_accounts/ci", &json!({ "active": false })).await.expect(200);
        assert_eq!(verdict(&ask(json!({})).await), (false, "service_account_inactive"));
        assert_eq!(admin.post("/api/v1/explain", &json!({ "credential": key, "workspace": "nowhere" })).await.problem().0, 404);
    }

    async fn a_token_is_explained(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        let key = app.issue_key("default", "ci", &["workspace-viewer"], Some("default")).await;
        let given = admin.post("/api/v1/role_assignments", &json!({ "service_account": "ci", "permissions": ["nodes.manage"], "workspace": "default", "project": "etl" })).await.expect(201);
        let token = app.anyone().post_form("/auth/login", &[("password", &key), ("workspace", "default")]).await.token();
        let ask = async |more: Value| {
            let mut body = json!({ "credential": token });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            explain(&admin, body).await
        };
        assert_eq!(verdict(&ask(json!({ "workspace": "default", "permission": "nodes.read" })).await), (true, "works"));
        assert_eq!(verdict(&ask(json!({ "workspace": "default", "permission": "nodes.manage" })).await), (false, "insufficient_scope"));
        assert_eq!(verdict(&ask(json!({ "workspace": "default", "project": "etl", "permission": "nodes.manage" })).await), (true, "works"));
        assert_eq!(verdict(&ask(json!({})).await), (false, "wrong_audience"));
        // What was taken back since is still in the token, and the answer says so.
        assert_eq!(admin.delete(&format!("/api/v1/role_assignments/{}", given["id"].as_str().unwrap())).await.status, 204);
        let answer = ask(json!({ "workspace": "default", "project": "etl", "permission": "nodes.manage" })).await;
        assert!(verdict(&answer).0 && answer["detail"].as_str().unwrap().contains("does not hold that any more") && answer["sources"] == json!([]));

        let own = app.anyone().login(&key).await.token();
        assert_eq!(verdict(&explain(&admin, json!({ "credential": own, "permission": "roles.read" })).await), (false, "permission_denied"));
        assert_eq!(verdict(&explain(&admin, json!({ "credential": app.admin_key(), "permission": "nonsense.foo" })).await), (false, "no_such_permission"));
        assert_eq!(verdict(&explain(&admin, json!({ "credential": app.admin_key(), "permission": "pipelines.deploy" })).await), (false, "no_such_permission"));
        // One of Hourpass's own, in a workspace, is asked of Hourpass.
        let manager = app.issue_key("default", "wa", &["workspace-admin"], Some("default")).await;
        let asked = json!({ "credential": app.anyone().login(&manager).await.token(), "workspace": "default", "permission": "roles.manage" });
        assert_eq!(verdict(&explain(&admin, asked).await), (true, "works"));
        assert_eq!(verdict(&explain(&admin, json!({ "credential": manager, "permission": "roles.manage" })).await), (false, "permission_denied"));
        let narrowed = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("scope", "roles.read")]).await.token();
        assert_eq!(verdict(&explain(&admin, json!({ "credential": narrowed, "permission": "roles.read" })).await), (true, "works"));
        assert_eq!(verdict(&explain(&admin, json!({ "credential": narrowed, "permission": "roles.manage" })).await), (false, "insufficient_scope"));

        let (head, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        assert_eq!(verdict(&explain(&admin, json!({ "credential": format!("{head}.{other}{}", &signature[1..]) })).await), (false, "invalid_signature"));
        assert_eq!(verdict(&explain(&admin, json!({ "credential": "eyJ.a.b" })).await), (false, "malformed"));
        // The holder may ask about it, and nobody else without audit.read.
        assert_eq!(app.anyone().with(&key).post("/api/v1/explain", &json!({ "credential": token, "workspace": "default" })).await.status, 200);
        let stranger = app.anyone().with(&app.issue_key("default", "stranger", &[], None).await);
        assert_eq!(stranger.post("/api/v1/explain", &json!({ "credential": token })).await.problem(), (403, "permission_denied".to_owned()));
        admin.call("/api/v1/service_accounts/ci/revoke_tokens").await.expect(200);
        assert_eq!(verdict(&ask(json!({ "workspace": "default" })).await), (false, "token_revoked"));
        app.clock.advance_seconds(3_600);
        assert_eq!(verdict(&ask(json!({ "workspace": "default" })).await), (false, "token_expired"));
    }
}
