//! Teams: accounts and people in them hold what the team was given.

use serde_json::{Value, json};

use crate::support::{TestApp, claims, on_both_engines};

const ASSIGNMENTS: &str = "/api/v1/role_assignments";

on_both_engines! {
    async fn roles_flow_to_members_at_once(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = app.issue_key("default", "ci", &[], None).await;
        admin.post("/api/v1/users", &json!({ "email": "ada@example.com", "password": "correct horse battery" })).await.expect(201);
        let made = admin.post("/api/v1/teams", &json!({ "name": "ops", "description": "on call" })).await.expect(201);
        let expected = json!({ "id": made["id"], "organization_id": made["organization_id"], "name": "ops", "description": "on call", "created_at": made["created_at"] });
        assert_eq!(made, expected);
        assert_eq!(admin.post("/api/v1/teams", &json!({ "name": "ops" })).await.problem(), (409, "name_taken".to_owned()));
        admin.post(ASSIGNMENTS, &json!({ "team": "ops", "role": "Workspace Developer", "workspace": "default" })).await.expect(201);

        let by_key = async || app.anyone().post_form("/auth/login", &[("password", key.as_str()), ("workspace", "default")]).await;
        let by_password = async || app.anyone().post_form("/auth/login", &[("username", "ada@example.com"), ("password", "correct horse battery"), ("workspace", "default")]).await;
        assert_eq!(by_key().await.problem(), (403, "access_denied".to_owned()));
        let account = admin.post("/api/v1/teams/ops/members", &json!({ "service_account": "ci" })).await.expect(201);
        let by_name = admin.post("/api/v1/teams", &json!({ "name": "a/b" })).await.expect(201);
        let joined = admin.post("/api/v1/teams/a%2Fb/members", &json!({ "service_account": "ci" })).await;
        assert_eq!(joined.header("location"), format!("/api/v1/teams/{}/members/{}", by_name["id"].as_str().unwrap(), account["id"].as_str().unwrap()));
        assert_eq!(admin.delete(joined.header("location")).await.status, 204);
        let person = admin.post("/api/v1/teams/ops/members", &json!({ "user": "ADA@example.com" })).await.expect(201);
        assert_eq!((&account["principal_type"], &person["principal_type"], &person["name"]), (&json!("service_account"), &json!("user"), &json!("ada@example.com")));
        for token in [by_key().await.token(), by_password().await.token()] {
            assert!(claims(&token)["scope"].as_str().unwrap().contains("pipelines.deploy"));
        }
        assert_eq!(admin.post("/api/v1/teams/ops/members", &json!({ "service_account": "ci" })).await.problem().0, 409);
        assert_eq!(admin.post("/api/v1/teams/ops/members", &json!({ "service_account": "nobody" })).await.problem().0, 404);
        assert_eq!(admin.post("/api/v1/teams/ops/members", &json!({})).await.problem().0, 400);
        let members = admin.get("/api/v1/teams/ops/members").await.expect(200);
        assert_eq!(members["items"].as_array().unwrap().len(), 2);
        assert_eq!(admin.get("/api/v1/teams?service_account=ci").await.expect(200)["items"], json!([made]));
        assert_eq!(admin.get("/api/v1/teams?service_account=bootstrap").await.expect(200)["items"], json!([]));

        // Out again, each in its way.
        let id = account["id"].as_str().unwrap();
        assert_eq!(admin.delete(&format!("/api/v1/teams/ops/members/{id}")).await.status, 204);
        assert_eq!(admin.delete(&format!("/api/v1/teams/ops/members/{id}")).await.problem().0, 404);
        assert_eq!(by_key().await.problem(), (403, "access_denied".to_owned()));
        let event = admin.get("/api/v1/audit_events?action=team.remove_member&target=ops").await.expect(200)["items"][0].clone();
        assert_eq!((&event["target_name"], &event["details"]), (&json!("ops"), &json!({ "member_id": id, "member": "ci" })));
        admin.patch("/api/v1/teams/ops", &json!({ "name": "platform" })).await.expect(200);
        assert_eq!(by_password().await.status, 200);
        assert_eq!(admin.delete("/api/v1/teams/platform").await.status, 204);
        assert_eq!(by_password().await.problem(), (403, "access_denied".to_owned()));
        assert_eq!(admin.get(&format!("{ASSIGNMENTS}?workspace=default")).await.expect(200)["items"], Value::Array(Vec::new()));
    }

    async fn who_is_deleted_is_in_no_team(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        app.issue_key("default", "ci", &["workspace-viewer"], Some("default")).await;
        admin.post("/api/v1/users", &json!({ "email": "ada@example.com" })).await.expect(201);
        admin.post("/api/v1/teams", &json!({ "name": "ops" })).await.expect(201);
        for member in [json!({ "service_account": "ci" }), json!({ "user": "ada@example.com" })] {
            admin.post("/api/v1/teams/ops/members", &member).await.expect(201);
        }
        assert_eq!(admin.delete("/api/v1/service_accounts/ci").await.status, 204);
        assert_eq!(admin.delete("/api/v1/users/ada@example.com").await.status, 204);
        assert_eq!(admin.get("/api/v1/teams/ops/members").await.expect(200)["items"], json!([]));
    }

    async fn adding_against_deleting(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/teams", &json!({ "name": "ops" })).await.expect(201);
        for round in 0..4 {
            let name = format!("ci-{round}");
            admin.post("/api/v1/service_accounts", &json!({ "name": name })).await.expect(201);
            let path = format!("/api/v1/service_accounts/{name}");
            let other = app.admin_client();
            let joined = admin.post("/api/v1/teams/ops/members", &json!({ "service_account": name })).await.status;
            let body = json!({ "service_account": name, "role": "Organization Member" });
            let (deleted, given) = tokio::join!(admin.delete(&path), other.post(ASSIGNMENTS, &body));
            assert_eq!((joined, deleted.status), (201, 204), "{}", deleted.text);
            assert!([201, 404].contains(&given.status), "{}", given.text);
        }
        assert_eq!(admin.get("/api/v1/teams/ops/members").await.expect(200)["items"], json!([]));
    }
}
