//! Texts that would be scripts, in every field and on every page.

use super::world::{crawl, populate};
use super::{signed_in, start};
use crate::support::Browser;

/// Ends whatever it may stand in, and begins a script.
const SCRIPT: &str = r#"'"><svg onload=xss=1></title></textarea><script>xss=1</script>"#;

/// What is written into.
const VISIBLE: &str = "input:not([type=checkbox], [type=radio], [type=hidden]), textarea";
/// What is written into, or goes with what is written. A form whose key for repeats is none is refused before anything else is looked at.
const FIELDS: &str = "input:not([type=checkbox], [type=radio], [name=idempotency_key]), textarea";

/// No text has become a part of the page.
async fn harmless(browser: &Browser, path: &str) {
    assert_eq!(browser.ask("typeof xss").await, "undefined", "{path} ran a script");
    let strange = "[...document.querySelectorAll('script:not([src]), style, [style], iframe, object, embed, base, a[href^=\"javascript:\" i]')]
        .concat([...document.querySelectorAll('*')].filter((it) => [...it.attributes].some((attribute) => attribute.name.startsWith('on'))))
        .map((it) => it.outerHTML.slice(0, 200))";
    assert_eq!(browser.ask(strange).await, serde_json::json!([]), "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_elsewhere_is_shown_as_text() {
    let app = start().await;
    let examples = populate(&app, SCRIPT).await;
    let browser = signed_in(&app).await;
    let shown = std::cell::Cell::new(0);
    crawl(&browser, &examples, async |path: &str| {
        harmless(&browser, path).await;
        shown.set(shown.get() + usize::from(browser.text().await.contains("onload=xss=1")));
    })
    .await;
    assert!(shown.get() > 20, "only {} pages show what was written", shown.get());
    browser.screenshot("last").await;
    browser.close().await;
}

/// Each field of each form, filled with it and sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_entered_is_shown_as_text() {
    let app = start().await;
    let examples = populate(&app, "").await;
    let browser = signed_in(&app).await;
    let forms = std::cell::RefCell::new(Vec::new());
    // A form that only asks whether it is meant has no field, and would end what the others are about.
    let find = format!("[...document.forms].flatMap((form, number) => form.querySelector('{VISIBLE}') ? [number] : [])");
    crawl(&browser, &examples, async |path: &str| {
        let numbers: Vec<u64> = serde_json::from_value(browser.ask(&find).await).unwrap();
        forms.borrow_mut().extend(numbers.into_iter().map(|number| (path.to_owned(), number)));
    })
    .await;
    let forms = forms.into_inner();
    assert!(forms.len() > 20, "{forms:?}");
    for (path, number) in forms {
        browser.goto(&path).await;
        let fill = format!(
            "const form = document.forms[{number}];
             {{
                 for (const field of form.querySelectorAll('{FIELDS}')) {{
                     field.type = 'text';
                     field.removeAttribute('maxlength');
                     field.value = {text};
                 }}
                 form.noValidate = true;
                 form.querySelector('button:not([type=button])').click();
             }}",
            text = serde_json::json!(SCRIPT)
        );
        let before = browser.opened().await;
        browser.ask(&format!("(() => {{ {fill} }})()")).await;
        browser.opens_more_than(before).await;
        // Whatever comes of it, what was entered is no script.
        harmless(&browser, &path).await;
        let status = browser.status().await;
        assert!(status < 500, "{path}: {status}");
        if status >= 400 {
            browser.complained(&format!("status of {status}")).await;
        }
        // What is no date or number is not even shown again in such a field.
        while browser.console_errors().await.iter().any(|error| error.contains("The specified value")) {
            browser.complained("The specified value").await;
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_link_says_is_shown_as_text() {
    let app = start().await;
    let encoded = percent_encoding::utf8_percent_encode(SCRIPT, percent_encoding::NON_ALPHANUMERIC).to_string();
    let browser = Browser::open(&app).await;
    for path in
        ["/invitation#", "/invitation?invitation=", "/sign-in?next=", "/sign-in?error=", "/sign-in?next=javascript:xss=1&", "/sign-in?notice="]
    {
        browser.goto(&format!("{path}{encoded}")).await;
        harmless(&browser, path).await;
    }
    browser.sign_in(&format!("{}@example.com", SCRIPT.split_whitespace().collect::<String>()), SCRIPT).await;
    harmless(&browser, "/sign-in").await;
    if browser.status().await == 401 {
        browser.refused(401).await;
    }
    browser.goto_refused(&format!("/{encoded}"), 404).await;
    harmless(&browser, "/").await;
    browser.sign_in_by_key(app.admin_key()).await;
    browser.arrives("/").await;
    for path in [
        "/service-accounts?search=",
        "/service-accounts?show=",
        "/service-accounts?notice=",
        "/?notice=",
        "/audit?action=",
        "/service-accounts/",
        "/teams/",
        "/roles/",
    ] {
        browser.goto(&format!("{path}{encoded}")).await;
        harmless(&browser, path).await;
        let status = browser.status().await;
        assert!(status < 500, "{path}: {status}");
        if status >= 400 {
            browser.complained(&format!("status of {status}")).await;
        }
    }
    browser.close().await;
}
