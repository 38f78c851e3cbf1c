//! Permissions, roles, and giving them; and what becomes of them in tokens.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, claims, on_both_engines};

const ASSIGNMENTS: &str = "/api/v1/role_assignments";

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list["items"].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

async fn events(admin: &Client, action: &str) -> Value {
    admin.get(&format!("/api/v1/audit_events?action={action}&limit=1")).await.expect(200)["items"][0].clone()
}

on_both_engines! {
    async fn the_catalogue_grows_and_shrinks(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let first = admin.get("/api/v1/permissions").await.expect(200);
        let nine = ["pipelines.read", "pipelines.deploy", "nodes.read", "nodes.manage", "secrets.read", "secrets.manage", "alerts.read", "alerts.manage", "audit.read"];
        assert_eq!(names(&first, "name"), nine);
        let own = admin.get("/api/v1/permissions?built_in=true").await.expect(200);
        assert!(names(&own, "name").contains(&"roles.manage") && own["items"].as_array().unwrap().iter().all(|it| it["built_in"] == true));

        app.clock.advance_seconds(1);
        let made = admin.post("/api/v1/permissions", &json!({ "name": "reports.read", "description": "See reports." })).await.expect(201);
        let expected = json!({
            "id": made["id"], "organization_id": made["organization_id"], "name": "reports.read", "description": "See reports.", "built_in": false,
            "narrowest_level": "project", "created_at": "2026-01-01T00:00:01Z",
        });
        assert_eq!(made, expected);
        assert_eq!(admin.get("/api/v1/permissions/reports.read").await.expect(200), made);
        assert_eq!(admin.post("/api/v1/permissions", &json!({ "name": "reports.read" })).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(admin.post("/api/v1/permissions", &json!({ "name": "roles.manage" })).await.problem(), (409, "name_taken".to_owned()));
        assert_eq!(admin.post("/api/v1/permissions", &json!({ "name": "reports" })).await.problem(), (422, "validation_failed".to_owned()));
        let changed = admin.patch("/api/v1/permissions/reports.read", &json!({ "description": "All." })).await.expect(200);
        assert_eq!(changed["description"], "All.");
        assert_eq!(events(&admin, "permission.update").await["details"], json!({ "description": { "from": "See reports.", "to": "All." } }));

        // Everybody who may do everything, or see everything, has it from now on; and no longer when it is gone.
        let viewer = app.issue_key("default", "viewer", &["workspace-viewer"], Some("default")).await;
        let scope = async || claims(&app.anyone().post_form("/auth/login", &[("password", &viewer), ("workspace", "default")]).await.token())["scope"].as_str().unwrap().to_owned();
        assert!(scope().await.ends_with(" audit.read reports.read"));
        admin.post("/api/v1/roles", &json!({ "name": "reporter", "level": "project", "permissions": ["reports.read"] })).await.expect(201);
        assert_eq!(admin.delete("/api/v1/permissions/reports.read").await.problem(), (409, "in_use".to_owned()));
        admin.patch("/api/v1/roles/reporter", &json!({ "permissions": ["nodes.read"] })).await.expect(200);
        let given = admin.post(ASSIGNMENTS, &json!({ "service_account": "viewer", "permissions": ["reports.read"] })).await.expect(201);
        assert_eq!(admin.delete("/api/v1/permissions/reports.read").await.problem(), (409, "in_use".to_owned()));
        assert_eq!(admin.delete(&format!("{ASSIGNMENTS}/{}", given["id"].as_str().unwrap())).await.status, 204);
        assert_eq!(admin.delete("/api/v1/permissions/reports.read").await.status, 204);
        assert!(!scope().await.contains("reports"));
        assert_eq!(admin.post("/api/v1/roles", &json!({ "name": "x", "level": "project", "permissions": ["reports.read"] })).await.problem(), (422, "validation_failed".to_owned()));
    }

    async fn a_role_lives_and_dies(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let built_in = admin.get("/api/v1/roles?limit=10").await.expect(200);
        assert_eq!(names(&built_in, "name"), [
            "Platform Admin", "Organization Admin", "Organization Member", "Organization Auditor", "Workspace Admin", "Workspace Developer", "Workspace Viewer",
            "Project Admin", "Project Contributor", "Project Viewer",
        ]);
        assert_eq!(built_in["items"][1]["permissions"], json!(["*"]));
        let made = admin.post("/api/v1/roles", &json!({ "name": "deployer", "level": "workspace", "permissions": ["pipelines.deploy", "pipelines.read"], "description": "d" })).await.expect(201);
        let expected = json!({
            "id": made["id"], "organization_id": made["organization_id"], "name": "deployer", "description": "d", "level": "workspace",
            "permissions": ["pipelines.deploy", "pipelines.read"], "built_in": false, "created_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(made, expected);
        // The pages of a list that is made of two.
        let mut all = Vec::new();
        let mut path = "/api/v1/roles?limit=3".to_owned();
        loop {
            let page = admin.get(&path).await.expect(200);
            all.extend(names(&page, "name").into_iter().map(str::to_owned));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v1/roles?limit=3&cursor={cursor}");
        }
        assert_eq!((all.len(), all.last().map(String::as_str)), (11, Some("deployer")));
        assert_eq!(admin.post("/api/v1/roles", &json!({ "name": "deployer", "level": "project", "permissions": ["nodes.read"] })).await.problem(), (409, "name_taken".to_owned()));
        for bad in [json!([]), json!(["nothing.read"]), json!(["PIPELINES.READ"])] {
            let answer = admin.post("/api/v1/roles", &json!({ "name": "x", "level": "workspace", "permissions": bad })).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!("permissions")));
        }
        for level in ["platform", "galaxy"] {
            assert_eq!(admin.post("/api/v1/roles", &json!({ "name": "x", "level": level, "permissions": ["nodes.read"] })).await.problem().0, 422);
        }

        let key = app.issue_key("default", "ci", &[], None).await;
        let given = admin.post(ASSIGNMENTS, &json!({ "role": "deployer", "service_account": "ci", "workspace": "default" })).await.expect(201);
        let account = admin.get("/api/v1/service_accounts/ci").await.expect(200);
        let expected = json!({
            "id": given["id"], "role_id": made["id"], "role": "deployer", "permissions": null, "principal_type": "service_account", "principal_id": account["id"],
            "principal": "ci", "level": "workspace", "workspace_id": given["workspace_id"], "workspace": "default", "project_id": null, "project": null,
            "created_at": given["created_at"],
        });
        assert_eq!(given, expected);
        assert_eq!(admin.get(&format!("{ASSIGNMENTS}/{}", given["id"].as_str().unwrap())).await.expect(200), given);
        let event = events(&admin, "role.assign").await;
        assert_eq!((&event["target_name"], &event["details"]), (&json!("ci"), &json!({ "role": "deployer", "permissions": null, "level": "workspace", "workspace": "default", "project": null })));
        for filter in ["service_account=ci", "role=deployer", "role=deployer&workspace=default"] {
            assert_eq!(admin.get(&format!("{ASSIGNMENTS}?{filter}")).await.expect(200)["items"], json!([given]), "{filter}");
        }
        assert_eq!(admin.post(ASSIGNMENTS, &json!({ "role": "deployer", "service_account": "ci", "workspace": "default" })).await.problem(), (409, "in_use".to_owned()));
        assert_eq!(admin.delete("/api/v1/roles/deployer").await.problem(), (409, "in_use".to_owned()));

        // A change reaches its holders at once.
        let login = async || app.anyone().post_form("/auth/login", &[("password", &key), ("workspace", "default")]).await;
        assert_eq!(claims(&login().await.token())["scope"], "pipelines.read pipelines.deploy");
        admin.patch("/api/v1/roles/deployer", &json!({ "permissions": ["pipelines.read"] })).await.expect(200);
        assert_eq!(claims(&login().await.token())["scope"], "pipelines.read");
        assert_eq!(admin.delete(&format!("{ASSIGNMENTS}/{}", given["id"].as_str().unwrap())).await.status, 204);
        assert_eq!(events(&admin, "role.unassign").await["details"]["role"], "deployer");
        assert_eq!(login().await.problem(), (403, "access_denied".to_owned()));
        assert_eq!(admin.delete("/api/v1/roles/deployer").await.status, 204);
        assert_eq!(admin.get("/api/v1/roles/deployer").await.problem(), (404, "not_found".to_owned()));
    }

    async fn a_wish_to_give_is_complete_and_clear(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for (body, status) in [
            (json!({ "service_account": "bootstrap" }), 400),
            (json!({ "service_account": "bootstrap", "role": "Organization Member", "permissions": ["nodes.read"] }), 400),
            (json!({ "role": "Organization Member" }), 400),
            (json!({ "role": "Organization Member", "service_account": "bootstrap", "user": "admin@localhost" }), 400),
            (json!({ "role": "Project Viewer", "service_account": "bootstrap", "project": "x" }), 422),
            (json!({ "permissions": [], "service_account": "bootstrap" }), 422),
            (json!({ "role": "nobody", "service_account": "bootstrap" }), 404),
            (json!({ "role": "Organization Member", "service_account": "nobody" }), 404),
            (json!({ "role": "Organization Member", "user": "nobody@example.com" }), 404),
            (json!({ "role": "Organization Member", "team": "nobody" }), 404),
            (json!({ "role": "Workspace Viewer", "service_account": "bootstrap", "workspace": "nowhere" }), 404),
            (json!({ "role": "Project Viewer", "service_account": "bootstrap", "workspace": "default", "project": "none" }), 404),
        ] {
            assert_eq!(admin.post(ASSIGNMENTS, &body).await.problem().0, status, "{body}");
        }
        assert_eq!(admin.get(&format!("{ASSIGNMENTS}/nothing")).await.problem().0, 404);
    }

    async fn a_single_environment_account_in_one_call(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/workspaces", &json!({ "slug": "staging" })).await.expect(201);
        let body = json!({ "name": "ci", "workspace": "default", "permissions": ["pipelines.deploy", "pipelines.read"], "default_key": true });
        let made = admin.post("/api/v1/service_accounts", &body).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let token = app.anyone().post_form("/auth/login", &[("password", key), ("workspace", "default")]).await.token();
        assert_eq!(claims(&token)["scope"], "pipelines.read pipelines.deploy");
        assert_eq!(app.anyone().post_form("/auth/login", &[("password", key), ("workspace", "staging")]).await.problem(), (403, "access_denied".to_owned()));
        assert_eq!(claims(&app.anyone().login(key).await.token()).get("scope"), None);
        for (body, status) in [
            (json!({ "name": "x", "workspace": "default" }), 400),
            (json!({ "name": "x", "permissions": ["nodes.read"] }), 400),
            (json!({ "name": "x", "workspace": "default", "permissions": [] }), 422),
            (json!({ "name": "x", "workspace": "default", "permissions": ["users.manage"] }), 422),
            (json!({ "name": "x", "workspace": "nowhere", "permissions": ["nodes.read"] }), 404),
        ] {
            assert_eq!(admin.post("/api/v1/service_accounts", &body).await.problem().0, status, "{body}");
            assert_eq!(admin.get("/api/v1/service_accounts/x").await.problem().0, 404, "nothing is left of {body}");
        }
    }

    async fn a_token_says_what_is_held_in_projects_only(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let project = admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        let key = app.issue_key("default", "ci", &["workspace-viewer"], Some("default")).await;
        admin.post(ASSIGNMENTS, &json!({ "role": "Project Contributor", "service_account": "ci", "workspace": "default", "project": "etl" })).await.expect(201);
        let login = async |scope: &str| app.anyone().post_form("/api/v1/login", &[("password", key.as_str()), ("workspace", "default"), ("scope", scope)]).await;
        let answer = login("").await.expect(200);
        let said = claims(answer["access_token"].as_str().unwrap());
        let details = json!([{ "type": "project", "identifier": project["id"], "slug": "etl", "workspace_id": project["workspace_id"], "actions": ["pipelines.deploy"] }]);
        assert_eq!((&said["authorization_details"], &answer["authorization_details"]), (&details, &details));
        assert_eq!((&said["scope"], said.get("narrowed")), (&json!("pipelines.read nodes.read secrets.read alerts.read audit.read"), None));
        // On record, too.
        let event = admin.get("/api/v1/audit_events?action=token.issue&limit=1").await.expect(200)["items"][0].clone();
        assert_eq!(event["details"]["authorization_details"], details);

        let narrowed = claims(login("pipelines.deploy").await.expect(200)["access_token"].as_str().unwrap());
        assert_eq!((narrowed.get("scope"), &narrowed["authorization_details"], &narrowed["narrowed"]), (None, &details, &json!(true)));
        let narrowed = claims(login("nodes.read").await.expect(200)["access_token"].as_str().unwrap());
        assert_eq!((&narrowed["scope"], narrowed.get("authorization_details")), (&json!("nodes.read"), None));
        let refused = login("nodes.read nodes.manage secrets.manage").await;
        assert_eq!(refused.problem(), (400, "invalid_scope".to_owned()));
        assert!(refused.json()["detail"].as_str().unwrap().contains("nodes.manage secrets.manage"));
    }

    async fn a_token_for_hourpass_says_what_it_manages_in_parts(engine: Engine) {
        let app = TestApp::start(engine).await;
        let key = app.issue_key("default", "wa", &["workspace-admin"], Some("default")).await;
        let workspace = app.admin_client().get("/api/v1/workspaces/default").await.expect(200);
        let said = claims(&app.anyone().login(&key).await.token());
        let details = json!([{
            "type": "workspace", "identifier": workspace["id"], "slug": "default",
            "actions": ["workspaces.read", "workspaces.manage", "projects.manage", "roles.read", "roles.manage"],
        }]);
        assert_eq!((said.get("scope"), &said["authorization_details"]), (None, &details));
        // Narrowed to one of them, it does that and no more.
        let token = app.anyone().post_form("/auth/login", &[("password", key.as_str()), ("scope", "workspaces.manage")]).await.token();
        let narrowed = app.anyone().with(&token);
        narrowed.patch("/api/v1/workspaces/default", &json!({ "name": "Production" })).await.expect(200);
        assert_eq!(narrowed.get("/api/v1/workspaces/default").await.problem(), (403, "permission_denied".to_owned()));
        assert_eq!(narrowed.post("/api/v1/workspaces/default/projects", &json!({ "slug": "x" })).await.problem(), (403, "permission_denied".to_owned()));
    }

    async fn a_token_is_never_longer_than_a_header(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = app.issue_key("default", "ci", &[], None).await;
        for number in 0..30 {
            admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": format!("project-{number}") })).await.expect(201);
            admin.post(ASSIGNMENTS, &json!({ "role": "Project Admin", "service_account": "ci", "workspace": "default", "project": format!("project-{number}") })).await.expect(201);
        }
        let login = async |scope: &str| app.anyone().post_form("/auth/login", &[("password", key.as_str()), ("workspace", "default"), ("scope", scope)]).await;
        let refused = login("").await;
        assert_eq!(refused.problem(), (400, "token_too_large".to_owned()));
        assert!(refused.json()["detail"].as_str().unwrap().contains("scope"));
        let event = admin.get("/api/v1/audit_events?outcome=denied&limit=1").await.expect(200)["items"][0].clone();
        assert_eq!(event["reason"], "token_too_large");
        assert!(login("nodes.read").await.token().len() < 8_000);
        // For Hourpass, the token stands for its holder, however much that is.
        let token = app.anyone().login(&key).await.token();
        assert!(token.len() < 2_000);
        app.anyone().with(&token).patch("/api/v1/workspaces/default/projects/project-29", &json!({ "name": "The last" })).await.expect(200);
        // A role in the whole workspace makes it short again.
        admin.post(ASSIGNMENTS, &json!({ "role": "Workspace Admin", "service_account": "ci", "workspace": "default" })).await.expect(201);
        assert!(login("").await.token().len() < 2_000);
    }

    async fn platform_admins_make_platform_admins(engine: Engine) {
        let app = TestApp::start(engine).await;
        let platform = app.anyone().with(&app.issue_key("default", "platform", &["platform-admin"], None).await);
        app.issue_key("default", "next", &[], None).await;
        let given = platform.post(ASSIGNMENTS, &json!({ "role": "Platform Admin", "service_account": "next" })).await.expect(201);
        let path = format!("{ASSIGNMENTS}/{}", given["id"].as_str().unwrap());
        assert_eq!((&given["level"], &platform.get(&path).await.expect(200)), (&json!("platform"), &given));
        assert_eq!(platform.delete(&path).await.status, 204);
        // And nothing else.
        assert_eq!(platform.post(ASSIGNMENTS, &json!({ "role": "Organization Member", "service_account": "next" })).await.problem(), (403, "permission_denied".to_owned()));
        assert_eq!(platform.get(ASSIGNMENTS).await.problem(), (403, "permission_denied".to_owned()));
    }

    async fn two_at_once_give_the_same(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.issue_key("default", "ci", &[], None).await;
        let body = json!({ "role": "Workspace Viewer", "service_account": "ci", "workspace": "default" });
        let tries: Vec<_> = (0..6).map(|_| { let (admin, body) = (app.admin_client(), body.clone()); tokio::spawn(async move { admin.post(ASSIGNMENTS, &body).await.status }) }).collect();
        let mut statuses = Vec::new();
        for one in tries {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    }
}
