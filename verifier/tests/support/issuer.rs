//! An issuer: pages by path over plain HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is answered at a path.
#[derive(Clone, Default)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A request as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct Site {
    pages: HashMap<String, Page>,
    /// Tokens of API keys.
    logins: HashMap<String, Page>,
    seen: Vec<Seen>,
}

#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    site: Arc<Mutex<Site>>,
    /// Whether connections are dropped unanswered.
    cut: Arc<Mutex<bool>>,
    /// Whether answers go out.
    open: watch::Sender<bool>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, site: Arc::default(), cut: Arc::default(), open: watch::Sender::new(true) };
        let server = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.answer(stream).await });
            }
        });
        issuer
    }

    pub(crate) fn page(&self, path: &str, page: Page) {
        self.site.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    pub(crate) fn login(&self, key: &str, page: Page) {
        self.site.lock().unwrap().logins.insert(key.to_owned(), page);
    }

    pub(crate) fn forget_login(&self, key: &str) {
        self.site.lock().unwrap().logins.remove(key);
    }

    /// Drops connections unanswered, or no longer.
    pub(crate) fn cut(&self, cut: bool) {
        *self.cut.lock().unwrap() = cut;
    }

    /// Holds answers back, or lets them go.
    pub(crate) fn hold(&self, hold: bool) {
        self.open.send_replace(!hold);
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.site.lock().unwrap().seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    async fn answer(&self, mut stream: TcpStream) {
        let Some(seen) = read(&mut stream).await else { return };
        self.site.lock().unwrap().seen.push(seen.clone());
        if *self.cut.lock().unwrap() {
            return;
        }
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        let page = self.choose(&seen);
        let mut answer = format!("HTTP/1.1 {} -\r\nConnection: close\r\nContent-Length: {}\r\n", page.status, page.body.len());
        for (name, value) in &page.headers {
            answer.extend([name, ": ", value, "\r\n"]);
        }
        let _ = stream.write_all(format!("{answer}\r\n{}", page.body).as_bytes()).await;
    }

    fn choose(&self, seen: &Seen) -> Page {
        let site = self.site.lock().unwrap();
        if seen.path == "/auth/login" {
            let key = seen.body.split('&').find_map(|pair| pair.strip_prefix("password=")).unwrap_or_default();
            return site.logins.get(key).cloned().unwrap_or(Page::status(401));
        }
        let page = site.pages.get(&seen.path).cloned().unwrap_or(Page::status(404));
        let etag = page.headers.iter().find(|(name, _)| *name == "ETag").map(|(_, value)| format!("if-none-match: {value}"));
        if etag.is_some_and(|etag| seen.head.lines().any(|line| line == etag)) { Page::status(304) } else { page }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        text.extend_from_slice(&chunk[..length]);
        let request = String::from_utf8_lossy(&text);
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let expected = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        if body.len() >= expected {
            let path = head.split(' ').nth(1)?.to_owned();
            return Some(Seen { path, head: head.to_owned(), body: body.to_owned() });
        }
    }
}
