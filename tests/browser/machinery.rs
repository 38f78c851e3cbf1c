//! The machinery of these tests itself: it sees what it says that it sees.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::support::{Browser, Elsewhere, Theme};

/// What a future panics with.
async fn complaint(future: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(future).catch_unwind().await.expect_err("it did not panic");
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

const FORM: &str = r#"<!doctype html><html lang="en"><head><title>A form</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<style>body { background: white; color: black } @media (prefers-color-scheme: dark) { body { background: black; color: white } a { color: yellow } }</style></head>
<body><main><h1>A form</h1>
<form action="/done">
<label for="name">Name</label> <input id="name" name="name" value="before">
<label>Kind <select name="kind"><option>small</option><option>large</option></select></label>
<label><input type="checkbox" name="agreed"> Agreed</label>
<input type="hidden" name="secret" value="Name">
<button>Save</button> <button type="button" hidden>Hidden</button>
</form>
<table><tr><td>one</td><td><a href="/one">Open</a></td></tr><tr><td>two</td><td><a href="/two" aria-label="Open">→</a></td></tr></table>
</main></body></html>"#;

fn page(title: &str) -> String {
    format!("<!doctype html><html lang=en><title>{title}</title><link rel=icon href='data:,'><main><h1>{title}</h1></main>")
}

async fn form() -> (Elsewhere, Browser) {
    let site = Elsewhere::start().await;
    site.put("/", FORM);
    for name in ["done", "one", "two"] {
        site.put(&format!("/{name}"), &page(name));
    }
    let browser = Browser::open_at(&site.url).await;
    browser.goto("/").await;
    (site, browser)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn things_are_found_by_what_they_are_called() {
    let (_site, browser) = form().await;
    assert_eq!((browser.heading().await, browser.title().await, browser.status().await), ("A form".to_owned(), "A form".to_owned(), 200));
    assert_eq!(
        (browser.value("Name").await.as_str(), browser.value("Kind").await.as_str(), browser.value("Agreed").await.as_str()),
        ("before", "small", "off")
    );
    assert!(browser.offers("Save").await && !browser.offers("Hidden").await && !browser.asks_for("secret").await && browser.asks_for("Kind").await);
    browser.fill("Name", "after").await;
    browser.fill("Kind", "large").await;
    browser.tick("Agreed").await;
    browser.press("Save").await;
    browser.arrives("/done?name=after&kind=large&agreed=on&secret=Name").await;
    assert_eq!(browser.heading().await, "done");
    browser.back().await;
    browser.press_beside("two", "Open").await;
    browser.arrives("/two").await;
    browser.has("two").await;
    browser.lacks("one").await;
    browser.back().await;
    browser.has("one").await;
    let ambiguous = complaint(browser.press("Open")).await;
    assert!(ambiguous.contains("more than one is called \"Open\""), "{ambiguous}");
    assert_eq!(browser.texts("td:first-child").await, ["one", "two"]);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_is_enough() {
    let (_site, browser) = form().await;
    browser.keyboard("Tab").await;
    assert_eq!(browser.focused().await, "Name");
    browser.keyboard("typed").await;
    browser.tab_to("Agreed").await;
    browser.keyboard("Space").await;
    browser.tab_to("Save").await;
    browser.keyboard("Enter").await;
    browser.arrives("/done?name=typed&kind=small&agreed=on&secret=Name").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_tells_what_went_wrong() {
    let (site, browser) = form().await;
    site.put("/bad", "<!doctype html><title>Bad</title><link rel=icon href='data:,'><script>nothing.at.all()</script><img src='/missing.png'><img src='http://stranger.example/x.png'>");
    assert!(browser.console_errors().await.is_empty());
    browser.goto("/bad").await;
    browser.complained("nothing is not defined").await;
    browser.complained("status of 404").await;
    browser.complained("ERR_NAME_NOT_RESOLVED").await;
    assert!(browser.requests().await.contains(&format!("GET {}/missing.png", site.url)));
    let strangers = complaint(browser.assert_clean()).await;
    assert!(strangers.contains("stranger.example"), "{strangers}");
    browser.leave().await;

    let browser = Browser::open_at(&site.url).await;
    browser.goto_refused("/nowhere", 404).await;
    browser.goto("/bad").await;
    let errors = complaint(browser.assert_clean()).await;
    assert!(errors.contains("nothing is not defined"), "{errors}");
    browser.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn barriers_are_found_under_any_policy() {
    let (site, browser) = form().await;
    browser.looks_good("form").await;
    // A page that forbids scripts, and more, is looked at all the same.
    let policy = r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'self'">"#;
    site.put(
        "/barrier",
        &FORM
            .replace("<head>", &format!("<head>{policy}"))
            .replace("<style>", "<!--")
            .replace("</style>", "-->")
            .replace("<label for=\"name\">Name</label>", ""),
    );
    browser.goto("/barrier").await;
    let barriers = complaint(browser.axe()).await;
    assert!(barriers.contains("label (critical)") && barriers.contains("#name"), "{barriers}");
    let wide = FORM.replace("<table>", "<table width=2000>");
    site.put("/wide", &wide);
    browser.goto("/wide").await;
    let too_wide = complaint(browser.looks_good("wide")).await;
    assert!(too_wide.contains("pixels too wide"), "{too_wide}");
    browser.set_theme(Theme::Dark).await;
    let file = browser.screenshot("form").await;
    assert_eq!(file.file_name().unwrap(), "machinery-barriers_are_found_under_any_policy-form-dark-1280.png");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_copied_can_be_read() {
    let site = Elsewhere::start().await;
    site.put("/", "<!doctype html><title>Copy</title><link rel=icon href='data:,'><button>Copy</button><script>document.querySelector('button').onclick = () => navigator.clipboard.writeText('copied')</script>");
    let browser = Browser::open_at(&site.url).await;
    browser.goto("/").await;
    browser.press("Copy").await;
    assert_eq!(browser.clipboard().await, "copied");
    browser.set_cookie("one", "1").await;
    let cookie = browser.cookie("one").await.unwrap();
    assert_eq!((&cookie["value"], &cookie["httpOnly"]), (&"1".into(), &true.into()));
    browser.forget_cookies().await;
    assert!(browser.cookies().await.is_empty());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_can_be_without_scripts() {
    let site = Elsewhere::start().await;
    site.put("/", &FORM.replace("</form>", "</form><p>still</p><script>document.querySelector('p').textContent = 'moved'</script>"));
    site.put("/done", &page("done"));
    let browser = Browser::open_at(&site.url).await;
    browser.goto("/").await;
    browser.has("moved").await;
    browser.close().await;

    let browser = Browser::without_scripts(&site.url).await;
    browser.goto("/").await;
    browser.has("still").await;
    browser.fill("Name", "plain").await;
    browser.tick("Agreed").await;
    browser.press("Save").await;
    browser.arrives("/done?name=plain&kind=small&agreed=on&secret=Name").await;
    browser.screenshot("plain").await;
    browser.close().await;
}
