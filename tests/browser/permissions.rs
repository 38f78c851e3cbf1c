//! What the visitor may not do is not offered, and is refused if tried.

use serde_json::json;

use super::world::{crawl, populate};
use super::{signed_in, start};
use crate::support::{Browser, TestApp};

/// Forms that change something, but for the visitor's own sign-ins.
async fn forms(browser: &Browser) -> Vec<String> {
    let script = "[...document.querySelectorAll('form[method=post]')].map((it) => new URL(it.getAttribute('action') ?? '', location.href).pathname)";
    let all: Vec<String> = serde_json::from_value(browser.ask(script).await).unwrap();
    all.into_iter().filter(|action| action != "/sign-out" && !action.starts_with("/sessions")).collect()
}

/// What is answered if the form is sent all the same, from a page of ours.
async fn sent(browser: &Browser, path: &str, fields: &str) -> u64 {
    let call =
        format!("fetch('{path}', {{ method: 'POST', body: new URLSearchParams('{fields}'), redirect: 'manual' }}).then((answer) => answer.status)");
    let status = browser.ask(&call).await.as_u64().unwrap();
    if status >= 400 {
        browser.complained(&format!("status of {status}")).await;
    }
    status
}

async fn visitor(app: &TestApp, permissions: &[&str]) -> Browser {
    let key = app.issue_key("default", "visitor", &[], None).await;
    if !permissions.is_empty() {
        app.admin_client().post("/api/v1/role_assignments", &json!({ "service_account": "visitor", "permissions": permissions })).await.expect(201);
    }
    let browser = Browser::open(app).await;
    browser.sign_in_by_key(&key).await;
    browser.arrives("/").await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_only_read_is_offered_nothing_else() {
    let app = start().await;
    let examples = populate(&app, "").await;
    let read = ["service_accounts.read", "teams.read", "roles.read", "users.read", "workspaces.read", "audit.read"];
    let browser = visitor(&app, &read).await;
    let kinds = crawl(&browser, &examples, async |path: &str| {
        let forms = forms(&browser).await;
        assert!(forms.is_empty(), "{path} offers {forms:?}");
    })
    .await;
    assert!(kinds.contains(&"/service-accounts/{id}".to_owned()), "{kinds:?}");
    browser.goto("/service-accounts").await;
    browser.has("ci-deploy").await;
    assert!(!browser.offers("New service account").await);
    browser.screenshot("list").await;

    let account = app.admin_client().get("/api/v1/service_accounts/ci-deploy").await.expect(200)["id"].as_str().unwrap().to_owned();
    for path in ["/service-accounts/new".to_owned(), format!("/service-accounts/{account}/delete"), format!("/service-accounts/{account}/keys/new")] {
        browser.goto_refused(&path, 403).await;
        browser.has(".manage").await;
        assert_eq!(sent(&browser, &path, "name=tried&confirm=ci-deploy").await, 403, "{path}");
    }
    browser.looks_good("refused").await;
    app.admin_client().get("/api/v1/service_accounts/ci-deploy").await.expect(200);
    assert_eq!(app.admin_client().get("/api/v1/service_accounts/tried").await.status, 404);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_nothing_sees_who_they_are() {
    let app = start().await;
    populate(&app, "").await;
    let browser = visitor(&app, &[]).await;
    let kinds = crawl(&browser, &[], async |path: &str| assert!(forms(&browser).await.is_empty(), "{path}")).await;
    for page in ["/service-accounts", "/teams", "/roles", "/people", "/audit"] {
        assert!(!kinds.iter().any(|kind| kind.starts_with(page)), "{page} is offered");
        browser.goto_refused(page, 403).await;
        browser.lacks("ci-deploy").await;
    }
    browser.goto("/").await;
    browser.has("visitor").await;
    browser.looks_good("overview").await;
    browser.close().await;
}

/// With what one may do in one workspace, one makes accounts for that one alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_offered_to_give_what_they_do_not_hold() {
    let app = start().await;
    populate(&app, "").await;
    let browser = visitor(&app, &["service_accounts.manage", "service_accounts.read", "workspaces.read", "roles.read"]).await;
    let given = json!({ "service_account": "visitor", "role": "workspace-admin", "workspace": "pipelines" });
    app.admin_client().post("/api/v1/role_assignments", &given).await.expect(201);
    browser.goto("/service-accounts/new").await;
    browser.has("New service account").await;
    browser.lacks("Organization Admin").await;
    browser.screenshot("offer").await;
    let status = sent(&browser, "/service-accounts/new", "name=too-much&access=role&role=organization-admin&workspace=").await;
    assert!(status == 403 || status == 422, "{status}");
    assert_eq!(app.admin_client().get("/api/v1/service_accounts/too-much").await.status, 404);
    browser.close().await;
}

/// Two organizations on one server: links of one lead nowhere in the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_organizations_pages_are_not_there() {
    let app = start().await;
    populate(&app, "-ours").await;
    let account = app.admin_client().get("/api/v1/service_accounts/ci-deploy-ours").await.expect(200)["id"].as_str().unwrap().to_owned();
    app.create_organization("other").await;
    let key = app.issue_key("other", "stranger", &["organization-admin"], None).await;
    let browser = Browser::open(&app).await;
    browser.sign_in_by_key(&key).await;
    browser.arrives("/").await;
    crawl(&browser, &[], async |_: &str| browser.lacks("-ours").await).await;
    for page in ["", "/delete", "/deactivate", "/keys/new"] {
        browser.goto_refused(&format!("/service-accounts/{account}{page}"), 404).await;
    }
    browser.close().await;
    let own = signed_in(&app).await;
    own.goto(&format!("/service-accounts/{account}")).await;
    own.has("ci-deploy-ours").await;
    own.close().await;
}
