//! Forms for changes: what several people do at once, what a form does not have, and where one goes on.

use serde_json::{Value, json};

use super::{lacks, page};
use crate::support::{Answer, Client, TestApp, on_both_engines};

/// What the form says that it shows.
async fn shown(client: &Client, path: &str) -> String {
    let form = client.get(path).await;
    page(&form, 200);
    let (_, rest) = form.text.split_once("name=\"shown\" value=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[track_caller]
fn went_on(answer: &Answer, path: &str) {
    assert_eq!((answer.status, answer.header("location").split('?').next().unwrap()), (303, path), "{}", answer.text);
}

async fn made(client: &Client, path: &str, body: Value) -> String {
    client.post(path, &body).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// A stale form changes what was changed in it only; what it lacks stays.
async fn keeps(admin: &Client, page: &str, api: &str, old: (&'static str, &str), meanwhile: Value, new: (&'static str, &str)) {
    let edit = if page == "/organization" { page.to_owned() } else { format!("{page}/edit") };
    let seen = shown(admin, &edit).await;
    admin.patch(api, &meanwhile).await.expect(200);
    let sent = admin.post_form(&edit, &[("shown", &seen), old, new]).await;
    assert_eq!(sent.status, 303, "{edit}: {}", sent.text);
    let now = admin.get(api).await.expect(200);
    for (field, value) in meanwhile.as_object().unwrap() {
        assert_eq!(&now[field], value, "{edit} {field}");
    }
    assert_eq!(now[new.0], new.1, "{edit}");
    // Neither does a form that has nothing.
    assert_eq!(admin.post_form(&edit, &[]).await.status, 303);
    assert_eq!(admin.get(api).await.expect(200), now, "{edit}");
}

on_both_engines! {
    async fn a_stale_form_brings_nothing_back(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        app.issue_key("default", "ci", &[], None).await;
        let account = admin.get("/api/v1/service_accounts/ci").await.expect(200)["id"].as_str().unwrap().to_owned();
        let (account, api) = (format!("/service-accounts/{account}"), "/api/v1/service_accounts/ci");
        admin.patch(api, &json!({ "labels": { "a": "b" }, "claims": { "https://example.com/a": 1 } })).await.expect(200);
        let meanwhile = json!({ "description": "new", "labels": { "c": "d" }, "claims": { "https://example.com/a": 2 } });
        keeps(&admin, &account, api, ("labels", "a=b"), meanwhile, ("name", "ci")).await;
        let team = made(&admin, "/api/v1/teams", json!({ "name": "data", "description": "old" })).await;
        keeps(&admin, &format!("/teams/{team}"), &format!("/api/v1/teams/{team}"), ("description", "old"), json!({ "description": "new" }), ("name", "d")).await;
        let user = made(&admin, "/api/v1/users", json!({ "email": "ada@example.com", "name": "Ada" })).await;
        keeps(&admin, &format!("/people/{user}"), &format!("/api/v1/users/{user}"), ("name", "Ada"), json!({ "name": "Ada L." }), ("email", "a@example.com")).await;
        let role = made(&admin, "/api/v1/roles", json!({ "name": "r", "level": "workspace", "permissions": ["nodes.read", "secrets.read"] })).await;
        let edit = format!("/roles/{role}/edit");
        let seen = shown(&admin, &edit).await;
        let api = format!("/api/v1/roles/{role}");
        admin.patch(&api, &json!({ "permissions": ["nodes.read"] })).await.expect(200);
        let boxes = [("permissions", "nodes.read"), ("permissions", "secrets.read")];
        let form = [&[("shown", &*seen), ("name", "s")], &boxes[..]].concat();
        went_on(&admin.post_form(&edit, &form).await, &format!("/roles/{role}"));
        let now = admin.get(&api).await.expect(200);
        assert_eq!((&now["name"], &now["permissions"]), (&json!("s"), &json!(["nodes.read"])));
        let workspace = made(&admin, "/api/v1/workspaces", json!({ "slug": "lab", "labels": { "a": "b" }, "url": "https://lab.example.com" })).await;
        let (path, api) = (format!("/workspaces/{workspace}"), format!("/api/v1/workspaces/{workspace}"));
        let meanwhile = json!({ "labels": { "c": "d" }, "url": "https://new.example.com", "token_lifetime_seconds": 60 });
        keeps(&admin, &path, &api, ("labels", "a=b"), meanwhile, ("name", "Lab")).await;
        let project = made(&admin, &format!("{api}/projects"), json!({ "slug": "web", "description": "old" })).await;
        let meanwhile = json!({ "description": "new" });
        keeps(&admin, &format!("{path}/projects/{project}"), &format!("{api}/projects/{project}"), ("description", "old"), meanwhile, ("name", "Web")).await;
        let policy = json!({ "api_key_max_days": 60, "api_key_default_days": 30 });
        keeps(&admin, "/organization", "/api/v1/organizations/default", ("api_key_max_days", ""), policy, ("name", "Acme")).await;
        let entry = made(&admin, "/api/v1/permissions", json!({ "name": "cats.feed", "description": "old" })).await;
        went_on(&admin.post_form(&format!("/permissions/{entry}/edit"), &[]).await, "/permissions");
        assert_eq!(admin.get("/api/v1/permissions/cats.feed").await.expect(200)["description"], "old");
        let key = admin.get("/api/v1/service_accounts/ci/api_keys").await.expect(200)["items"][0].clone();
        let edit = format!("{account}/keys/{}/edit", key["id"].as_str().unwrap());
        let seen = shown(&admin, &edit).await;
        admin.patch(&format!("/api/v1/service_accounts/ci/api_keys/{}", key["id"].as_str().unwrap()), &json!({ "name": "new" })).await.expect(200);
        let form = [("shown", &*seen), ("name", key["name"].as_str().unwrap()), ("expires", "30")];
        went_on(&admin.post_form(&edit, &form).await, &account);
        assert_eq!(admin.get("/api/v1/service_accounts/ci/api_keys").await.expect(200)["items"][0]["name"], "new");
    }

    async fn two_changes_of_a_set_do_not_undo_each_other(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let role = made(&admin, "/api/v1/roles", json!({ "name": "r", "level": "workspace", "permissions": ["nodes.read", "secrets.read"] })).await;
        let workspace = made(&admin, "/api/v1/workspaces", json!({ "slug": "lab", "labels": { "a": "b" } })).await;
        let account = made(&admin, "/api/v1/service_accounts", json!({ "name": "ci", "claims": { "https://example.com/a": 1 } })).await;
        let table = [
            ("roles", "roles", role, "permissions", json!(["nodes.read"]), "secrets.read"),
            ("workspaces", "workspaces", workspace, "labels", json!({ "c": "d" }), "a=b\r\ne=f"),
            ("service-accounts", "service_accounts", account, "claims", json!({ "https://example.com/a": 2 }), "{\"https://example.com/a\": 3}"),
        ];
        for (page_of, api, id, field, meanwhile, entered) in table {
            let (edit, api) = (format!("/{page_of}/{id}/edit"), format!("/api/v1/{api}/{id}"));
            let seen = shown(&admin, &edit).await;
            admin.patch(&api, &json!({ field: meanwhile })).await.expect(200);
            let again = admin.post_form(&edit, &[("shown", &seen), ("name", "other"), (field, entered)]).await;
            page(&again, 409);
            assert!(again.text.contains("were changed by someone else meanwhile; look at them again.") && again.text.contains("value=\"other\""), "{}", again.text);
            let now = admin.get(&api).await.expect(200);
            assert_eq!((&now[field], &now["name"] == "other"), (&meanwhile, false));
            // What was shown now can be changed.
            let (_, rest) = again.text.split_once("name=\"shown\" value=\"").unwrap();
            let seen = rest.split_once('"').unwrap().0;
            assert_eq!(admin.post_form(&edit, &[("shown", seen), ("name", "other"), (field, entered)]).await.status, 303);
            assert_ne!(admin.get(&api).await.expect(200)[field], meanwhile);
        }
        // All boxes taken away is a change; no boxes in a form that shows none is not.
        let roles = admin.get("/api/v1/roles").await.expect(200);
        let own = roles["items"].as_array().unwrap().iter().find(|role| role["name"] == "other").unwrap()["id"].as_str().unwrap().to_owned();
        let edit = format!("/roles/{own}/edit");
        let seen = shown(&admin, &edit).await;
        page(&admin.post_form(&edit, &[("shown", &*seen), ("name", "other")]).await, 422);
    }

    async fn who_may_not_read_goes_on_to_the_overview(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let maker = app.anyone().with(&app.issue_key("default", "maker", &[], None).await);
        let permissions = ["service_accounts.manage", "teams.manage", "users.manage", "workspaces.manage"];
        admin.post("/api/v1/role_assignments", &json!({ "service_account": "maker", "permissions": permissions })).await.expect(201);
        went_on(&maker.post_form("/service-accounts/new", &[("name", "x")]).await, "/");
        went_on(&maker.post_form("/teams/new", &[("name", "x")]).await, "/");
        went_on(&maker.post_form("/workspaces/new", &[("slug", "x")]).await, "/");
        assert!(maker.get("/?notice=created").await.text.contains("Created."));
        let refused = maker.get("/teams?notice=created").await;
        page(&refused, 403);
        assert!(lacks(&refused, "Created."));
    }

    async fn what_is_not_possible_is_said_where_it_was_asked(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let used = admin.post_form("/organizations/default/delete", &[]).await;
        page(&used, 409);
        assert!(used.text.contains("Nothing was done.") && used.text.contains("button danger"), "{}", used.text);
        page(&admin.get("/signing-keys/RS256/withdraw").await, 404);
        let made = admin.post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let key = format!("/service-accounts/{}/keys/{}", made["id"].as_str().unwrap(), made["api_key_id"].as_str().unwrap());
        for of in ["junk", "1"] {
            page(&admin.post_form(&format!("{key}/rotate"), &[("of", of), ("retain", "0")]).await, 400);
        }
        assert_eq!(app.anyone().login(made["key"].as_str().unwrap()).await.status, 200);
        assert_eq!(admin.post_form(&format!("{key}/compromised"), &[]).await.status, 303);
        let refused = admin.post_form(&format!("{key}/activate"), &[]).await;
        page(&refused, 409);
        assert!(refused.text.contains("Activate default?") && refused.text.contains("Nothing was done."), "{}", refused.text);
        // Labels instead of names of the API, and nothing of its paths.
        let policy = admin.post_form("/organization", &[("api_key_max_days", "x")]).await;
        assert!(policy.text.contains("The maximum must be a number of days") && lacks(&policy, "Api key"));
    }
}
