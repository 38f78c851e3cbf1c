//! What another site can have a signed-in browser do: nothing.

use serde_json::json;

use super::{cookie, signed_in, start, with_cookie};
use crate::support::{Browser, Elsewhere, TestApp};

/// A page that sends a form as soon as it is opened.
fn sends(action: &str, encoding: &str, fields: &[(&str, &str)]) -> String {
    let inputs =
        fields.iter().map(|(name, value)| format!("<input name='{name}' value='{value}'>")).fold(String::new(), |all, input| all + input.as_str());
    format!(
        "<!doctype html><link rel=icon href='data:,'><form id=it method=post action='{action}' enctype='{encoding}'>{inputs}</form><script>document.getElementById('it').submit()</script>"
    )
}

async fn accounts(app: &TestApp) -> usize {
    app.admin_client().get("/api/v1/service_accounts").await.expect(200)["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_others_change_nothing() {
    let app = start().await;
    let site = Elsewhere::start().await;
    let browser = signed_in(&app).await;
    let (mine, before) = (cookie(&browser).await, accounts(&app).await);
    // One is another origin of the same site, to which the browser sends the cookie; to another site it does not, so from there it is nobody who asks.
    for (origin, nobody) in [(&site.url, false), (&site.foreign_url, true)] {
        browser.may_ask(origin);
        let sent = async |path: &str, encoding: &str, fields: &[(&str, &str)]| {
            site.put("/form", &sends(&format!("{}{path}", app.url), encoding, fields));
            browser.goto(&format!("{origin}/form")).await;
        };
        for encoding in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"] {
            for path in ["/service-accounts/new", "/sign-out"] {
                sent(path, encoding, &[("name", "forged")]).await;
                if nobody {
                    // Sent on, and from there on as who they are, to where there is nothing of what the form said.
                    browser.arrives_within("/").await;
                    assert_eq!(browser.status().await, 200, "{path}");
                    browser.lacks("forged").await;
                } else {
                    browser.arrives(path).await;
                    browser.refused(403).await;
                }
            }
        }
        let path = "/api/v1/service_accounts";
        sent(path, "text/plain", &[(r#"{"name":"forged","description":""#, r#""}"#)]).await;
        browser.arrives(path).await;
        browser.refused(if nobody { 401 } else { 403 }).await;
    }
    assert_eq!(accounts(&app).await, before);
    assert_eq!(with_cookie(&app, &mine).await, (200, json!("bootstrap")));
    browser.goto("/service-accounts").await;
    browser.has("bootstrap").await;
    browser.lacks("forged").await;
    browser.close().await;
}

/// Whoever has someone sign in as another may learn what they then enter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_others_sign_nobody_in() {
    let app = start().await;
    let site = Elsewhere::start().await;
    let key = app.issue_key("default", "attacker", &[], None).await;
    let browser = Browser::open(&app).await;
    for origin in [&site.url, &site.foreign_url] {
        browser.may_ask(origin);
        for (path, fields) in [("/sign-in", &[("username", ""), ("password", key.as_str())][..]), ("/auth/login", &[("password", key.as_str())])] {
            site.put("/in", &sends(&format!("{}{path}", app.url), "application/x-www-form-urlencoded", fields));
            browser.goto(&format!("{origin}/in")).await;
            browser.arrives(path).await;
            assert!(browser.cookies().await.is_empty(), "{origin} {path}");
            if path == "/sign-in" {
                browser.refused(403).await;
            }
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_others_do_and_read_nothing() {
    let app = start().await;
    let site = Elsewhere::start().await;
    let browser = signed_in(&app).await;
    let before = accounts(&app).await;
    for origin in [&site.url, &site.foreign_url] {
        browser.may_ask(origin);
        site.put("/", "<!doctype html><link rel=icon href='data:,'><title>elsewhere</title>");
        browser.goto(&format!("{origin}/")).await;
        let calls = [
            ("GET", "/users/me", "undefined", "{}"),
            ("GET", "/", "undefined", "{}"),
            ("POST", "/api/v1/service_accounts", r#"'{"name":"forged"}'"#, "{}"),
            ("POST", "/api/v1/service_accounts", r#"'{"name":"forged"}'"#, "{'content-type': 'application/json'}"),
            ("POST", "/service-accounts/new", "'name=forged'", "{'content-type': 'application/x-www-form-urlencoded'}"),
            ("DELETE", "/api/v1/service_accounts/bootstrap", "undefined", "{}"),
            ("PATCH", "/api/v1/service_accounts/bootstrap", r#"'{"active":false}'"#, "{'content-type': 'application/json'}"),
        ];
        for (method, path, body, headers) in calls {
            let options = format!("{{ method: '{method}', credentials: 'include', body: {body}, headers: {headers} }}");
            let read = browser.ask(&format!("fetch('{}{path}', {options}).then((answer) => answer.text(), () => 'unreadable')", app.url)).await;
            assert_eq!(read, "unreadable", "{origin} {method} {path}");
            // Sent without reading the answer, too.
            browser
                .ask(&format!("fetch('{}{path}', {{ ...{options}, mode: 'no-cors', headers: {{}} }}).then(() => 'sent', () => 'not sent')", app.url))
                .await;
        }
        assert_eq!(accounts(&app).await, before, "{origin}");
    }
    // Each of them was worth a complaint.
    assert!(!browser.console_errors().await.is_empty());
    browser.leave().await;
    let me = app.admin_client().get("/users/me").await.expect(200);
    assert_eq!(me["name"], "bootstrap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_shows_itself_within_another() {
    let app = start().await;
    let site = Elsewhere::start().await;
    let browser = signed_in(&app).await;
    for origin in [&site.url, &site.foreign_url] {
        browser.may_ask(origin);
        for path in ["/", "/sign-in", "/docs", "/service-accounts", "/users/me"] {
            site.put("/frame", &format!("<!doctype html><link rel=icon href='data:,'><iframe src='{}{path}'></iframe>", app.url));
            browser.goto(&format!("{origin}/frame")).await;
            browser.complained("frame-ancestors").await;
        }
        // Nor does a window that was opened know its opener, or may the opener look into it.
        site.put("/opener", "<!doctype html><link rel=icon href='data:,'><title>opener</title>");
        browser.goto(&format!("{origin}/opener")).await;
        let policy = app.anyone().get("/sign-in").await.header("cross-origin-opener-policy").to_owned();
        assert_eq!(policy, "same-origin");
    }
    browser.close().await;
}
