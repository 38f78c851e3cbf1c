//! The status lists: made from what the database says, signed once for each change or `ttl`, and handed out until then.
//!
//! A list's `iat` is the moment at which the database was read, never later: a node that is cut off from it goes on handing out what it has, and nobody takes that for fresh. From its
//! `exp` on, the node refuses.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

use super::Sources;
use super::signing::{OWN_ALGORITHM, Signing, SigningError};
use crate::domain::status::{StatusBits, list_uri};
use crate::domain::time::Timestamp;
use crate::keys::{CompressedBits, KeyError, StatusListClaims, compress, entity_tag, gzip, mint_status_list};
use crate::store::{Store, StoreError, Version};

/// For how long a validator is kept waiting for a fresh list, where this node has one that still counts.
const WAIT: Duration = Duration::from_millis(500);
/// For how long nobody waits again after that.
const PAUSE: Duration = Duration::from_secs(1);

/// How the lists are made.
#[derive(Clone, Copy, Debug)]
pub struct StatusRules {
    /// After what time a validator asks again.
    pub ttl: Duration,
    /// For how long it may go by a list.
    pub lifetime: Duration,
}

/// A signed list.
#[derive(Debug)]
pub struct StatusList {
    /// As a JWT.
    pub token: String,
    /// The same, in gzip.
    pub gzip: Vec<u8>,
    /// What tells it from every other.
    pub tag: String,
    bits: StatusBits,
    compressed: CompressedBits,
}

/// All lists, as of one moment.
#[derive(Debug)]
pub struct StatusLists {
    lists: Vec<Arc<StatusList>>,
    /// What the node knew of the changes before it read.
    version: Version,
    /// What they are signed with.
    kid: String,
    /// When the database was read.
    pub read_at: Timestamp,
    /// When the next credential ends by itself.
    next_end: Option<Timestamp>,
}

impl StatusLists {
    /// The list of this number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Arc<StatusList>> {
        self.lists.get(number)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lists.len()
    }
}

/// Makes the lists.
#[derive(Debug)]
pub struct StatusPublisher {
    store: Store,
    signing: Arc<Signing>,
    sources: Sources,
    issuer: String,
    rules: StatusRules,
    latest: RwLock<Option<Arc<StatusLists>>>,
    /// Held by who makes the next; when that last failed.
    making: Mutex<Option<Timestamp>>,
}

impl StatusPublisher {
    /// With nothing made yet.
    #[must_use]
    pub fn new(store: Store, signing: Arc<Signing>, sources: Sources, issuer: String, rules: StatusRules) -> Self {
        Self { store, signing, sources, issuer, rules, latest: RwLock::default(), making: Mutex::default() }
    }

    /// How the lists are made.
    #[must_use]
    pub fn rules(&self) -> StatusRules {
        self.rules
    }

    /// Where list `number` is.
    #[must_use]
    pub fn uri(&self, number: usize) -> String {
        list_uri(&self.issuer, i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The lists: of now, as far as this node knows; or, where the database does not answer, the last that it made, while they count.
    ///
    /// # Errors
    /// Where there are none that count.
    pub async fn lists(&self) -> Result<Arc<StatusLists>, SigningError> {
        if let Some(lists) = self.fresh() {
            return Ok(lists);
        }
        let mut failed = self.making.lock().await;
        if let Some(lists) = self.fresh() {
            return Ok(lists);
        }
        let (now, last) = (self.sources.now(), self.last());
        let still_counts = last.filter(|last| now.since(last.read_at) < self.rules.lifetime);
        if let (Some(last), Some(at)) = (&still_counts, *failed)
            && now >= at
            && now.since(at) < PAUSE
        {
            return Ok(Arc::clone(last));
        }
        let made = tokio::time::timeout(WAIT, self.make()).await.unwrap_or_else(|_| Err(StoreError::timed_out().into()));
        *failed = made.is_err().then_some(now);
        match (made, still_counts) {
            (Ok(lists), _) => Ok(lists),
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "the status lists are handed out as they were: they cannot be made anew");
                Ok(last)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn last(&self) -> Option<Arc<StatusLists>> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last that were made, where nothing is known to have changed since.
    fn fresh(&self) -> Option<Arc<StatusLists>> {
        let now = self.sources.now();
        self.last().filter(|last| {
            now >= last.read_at
                && now.since(last.read_at) < self.rules.ttl
                && last.next_end.is_none_or(|end| now < end)
                && last.version == self.store.changes().version()
                && self.signing.known().current(OWN_ALGORITHM, now).is_some_and(|key| key.kid() == last.kid)
        })
    }

    async fn make(&self) -> Result<Arc<StatusLists>, SigningError> {
        // Both from before the read: what changes meanwhile makes it be read again.
        let (version, read_at) = (self.store.changes().version(), self.sources.now());
        let keys = self.signing.keys().await?;
        let view = self.store.read_status(self.sources.latest()).await?;
        let last = self.last();
        let (issuer, rules) = (self.issuer.clone(), self.rules);
        let made = tokio::task::spawn_blocking(move || {
            let key = keys.current(OWN_ALGORITHM, read_at).ok_or(KeyError::Crypto(OWN_ALGORITHM))?;
            let count = usize::try_from(view.greatest.list()).unwrap_or_default() + 1;
            let mut all = vec![StatusBits::default(); count];
            for index in view.ended {
                if let Some(bits) = usize::try_from(index.list()).ok().and_then(|list| all.get_mut(list)) {
                    bits.set(index.position());
                }
            }
            let sign = |(number, bits): (usize, StatusBits)| {
                let before = last.as_ref().and_then(|last| last.get(number)).filter(|list| list.bits == bits);
                let compressed = before.map_or_else(|| compress(&bits), |list| list.compressed.clone());
                let claims = StatusListClaims {
                    issuer: &issuer,
                    uri: &list_uri(&issuer, i64::try_from(number).unwrap_or(i64::MAX)),
                    aggregation_uri: &format!("{issuer}/status-lists"),
                    issued_at: read_at.as_seconds(),
                    expires_at: read_at.plus(rules.lifetime).as_seconds(),
                    ttl: rules.ttl.as_secs(),
                };
                let token = mint_status_list(key, &claims, &compressed)?;
                Ok(Arc::new(StatusList { gzip: gzip(&token), tag: entity_tag(&token), token, bits, compressed }))
            };
            let lists = all.into_iter().enumerate().map(sign).collect::<Result<_, KeyError>>()?;
            Ok(StatusLists { lists, version, kid: key.kid().to_owned(), read_at, next_end: view.next_end })
        });
        let made = made.await.map_err(|_| KeyError::Crypto(OWN_ALGORITHM))?.map_err(|error: KeyError| SigningError::from(error))?;
        let made = Arc::new(made);
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&made));
        Ok(made)
    }
}
