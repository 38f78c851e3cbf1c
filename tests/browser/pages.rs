//! Every page: looked at in both themes, wide and narrow, by keyboard, and without scripts.

use std::cell::RefCell;

use hourpass::http::PAGES;

use super::world::{crawl, kind, populate};
use super::{signed_in, start};
use crate::support::{Browser, eventually};

/// What is looked at elsewhere, or no page.
const APART: [&str; 3] = ["/static/{name}", "/sign-in", "/invitation"];

/// Whether one of the `kinds` is this row of the table of pages.
fn is_among(path: &str, kinds: &[String]) -> bool {
    let same = |kind: &str| {
        let pairs = kind.split('/').zip(path.split('/'));
        kind.split('/').count() == path.split('/').count() && pairs.into_iter().all(|(one, other)| one == other || other.starts_with('{'))
    };
    kinds.iter().any(|kind| kind == path || (same(kind) && !PAGES.iter().any(|page| page.path == kind)))
}

fn name(path: &str) -> String {
    let name = kind(path).replace(['{', '}'], "").trim_matches('/').replace('/', "-");
    if name.is_empty() { "overview".to_owned() } else { name }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_looks_good_to_everyone() {
    let app = start().await;
    let examples = populate(&app, "").await;
    app.create_organization("other").await;
    // Signed in twice, there is a session to end.
    app.anyone().post_form("/auth/login", &[("username", "admin@localhost"), ("password", app.admin_password())]).await.expect(200);
    let browser = Browser::open(&app).await;
    browser.sign_in("admin@localhost", app.admin_password()).await;
    browser.arrives("/").await;
    let flaws = RefCell::new(Vec::new());
    let look = async |path: &str| {
        // One heading says what the page is, and its title says so, too.
        assert_eq!(browser.texts("h1").await.len(), 1, "{path}");
        assert!(browser.title().await.len() > " · Hourpass".len(), "{path}");
        let found = browser.flaws(&name(path)).await;
        flaws.borrow_mut().extend(found);
    };
    let kinds = crawl(&browser, &examples, look).await;
    browser.goto("/invitation").await;
    look("/invitation").await;
    let flaws = flaws.into_inner();
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    let pages = PAGES.iter().filter(|page| page.method == "GET" && !APART.contains(&page.path)).map(|page| page.path);
    let missing: Vec<_> = pages.filter(|path| !is_among(path, &kinds)).collect();
    assert!(missing.is_empty(), "nothing links to {missing:?}, only to {kinds:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_pages_say_what_to_do() {
    let app = start().await;
    let browser = signed_in(&app).await;
    let looked = RefCell::new(0);
    let look = async |path: &str| {
        if browser.ask("!document.querySelector('.empty, .blank')").await == false {
            browser.looks_good(&format!("empty-{}", name(path))).await;
            *looked.borrow_mut() += 1;
        }
    };
    crawl(&browser, &[], look).await;
    assert!(looked.into_inner() > 3);
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
    let examples = populate(&app, "").await;
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
    crawl(&browser, &examples, async |path: &str| assert_eq!(browser.texts("h1").await.len(), 1, "{path}")).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_trail_is_watched_live() {
    let app = start().await;
    let browser = signed_in(&app).await;
    browser.goto("/audit").await;
    browser.press("Live").await;
    let make = async |name: String| {
        app.clock.advance_seconds(1);
        app.admin_client().post("/api/v1/service_accounts", &serde_json::json!({ "name": name })).await.expect(201);
    };
    make("seen-live".to_owned()).await;
    browser.has("seen-live").await;
    // More than a page shows, at once: nothing of it is left out.
    for number in 0..60 {
        make(format!("burst-{number}")).await;
    }
    for number in (11..60).rev() {
        browser.has(&format!("burst-{number}")).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_is_on_its_way_is_not_sent_again() {
    // The second click of someone who sees nothing happen, who then says so at a place where it is counted.
    const CLICKS: &str = "(async () => {
        const button = document.querySelector('main form[method=post] [type=submit]');
        button.click();
        await new Promise((later) => setTimeout(later, 500));
        button.click();
        await fetch('/healthz');
    })()";
    const SAID: &str = r#"hourpass_http_requests_total{method="GET",route="/healthz",status="200",code=""} 1"#;
    let app = start().await;
    let browser = signed_in(&app).await;
    browser.goto("/teams/new").await;
    browser.fill("Name", "ops").await;
    // Somebody else writes, and takes their time.
    let hourpass::store::Db::Sqlite(pool) = app.store.pool() else { panic!() };
    let other = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let counted = async {
        eventually(async || app.anyone().get("/metrics").await.text.contains(SAID)).await;
        other.rollback().await.unwrap();
    };
    tokio::join!(browser.ask(CLICKS), counted);
    browser.has("Created.").await;
    let sent = browser.requests().await.into_iter().filter(|request| request.starts_with("POST ") && request.ends_with("/teams/new")).count();
    assert_eq!(sent, 1);
    browser.close().await;
}
