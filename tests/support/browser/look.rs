//! How a page looks, and to whom: themes, widths, pictures, and what axe-core finds.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Browser, driver};

/// A desktop's window, in CSS pixels.
pub(super) const WIDE: u32 = 1280;
/// A small phone.
const NARROW: u32 = 360;

/// What the person has asked their system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Browser {
    pub async fn set_theme(&self, theme: Theme) {
        self.theme.replace(theme);
        self.show().await;
    }

    /// The width of the window, in CSS pixels. Up to 500 it is a phone's.
    pub async fn set_width(&self, width: u32) {
        self.width.replace(width);
        self.show().await;
    }

    pub(super) async fn show(&self) {
        let (theme, width) = (*self.theme.borrow(), *self.width.borrow());
        // Nothing moves, so that a picture does not depend on its moment.
        let features = json!([{ "name": "prefers-color-scheme", "value": theme.name() }, { "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let window = json!({ "width": width, "height": if width > 500 { 900 } else { 740 }, "deviceScaleFactor": 1, "mobile": width <= 500 });
        self.cdp("Emulation.setDeviceMetricsOverride", window).await;
    }

    /// Looks at the page in both themes, wide and narrow: keeps a picture of each, looks for barriers, and makes sure that nothing sticks out at the side.
    pub async fn looks_good(&self, name: &str) {
        let flaws = self.flaws(name).await;
        assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    }

    /// The same, for who looks at many pages before they complain.
    pub async fn flaws(&self, name: &str) -> Vec<String> {
        let mut flaws = Vec::new();
        for width in [WIDE, NARROW] {
            self.set_width(width).await;
            for theme in [Theme::Light, Theme::Dark] {
                self.set_theme(theme).await;
                self.screenshot(name).await;
                flaws.extend(self.barriers().await);
            }
            let over = self.ask("document.scrollingElement.scrollWidth - window.innerWidth").await.as_i64().unwrap();
            if over > 0 {
                flaws.push(format!("{} at a width of {width}: {over} pixels too wide", self.path().await));
            }
        }
        self.set_width(WIDE).await;
        self.set_theme(Theme::Light).await;
        flaws
    }

    /// Keeps a picture of the whole page. Returns its file.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let size = self.cdp("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": *self.width.borrow(), "height": size["height"], "scale": 1 });
        let picture = self.cdp("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true, "clip": clip })).await;
        let file = self.picture(&format!("{name}-{}-{}", self.theme.borrow().name(), self.width.borrow()));
        std::fs::write(&file, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
        file
    }

    fn picture(&self, name: &str) -> PathBuf {
        let folder = PathBuf::from(driver::setting("TEST_SCREENSHOTS"));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(format!("{}-{name}.png", self.test.trim_start_matches("browser-")))
    }

    /// Fails on serious barriers: what axe-core calls serious or critical of WCAG 2.2 A and AA, and of good practice.
    pub async fn axe(&self) {
        let found = self.barriers().await;
        assert!(found.is_none(), "{}", found.unwrap_or_default());
    }

    /// A rule of axe-core that somebody else's page breaks.
    pub fn tolerate(&self, rule: &'static str) {
        self.tolerated.borrow_mut().push(rule);
    }

    async fn barriers(&self) -> Option<String> {
        assert!(self.scripts, "axe-core is a script itself");
        // Over the DevTools protocol: the page's own policy keeps strange scripts out.
        if self.ask("typeof window.axe").await == "undefined" {
            let file = driver::setting("TEST_AXE");
            let script = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            self.ask(&format!("{script};0")).await;
        }
        let (theme, width) = (*self.theme.borrow(), *self.width.borrow());
        let rules = match theme {
            Theme::Light => json!({ "type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
            // The themes differ in colours alone.
            Theme::Dark => json!({ "type": "rule", "values": ["color-contrast", "link-in-text-block"] }),
        };
        let options = json!({ "runOnly": rules, "resultTypes": ["violations"], "preload": false });
        let found = self.ask(&format!("axe.run(document, {options}).then((result) => result.violations)")).await;
        let counts = |it: &&Value| {
            let tolerated = self.tolerated.borrow().iter().any(|rule| it["id"] == *rule);
            (it["impact"] == "serious" || it["impact"] == "critical") && !tolerated
        };
        let serious: Vec<String> = found.as_array().unwrap().iter().filter(counts).map(told).collect();
        if serious.is_empty() {
            return None;
        }
        Some(format!("barriers at {} ({theme:?}, {width} wide):\n{}", self.current_url().await, serious.join("\n")))
    }

    /// That of an earlier run would look like this one's.
    pub(super) fn forget_last_sight(&self) {
        let _not_there = std::fs::remove_file(self.picture("FAILED"));
    }

    /// A picture of what a failing test saw last, and what was written there.
    pub(super) fn keep_last_sight(&self) {
        let (driver, file) = (self.driver.clone(), self.picture("FAILED"));
        // A test that fails is not going to wait for anything.
        let seen = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            let look = async {
                let (url, picture) = (driver.current_url().await.ok()?, driver.screenshot_as_png().await.ok()?);
                std::fs::write(&file, picture).ok()?;
                Some(format!("last seen: {url}, {}", file.display()))
            };
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), look).await }).ok()?
        });
        if let Ok(Some(seen)) = seen.join() {
            eprintln!("{seen}");
        }
    }
}

/// A violation in words: what it is, and where.
fn told(violation: &Value) -> String {
    let said = |value: &Value| value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\n', "\n        "));
    let nodes = violation["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let places: Vec<String> = nodes
        .iter()
        .map(|node| format!("    {}\n      {}\n        {}", said(&node["target"][0]), said(&node["html"]), said(&node["failureSummary"])))
        .collect();
    format!("  {} ({}): {}\n{}", said(&violation["id"]), said(&violation["impact"]), said(&violation["help"]), places.join("\n"))
}
