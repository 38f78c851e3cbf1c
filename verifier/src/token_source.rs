//! A client's own token, always fresh.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Client;
use tokio::runtime::Handle;
use url::Url;

use crate::BuildError;
use crate::fetch;
use crate::flight::Flight;
use crate::login::{LoginError, login, login_url};
use crate::options::{Clock, system_time};
use crate::remote::{issuer_url, jittered};

/// Exchanges an API key for tokens, and hands out one that lives. Clones are cheap and share everything.
///
/// After about four fifths of its life a token is renewed, in the background: callers wait only for the first. While the issuer cannot be
/// reached, the old one is handed out as long as it lives.
#[derive(Clone)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    client: Client,
    url: Url,
    api_key: String,
    audience: String,
    clock: Clock,
    flight: Arc<Flight>,
    state: RwLock<State>,
}

#[derive(Clone, Default)]
struct State {
    held: Option<Held>,
    /// Why the last exchange failed, if it did.
    error: Option<LoginError>,
}

/// Times are since the Unix epoch.
#[derive(Clone)]
struct Held {
    token: Arc<str>,
    asked_at: Duration,
    renew_at: Duration,
    expires_at: Duration,
}

impl Held {
    /// Whether it lives. One from the future does not: the clock was set back, and nobody knows how long it lives.
    fn lives(&self, now: Duration) -> bool {
        now < self.expires_at && self.asked_at <= now.saturating_add(Duration::from_mins(1))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenSource({}, {})", self.0.url, self.0.audience)
    }
}

impl TokenSource {
    /// Begins to make a source of tokens of this issuer: the public URL of a Hourpass.
    pub fn builder(issuer: &str, api_key: &str) -> TokenSourceBuilder {
        TokenSourceBuilder {
            issuer: issuer.to_owned(),
            api_key: api_key.to_owned(),
            audience: issuer.to_owned(),
            client: None,
            plain_http: false,
            clock: Arc::new(system_time),
        }
    }

    /// A token that lives, for `Authorization: Bearer`.
    ///
    /// # Errors
    /// Where none is held that lives, and the issuer refuses the key or cannot be asked.
    pub async fn token(&self) -> Result<Arc<str>, LoginError> {
        let inner = &self.0;
        let now = inner.now();
        let may_ask = || inner.flight.wait(inner.now()).is_zero();
        if let Some(held) = inner.read().held.filter(|held| held.lives(now)) {
            if now >= held.renew_at && may_ask() {
                inner.flight.start(&Handle::current(), renew(Arc::clone(inner)));
            }
            return Ok(held.token);
        }
        if may_ask() {
            inner.flight.run(&Handle::current(), may_ask, renew(Arc::clone(inner))).await;
        }
        let State { held, error } = inner.read();
        let unavailable = || LoginError::Unavailable { retry_after: inner.flight.wait(now).max(Duration::from_secs(1)) };
        held.filter(|held| held.lives(inner.now())).map(|held| held.token).ok_or_else(|| error.unwrap_or_else(unavailable))
    }

    /// Forgets that token, so that the next one is another: for a client whose token a receiver has refused with 401.
    pub fn forget(&self, token: &str) {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.held.as_ref().is_some_and(|held| &*held.token == token) {
            state.held = None;
        }
    }
}

impl Inner {
    fn now(&self) -> Duration {
        (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn read(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn renew(inner: Arc<Inner>) {
    // A token lives from when it was asked for, at the latest.
    let asked_at = inner.now();
    let outcome = login(&inner.client, &inner.url, &inner.api_key, &inner.audience).await;
    inner.flight.settle(outcome.is_ok(), inner.now(), Duration::ZERO);
    let mut state = inner.state.write().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(answer) => {
            let lifetime = Duration::from_secs(answer.expires_in);
            let renew_at = asked_at.saturating_add(jittered(lifetime.mul_f64(0.8)));
            let held = Held { token: answer.access_token.into(), asked_at, renew_at, expires_at: asked_at.saturating_add(lifetime) };
            *state = State { held: Some(held), error: None };
        }
        Err(error) => state.error = Some(error),
    }
}

/// How a [`TokenSource`] is to be.
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenSourceBuilder {
    issuer: String,
    api_key: String,
    audience: String,
    client: Option<Client>,
    plain_http: bool,
    clock: Clock,
}

impl fmt::Debug for TokenSourceBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenSourceBuilder({}, {})", self.issuer, self.audience)
    }
}

impl TokenSourceBuilder {
    /// Whom the tokens are for; Hourpass itself unless said.
    pub fn audience(mut self, audience: &str) -> Self {
        audience.clone_into(&mut self.audience);
        self
    }

    /// The client to ask the issuer with. It should follow no redirects: the key goes with the request.
    pub fn http_client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Lets the issuer be an `http` address other than of this machine. Whoever is on the way can then read the key.
    pub const fn allow_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Where to read the time; the system's clock unless said.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the source. Nothing is asked for yet.
    ///
    /// # Errors
    /// Where the issuer is not an address that a key may be sent to.
    pub fn build(self) -> Result<TokenSource, BuildError> {
        issuer_url(&self.issuer, self.plain_http)?;
        let url = login_url(&self.issuer).ok_or(BuildError::Options("the issuer is not a URL"))?;
        let client = match self.client {
            Some(client) => client,
            None => fetch::client(&self.issuer).map_err(|_| BuildError::Options("no HTTP client can be made here"))?,
        };
        let (api_key, audience, clock) = (self.api_key, self.audience, self.clock);
        Ok(TokenSource(Arc::new(Inner { client, url, api_key, audience, clock, flight: Arc::default(), state: RwLock::default() })))
    }
}
