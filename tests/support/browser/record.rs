//! What a browser has said and asked for.

use serde_json::Value;
use thirtyfour::BrowserLogEntry;

/// What a browser has said on its console and asked for over the network.
pub(super) struct Record {
    /// Origins that it may ask.
    origins: Vec<String>,
    complaints: Vec<String>,
    requests: Vec<String>,
    strangers: Vec<String>,
    /// That of the page that is shown.
    status: Option<u16>,
    /// Pages.
    opened: usize,
}

impl Record {
    pub(super) fn new(url: &str) -> Self {
        Self { origins: vec![url.to_owned()], complaints: Vec::new(), requests: Vec::new(), strangers: Vec::new(), status: None, opened: 0 }
    }

    pub(super) fn allow(&mut self, url: &str) {
        self.origins.push(url.to_owned());
    }

    pub(super) fn take(&mut self, console: &[BrowserLogEntry], network: &[BrowserLogEntry]) {
        let bad = console.iter().filter(|entry| matches!(entry.level.as_str(), "SEVERE" | "WARNING"));
        self.complaints.extend(bad.map(|entry| format!("{}: {}", entry.source.as_deref().unwrap_or("console"), entry.message)));
        for entry in network {
            let event: Value = serde_json::from_str(&entry.message).unwrap();
            self.event(&event["message"]);
        }
    }

    fn event(&mut self, event: &Value) {
        let about = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => self.request(&about["request"]),
            // Only the page itself, of which there is one: nothing of ours has frames.
            "Network.responseReceived" if about["type"] == "Document" => {
                self.opened += 1;
                self.status = about["response"]["status"].as_u64().and_then(|status| status.try_into().ok());
            }
            _ => {}
        }
    }

    fn request(&mut self, request: &Value) {
        let url = request["url"].as_str().unwrap_or_default();
        if !url.starts_with("http") && !url.starts_with("ws") {
            return;
        }
        if !self.origins.iter().any(|origin| url.strip_prefix(origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))) {
            self.strangers.push(url.to_owned());
        }
        self.requests.push(format!("{} {url}", request["method"].as_str().unwrap_or_default()));
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    pub(super) fn opened(&self) -> usize {
        self.opened
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.clone()
    }

    /// Takes out the first complaint that says so.
    pub(super) fn take_complaint(&mut self, text: &str) -> Result<(), String> {
        let found = self.complaints.iter().position(|complaint| complaint.contains(text));
        let position = found.ok_or_else(|| format!("the browser did not complain of {text:?}, only {:#?}", self.complaints))?;
        self.complaints.remove(position);
        Ok(())
    }

    pub(super) fn assert_clean(&self) {
        assert!(self.complaints.is_empty(), "the browser complained: {:#?}", self.complaints);
        assert!(self.strangers.is_empty(), "requests to other hosts: {:#?}", self.strangers);
    }
}
