//! Every page: looked at in both themes, wide and narrow, by keyboard, and without scripts.

use super::world::{crawl, kind, populate};
use super::{signed_in, start};
use crate::support::Browser;

/// Each of them at least is linked to from somewhere.
const PAGES: [&str; 20] = [
    "/",
    "/audit",
    "/organization",
    "/people",
    "/roles",
    "/service-accounts",
    "/service-accounts/new",
    "/service-accounts/{id}",
    "/service-accounts/{id}/deactivate",
    "/service-accounts/{id}/delete",
    "/service-accounts/{id}/keys/new",
    "/service-accounts/{id}/keys/{id}/delete",
    "/service-accounts/{id}/keys/{id}/rotate",
    "/sessions",
    "/signing-keys",
    "/teams",
    "/teams/{id}",
    "/workspaces",
    "/workspaces/{id}",
    "/roles/{id}",
];

fn name(path: &str) -> String {
    let name = kind(path).replace(['{', '}'], "").trim_matches('/').replace('/', "-");
    if name.is_empty() { "overview".to_owned() } else { name }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_looks_good_to_everyone() {
    let app = start().await;
    populate(&app, "").await;
    let browser = signed_in(&app).await;
    let look = async |path: &str| {
        // One heading says what the page is, and its title and the mark in the navigation say the same.
        assert_eq!(browser.texts("h1").await.len(), 1, "{path}");
        assert!(browser.title().await.len() > "Hourpass".len(), "{path}");
        browser.looks_good(&name(path)).await;
    };
    let kinds = crawl(&browser, 1, look).await;
    let missing: Vec<_> = PAGES.iter().filter(|page| !kinds.iter().any(|kind| kind == *page)).collect();
    assert!(missing.is_empty(), "nothing links to {missing:?}, only to {kinds:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_pages_say_what_to_do() {
    let app = start().await;
    let browser = signed_in(&app).await;
    let look = async |path: &str| {
        assert_eq!(browser.texts("h1").await.len(), 1, "{path}");
        browser.looks_good(&format!("empty-{}", name(path))).await;
    };
    crawl(&browser, 1, look).await;
    browser.goto("/service-accounts?search=nothing-is-called-so").await;
    browser.has("Nothing found").await;
    browser.goto("/teams").await;
    browser.has("No teams yet").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_says_so() {
    let app = start().await;
    let browser = signed_in(&app).await;
    browser.goto_refused("/nowhere", 404).await;
    browser.looks_good("nowhere").await;
    for path in ["/service-accounts/nobody", "/service-accounts/0198c0de-0000-7000-8000-000000000000", "/teams/nobody"] {
        browser.goto_refused(path, 404).await;
        browser.has("Request id").await;
        assert!(browser.offers("Sign out").await, "{path}");
    }
    browser.looks_good("not-there").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_makes_an_account() {
    let app = start().await;
    let browser = Browser::open(&app).await;
    browser.goto("/service-accounts/new").await;
    browser.tab_to("API key or password").await;
    browser.keyboard(app.admin_key()).await;
    browser.keyboard("Enter").await;
    browser.arrives("/service-accounts/new").await;
    // The first stop leads past the navigation.
    browser.keyboard("Tab").await;
    assert_eq!(browser.focused().await, "Skip to the contents");
    browser.keyboard("Enter").await;
    browser.tab_to("Name").await;
    browser.keyboard("by-keyboard").await;
    browser.tab_to("Create service account").await;
    browser.keyboard("Enter").await;
    browser.has("Your new API key").await;
    browser.tab_to("Copy").await;
    browser.keyboard("Enter").await;
    assert!(browser.clipboard().await.starts_with("hp_live_"));
    app.admin_client().get("/api/v1/service_accounts/by-keyboard").await.expect(200);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_scripts() {
    let app = start().await;
    populate(&app, "").await;
    let browser = Browser::without_scripts(&app.url).await;
    browser.sign_in_by_key(app.admin_key()).await;
    browser.arrives("/").await;
    browser.goto("/service-accounts/new").await;
    browser.fill("Name", "scriptless").await;
    browser.press("Create service account").await;
    browser.has("Your new API key").await;
    assert!(!browser.offers("Copy").await);
    let key = browser.texts("pre").await.remove(0);
    assert_eq!(app.anyone().login(&key).await.status, 200);
    browser.screenshot("key").await;
    crawl(&browser, 1, async |path: &str| assert_eq!(browser.texts("h1").await.len(), 1, "{path}")).await;
    browser.goto("/").await;
    browser.press("Sign out").await;
    browser.has("API key or password").await;
    browser.close().await;
}

/// On a phone the navigation is behind a button.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_is_wide_enough() {
    let app = start().await;
    populate(&app, "").await;
    let browser = signed_in(&app).await;
    browser.set_width(360).await;
    browser.reload().await;
    assert!(!browser.offers("Service accounts").await);
    browser.press("Menu").await;
    browser.axe().await;
    browser.screenshot("menu").await;
    browser.press("Service accounts").await;
    browser.arrives("/service-accounts").await;
    browser.press("ci-deploy").await;
    browser.has("ci-deploy").await;
    browser.close().await;
}
