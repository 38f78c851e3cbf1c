//! API keys, for receivers that let clients present them directly, and for clients.
//!
//! A receiver that takes keys as well as tokens:
//!
//! ```no_run
//! use hourpass_verifier::{Verifier, VerifyError, exchange::Exchange};
//!
//! # async fn run(bearer: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder("https://id.example.com").audience("https://pipelines.example.com").build().await?;
//! let exchange = Exchange::new(verifier);
//! let caller = exchange.verify(bearer).await?;
//! caller.require("pipelines.deploy")?;
//! # Ok(()) }
//! ```
//!
//! A client that always has a token at hand:
//!
//! ```no_run
//! use hourpass_verifier::exchange::TokenSource;
//!
//! # async fn run(api_key: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let source = TokenSource::builder("https://id.example.com", api_key).audience("https://pipelines.example.com").build()?;
//! let authorization = format!("Bearer {}", source.token().await?);
//! # Ok(()) }
//! ```

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::flight::Flight;
pub use crate::login::{LoginAnswer, LoginError};
use crate::login::{is_key_form, login, login_url};
pub use crate::token_source::{TokenSource, TokenSourceBuilder};
use crate::{AccessToken, Verifier, VerifyError};

/// How many API keys' tokens are kept.
const MAX_KEYS: u64 = 10_000;
/// How long a key that is not used is remembered.
const MAX_IDLE: Duration = Duration::from_hours(1);
/// How many exchanges are under way at once: a flood of made-up keys must not become one at the issuer.
const MAX_EXCHANGES: usize = 32;
/// How long one waits for its turn.
const MAX_QUEUE: Duration = Duration::from_millis(500);
/// How long a failure is remembered, at least and at most.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long a refusal counts, unless said otherwise: a key that was just made must not be refused for long.
const REFUSAL_TTL: Duration = Duration::from_secs(3);

/// Takes API keys as well as tokens, by exchanging each key at the issuer once for as long as its token lives. Clones are cheap and share everything.
///
/// The tokens are verified at each use as any token is, so a key that is deactivated is refused as soon as the status list says so.
#[derive(Clone)]
pub struct Exchange {
    verifier: Verifier,
    refusal_ttl: Duration,
    /// Keyed by the SHA-256 of the key.
    slots: Cache<[u8; 32], Arc<Slot>>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Exchange({:?})", self.verifier)
    }
}

/// What is known of one key.
#[derive(Default)]
struct Slot {
    flight: Arc<Flight>,
    state: RwLock<State>,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Unknown,
    Token(Arc<str>),
    /// Until when that counts, since the Unix epoch.
    Failed(VerifyError, Duration),
}

impl Slot {
    fn read(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Forgets that token, and no newer one.
    fn forget(&self, token: &Arc<str>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Token(held) if Arc::ptr_eq(held, token)) {
            *state = State::Unknown;
        }
    }
}

impl Exchange {
    /// Exchanges for the verifier's (first) audience, at its issuer. With a verifier that is offline, every key is answered with 503.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        let slots = Cache::builder().max_capacity(MAX_KEYS).time_to_idle(MAX_IDLE).build();
        Self { verifier, refusal_ttl: REFUSAL_TTL, slots, permits: Arc::new(Semaphore::new(MAX_EXCHANGES)) }
    }

    /// How long the issuer's refusal of a key is remembered; 3 seconds unless said, at most 30.
    #[must_use]
    pub const fn refusal_ttl(mut self, ttl: Duration) -> Self {
        self.refusal_ttl = ttl;
        self
    }

    /// The verifier.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Verifies what a client presented, whether it is an access token or an API key.
    ///
    /// # Errors
    /// Why it is refused, or cannot be judged.
    pub async fn verify(&self, bearer: &str) -> Result<Arc<AccessToken>, VerifyError> {
        // An access token has two dots, and begins as every JSON object does in base64url.
        if bearer.starts_with('e') && bearer.bytes().filter(|it| *it == b'.').count() == 2 {
            return self.verifier.verify(bearer).await;
        }
        if !is_key_form(bearer) {
            return Err(VerifyError::InvalidApiKey);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bearer.as_bytes()).as_ref());
        let slot = self.slots.get_with(hash, Arc::default);
        if let State::Token(token) = slot.read() {
            match self.verifier.verify(&token).await {
                // Its key may have a better one by now.
                Err(error) if error.status() == 401 => slot.forget(&token),
                outcome => return outcome,
            }
        }
        self.renew(&slot, bearer).await;
        match slot.read() {
            State::Token(token) => {
                let outcome = self.verifier.verify(&token).await;
                if let Err(error) = &outcome
                    && error.status() == 401
                {
                    slot.write(State::Failed(error.clone(), self.now() + self.refusal_ttl.min(MAX_PAUSE)));
                }
                outcome
            }
            State::Failed(error, _) => Err(error),
            State::Unknown => Err(unavailable(Duration::from_secs(1))),
        }
    }

    /// Exchanges a key, for a receiver that has a login endpoint of its own. Nothing is kept.
    ///
    /// # Errors
    /// Where the issuer refuses the key, or cannot be asked.
    pub async fn login(&self, api_key: &str) -> Result<LoginAnswer, VerifyError> {
        let core = &self.verifier.0;
        let (Some(remote), Some(url)) = (&core.remote, login_url(&core.options.issuer)) else { return Err(unavailable(Duration::from_mins(1))) };
        let audience = core.options.audiences.first().map_or("", String::as_str);
        let Ok(Ok(_permit)) = tokio::time::timeout(MAX_QUEUE, self.permits.acquire()).await else { return Err(unavailable(Duration::from_secs(1))) };
        login(&remote.client, &url, api_key, audience).await.map_err(|error| match error {
            LoginError::Refused => VerifyError::InvalidApiKey,
            LoginError::Denied => VerifyError::AccessDenied,
            LoginError::Unavailable { retry_after } => unavailable(retry_after),
        })
    }

    /// Exchanges the key, unless that has failed just before; once, however many ask.
    async fn renew(&self, slot: &Arc<Slot>, api_key: &str) {
        let wanted = || match slot.read() {
            State::Unknown => true,
            State::Token(_) => false,
            // Further away than it ever was: the clock was set back.
            State::Failed(_, until) => self.now() >= until || until.saturating_sub(self.now()) > MAX_PAUSE,
        };
        let Some(remote) = &self.verifier.0.remote else { return };
        if !wanted() {
            return;
        }
        let (exchange, filled, api_key) = (self.clone(), Arc::clone(slot), api_key.to_owned());
        let work = async move {
            let outcome = exchange.login(&api_key).await;
            let pause = |error: &VerifyError| error.retry_after().unwrap_or(exchange.refusal_ttl).clamp(MIN_PAUSE, MAX_PAUSE);
            filled.write(match outcome {
                Ok(answer) => State::Token(answer.access_token.into()),
                Err(error) => {
                    let until = exchange.now() + pause(&error);
                    State::Failed(error, until)
                }
            });
        };
        slot.flight.run(&remote.handle, wanted, work).await;
    }

    fn now(&self) -> Duration {
        self.verifier.0.options.now()
    }
}

const fn unavailable(retry_after: Duration) -> VerifyError {
    VerifyError::ExchangeUnavailable { retry_after }
}
