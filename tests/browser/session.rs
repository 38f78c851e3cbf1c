//! Signing in and out, what a session's cookie is, and what it is worth to someone else.

use serde_json::json;

use super::{cookie, person, signed_in, start, with_cookie};
use crate::support::Browser;

const PASSWORD: &str = "correct horse battery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_signs_in_to_where_one_was_going() {
    let app = start().await;
    let browser = Browser::open(&app).await;
    browser.goto("/service-accounts?search=boot").await;
    assert!(browser.path().await.starts_with("/sign-in?next="), "{}", browser.path().await);
    browser.looks_good("sign-in").await;
    browser.fill("API key or password", app.admin_key()).await;
    browser.press("Sign in").await;
    browser.arrives("/service-accounts?search=boot").await;
    browser.has("bootstrap").await;
    browser.has("BOT").await;

    let cookie = browser.cookie(super::COOKIE).await.unwrap();
    let attributes = ["httpOnly", "sameSite", "path", "secure", "session"].map(|name| cookie[name].clone());
    assert_eq!(attributes, [json!(true), json!("Lax"), json!("/"), json!(false), json!(false)]);
    let value = cookie["value"].as_str().unwrap();
    assert!(value.starts_with("hp_session_") && !value.contains('.') && value != app.admin_key(), "{value}");
    assert_eq!(browser.ask("document.cookie").await, "");
    assert_eq!(browser.cookies().await.len(), 1);
    assert_eq!(browser.ask("localStorage.length + sessionStorage.length").await, 0);

    browser.reload().await;
    browser.has("bootstrap").await;
    browser.press("Sign out").await;
    browser.has("Sign in").await;
    assert!(browser.cookie(super::COOKIE).await.is_none());
    browser.goto("/service-accounts").await;
    assert!(browser.path().await.starts_with("/sign-in"));
    // Nor does going back show what was there.
    browser.back().await;
    browser.has("Sign in").await;
    browser.lacks("bootstrap").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_signs_in_and_a_wrong_one_says_no_more_than_that() {
    let app = start().await;
    let browser = Browser::open(&app).await;
    for (email, password) in [("admin@localhost", "wrong"), ("nobody@example.com", "wrong"), ("", "hp_live_junk")] {
        browser.sign_in(email, password).await;
        browser.refused(401).await;
        assert_eq!(browser.value("Email address").await, email);
        assert_eq!(browser.value("API key or password").await, "");
        assert!(browser.cookies().await.is_empty());
    }
    browser.axe().await;
    browser.screenshot("refused").await;
    browser.sign_in("admin@localhost", app.admin_password()).await;
    browser.arrives("/").await;
    browser.has("admin@localhost").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_cookie_ends_with_the_session() {
    let app = start().await;
    let browser = signed_in(&app).await;
    let stolen = cookie(&browser).await;
    assert_eq!(with_cookie(&app, &stolen).await, (200, json!("bootstrap")));
    browser.press("Sign out").await;
    browser.has("Sign in").await;
    assert_eq!(with_cookie(&app, &stolen).await.0, 401);

    // Signed in twice, one session ends the other.
    browser.sign_in_by_key(app.admin_key()).await;
    browser.arrives("/").await;
    let elsewhere = cookie(&browser).await;
    browser.forget_cookies().await;
    browser.sign_in_by_key(app.admin_key()).await;
    browser.arrives("/").await;
    browser.goto("/sessions").await;
    browser.has("this one").await;
    browser.looks_good("sessions").await;
    assert_eq!(with_cookie(&app, &elsewhere).await.0, 200);
    browser.press("End all others").await;
    browser.has("count no more").await;
    browser.press("End all other sessions").await;
    browser.has("All other sessions are ended.").await;
    assert_eq!(with_cookie(&app, &elsewhere).await.0, 401);
    assert_eq!(with_cookie(&app, &cookie(&browser).await).await.0, 200);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_cookie_is_not_the_one_that_is_signed_in() {
    let app = start().await;
    let browser = Browser::open(&app).await;
    // One that nobody has been given, and one that is somebody's.
    let made_up = format!("hp_session_{}", "A".repeat(49));
    let key = app.issue_key("default", "attacker", &[], None).await;
    browser.sign_in_by_key(&key).await;
    browser.has("attacker").await;
    let attackers = cookie(&browser).await;
    for planted in [made_up, attackers] {
        browser.forget_cookies().await;
        // Whoever is signed in is not asked to sign in, so the form is there before.
        browser.goto("/sign-in").await;
        browser.set_cookie(super::COOKIE, &planted).await;
        browser.fill("API key or password", app.admin_key()).await;
        browser.press("Sign in").await;
        browser.arrives("/").await;
        browser.has("bootstrap").await;
        assert_ne!(cookie(&browser).await, planted);
        assert_ne!(with_cookie(&app, &planted).await.1, "bootstrap");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_leads_to_our_own_pages_only() {
    let app = start().await;
    let browser = Browser::open(&app).await;
    let elsewhere = [
        "https://stranger.example/",
        "//stranger.example/",
        "///stranger.example/",
        "/\\stranger.example/",
        "\\\\stranger.example/",
        "/%5Cstranger.example/",
        "/\t/stranger.example/",
        "/%09/stranger.example/",
        "/\n/stranger.example/",
        " //stranger.example/",
        "/..//stranger.example/",
        "/.//stranger.example/",
        "javascript:document.title='stranger'",
        "data:text/html,stranger",
        "@stranger.example",
        ".stranger.example",
        "http:stranger.example",
        "/teams//../..//stranger.example",
    ];
    for next in elsewhere {
        let encoded = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
        browser.goto(&format!("/sign-in?next={encoded}")).await;
        browser.fill("API key or password", app.admin_key()).await;
        browser.press("Sign in").await;
        browser.leaves("/sign-in").await;
        let url = browser.current_url().await;
        assert!(url.starts_with(&format!("{}/", app.url)), "{next:?} led to {url}");
        // A path of ours that does not exist is a harmless end.
        let path = browser.path().await;
        if path != "/" {
            browser.refused(404).await;
        }
        browser.forget_cookies().await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lasts_an_hour_and_longer_while_it_is_used() {
    let app = start().await;
    let browser = signed_in(&app).await;
    for _ in 0..5 {
        app.clock.advance_seconds(2400);
        browser.goto("/service-accounts").await;
        browser.has("bootstrap").await;
    }
    app.clock.advance_seconds(3600);
    browser.reload().await;
    browser.has("Sign in").await;

    browser.sign_in_by_key(app.admin_key()).await;
    browser.arrives("/").await;
    // Up to twelve hours.
    for _ in 0..17 {
        app.clock.advance_seconds(2400);
        browser.reload().await;
        browser.has("Sign out").await;
    }
    app.clock.advance_seconds(2400);
    browser.reload().await;
    browser.has("Sign in").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_the_account_the_key_and_the_password() {
    let app = start().await;
    let admin = app.admin_client();
    let key = app.issue_key("default", "worker", &["organization-auditor"], None).await;
    let browser = Browser::open(&app).await;
    browser.sign_in_by_key(&key).await;
    browser.arrives("/").await;
    admin.patch("/api/v1/service_accounts/worker", &json!({ "active": false })).await.expect(200);
    browser.reload().await;
    browser.has("API key or password").await;
    // Nor does activating it again revive what was before.
    admin.patch("/api/v1/service_accounts/worker", &json!({ "active": true })).await.expect(200);
    browser.goto("/").await;
    browser.has("API key or password").await;

    browser.sign_in_by_key(&key).await;
    browser.arrives("/").await;
    let keys = admin.get("/api/v1/service_accounts/worker/api_keys").await.expect(200);
    let id = keys["items"][0]["id"].as_str().unwrap();
    admin.delete(&format!("/api/v1/service_accounts/worker/api_keys/{id}")).await;
    browser.reload().await;
    browser.has("API key or password").await;

    person(&admin, "ada@example.com", PASSWORD, &["service_accounts.read"]).await;
    browser.sign_in("ada@example.com", PASSWORD).await;
    browser.arrives("/").await;
    let ada = app.anyone().with(&app.anyone().post_form("/auth/login", &[("username", "ada@example.com"), ("password", PASSWORD)]).await.token());
    let change = json!({ "old_password": PASSWORD, "password": "another horse battery" });
    assert!(ada.post("/users/me/password", &change).await.status < 300);
    browser.reload().await;
    browser.has("API key or password").await;
    browser.close().await;
}
