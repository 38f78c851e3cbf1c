//! Each route refuses whoever lacks what the table of routes says.

use hourpass::domain::access::Level;
use hourpass::domain::permission::HOURPASS;
use hourpass::http::{Needs, ROUTES, RouteSpec};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, on_both_engines};

/// A path of this route, with names in it that exist where they decide whether the permission is asked at all.
fn path(route: &RouteSpec) -> String {
    let mut path = route.path.to_owned();
    for (parameter, name) in [("organization", "default"), ("workspace", "default"), ("project", "etl"), ("account", "bootstrap")] {
        path = path.replace(&format!("{{{parameter}}}"), name);
    }
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        path.replace_range(from..=to, "none");
    }
    path
}

async fn call(client: &Client, route: &RouteSpec) -> Answer {
    Answer::of(client.request(Method::from_bytes(route.method.as_bytes()).unwrap(), &path(route)).json(&json!({}))).await
}

/// An account that holds exactly these in the whole organization.
async fn account_with(app: &TestApp, name: &str, permissions: &[&str], platform: bool) -> Client {
    let roles: &[&str] = if platform { &["platform-admin"] } else { &[] };
    let key = app.issue_key("default", name, roles, None).await;
    if !permissions.is_empty() {
        let given = json!({ "service_account": name, "permissions": permissions });
        app.admin_client().post("/api/v1/role_assignments", &given).await.expect(201);
    }
    app.anyone().with(&key)
}

on_both_engines! {
    async fn each_route_needs_what_the_table_says(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.admin_client().post("/api/v1/workspaces/default/projects", &json!({ "slug": "etl" })).await.expect(201);
        let own: Vec<_> = HOURPASS.iter().filter(|it| it.narrowest != Level::Platform).map(|it| it.permission.as_str()).collect();
        let mut clients = std::collections::BTreeMap::new();
        for it in HOURPASS {
            let name = it.permission.as_str();
            let platform = it.narrowest == Level::Platform;
            let rest: Vec<_> = own.iter().copied().filter(|other| *other != name).collect();
            let lacking = account_with(&app, &format!("without {name}"), &rest, !platform && !name.starts_with("roles.")).await;
            let holding = account_with(&app, &format!("with {name}"), if platform { &[] } else { std::slice::from_ref(&name) }, platform).await;
            clients.insert(name, (lacking, holding));
        }
        let mut asked = 0;
        for route in ROUTES {
            let about = format!("{} {}", route.method, route.path);
            if route.needs != Needs::Nothing {
                assert_eq!(call(&app.anyone(), route).await.problem(), (401, "missing_credentials".to_owned()), "{about}");
                assert_eq!(call(&app.anyone().with("hp_live_x"), route).await.problem(), (401, "invalid_credentials".to_owned()), "{about}");
            }
            if let Needs::Permission(permission) = &route.needs {
                asked += 1;
                let (lacking, holding) = &clients[permission.as_str()];
                let refused = call(lacking, route).await;
                assert_eq!(refused.problem(), (403, "permission_denied".to_owned()), "{about}");
                assert!(refused.json()["detail"].as_str().unwrap().contains(permission.as_str()), "{about}: {}", refused.text);
                let answer = call(holding, route).await;
                assert!(![401, 403, 405].contains(&answer.status) && answer.status < 500, "{about}: {}", answer.text);
            }
        }
        assert!(asked > 50);
    }

    async fn what_is_held_in_one_workspace_counts_there_only(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        admin.post("/api/v1/workspaces", &json!({ "slug": "other" })).await.expect(201);
        for workspace in ["default", "other"] {
            for project in ["etl", "ml"] {
                admin.post(&format!("/api/v1/workspaces/{workspace}/projects"), &json!({ "slug": project })).await.expect(201);
            }
        }
        let workspace_admin = app.anyone().with(&app.issue_key("default", "wa", &["workspace-admin"], Some("default")).await);
        let project_admin = app.anyone().with(&app.issue_key("default", "pa", &[], None).await);
        admin.post("/api/v1/role_assignments", &json!({ "role": "Project Admin", "service_account": "pa", "workspace": "default", "project": "etl" })).await.expect(201);
        app.issue_key("default", "ci", &[], None).await;

        let name = json!({ "name": "renamed" });
        let give = |place: Value| {
            let mut body = json!({ "permissions": ["nodes.read"], "service_account": "ci" });
            body.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
            body
        };
        let etl = json!({ "workspace": "default", "project": "etl" });
        let table: &[(&Client, &str, Value, u16)] = &[
            (&workspace_admin, "PATCH /api/v1/workspaces/default", name.clone(), 200),
            (&workspace_admin, "PATCH /api/v1/workspaces/other", name.clone(), 403),
            (&workspace_admin, "DELETE /api/v1/workspaces/default", Value::Null, 403),
            (&workspace_admin, "POST /api/v1/workspaces", json!({ "slug": "new" }), 403),
            (&workspace_admin, "GET /api/v1/workspaces", Value::Null, 403),
            (&workspace_admin, "GET /api/v1/workspaces/default", Value::Null, 200),
            (&workspace_admin, "GET /api/v1/workspaces/other", Value::Null, 403),
            (&workspace_admin, "GET /api/v1/workspaces/default/projects", Value::Null, 200),
            (&workspace_admin, "GET /api/v1/workspaces/other/projects", Value::Null, 403),
            (&workspace_admin, "POST /api/v1/workspaces/default/projects", json!({ "slug": "new" }), 201),
            (&workspace_admin, "DELETE /api/v1/workspaces/default/projects/new", Value::Null, 204),
            (&workspace_admin, "POST /api/v1/workspaces/other/projects", json!({ "slug": "new" }), 403),
            (&workspace_admin, "POST /api/v1/role_assignments", give(json!({ "workspace": "default" })), 201),
            (&workspace_admin, "POST /api/v1/role_assignments", give(etl.clone()), 201),
            (&workspace_admin, "POST /api/v1/role_assignments", give(json!({ "workspace": "other" })), 403),
            (&workspace_admin, "POST /api/v1/role_assignments", give(json!({})), 403),
            (&workspace_admin, "GET /api/v1/role_assignments?workspace=default", Value::Null, 200),
            (&workspace_admin, "GET /api/v1/role_assignments", Value::Null, 403),
            (&workspace_admin, "POST /api/v1/roles", json!({ "name": "x", "level": "workspace", "permissions": ["nodes.read"] }), 403),
            (&workspace_admin, "POST /api/v1/permissions", json!({ "name": "x.read" }), 403),
            (&workspace_admin, "GET /api/v1/audit_events", Value::Null, 403),
            (&project_admin, "PATCH /api/v1/workspaces/default/projects/etl", name.clone(), 200),
            (&project_admin, "PATCH /api/v1/workspaces/default/projects/ml", name.clone(), 403),
            (&project_admin, "PATCH /api/v1/workspaces/other/projects/etl", name.clone(), 403),
            (&project_admin, "GET /api/v1/workspaces/default/projects/etl", Value::Null, 200),
            (&project_admin, "GET /api/v1/workspaces/default/projects", Value::Null, 403),
            (&project_admin, "DELETE /api/v1/workspaces/default/projects/etl", Value::Null, 403),
            (&project_admin, "PATCH /api/v1/workspaces/default", name, 403),
            (&project_admin, "POST /api/v1/role_assignments", give(etl), 201),
            (&project_admin, "POST /api/v1/role_assignments", give(json!({ "workspace": "default", "project": "ml" })), 403),
            (&project_admin, "POST /api/v1/role_assignments", give(json!({ "workspace": "default" })), 403),
        ];
        for (client, line, body, status) in table {
            // An equal assignment twice would be a conflict.
            let (method, path) = line.split_once(' ').unwrap();
            let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
            if !body.is_null() {
                request = request.json(body);
            }
            let answer = Answer::of(request).await;
            let twice = answer.status == 409 && *status == 201 && path.ends_with("role_assignments");
            assert!(answer.status == *status || twice, "{line} {body}: {} {}", answer.status, answer.text);
        }
    }
}
