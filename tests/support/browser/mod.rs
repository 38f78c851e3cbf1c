//! A real Chromium, in whose hands a test puts a page as a person would.
//!
//! What a test looks for is waited for, up to half a minute; nothing else waits. A test ends with [`Browser::close`], which looks through what the
//! browser had to say: scripts that failed, what the Content-Security-Policy refused, requests that failed or went to another host.
//! A test has one browser at a time: there are only two places.

mod driver;
mod look;
mod record;

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::components::SelectElement;
use thirtyfour::{Key, WebDriver, WebElement};
use tokio::sync::SemaphorePermit;

use super::TestApp;
pub use look::Theme;
use record::Record;

const FIND: &str = include_str!("find.js");

/// A browser with a profile of its own, until it is closed.
pub struct Browser {
    driver: WebDriver,
    /// Where paths are.
    url: String,
    /// The test's name, for files.
    test: String,
    scripts: bool,
    record: RefCell<Record>,
    theme: RefCell<Theme>,
    width: RefCell<u32>,
    /// Rules of axe-core that do not count.
    tolerated: RefCell<Vec<&'static str>>,
    closed: bool,
    _profile: TempDir,
    _place: SemaphorePermit<'static>,
}

impl Browser {
    pub async fn open(app: &TestApp) -> Self {
        Self::open_at(&app.url).await
    }

    /// For paths at `url`.
    pub async fn open_at(url: &str) -> Self {
        Self::start(url, true).await
    }

    /// One in which pages have no scripts.
    pub async fn without_scripts(url: &str) -> Self {
        Self::start(url, false).await
    }

    async fn start(url: &str, scripts: bool) -> Self {
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        let (driver, profile, place) = driver::start(scripts).await;
        let record = RefCell::new(Record::new(url));
        let (theme, width) = (RefCell::new(Theme::Light), RefCell::new(look::WIDE));
        let tolerated = RefCell::default();
        let this =
            Self { driver, url: url.to_owned(), test, scripts, record, theme, width, tolerated, closed: false, _profile: profile, _place: place };
        this.forget_last_sight();
        this.show().await;
        this
    }

    /// Ends it, and looks through what it had to say.
    pub async fn close(self) {
        self.assert_clean().await;
        self.leave().await;
    }

    /// Nothing has gone wrong up to now.
    pub async fn assert_clean(&self) {
        self.listen().await;
        self.record.borrow().assert_clean();
    }

    /// Ends it, whatever it had to say.
    pub async fn leave(mut self) {
        self.closed = true;
        self.driver.clone().quit().await.unwrap();
    }

    // Where it is.

    /// Opens a page of the app, or a whole URL.
    pub async fn goto(&self, path: &str) {
        let url = if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.url) };
        self.driver.goto(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Opens a page which has to answer with this status.
    pub async fn goto_refused(&self, path: &str, status: u16) {
        self.goto(path).await;
        self.refused(status).await;
    }

    /// The page that is shown came with this status. A browser complains of those from 400 on, and is expected to, once.
    pub async fn refused(&self, status: u16) {
        self.until(async || {
            let came = self.status().await;
            if came == status {
                Ok(())
            } else {
                Err(format!("{status} was to come, and {came} did, at {}: {}", self.current_url().await, self.text().await))
            }
        })
        .await;
        self.complained(&format!("status of {status}")).await;
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    pub async fn back(&self) {
        self.driver.back().await.unwrap();
    }

    pub async fn current_url(&self) -> String {
        self.driver.current_url().await.unwrap().to_string()
    }

    /// Path and query of what is shown, which has to be of the app.
    pub async fn path(&self) -> String {
        let url = self.current_url().await;
        url.strip_prefix(&self.url).unwrap_or_else(|| panic!("{url} is not of {}", self.url)).to_owned()
    }

    /// Waits until this path is shown.
    pub async fn arrives(&self, path: &str) {
        let wanted = format!("{}{path}", self.url);
        self.until(async || {
            let url = self.current_url().await;
            if url == wanted { Ok(()) } else { Err(format!("{path} was to be shown, and it is {url}")) }
        })
        .await;
    }

    /// Waits until a path is shown that begins so.
    pub async fn arrives_within(&self, beginning: &str) {
        let wanted = format!("{}{beginning}", self.url);
        self.until(async || {
            let url = self.current_url().await;
            if url.starts_with(&wanted) { Ok(()) } else { Err(format!("{beginning}… was to be shown, and it is {url}")) }
        })
        .await;
    }

    /// Waits until no path is shown that begins so.
    pub async fn leaves(&self, beginning: &str) {
        let left = format!("{}{beginning}", self.url);
        self.until(async || {
            let url = self.current_url().await;
            if url.starts_with(&left) { Err(format!("still {url} is shown: {}", self.text().await)) } else { Ok(()) }
        })
        .await;
    }

    /// The status that the page came with.
    pub async fn status(&self) -> u16 {
        self.listen().await;
        let status = self.record.borrow().status();
        status.expect("no page has been opened")
    }

    /// How many pages have been opened up to now.
    pub async fn opened(&self) -> usize {
        self.listen().await;
        self.record.borrow().opened()
    }

    /// Waits until more than `before` pages have been opened: until what was sent by a script is answered.
    pub async fn opens_more_than(&self, before: usize) {
        self.until(async || if self.opened().await > before { Ok(()) } else { Err(format!("nothing came after {}", self.current_url().await)) })
            .await;
    }

    // What it shows.

    /// All that can be read on the page.
    pub async fn text(&self) -> String {
        self.ask("document.body?.innerText ?? ''").await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn title(&self) -> String {
        self.driver.title().await.unwrap()
    }

    /// The first heading.
    pub async fn heading(&self) -> String {
        let heading = self.ask("document.querySelector('h1')?.innerText").await;
        heading.as_str().map_or_else(|| panic!("the page has no h1"), str::trim).to_owned()
    }

    /// Waits until the page says `text`.
    pub async fn has(&self, text: &str) {
        self.until(async || {
            let all = self.text().await;
            if squeezed(&all).contains(&squeezed(text)) { Ok(()) } else { Err(format!("the page does not say {text:?}:\n{all}")) }
        })
        .await;
    }

    /// Waits until the page does not say `text`. Make sure first, by what the page has, that it is the one that is meant.
    pub async fn lacks(&self, text: &str) {
        self.until(async || {
            let all = self.text().await;
            if squeezed(&all).contains(&squeezed(text)) { Err(format!("the page says {text:?}:\n{all}")) } else { Ok(()) }
        })
        .await;
    }

    /// Whether there is a button or a link called so.
    pub async fn offers(&self, name: &str) -> bool {
        self.find("press", name, None).await.is_ok()
    }

    /// Whether there is a field with this label.
    pub async fn asks_for(&self, label: &str) -> bool {
        self.find("fill", label, None).await.is_ok()
    }

    /// What is in the field with this label. Of a choice the word that is shown; of a box `on` or `off`.
    pub async fn value(&self, label: &str) -> String {
        let field = self.field(label).await;
        let script = "const field = arguments[0];
            if (field.matches('[type=checkbox], [type=radio]')) return field.checked ? 'on' : 'off';
            return field.matches('select') ? field.selectedOptions[0]?.text : field.value;";
        let value = self.driver.execute(script, vec![field.to_json().unwrap()]).await.unwrap();
        value.json().as_str().unwrap_or_default().trim().to_owned()
    }

    /// Texts of all that a selector finds.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((element) => (element.innerText || element.textContent).trim())";
        self.driver.execute(script, vec![selector.into()]).await.unwrap().convert().unwrap()
    }

    /// The value of an expression in the page.
    pub async fn ask(&self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.cdp("Runtime.evaluate", call).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    // What is done with it.

    /// Writes into the field with this label, in place of what is there, or chooses that word.
    pub async fn fill(&self, label: &str, value: &str) {
        let field = self.field(label).await;
        let kind = field.attr("type").await.unwrap().unwrap_or_default();
        let result = match (field.tag_name().await.unwrap().as_str(), kind.as_str()) {
            ("select", _) => SelectElement::new(&field).await.unwrap().select_by_exact_text(value).await,
            // How a date is typed depends on the place on earth.
            (_, "date" | "datetime-local" | "time") => {
                let script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', { bubbles: true }))";
                self.driver.execute(script, vec![field.to_json().unwrap(), value.into()]).await.map(drop)
            }
            _ => match field.clear().await {
                Ok(()) => field.send_keys(value).await,
                error => error,
            },
        };
        result.unwrap_or_else(|error| panic!("{label}: {error}"));
    }

    /// Ticks the box, or chooses the option, with this label.
    pub async fn tick(&self, label: &str) {
        let field = self.field(label).await;
        if !field.is_selected().await.unwrap() {
            // The label serves as well as the box, which may be hidden behind a prettier one.
            let script = "const box = arguments[0]; (box.checkVisibility() ? box : box.labels[0]).click()";
            self.driver.execute(script, vec![field.to_json().unwrap()]).await.unwrap();
        }
        assert!(field.is_selected().await.unwrap(), "{label}");
    }

    /// Clicks the button or link called so.
    pub async fn press(&self, name: &str) {
        self.click(name, None).await;
    }

    /// Clicks the button or link called so in the row, card or section that says `text`.
    pub async fn press_beside(&self, text: &str, name: &str) {
        self.click(name, Some(text)).await;
    }

    async fn click(&self, name: &str, beside: Option<&str>) {
        self.until(async || {
            let element = self.find("press", name, beside).await?;
            element.click().await.map_err(|error| format!("{name:?} cannot be clicked: {error}"))
        })
        .await;
    }

    async fn field(&self, label: &str) -> WebElement {
        self.until(async || self.find("fill", label, None).await).await
    }

    async fn find(&self, kind: &str, name: &str, beside: Option<&str>) -> Result<WebElement, String> {
        let script = format!("{FIND}\nconst it = find(...arguments); return it.found.length === 1 ? it.found[0] : [it.found.length, it.others];");
        let answer = self.driver.execute(script, vec![kind.into(), name.into(), beside.into()]).await.map_err(|error| error.to_string())?;
        let Some(found) = answer.json().as_array() else { return answer.element().map_err(|error| error.to_string()) };
        let place = beside.map_or(String::new(), |text| format!(" beside {text:?}"));
        // That does not pass by waiting.
        assert_eq!(found[0], 0, "more than one is called {name:?}{place} at {}", self.current_url().await);
        Err(format!("nothing is called {name:?}{place} at {}, only {}", self.current_url().await, found[1]))
    }

    /// Presses a key, by its name, wherever the focus is; or types a text.
    pub async fn keyboard(&self, keys: &str) {
        let keys = match keys {
            "Tab" => Key::Tab.into(),
            "Shift+Tab" => Key::Shift + Key::Tab,
            "Enter" => Key::Enter.into(),
            "Space" => Key::Space.into(),
            "Escape" => Key::Escape.into(),
            "Up" => Key::Up.into(),
            "Down" => Key::Down.into(),
            text => text.into(),
        };
        let focused = self.driver.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    }

    /// What has the focus: how it is called, or its element if it is not called anything.
    pub async fn focused(&self) -> String {
        let script =
            format!("{FIND}\nconst it = document.activeElement; return label(it) || (it === document.body ? '' : caption(it)) || it.localName;");
        self.driver.execute(script, Vec::new()).await.unwrap().convert().unwrap()
    }

    /// Goes on with the Tab key until what is called so has the focus.
    pub async fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        while passed.len() < 200 {
            self.keyboard("Tab").await;
            let focused = self.focused().await;
            if focused == name {
                return;
            }
            passed.push(focused);
        }
        panic!("the Tab key does not lead to {name:?}, but to {passed:?}");
    }

    /// What was copied, once something was.
    pub async fn clipboard(&self) -> String {
        self.cdp("Browser.grantPermissions", json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] })).await;
        self.cdp("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        self.until(async || {
            let copied = self.ask("navigator.clipboard.readText()").await.as_str().unwrap().to_owned();
            if copied.is_empty() { Err("nothing was copied".to_owned()) } else { Ok(copied) }
        })
        .await
    }

    // Signing in.

    pub async fn sign_in_by_key(&self, key: &str) {
        self.goto("/sign-in").await;
        self.fill("API key or password", key).await;
        self.press("Sign in").await;
    }

    pub async fn sign_in(&self, email: &str, password: &str) {
        self.goto("/sign-in").await;
        self.fill("Email address", email).await;
        self.fill("API key or password", password).await;
        self.press("Sign in").await;
    }

    /// All cookies for the app, as the `DevTools` protocol describes them.
    pub async fn cookies(&self) -> Vec<Value> {
        self.cdp("Network.getCookies", json!({ "urls": [self.url] })).await["cookies"].as_array().unwrap().clone()
    }

    /// The cookie of this name.
    pub async fn cookie(&self, name: &str) -> Option<Value> {
        self.cookies().await.into_iter().find(|cookie| cookie["name"] == name)
    }

    /// Plants a cookie, as someone could who had the browser before.
    pub async fn set_cookie(&self, name: &str, value: &str) {
        let set = self.cdp("Network.setCookie", json!({ "url": self.url, "name": name, "value": value, "httpOnly": true })).await;
        assert_eq!(set["success"], true);
    }

    pub async fn forget_cookies(&self) {
        self.cdp("Network.clearBrowserCookies", json!({})).await;
    }

    // What it had to say.

    /// The browser has said this once on its console, and was expected to.
    pub async fn complained(&self, text: &str) {
        self.until(async || {
            self.listen().await;
            self.record.borrow_mut().take_complaint(text)
        })
        .await;
    }

    /// What it has said on its console that nobody has expected up to now.
    pub async fn console_errors(&self) -> Vec<String> {
        self.listen().await;
        self.record.borrow().complaints()
    }

    /// All that it has asked for over the network up to now, the method and the URL.
    pub async fn requests(&self) -> Vec<String> {
        self.listen().await;
        self.record.borrow().requests()
    }

    /// Another host is part of this test.
    pub fn may_ask(&self, url: &str) {
        self.record.borrow_mut().allow(url);
    }

    async fn listen(&self) {
        let console = self.driver.get_log("browser").await.unwrap();
        let network = self.driver.get_log("performance").await.unwrap();
        self.record.borrow_mut().take(&console, &network);
    }

    /// A command of the `DevTools` protocol.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Waits until it is so, or fails with the last reason why it is not.
    async fn until<T>(&self, attempt: impl AsyncFn() -> Result<T, String>) -> T {
        let mut reason = String::new();
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                match attempt().await {
                    Ok(it) => return it,
                    Err(why) => reason = why,
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let Ok(it) = waited.await else { panic!("{reason}") };
        it
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_last_sight();
        } else {
            assert!(self.closed, "a test of the browser ends with close(), which looks through what the browser had to say");
        }
    }
}

/// Spaces and ends of lines are the page's own affair.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
