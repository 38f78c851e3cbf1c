//! The verifier, and how it is made.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::core::{Core, HeldKeys, Tracked};
use crate::error::{BuildError, VerifyError};
use crate::key::KeySet;
use crate::options::{Options, StaleLists};
use crate::snapshot::Snapshot;
use crate::stats::{Stats, count};
use crate::status_list::StatusList;
use crate::token::AccessToken;

/// Longest leeway that makes sense: clocks that differ more are broken.
const MAX_LEEWAY: Duration = Duration::from_mins(1);
/// Keys are read anew at least so often.
const MAX_INTERVAL: Duration = Duration::from_hours(24);

/// Verifies the access tokens of one issuer for one receiver. Clones are cheap and share everything; the last one dropped ends the background work.
#[derive(Clone)]
pub struct Verifier(pub(crate) Arc<Core>);

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Verifier({}, {:?})", self.0.options.issuer, self.0.options.audiences)
    }
}

impl Verifier {
    /// Begins to make a verifier for tokens of this issuer: the public URL of a Hourpass, exactly as in `iss`.
    pub fn builder(issuer: &str) -> VerifierBuilder {
        VerifierBuilder {
            options: Options::new(issuer),
            #[cfg(feature = "http")]
            client: None,
            #[cfg(feature = "http")]
            plain_http: false,
        }
    }

    /// A verifier that works from a snapshot alone. [`VerifierBuilder::offline`] is the same with options.
    ///
    /// # Errors
    /// Where the snapshot holds no keys.
    pub fn from_snapshot(snapshot: &Snapshot, audience: &str) -> Result<Self, BuildError> {
        Self::builder(&snapshot.issuer).audience(audience).offline(snapshot)
    }

    /// Verifies a token: its form, signature, issuer, audience and times, and that it is not revoked.
    ///
    /// Waits for the issuer only where the token names a key or a status list that is not held.
    ///
    /// # Errors
    /// Why it is refused, or cannot be judged.
    #[cfg_attr(not(feature = "http"), expect(clippy::unused_async, reason = "one signature, whether there is an issuer to wait for or not"))]
    pub async fn verify(&self, token: &str) -> Result<Arc<AccessToken>, VerifyError> {
        #[cfg(feature = "http")]
        if self.0.remote.is_some() {
            let outcome = self.verify_with_issuer(token).await;
            return self.counted(outcome);
        }
        self.verify_held(token)
    }

    /// Verifies a token with what is held, without any wait.
    ///
    /// # Errors
    /// Why it is refused, or cannot be judged.
    pub fn verify_held(&self, token: &str) -> Result<Arc<AccessToken>, VerifyError> {
        let now = self.0.options.now();
        let outcome = self.0.admit(token, now).and_then(|(verified, seen)| {
            self.0.check_status(&verified.token, now)?;
            Ok((Arc::clone(&verified.token), seen))
        });
        self.counted(outcome)
    }

    /// Checks the times and the status of a token of this verifier again, without any wait: for connections and work that outlast it. Whether its key is still trusted only
    /// [`Verifier::verify`] knows, from the token's text.
    ///
    /// # Errors
    /// Why it counts no longer, or cannot be judged.
    pub fn check_again(&self, token: &AccessToken) -> Result<(), VerifyError> {
        let now = self.0.options.now();
        token.check_times(now, self.0.options.leeway)?;
        self.0.check_status(token, now)
    }

    /// What is known now, to be carried to where the issuer cannot be reached.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters.read(self.0.lists().len())
    }

    /// The issuer whose tokens are taken.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.options.issuer
    }

    /// The audiences that are taken as this receiver's.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.0.options.audiences
    }

    fn counted(&self, outcome: Result<(Arc<AccessToken>, bool), VerifyError>) -> Result<Arc<AccessToken>, VerifyError> {
        let counters = &self.0.counters;
        match outcome {
            Ok((token, seen)) => {
                count(if seen { &counters.cached } else { &counters.verified });
                Ok(token)
            }
            Err(error) => {
                counters.refuse(&error);
                Err(error)
            }
        }
    }

    #[cfg(feature = "http")]
    async fn verify_with_issuer(&self, text: &str) -> Result<(Arc<AccessToken>, bool), VerifyError> {
        let core = &self.0;
        let now = core.options.now();
        let (verified, seen) = match core.admit(text, now) {
            Err(error @ (VerifyError::UnknownKey | VerifyError::KeysUnavailable { .. })) => self.admit_with_fresh_keys(text, error).await?,
            outcome => outcome?,
        };
        match core.check_status(&verified.token, now) {
            Err(VerifyError::StatusUnavailable { .. }) => {
                let uri = verified.token.status().map_or("", |status| &status.uri);
                crate::remote::refresh_list(core, &core.track(uri)?).await;
                core.check_status(&verified.token, core.options.now())?;
            }
            outcome => outcome?,
        }
        Ok((Arc::clone(&verified.token), seen))
    }

    #[cfg(feature = "http")]
    async fn admit_with_fresh_keys(&self, text: &str, error: VerifyError) -> Result<(Arc<crate::core::Verified>, bool), VerifyError> {
        let core = &self.0;
        let is_fresh = crate::remote::refresh_keys(core, false).await;
        match core.admit(text, core.options.now()) {
            // An issuer that cannot be asked has not said that it does not know the key.
            Err(VerifyError::UnknownKey) if !is_fresh => Err(VerifyError::KeysUnavailable { retry_after: core.options.provoked_refresh_interval }),
            Err(VerifyError::UnknownKey) => Err(error),
            outcome => outcome,
        }
    }
}

/// How a [`Verifier`] is to be. Every option but the audience has a default.
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct VerifierBuilder {
    options: Options,
    #[cfg(feature = "http")]
    client: Option<reqwest::Client>,
    #[cfg(feature = "http")]
    plain_http: bool,
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VerifierBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl VerifierBuilder {
    /// This receiver, exactly as in `aud`. Given again, each of them is taken.
    pub fn audience(mut self, audience: &str) -> Self {
        self.options.audiences.push(audience.to_owned());
        self
    }

    /// How far clocks may differ; 5 seconds unless said, at most 60.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.options.leeway = leeway;
        self
    }

    /// Longer tokens are refused, in bytes; 8 KiB unless said.
    pub const fn max_token_size(mut self, bytes: usize) -> Self {
        self.options.max_token_size = bytes;
        self
    }

    /// The media type that tokens have to be of (`typ`), without `application/`; `at+jwt` unless said (RFC 9068).
    pub fn token_type(mut self, typ: &str) -> Self {
        typ.clone_into(&mut self.options.token_type);
        self
    }

    /// How many verified tokens are remembered, so that their signature is not checked again; 10,000 unless said, 0 for none.
    pub const fn cache_entries(mut self, entries: u64) -> Self {
        self.options.cache_entries = entries;
        self
    }

    /// What becomes of tokens whose status list is past its `exp`; they are refused unless said.
    pub const fn stale_lists(mut self, policy: StaleLists) -> Self {
        self.options.stale_lists = policy;
        self
    }

    /// Takes tokens that name no status list, and so cannot be revoked.
    pub const fn allow_tokens_without_status(mut self) -> Self {
        self.options.allow_without_status = true;
        self
    }

    /// How many status lists are followed at most; 256 unless said. Tokens of further ones are answered with 503.
    pub const fn max_lists(mut self, lists: usize) -> Self {
        self.options.max_lists = lists;
        self
    }

    /// How large a status list may be, in bytes after inflation; 16 MiB unless said, enough for 134 million tokens.
    pub const fn max_list_size(mut self, bytes: usize) -> Self {
        self.options.max_list_size = bytes;
        self
    }

    /// How often the keys are read anew; every 5 minutes unless said. A key that is withdrawn counts that much longer.
    pub const fn refresh_interval(mut self, interval: Duration) -> Self {
        self.options.refresh_interval = interval;
        self
    }

    /// How often at most tokens with unknown keys make the keys be read anew; every 10 seconds unless said.
    pub const fn provoked_refresh_interval(mut self, interval: Duration) -> Self {
        self.options.provoked_refresh_interval = interval;
        self
    }

    /// How long keys count that cannot be read anew; 24 hours unless said. Then tokens are answered with 503.
    pub const fn max_key_age(mut self, age: Duration) -> Self {
        self.options.max_key_age = age;
        self
    }

    /// Where to read the time; the system's clock unless said.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// The client to ask the issuer with, for proxies and private certificate authorities. It should follow no redirects; an answer that came by one is refused.
    #[cfg(feature = "http")]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Lets the issuer be an `http` address other than of this machine. Whoever is on the way can then make keys up.
    #[cfg(feature = "http")]
    pub const fn allow_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Reads the issuer's metadata and keys, and begins to keep them fresh on the runtime that this is called on.
    ///
    /// # Errors
    /// Where an option is out of its range, or the issuer cannot be read.
    #[cfg(feature = "http")]
    pub async fn build(self) -> Result<Verifier, BuildError> {
        self.check()?;
        let client = match self.client {
            Some(client) => client,
            None => crate::fetch::client(&self.options.issuer).map_err(|_| BuildError::Options("no HTTP client can be made here"))?,
        };
        let (remote, keys) = crate::remote::discover(&self.options, client, self.plain_http).await?;
        let mut core = Core::new(self.options, keys);
        core.remote = Some(remote);
        let core = Arc::new(core);
        crate::remote::start(&core);
        Ok(Verifier(core))
    }

    /// A verifier that works from a snapshot alone and never asks the issuer.
    ///
    /// A list of the snapshot that does not verify is left out, so that its tokens are answered with 503.
    ///
    /// # Errors
    /// Where an option is out of its range, the snapshot is of another issuer, or it holds no keys.
    pub fn offline(self, snapshot: &Snapshot) -> Result<Verifier, BuildError> {
        self.check()?;
        if snapshot.issuer != self.options.issuer {
            return Err(BuildError::WrongIssuer);
        }
        let jwks = snapshot.jwks.to_string();
        let set = KeySet::parse(jwks.as_bytes()).filter(|set| !set.is_empty()).ok_or(BuildError::Answer("the snapshot holds no keys"))?;
        let core = Core::new(self.options, HeldKeys { set, jwks, read_at: None });
        let (keys, options) = (core.keys(), &core.options);
        for (uri, jwt) in snapshot.status_lists.iter().filter(|(uri, _)| options.is_list_uri(uri)).take(options.max_lists) {
            let list = StatusList::verify(jwt.clone(), uri, &options.issuer, &keys.set, options.max_list_size).ok();
            if let Some(list) = list.filter(|list| !list.is_early(options.now(), options.leeway)) {
                core.put(Tracked::new(uri, Some(list)));
            }
        }
        Ok(Verifier(Arc::new(core)))
    }

    fn check(&self) -> Result<(), BuildError> {
        if self.options.issuer.is_empty() || self.options.audiences.is_empty() || self.options.audiences.iter().any(String::is_empty) {
            return Err(BuildError::Options("an issuer and an audience are required"));
        }
        if self.options.leeway > MAX_LEEWAY {
            return Err(BuildError::Options("the leeway is more than 60 seconds"));
        }
        if self.options.refresh_interval.is_zero() || self.options.provoked_refresh_interval.is_zero() {
            return Err(BuildError::Options("an interval of nothing is a flood"));
        }
        if self.options.refresh_interval.max(self.options.provoked_refresh_interval) > MAX_INTERVAL {
            return Err(BuildError::Options("an interval is more than a day"));
        }
        Ok(())
    }
}
