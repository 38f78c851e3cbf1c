//! Reads from the issuer: bounded in time and size, and from nowhere else.

use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use reqwest::{Client, RequestBuilder, StatusCode};
use url::Url;

/// A whole answer takes no longer than this.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why an answer did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("cannot be reached")]
    Unreachable,
    /// Not within the time allowed.
    #[error("no answer in time")]
    Timeout,
    /// Larger than allowed.
    #[error("the answer is too large")]
    TooLarge,
    /// Another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// The answer is another address's.
    #[error("answered from elsewhere")]
    Redirected,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    #[cfg_attr(not(feature = "exchange"), expect(dead_code, reason = "lists and keys are asked for at our own pace"))]
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// The client that is used where none is given. It follows no redirect: what is signed for is asked where it stands.
pub(crate) fn client(issuer: &str) -> Result<Client, reqwest::Error> {
    let agent = concat!("hourpass-verifier/", env!("CARGO_PKG_VERSION"));
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).user_agent(agent);
    // What is in the clear stays on this machine: a proxy from the environment has no business there.
    if issuer.starts_with("http://") { client.no_proxy() } else { client }.build()
}

/// Asks for it, and takes 200 only, or 304 where an entity tag was sent.
pub(crate) async fn get(client: &Client, url: &Url, accept: &str, etag: Option<&str>, max_size: usize) -> Result<Answer, FetchError> {
    let mut request = client.get(url.clone()).header(ACCEPT, accept);
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let answer = send(request, url, max_size).await?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        StatusCode::NOT_MODIFIED if etag.is_some() => Ok(answer),
        status => Err(FetchError::Status(status.as_u16())),
    }
}

/// Sends it, and reads an answer of any status.
pub(crate) async fn send(request: RequestBuilder, url: &Url, max_size: usize) -> Result<Answer, FetchError> {
    tokio::time::timeout(TIMEOUT, receive(request, url, max_size)).await.map_err(|_| FetchError::Timeout)?
}

async fn receive(request: RequestBuilder, url: &Url, max_size: usize) -> Result<Answer, FetchError> {
    let mut response = request.send().await.map_err(unreachable)?;
    // A client that was given to us might follow redirects.
    if response.url() != url {
        return Err(FetchError::Redirected);
    }
    let text = |name| response.headers().get(name).and_then(|value: &reqwest::header::HeaderValue| value.to_str().ok());
    let etag = text(ETAG).map(str::to_owned);
    let retry_after = text(reqwest::header::RETRY_AFTER).and_then(|value| value.parse().ok()).map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > max_size {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), etag, retry_after, body })
}

fn unreachable(error: reqwest::Error) -> FetchError {
    if error.is_timeout() { FetchError::Timeout } else { FetchError::Unreachable }
}
