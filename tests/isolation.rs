//! One organization never sees another, though both use the same names.

use std::collections::BTreeMap;

use hourpass::http::{Needs, ROUTES};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, on_both_engines};

/// The ids of what an organization has, by the parameter of the paths that they stand for.
type Ids = BTreeMap<&'static str, String>;

/// Furnishes an organization: one of everything, with the same names in each.
async fn furnish(app: &TestApp, slug: &str) -> (Client, Ids) {
    app.create_organization(slug).await;
    let admin = app.anyone().with(&app.issue_key(slug, "boss", &["organization-admin"], None).await);
    let mut ids = Ids::new();
    let make = async |path: &str, body: Value| admin.post(path, &body).await.expect(201)["id"].as_str().unwrap().to_owned();
    ids.insert("organization", admin.get(&format!("/api/v1/organizations/{slug}")).await.expect(200)["id"].as_str().unwrap().to_owned());
    ids.insert("workspace", make("/api/v1/workspaces", json!({ "slug": "prod" })).await);
    ids.insert("project", make("/api/v1/workspaces/prod/projects", json!({ "slug": "etl" })).await);
    ids.insert("account", make("/api/v1/service_accounts", json!({ "name": "ci", "labels": { "team": "data" } })).await);
    ids.insert("key", make("/api/v1/service_accounts/ci/api_keys", json!({ "name": "key" })).await);
    ids.insert("permission", make("/api/v1/permissions", json!({ "name": "reports.read" })).await);
    ids.insert("role", make("/api/v1/roles", json!({ "name": "reporter", "level": "workspace", "permissions": ["reports.read"] })).await);
    ids.insert("team", make("/api/v1/teams", json!({ "name": "ops" })).await);
    ids.insert("user", make("/api/v1/users", json!({ "email": format!("ada@{slug}.example.com") })).await);
    ids.insert("assignment", make("/api/v1/role_assignments", json!({ "role": "reporter", "team": "ops", "workspace": "prod" })).await);
    ids.insert("member", make("/api/v1/teams/ops/members", json!({ "service_account": "ci" })).await);
    (admin, ids)
}

/// A body that a route takes.
fn body(path: &str) -> Value {
    match path.rsplit('/').next().unwrap() {
        "projects" => json!({ "slug": "new" }),
        "api_keys" => json!({ "name": "new" }),
        "members" => json!({ "service_account": "boss" }),
        _ => json!({}),
    }
}

/// All that can be read of an organization.
async fn everything(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "service_accounts",
        "service_accounts/ci/api_keys",
        "workspaces",
        "workspaces/prod/projects",
        "permissions",
        "roles",
        "role_assignments",
        "teams",
        "teams/ops/members",
        "users",
    ] {
        all.push(client.get(&format!("/api/v1/{path}")).await.expect(200));
    }
    all
}

on_both_engines! {
    async fn what_is_another_s_is_nowhere(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (ours, our_ids) = furnish(&app, "one").await;
        let (theirs, their_ids) = furnish(&app, "two").await;
        let before = everything(&ours).await;
        let mut asked = 0;
        for route in ROUTES.iter().filter(|route| route.needs != Needs::Nothing && route.path.contains('{')) {
            // Every combination of theirs and ours in the path, but all theirs.
            let parameters: Vec<_> = their_ids.keys().filter(|name| route.path.contains(&format!("{{{name}}}"))).collect();
            for mix in 1..1_u32 << parameters.len() {
                let mut path = route.path.to_owned();
                for (bit, name) in parameters.iter().enumerate() {
                    let ids = if mix >> bit & 1 == 1 { &our_ids } else { &their_ids };
                    path = path.replace(&format!("{{{name}}}"), &ids[**name]);
                }
                let answer = Answer::of(theirs.request(Method::from_bytes(route.method.as_bytes()).unwrap(), &path).json(&body(route.path))).await;
                // Organizations are made and deleted by who manages the platform, and these do not.
                let expected = if route.path.contains("{organization}") && route.method == "DELETE" { 403 } else { 404 };
                assert_eq!(answer.problem().0, expected, "{} {path}: {}", route.method, answer.text);
                asked += 1;
            }
        }
        assert!(asked > 50, "{asked}");

        // The same in bodies and queries.
        for (name, parameter) in [("service_account", "account"), ("user", "user"), ("team", "team")] {
            let id = &our_ids[parameter];
            let given = theirs.post("/api/v1/role_assignments", &json!({ name: id, "permissions": ["nodes.read"] })).await;
            assert_eq!(given.problem().0, 404, "{name}");
            assert_eq!(theirs.get(&format!("/api/v1/role_assignments?{name}={id}")).await.problem().0, 404, "{name}");
            assert_eq!(theirs.get(&format!("/api/v1/access?principal={id}")).await.problem().0, 404, "{name}");
            if name != "team" {
                assert_eq!(theirs.post("/api/v1/teams/ops/members", &json!({ name: id })).await.problem().0, 404, "{name}");
                assert_eq!(theirs.get(&format!("/api/v1/teams?{name}={id}")).await.problem().0, 404, "{name}");
            }
        }
        let bodies = [
            ("/api/v1/role_assignments", json!({ "service_account": "ci", "role": our_ids["role"], "workspace": "prod" })),
            ("/api/v1/role_assignments", json!({ "service_account": "ci", "permissions": ["nodes.read"], "workspace": our_ids["workspace"] })),
            ("/api/v1/role_assignments", json!({ "service_account": "ci", "permissions": ["nodes.read"], "workspace": "prod", "project": our_ids["project"] })),
            ("/api/v1/service_accounts", json!({ "name": "new", "permissions": ["nodes.read"], "workspace": our_ids["workspace"] })),
        ];
        for (path, body) in bodies {
            assert_eq!(theirs.post(path, &body).await.problem().0, 404, "{body}");
        }
        for query in ["role_assignments?role={role}", "role_assignments?workspace={workspace}", "access?principal=ci&workspace={workspace}"] {
            let query = our_ids.iter().fold(query.to_owned(), |query, (name, id)| query.replace(&format!("{{{name}}}"), id));
            assert_eq!(theirs.get(&format!("/api/v1/{query}")).await.problem().0, 404, "{query}");
        }
        let labelled = theirs.get("/api/v1/service_accounts?label=team=data").await.expect(200);
        assert_eq!(labelled["items"].as_array().unwrap().iter().map(|it| &it["id"]).collect::<Vec<_>>(), [&json!(their_ids["account"])]);

        // By name it is always one's own.
        for (name, path) in [("account", "service_accounts/ci"), ("workspace", "workspaces/prod"), ("team", "teams/ops"), ("role", "roles/reporter"), ("permission", "permissions/reports.read")] {
            assert_eq!(theirs.get(&format!("/api/v1/{path}")).await.expect(200)["id"], json!(their_ids[name]));
        }
        assert_eq!(everything(&ours).await, before);
        // Nor does the list of organizations say that there are others.
        let organizations = theirs.get("/api/v1/organizations").await.expect(200);
        assert_eq!(organizations["items"].as_array().unwrap().len(), 1);
    }

    async fn a_credential_of_another_organization_is_not_explained(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (theirs, _) = furnish(&app, "two").await;
        for credential in [app.admin_key().to_owned(), app.anyone().login(app.admin_key()).await.token()] {
            let answer = theirs.post("/api/v1/explain", &json!({ "credential": credential })).await.expect(200);
            assert_eq!((&answer["works"], &answer["code"], &answer["principal"]), (&json!(false), &json!("unknown"), &Value::Null));
        }
    }
}
