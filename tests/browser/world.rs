//! An organization with something on every page, and a visitor who follows every link.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};

use crate::support::{Answer, Browser, Client, TestApp};

/// Makes one or more of everything. `mark` is in each text that people write, as long as there is room for it in a name.
/// Returns the paths of what it made.
pub(super) async fn populate(app: &TestApp, mark: &str) -> Vec<String> {
    let admin = app.admin_client();
    let text = |text: &str| format!("{text}{mark}");
    let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
    let make = async |path: &str, body: Value| admin.post(&format!("/api/v1/{path}"), &body).await.expect(201);

    let workspace =
        json!({ "slug": "pipelines", "name": text("Pipelines"), "url": "https://pipelines.example.com", "labels": { "stage": text("production") } });
    let workspace = id(&make("workspaces", workspace).await);
    let project = json!({ "slug": "churn", "name": text("Churn"), "description": text("Who is about to leave.") });
    let project = id(&make(&format!("workspaces/{workspace}/projects"), project).await);
    let permission = id(&make("permissions", json!({ "name": "reports.publish", "description": text("Show a report to everyone.") })).await);
    let role =
        json!({ "name": text("Publisher"), "level": "workspace", "permissions": ["reports.publish"], "description": text("Publishes reports.") });
    let role = id(&make("roles", role).await);
    let team = id(&make("teams", json!({ "name": text("Data"), "description": text("Whoever works with data.") })).await);
    make("role_assignments", json!({ "team": team, "role": role, "workspace": workspace })).await;
    let person = |made: &Value| made["user"]["id"].as_str().or(made["id"].as_str()).unwrap().to_owned();
    let ada = person(&make("users", json!({ "email": "ada@example.com", "name": text("Ada Lovelace") })).await);
    make(&format!("teams/{team}/members"), json!({ "user": ada })).await;
    let bob = person(&make("users", json!({ "email": "bob@example.com" })).await);
    admin.patch(&format!("/api/v1/users/{bob}"), &json!({ "active": false })).await.expect(200);
    if !mark.is_empty() {
        let no_spaces: String = mark.split_whitespace().collect();
        make("users", json!({ "email": format!("{no_spaces}@example.com") })).await;
    }

    let deploy = json!({
        "name": text("ci-deploy"), "description": text("Deploys what was merged."), "labels": { "owner": text("platform") },
        "workspace": workspace, "permissions": ["reports.publish"], "default_key": true, "expires_in_days": 20,
    });
    let deploy = make("service_accounts", deploy).await;
    make(&format!("teams/{team}/members"), json!({ "service_account": deploy["id"] })).await;
    let keys = format!("service_accounts/{}/api_keys", id(&deploy));
    make(&keys, json!({ "name": text("backup") })).await;
    let night = make("service_accounts", json!({ "name": text("nightly"), "default_key": true })).await;
    admin.patch(&format!("/api/v1/service_accounts/{}", id(&night)), &json!({ "active": false })).await.expect(200);
    admin.patch("/api/v1/organizations/default", &json!({ "name": text("Example") })).await.expect(200);

    // Keys are used, by programs that say what they are; one is rotated, and used on; some are refused.
    let caller = Agent { client: app.anyone(), name: text("deployer/1.0 ") };
    let first = deploy["key"].as_str().unwrap();
    caller.exchange(first, "pipelines").await;
    app.clock.advance_seconds(7200);
    let rotate = format!("/api/v1/{keys}/{}/rotate", deploy["api_key_id"].as_str().unwrap());
    let rotated = admin.post(&rotate, &json!({ "retain_minutes": 60 })).await.expect(200);
    app.clock.advance_seconds(180);
    caller.exchange(first, "pipelines").await;
    caller.exchange(rotated["key"].as_str().unwrap(), "pipelines").await;
    caller.exchange(night["key"].as_str().unwrap(), "pipelines").await;
    app.anyone().post_form("/auth/login", &[("username", &text("nobody@example.com")), ("password", "wrong")]).await;
    app.clock.advance_seconds(60);
    let workspace = format!("/workspaces/{workspace}");
    vec![
        format!("{workspace}/projects/{project}"),
        workspace,
        format!("/roles/{role}"),
        format!("/teams/{team}"),
        format!("/people/{ada}"),
        format!("/people/{bob}"),
        format!("/permissions/{permission}/edit"),
        format!("/permissions/{permission}/delete"),
        format!("/service-accounts/{}", id(&deploy)),
        format!("/service-accounts/{}", id(&night)),
    ]
}

/// A program that calls itself something.
struct Agent {
    client: Client,
    name: String,
}

impl Agent {
    async fn exchange(&self, key: &str, workspace: &str) {
        let request = self.client.request(reqwest::Method::POST, "/auth/login").header("user-agent", &self.name);
        Answer::of(request.form(&[("password", key), ("workspace", workspace)])).await;
    }
}

/// The path without what differs between pages of one kind.
pub(super) fn kind(path: &str) -> String {
    let bare = path.split(['?', '#']).next().unwrap_or_default();
    let parts = bare.split('/').map(|part| if uuid::Uuid::parse_str(part).is_ok() { "{id}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Follows every link that pages offer, to one page of a kind, and calls `visit` at each with its path. Each has to be there. Returns the kinds.
/// Of kinds that are among the `examples`, those are visited.
pub(super) async fn crawl(browser: &Browser, examples: &[String], visit: impl AsyncFn(&str)) -> Vec<String> {
    let mut kinds = BTreeSet::new();
    let mut seen = vec!["/".to_owned()];
    let mut waiting = VecDeque::from(seen.clone());
    while let Some(path) = waiting.pop_front() {
        let is_new = kinds.insert(kind(&path));
        let has_example = examples.iter().any(|example| kind(example) == kind(&path));
        if if has_example { !examples.contains(&path) } else { !is_new } {
            continue;
        }
        browser.goto(&path).await;
        assert_eq!(browser.status().await, 200, "{path} is offered, and says: {}", browser.text().await);
        visit(&path).await;
        for link in links(browser).await {
            if !seen.contains(&link) {
                seen.push(link.clone());
                waiting.push_back(link);
            }
        }
    }
    let missed: Vec<_> = examples.iter().filter(|example| kinds.contains(&kind(example)) && !seen.contains(example)).collect();
    assert!(missed.is_empty(), "nothing links to {missed:?}");
    kinds.into_iter().collect()
}

/// Paths of our own pages that this one links to. The OpenAPI page is someone else's, and a download is no page.
async fn links(browser: &Browser) -> Vec<String> {
    let script = "[...document.querySelectorAll('a[href]:not([download])')].filter((it) => it.origin === location.origin).map((it) => it.pathname + it.search)";
    let all: Vec<String> = serde_json::from_value(browser.ask(script).await).unwrap();
    all.into_iter().filter(|path| !path.starts_with("/docs") && !path.contains("export")).collect()
}
