//! The OpenAPI page: who signs in there is signed in everywhere.

use serde_json::json;

use super::{cookie, start, with_cookie};
use crate::support::{Browser, TestApp};

/// Opens the dialogue, and signs in with it.
async fn authorize(browser: &Browser, username: &str, password: &str) {
    browser.press("Authorize").await;
    browser.fill("username:", username).await;
    browser.fill("password:", password).await;
    browser.press("Apply given OAuth2 credentials").await;
}

/// Calls `GET /users/me` with the page's own form, and returns what it shows.
async fn me(browser: &Browser) {
    browser.goto("/docs#/Sign%20in/me").await;
    browser.reload().await;
    browser.press("Execute").await;
}

async fn open(app: &TestApp) -> Browser {
    let browser = Browser::open(app).await;
    browser.goto("/docs").await;
    browser.has("/auth/login").await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_alone_signs_in_the_page_and_the_dashboard() {
    let app = start().await;
    let browser = open(&app).await;
    assert!(browser.cookies().await.is_empty());
    authorize(&browser, "", app.admin_key()).await;
    browser.has("Authorized").await;
    browser.screenshot("authorized").await;
    assert_eq!(with_cookie(&app, &cookie(&browser).await).await, (200, json!("bootstrap")));
    // Neither key nor token is kept where a script finds it.
    let kept = browser.ask("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])").await;
    assert!(!kept.as_str().unwrap().contains("hp_") && !kept.as_str().unwrap().contains("eyJ"), "{kept}");
    browser.reload().await;
    browser.has("/auth/login").await;
    browser.has("Signed in as bootstrap (BOT)").await;
    // A request's heading is a button, and the link to it stands within.
    browser.tolerate("nested-interactive");
    browser.looks_good("docs").await;
    me(&browser).await;
    browser.has("\"is_service_account\": true").await;
    browser.goto("/").await;
    browser.has("bootstrap").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_signs_in_as_well() {
    let app = start().await;
    let browser = open(&app).await;
    authorize(&browser, "admin@localhost", app.admin_password()).await;
    browser.has("Authorized").await;
    assert_eq!(with_cookie(&app, &cookie(&browser).await).await.0, 200);
    browser.goto("/").await;
    browser.has("admin@localhost").await;
    browser.press("Sign out").await;
    browser.has("API key or password").await;
    browser.goto("/docs").await;
    browser.has("/auth/login").await;
    assert!(browser.cookies().await.is_empty());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_refused_in_the_dialogue() {
    let app = start().await;
    let browser = open(&app).await;
    authorize(&browser, "", "hp_live_junk").await;
    browser.complained("status of 401").await;
    browser.has("invalid_grant").await;
    assert!(browser.cookies().await.is_empty());
    browser.close().await;
}
