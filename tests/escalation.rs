//! No one grants what they do not hold: each way around.

use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, on_both_engines};

const ASSIGNMENTS: &str = "/api/v1/role_assignments";

/// An account that holds these permissions without a role, in the whole organization.
async fn holder(app: &TestApp, name: &str, permissions: &[&str]) -> Client {
    let key = app.issue_key("default", name, &[], None).await;
    app.admin_client().post(ASSIGNMENTS, &json!({ "service_account": name, "permissions": permissions })).await.expect(201);
    app.anyone().with(&key)
}

/// Refused with 403 because it is more than the caller holds, and not because a permission for the request is missing.
#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!(answer.problem(), (403, "permission_denied".to_owned()), "{}", answer.text);
    assert!(answer.json()["detail"].as_str().unwrap().contains("nobody gives what they do not hold"), "{}", answer.text);
}

on_both_engines! {
    async fn giving_asks_for_as_much(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        let clerk = holder(&app, "clerk", &["roles.manage", "roles.read", "nodes.read"]).await;
        app.issue_key("default", "ci", &[], None).await;
        admin.post("/api/v1/teams", &json!({ "name": "ops" })).await.expect(201);
        // To oneself, to another, to a team; as a role and without one; in every place.
        for holder in [json!({ "service_account": "clerk" }), json!({ "service_account": "ci" }), json!({ "user": "admin@localhost" }), json!({ "team": "ops" })] {
            for given in [
                json!({ "role": "Organization Auditor" }), json!({ "permissions": ["nodes.manage"] }), json!({ "permissions": ["nodes.read", "users.manage"] }),
                json!({ "role": "Workspace Viewer", "workspace": "default" }), json!({ "permissions": ["nodes.manage"], "workspace": "default" }),
                json!({ "role": "Project Admin", "workspace": "default", "project": "etl" }),
                json!({ "permissions": ["secrets.read"], "workspace": "default", "project": "etl" }),
            ] {
                let mut body = holder.clone();
                body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
                refused(&clerk.post(ASSIGNMENTS, &body).await);
            }
        }
        // What they do hold, they may give, there and further in.
        for place in [json!({}), json!({ "workspace": "default" }), json!({ "workspace": "default", "project": "etl" })] {
            let mut body = json!({ "service_account": "ci", "permissions": ["nodes.read"] });
            body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
            clerk.post(ASSIGNMENTS, &body).await.expect(201);
        }
        // Platform Admin is no more to give for an Organization Admin than anything else that they do not hold.
        let boss = app.anyone().with(&app.issue_key("default", "boss", &["organization-admin"], None).await);
        let answer = boss.post(ASSIGNMENTS, &json!({ "service_account": "boss", "role": "Platform Admin" })).await;
        assert_eq!(answer.problem(), (403, "permission_denied".to_owned()));
        let answer = boss.post(ASSIGNMENTS, &json!({ "service_account": "boss", "permissions": ["platform.manage"] })).await;
        assert_eq!(answer.problem(), (422, "validation_failed".to_owned()));
    }

    async fn a_role_is_no_way_around(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let clerk = holder(&app, "clerk", &["roles.manage", "nodes.read"]).await;
        let role = |level: &str, permissions: &[&str]| json!({ "name": "mine", "level": level, "permissions": permissions });
        for level in ["organization", "workspace", "project"] {
            refused(&clerk.post("/api/v1/roles", &role(level, &["nodes.read", "nodes.manage"])).await);
        }
        clerk.post("/api/v1/roles", &role("workspace", &["nodes.read"])).await.expect(201);
        clerk.post(ASSIGNMENTS, &json!({ "role": "mine", "service_account": "clerk", "workspace": "default" })).await.expect(201);
        // One's own role, upgraded.
        refused(&clerk.patch("/api/v1/roles/mine", &json!({ "permissions": ["nodes.read", "nodes.manage"] })).await);
        // What somebody else put in may stay, and be taken out; and put in again it may not be.
        admin.patch("/api/v1/roles/mine", &json!({ "permissions": ["nodes.read", "nodes.manage"] })).await.expect(200);
        clerk.patch("/api/v1/roles/mine", &json!({ "name": "ours" })).await.expect(200);
        clerk.patch("/api/v1/roles/ours", &json!({ "permissions": ["nodes.read"] })).await.expect(200);
        refused(&clerk.patch("/api/v1/roles/ours", &json!({ "permissions": ["nodes.read", "nodes.manage"] })).await);
        // A role that holds more than oneself is not given on either.
        admin.patch("/api/v1/roles/ours", &json!({ "permissions": ["nodes.read", "secrets.read"] })).await.expect(200);
        app.issue_key("default", "ci", &[], None).await;
        admin.post("/api/v1/workspaces", &json!({ "slug": "other" })).await.expect(201);
        refused(&clerk.post(ASSIGNMENTS, &json!({ "role": "ours", "service_account": "ci", "workspace": "other" })).await);
        // The built-in ones stay as they are.
        for (method, body) in [("PATCH", json!({ "permissions": ["nodes.read"] })), ("DELETE", Value::Null)] {
            let path = "/api/v1/roles/workspace-viewer";
            let answer = if method == "PATCH" { admin.patch(path, &body).await } else { admin.delete(path).await };
            assert_eq!(answer.problem(), (409, "built_in".to_owned()));
        }
        assert_eq!(admin.post("/api/v1/roles", &json!({ "name": "organization-admin", "level": "project", "permissions": ["nodes.read"] })).await.problem(), (409, "name_taken".to_owned()));
    }

    async fn a_narrow_role_holds_nothing_wide(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for (level, permission) in [
            ("project", "workspaces.manage"), ("project", "users.manage"), ("project", "service_accounts.read"),
            ("workspace", "teams.manage"), ("workspace", "api_keys.manage"), ("workspace", "organizations.manage"),
            ("workspace", "platform.manage"), ("organization", "platform.manage"), ("organization", "signing_keys.manage"),
        ] {
            let answer = admin.post("/api/v1/roles", &json!({ "name": "x", "level": level, "permissions": ["nodes.read", permission] })).await;
            assert_eq!(answer.problem(), (422, "validation_failed".to_owned()), "{level} {permission}");
            assert!(answer.json()["errors"][0]["detail"].as_str().unwrap().contains(permission), "{}", answer.text);
        }
        admin.post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        // A role of one level in a place of another.
        for (role, place) in [
            ("Project Admin", json!({ "workspace": "default" })), ("Project Admin", json!({})), ("Workspace Admin", json!({})),
            ("Workspace Admin", json!({ "workspace": "default", "project": "etl" })), ("Organization Member", json!({ "workspace": "default" })),
            ("Platform Admin", json!({ "workspace": "default" })),
        ] {
            let mut body = json!({ "service_account": "bootstrap", "role": role });
            body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
            let answer = admin.post(ASSIGNMENTS, &body).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!("role")), "{body}");
        }
        let answer = admin.post(ASSIGNMENTS, &json!({ "service_account": "bootstrap", "permissions": ["users.read"], "workspace": "default" })).await;
        assert_eq!(answer.problem(), (422, "validation_failed".to_owned()));
    }

    async fn a_team_is_no_way_around(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let clerk = holder(&app, "clerk", &["teams.manage", "teams.read", "nodes.read"]).await;
        for (team, given) in [("admins", json!({ "role": "Organization Admin" })), ("readers", json!({ "permissions": ["nodes.read"] }))] {
            admin.post("/api/v1/teams", &json!({ "name": team })).await.expect(201);
            let mut body = json!({ "team": team });
            body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
            admin.post(ASSIGNMENTS, &body).await.expect(201);
        }
        let join = async |client: &Client, team: &str, member: Value| client.post(&format!("/api/v1/teams/{team}/members"), &member).await;
        refused(&join(&clerk, "admins", json!({ "service_account": "clerk" })).await);
        refused(&join(&clerk, "admins", json!({ "user": "admin@localhost" })).await);
        assert_eq!(join(&clerk, "readers", json!({ "service_account": "clerk" })).await.status, 201);
        // A team in which one is oneself gets no more than one holds.
        assert_eq!(clerk.post(ASSIGNMENTS, &json!({ "team": "readers", "role": "Organization Admin" })).await.problem().0, 403);
    }

    async fn a_key_or_a_link_is_no_way_around(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let clerk = holder(&app, "clerk", &["service_accounts.manage", "service_accounts.read", "api_keys.manage", "users.manage", "users.read", "roles.manage"]).await;
        // Rights that came through a team count as well as one's own.
        admin.post("/api/v1/teams", &json!({ "name": "readers" })).await.expect(201);
        admin.post(ASSIGNMENTS, &json!({ "team": "readers", "permissions": ["nodes.read"] })).await.expect(201);
        app.issue_key("default", "strong", &[], None).await;
        admin.post("/api/v1/teams/readers/members", &json!({ "service_account": "strong" })).await.expect(201);
        refused(&clerk.post("/api/v1/service_accounts/strong/api_keys", &json!({ "name": "x" })).await);
        let existing = admin.get("/api/v1/service_accounts/strong/api_keys").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        refused(&clerk.call(&format!("/api/v1/service_accounts/strong/api_keys/{existing}/rotate")).await);
        admin.patch("/api/v1/service_accounts/strong", &json!({ "active": false })).await.expect(200);
        refused(&clerk.patch("/api/v1/service_accounts/strong", &json!({ "active": true })).await);
        // A new account that may do more.
        refused(&clerk.post("/api/v1/service_accounts", &json!({ "name": "new", "workspace": "default", "permissions": ["nodes.read"] })).await);
        assert_eq!(admin.get("/api/v1/service_accounts/new").await.problem().0, 404);

        // People: a link for a password, another address, and coming back.
        refused(&clerk.call("/api/v1/users/admin@localhost/invite").await);
        refused(&clerk.patch("/api/v1/users/admin@localhost", &json!({ "email": "clerk@example.com" })).await);
        admin.post("/api/v1/users", &json!({ "email": "second@example.com", "password": "correct horse battery" })).await.expect(201);
        admin.post(ASSIGNMENTS, &json!({ "user": "second@example.com", "role": "Organization Admin" })).await.expect(201);
        // Taking away needs no more than the permission.
        clerk.patch("/api/v1/users/second@example.com", &json!({ "active": false })).await.expect(200);
        refused(&clerk.patch("/api/v1/users/second@example.com", &json!({ "active": true })).await);
    }

    async fn a_narrowed_token_gives_no_more_than_it_names(engine: Engine) {
        let app = TestApp::start(engine).await;
        let narrowed = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("scope", "roles.manage teams.manage")]).await.token();
        assert_eq!(crate::support::claims(&narrowed)["narrowed"], true);
        let narrowed = app.anyone().with(&narrowed);
        for given in [json!({ "role": "Organization Admin" }), json!({ "permissions": ["nodes.read"] }), json!({ "permissions": ["nodes.read"], "workspace": "default" })] {
            let mut body = json!({ "service_account": "bootstrap" });
            body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
            refused(&narrowed.post(ASSIGNMENTS, &body).await);
        }
        app.issue_key("default", "ci", &[], None).await;
        narrowed.post(ASSIGNMENTS, &json!({ "service_account": "ci", "permissions": ["teams.manage"] })).await.expect(201);
        assert_eq!(narrowed.get("/api/v1/roles").await.problem(), (403, "permission_denied".to_owned()));
    }

    async fn a_scope_that_names_all_is_a_bound_as_well(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let clerk = holder(&app, "clerk", &["roles.manage", "secrets.read"]).await;
        let key = app.issue_key("default", "clerk", &[], None).await;
        app.issue_key("default", "ci", &[], None).await;
        let token = app.anyone().post_form("/auth/login", &[("password", key.as_str()), ("scope", "roles.manage")]).await.token();
        let token = app.anyone().with(&token);
        let give = json!({ "service_account": "ci", "permissions": ["secrets.read"] });
        refused(&token.post(ASSIGNMENTS, &give).await);
        assert_eq!(clerk.post(ASSIGNMENTS, &give).await.status, 201);
        // What its holder gains, it does not.
        admin.post(ASSIGNMENTS, &json!({ "service_account": "clerk", "role": "Organization Admin" })).await.expect(201);
        assert_eq!(token.get("/api/v1/users").await.problem(), (403, "permission_denied".to_owned()));
    }

    async fn claims_are_given_like_permissions(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let clerk = holder(&app, "clerk", &["service_accounts.manage", "service_accounts.read"]).await;
        let claims = json!({ "claims": { "https://acme.example.com/tier": "admin" } });
        let missing = (403, "permission_denied".to_owned());
        for account in ["clerk", "bootstrap"] {
            assert_eq!(clerk.patch(&format!("/api/v1/service_accounts/{account}"), &claims).await.problem(), missing);
        }
        assert_eq!(clerk.post("/api/v1/service_accounts", &json!({ "name": "new", "claims": claims["claims"] })).await.problem(), missing);
        admin.post(ASSIGNMENTS, &json!({ "service_account": "clerk", "permissions": ["roles.manage"] })).await.expect(201);
        clerk.patch("/api/v1/service_accounts/clerk", &claims).await.expect(200);
        refused(&clerk.patch("/api/v1/service_accounts/bootstrap", &claims).await);
    }

    async fn a_workspace_takes_nobody_s_audience(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        app.create_organization("rival").await;
        let rival = app.anyone().with(&app.issue_key("rival", "boss", &["organization-admin"], None).await);
        let host = app.url.replace("http://", "");
        for (field, value) in [
            ("audience", "urn:hourpass:default:prod"), ("audience", "URN:HOURPASS:default:prod"), ("audience", "urn:hourpass:rival:other"),
            ("audience", &format!("{}/", app.url)), ("audience", &format!("HTTP://{host}")), ("url", &app.url),
        ] {
            let answer = rival.post("/api/v1/workspaces", &json!({ "slug": "prod", field: value })).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{value}");
        }
        assert_eq!(admin.post("/api/v1/workspaces", &json!({ "slug": "prod" })).await.expect(201)["audience"], "urn:hourpass:default:prod");
        // Nor does who manages one workspace decide whom tokens are for.
        let one = app.anyone().with(&app.issue_key("default", "wa", &["workspace-admin"], Some("prod")).await);
        for change in [json!({ "audience": "https://next.example.com" }), json!({ "url": "https://next.example.com" })] {
            assert_eq!(one.patch("/api/v1/workspaces/prod", &change).await.problem(), (403, "permission_denied".to_owned()));
        }
        one.patch("/api/v1/workspaces/prod", &json!({ "name": "Production" })).await.expect(200);
    }

    async fn rights_that_are_gone_do_not_come_back_by_an_older_token(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let key = app.issue_key("default", "ci", &[], None).await;
        let given = admin.post(ASSIGNMENTS, &json!({ "service_account": "ci", "role": "Organization Auditor" })).await.expect(201);
        let token = app.anyone().with(&app.anyone().login(&key).await.token());
        assert_eq!(token.get("/api/v1/audit_events").await.status, 200);
        admin.delete(&format!("{ASSIGNMENTS}/{}", given["id"].as_str().unwrap())).await;
        assert_eq!(token.get("/api/v1/audit_events").await.problem(), (403, "permission_denied".to_owned()));
    }
}
