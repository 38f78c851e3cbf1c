//! The exchange itself: an API key for an access token, at the issuer's `/auth/login`.

use std::fmt;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::fetch;

/// An answer is no larger than this, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// What a wait is taken to be where the issuer does not say.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What the issuer answers to an exchange (RFC 6749, section 5.1).
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginAnswer {
    /// The token.
    pub access_token: String,
    /// `bearer`.
    pub token_type: String,
    /// How long it lives, in seconds.
    pub expires_in: u64,
    /// What else the issuer answered.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Without the token.
impl fmt::Debug for LoginAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LoginAnswer").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Why there is no token for an API key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The issuer refuses the key.
    #[error("the issuer refuses the API key")]
    Refused,
    /// The key is good, but not for this audience; or what is asked for cannot be had in another way that asking again does not change.
    #[error("the issuer gives no token for this audience; ask an administrator of the organization for a role there")]
    Denied,
    /// The issuer cannot be reached, is too busy, or answers something else than it should.
    #[error("the issuer cannot exchange the API key at present")]
    Unavailable {
        /// After how long it is worth asking again.
        retry_after: Duration,
    },
}

/// Whether a text could be an API key of any format: nothing else is sent to the issuer.
pub(crate) fn is_key_form(text: &str) -> bool {
    (8..=512).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
}

/// Exchanges the key for a token of that audience.
pub(crate) async fn login(client: &Client, url: &Url, api_key: &str, audience: &str) -> Result<LoginAnswer, LoginError> {
    if !is_key_form(api_key) {
        return Err(LoginError::Refused);
    }
    let form = Serializer::new(String::new()).append_pair("password", api_key).append_pair("audience", audience).finish();
    let request = client.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ACCEPT, "application/json").body(form);
    let unavailable = |retry_after: Option<Duration>| LoginError::Unavailable { retry_after: retry_after.unwrap_or(RETRY_AFTER) };
    let answer = fetch::send(request, url, MAX_ANSWER).await.map_err(|_| unavailable(None))?;
    match answer.status {
        StatusCode::OK => serde_json::from_slice(&answer.body).map_err(|_| unavailable(None)),
        StatusCode::UNAUTHORIZED => Err(LoginError::Refused),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(answer.retry_after)),
        status if status.is_client_error() => Err(LoginError::Denied),
        _ => Err(unavailable(answer.retry_after)),
    }
}

/// Where keys are exchanged.
pub(crate) fn login_url(issuer: &str) -> Option<Url> {
    Url::parse(&format!("{}/auth/login", issuer.trim_end_matches('/'))).ok()
}
