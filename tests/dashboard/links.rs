//! What is offered is not refused: every link of every page, for everyone who holds something.

use std::collections::{BTreeMap, BTreeSet};

use hourpass::domain::permission::HOURPASS;
use hourpass::domain::role::BUILT_IN;
use hourpass::http::PAGES;
use serde_json::{Value, json};

use super::{lacks, page};
use crate::support::{Client, Engine, TestApp};

async fn made(admin: &Client, path: &str, body: Value) -> Value {
    admin.post(&format!("/api/v1/{path}"), &body).await.expect(201)
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

/// One or more of everything, given and done: what the parameters of the pages' paths may be.
async fn populate(app: &TestApp) -> BTreeMap<&'static str, String> {
    let admin = app.admin_client();
    let workspace = id(&admin.get("/api/v1/workspaces/default").await.expect(200));
    let project = id(&made(&admin, &format!("workspaces/{workspace}/projects"), json!({ "slug": "churn", "name": "Churn" })).await);
    let permission = id(&made(&admin, "permissions", json!({ "name": "reports.publish" })).await);
    let account = made(&admin, "service_accounts", json!({ "name": "ci", "default_key": true, "expires_in_days": 20 })).await;
    let team = id(&made(&admin, "teams", json!({ "name": "data" })).await);
    let user = id(&made(&admin, "users", json!({ "email": "ada@example.com" })).await);
    for member in [json!({ "service_account": "ci" }), json!({ "user": user })] {
        made(&admin, &format!("teams/{team}/members"), member).await;
    }
    let role = id(&made(&admin, "roles", json!({ "name": "Publisher", "level": "workspace", "permissions": ["reports.publish"] })).await);
    let mut assignment = String::new();
    for (kind, holder) in [("service_account", "ci"), ("user", &user), ("team", &team)] {
        let wanted = json!({ kind: holder, "permissions": ["reports.publish"], "workspace": workspace, "project": project });
        made(&admin, "role_assignments", wanted).await;
        assignment = id(&made(&admin, "role_assignments", json!({ kind: holder, "role": role, "workspace": workspace })).await);
    }
    let keys = format!("service_accounts/ci/api_keys/{}", account["api_key_id"].as_str().unwrap());
    admin.post(&format!("/api/v1/{keys}/rotate"), &json!({ "retain_minutes": 60 })).await.expect(200);
    app.anyone().login(account["key"].as_str().unwrap()).await.expect(200);
    app.anyone().post_form("/auth/login", &[("password", account["key"].as_str().unwrap()), ("workspace", "nowhere")]).await;
    let key = account["api_key_id"].as_str().unwrap().to_owned();
    BTreeMap::from([
        ("{account}", id(&account)),
        ("{key}", key),
        ("{team}", team),
        ("{member}", user.clone()),
        ("{role}", role),
        ("{permission}", permission),
        ("{assignment}", assignment),
        ("{user}", user),
        ("{workspace}", workspace),
        ("{project}", project),
        ("{algorithm}", "ES256".to_owned()),
        ("{organization}", "default".to_owned()),
    ])
}

/// Where a page leads, by links and by forms that ask for something.
fn links(text: &str) -> BTreeSet<String> {
    let of = |mark: &'static str| text.split(mark).skip(1).filter_map(|rest| rest.split_once('"')).map(|(href, _)| href);
    let whole = |href: &str| href.split_once('#').map_or(href, |(path, _)| path).replace("&#38;", "&").replace("&amp;", "&");
    of("href=\"").filter(|href| href.starts_with('/') && !href.starts_with("/static/")).map(whole).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_linked_is_not_refused() {
    let app = TestApp::start(Engine::Sqlite).await;
    let parameters = populate(&app).await;
    let asked = |path: &str| parameters.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let paths: Vec<_> = PAGES.iter().filter(|spec| spec.method == "GET" && !spec.path.contains("{name}")).map(|spec| asked(spec.path)).collect();
    let mut visitors = vec![("nobody".to_owned(), app.anyone().with(&app.issue_key("default", "nobody", &[], None).await))];
    for (number, role) in BUILT_IN.iter().enumerate() {
        let (name, level) = (role.name.to_string(), role.level.to_string());
        let account = format!("visitor-{number}");
        let key = app.issue_key("default", &account, &[], None).await;
        let mut wanted = json!({ "service_account": account, "role": name });
        match level.as_str() {
            "workspace" => wanted["workspace"] = json!("default"),
            "project" => (wanted["workspace"], wanted["project"]) = (json!("default"), json!("churn")),
            _ => {}
        }
        if level != "platform" {
            made(&app.admin_client(), "role_assignments", wanted).await;
            visitors.push((name, app.anyone().with(&key)));
        }
    }
    for (number, built_in) in HOURPASS.iter().enumerate().filter(|(_, built_in)| built_in.narrowest.to_string() != "platform") {
        let account = format!("single-{number}");
        let key = app.issue_key("default", &account, &[], None).await;
        for (place, wanted) in [
            ("organization", json!({ "service_account": account, "permissions": [built_in.permission] })),
            ("workspace", json!({ "service_account": account, "permissions": [built_in.permission], "workspace": "default" })),
        ] {
            // Some can only be held in the whole organization.
            if place == "workspace" && built_in.narrowest.to_string() == "organization" {
                continue;
            }
            let given = made(&app.admin_client(), "role_assignments", wanted).await;
            let visitor = app.anyone().with(&key);
            refuses_no_link(&format!("{} in the {place}", built_in.permission), &visitor, &paths).await;
            let taken = app.admin_client().delete(&format!("/api/v1/role_assignments/{}", id(&given))).await;
            assert!(taken.status < 300, "{}", taken.text);
        }
    }
    for (name, visitor) in &visitors {
        refuses_no_link(name, visitor, &paths).await;
    }
}

/// No page that the visitor is shown leads to one that they are not.
async fn refuses_no_link(name: &str, visitor: &Client, paths: &[String]) {
    let (mut statuses, mut offered, mut refused) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for path in paths {
        let answer = visitor.get(path).await;
        statuses.insert(path.clone(), answer.status);
        if answer.status == 200 {
            offered.extend(links(&answer.text).into_iter().map(|link| (link, path.clone())));
        }
    }
    assert_eq!(statuses["/"], 200, "{name}");
    for (link, from) in offered {
        let status = match statuses.get(&link) {
            Some(status) => *status,
            None => visitor.get(&link).await.status,
        };
        if status == 403 {
            refused.insert(format!("{from} -> {link}"));
        }
    }
    assert!(refused.is_empty(), "{name} is offered, and refused: {refused:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_someone_who_may_less_cannot_do_is_not_offered() {
    let app = TestApp::start(Engine::Sqlite).await;
    let parameters = populate(&app).await;
    let admin = app.admin_client();
    let clerk = app.anyone().with(&app.issue_key("default", "clerk", &[], None).await);
    let permissions =
        ["users.read", "users.manage", "teams.read", "teams.manage", "service_accounts.read", "service_accounts.manage", "api_keys.manage"];
    made(&admin, "role_assignments", json!({ "service_account": "clerk", "permissions": permissions })).await;
    let (person, team) = (format!("/people/{}", parameters["{user}"]), format!("/teams/{}", parameters["{team}"]));
    let account = format!("/service-accounts/{}", parameters["{account}"]);
    let cases =
        [(person.clone(), "Invite anew"), (format!("{person}/edit"), "type=\"email\""), (team.clone(), "Add to team"), (account.clone(), ">Extend<")];
    for (path, offer) in &cases {
        let (theirs, ours) = (clerk.get(path).await, admin.get(path).await);
        page(&theirs, 200);
        assert!(lacks(&theirs, offer), "{path} offers {offer}");
        assert!(ours.text.contains(offer), "{path} does not offer {offer}: {}", ours.text);
    }
    // What they may do is done, and what they may not is refused.
    let form = |email: &'static str| [("email", email), ("name", "Ada")];
    assert_eq!(clerk.post_form(&format!("{person}/edit"), &form("ada@example.com")).await.status, 303);
    page(&clerk.post_form(&format!("{person}/edit"), &form("eve@example.com")).await, 403);
    page(&clerk.post_form(&format!("{team}/members"), &[("kind", "service_account"), ("member", "clerk")]).await, 403);
    assert!(clerk.post_form(&format!("{person}/deactivate"), &[]).await.status == 303);
    assert!(lacks(&clerk.get(&person).await, ">Activate<") && lacks(&clerk.get(&person).await, "/activate\""));
    assert!(admin.get(&person).await.text.contains("/activate\""));
    // Of whoever may no more than they, all of it is theirs.
    let bob = made(&admin, "users", json!({ "email": "bob@example.com" })).await;
    let shown = clerk.get(&format!("/people/{}", id(&bob))).await;
    assert!(shown.text.contains("Invite anew"), "{}", shown.text);
}
