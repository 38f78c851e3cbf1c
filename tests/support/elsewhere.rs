//! A site of someone else's, for what a browser may be led to do from there.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Pages = Arc<Mutex<Vec<(String, String)>>>;

/// Serves what it is given, to anyone.
pub struct Elsewhere {
    /// Another origin than the app's, but the same site: a site has no port.
    pub url: String,
    /// Another site.
    pub foreign_url: String,
    pages: Pages,
}

impl Elsewhere {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Pages::default();
        let served = Arc::clone(&pages);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, Arc::clone(&served)));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), foreign_url: format!("http://localhost:{port}"), pages }
    }

    /// Puts a page there.
    pub fn put(&self, path: &str, html: &str) {
        self.pages.lock().unwrap().push((path.to_owned(), html.to_owned()));
    }
}

async fn answer(mut connection: TcpStream, pages: Pages) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        // A browser opens connections before it needs them.
        if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/");
    let found = pages.lock().unwrap().iter().rev().find(|(its, _)| its == path).map(|(_, html)| html.clone());
    let (status, html) = match found {
        Some(html) => ("200 OK", html),
        // What browsers ask for unasked.
        None if path == "/favicon.ico" => ("204 No Content", String::new()),
        None => ("404 Not Found", String::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", html.len());
    let _closed_by_the_browser = connection.write_all(format!("{head}{html}").as_bytes()).await;
}
