//! What a person does, in a real Chromium.
//!
//! The engine makes no difference to pages, so most of this is on SQLite alone; the walk through everything is on both.

mod docs;
mod forgery;
mod hostile;
mod machinery;
mod pages;
mod permissions;
mod session;
mod walks;
mod world;

use serde_json::Value;

use crate::support::{Browser, Client, Engine, TestApp};

/// The cookie of a session.
const COOKIE: &str = "hourpass";

async fn start() -> TestApp {
    TestApp::start(Engine::Sqlite).await
}

/// A browser in which the administrators' service account is signed in.
async fn signed_in(app: &TestApp) -> Browser {
    let browser = Browser::open(app).await;
    browser.sign_in_by_key(app.admin_key()).await;
    browser.arrives("/").await;
    browser
}

/// The content of the session's cookie.
async fn cookie(browser: &Browser) -> String {
    let cookie = browser.cookie(COOKIE).await.unwrap_or_else(|| panic!("there is no session's cookie"));
    cookie["value"].as_str().unwrap().to_owned()
}

/// What someone is answered who has nothing but this content of a cookie: the status, and who they are.
async fn with_cookie(app: &TestApp, cookie: &str) -> (u16, Value) {
    let answer = app.anyone().get_with("/users/me", &[("cookie", &format!("{COOKIE}={cookie}"))]).await;
    (answer.status, answer.json()["name"].clone())
}

/// A person with a password and these permissions in the organization.
async fn person(admin: &Client, email: &str, password: &str, permissions: &[&str]) {
    let made = admin.post("/api/v1/users", &serde_json::json!({ "email": email })).await.expect(201);
    let accepted = serde_json::json!({ "invitation": made["invitation"], "password": password });
    admin.post("/api/v1/invitations/accept", &accepted).await.expect(200);
    if !permissions.is_empty() {
        admin.post("/api/v1/role_assignments", &serde_json::json!({ "user": email, "permissions": permissions })).await.expect(201);
    }
}
