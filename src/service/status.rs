//! The status lists: made from what the database says, signed once for each change or `ttl`, and handed out until then.
//!
//! A list's `iat` is the moment at which the database was read, never later: a node that is cut off from it goes on handing out what it has, and nobody takes that for fresh. From its
//! `exp` on, the node refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::Sources;
use super::signing::{OWN_ALGORITHM, Signing, SigningError};
use crate::domain::status::{SHOWN_FOR, StatusBits, list_address};
use crate::domain::time::Timestamp;
use crate::keys::{CompressedBits, DocumentHead, KeyError, StatusListBody, compress, entity_tag, gzip, sign_document};
use crate::store::{Store, StoreError, Version};

/// For how long a validator is kept waiting for a fresh list, where this node has one that still counts.
const WAIT: Duration = Duration::from_millis(500);
/// After it could not be made, for how long it is not tried again.
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
    lists: BTreeMap<i64, Arc<StatusList>>,
    /// What the node knew of the changes before it read.
    version: Version,
    /// What they are signed with.
    kid: String,
    /// When the database was read, to the second, as `iat` says.
    pub read_at: Timestamp,
    /// When the next credential ends by itself.
    next_end: Option<Timestamp>,
}

impl StatusLists {
    /// The list of this number.
    #[must_use]
    pub fn get(&self, number: i64) -> Option<&Arc<StatusList>> {
        self.lists.get(&number)
    }

    /// The numbers of all of them.
    pub fn numbers(&self) -> impl Iterator<Item = i64> {
        self.lists.keys().copied()
    }
}

/// A making that is under way. It goes on when nobody waits for it any more.
type Making = Shared<BoxFuture<'static, Result<Arc<StatusLists>, Arc<SigningError>>>>;

#[derive(Default)]
struct State {
    last: Option<Arc<StatusLists>>,
    making: Option<Making>,
    /// When the last making failed.
    failed_at: Option<Timestamp>,
}

/// Makes the lists.
#[derive(Clone)]
pub struct StatusPublisher(Arc<Publisher>);

struct Publisher {
    store: Store,
    signing: Arc<Signing>,
    sources: Sources,
    issuer: String,
    rules: StatusRules,
    state: Mutex<State>,
}

impl std::fmt::Debug for StatusPublisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StatusPublisher({:?})", self.0.rules)
    }
}

impl StatusPublisher {
    /// With nothing made yet.
    #[must_use]
    pub fn new(store: Store, signing: Arc<Signing>, sources: Sources, issuer: String, rules: StatusRules) -> Self {
        Self(Arc::new(Publisher { store, signing, sources, issuer, rules, state: Mutex::default() }))
    }

    /// How the lists are made.
    #[must_use]
    pub fn rules(&self) -> StatusRules {
        self.0.rules
    }

    /// Where list `number` is.
    #[must_use]
    pub fn uri(&self, number: i64) -> String {
        list_address(&self.0.issuer, number).as_str().to_owned()
    }

    /// The lists: of now, as far as this node knows; or, where the database does not answer, the last that it made, while they count.
    ///
    /// # Errors
    /// Where there are none that count.
    pub async fn lists(&self) -> Result<Arc<StatusLists>, SigningError> {
        // A making that is under way may have read before what the caller knows of; the next one has not.
        for last_try in [false, true] {
            if let Some(lists) = self.0.fresh() {
                return Ok(lists);
            }
            let still_counts = self.0.still_counts();
            let Some((making, joined)) = self.making() else {
                return still_counts.ok_or_else(|| StoreError::timed_out().into());
            };
            let made = match &still_counts {
                Some(last) => tokio::time::timeout(WAIT, making).await.unwrap_or_else(|_| Ok(Arc::clone(last))),
                None => making.await,
            };
            match made {
                Ok(_) if joined && !last_try => {}
                Ok(lists) => return Ok(lists),
                Err(error) => return still_counts.ok_or_else(|| SigningError::of_another(&error)),
            }
        }
        self.0.still_counts().ok_or_else(|| StoreError::timed_out().into())
    }

    /// The making that is under way, or a new one, and whether it was under way; nothing where one just failed.
    fn making(&self) -> Option<(Making, bool)> {
        let now = self.0.sources.now();
        let mut state = self.0.state();
        if let Some(making) = &state.making {
            return Some((making.clone(), true));
        }
        if state.failed_at.is_some_and(|at| now >= at && now.since(at) < PAUSE) {
            return None;
        }
        let publisher = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let made = publisher.make().await;
            if let Err(error) = &made {
                tracing::warn!(%error, "the status lists cannot be made");
            }
            let mut state = publisher.state();
            state.failed_at = made.is_err().then(|| publisher.sources.now());
            state.making = None;
            if let Ok(made) = &made {
                state.last = Some(Arc::clone(made));
            }
            made.map_err(Arc::new)
        });
        let making = task.map(|ended| ended.unwrap_or_else(|_| Err(Arc::new(KeyError::Crypto(OWN_ALGORITHM).into())))).boxed().shared();
        state.making = Some(making.clone());
        Some((making, false))
    }
}

impl Publisher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last that were made, while validators may go by them.
    fn still_counts(&self) -> Option<Arc<StatusLists>> {
        let now = self.sources.now();
        self.state().last.clone().filter(|last| now.since(last.read_at) < self.rules.lifetime)
    }

    /// The last that were made, where nothing is known to have changed since.
    fn fresh(&self) -> Option<Arc<StatusLists>> {
        let now = self.sources.now();
        let last = self.state().last.clone();
        last.filter(|last| {
            now >= last.read_at
                && now.since(last.read_at) < self.rules.ttl
                && last.next_end.is_none_or(|end| now < end)
                && last.version == self.store.changes().version()
                && self.signing.known().current(OWN_ALGORITHM, now).is_some_and(|key| key.kid() == last.kid)
        })
    }

    async fn make(&self) -> Result<Arc<StatusLists>, SigningError> {
        // Both from before the read: what changes meanwhile makes it be read again.
        let (version, now) = (self.store.changes().version(), self.sources.now());
        let read_at = Timestamp::from_seconds(now.as_seconds());
        let keys = self.signing.keys().await?;
        let view = self.store.read_status(now, self.sources.latest()).await?;
        let last = self.state().last.clone();
        let (issuer, rules) = (self.issuer.clone(), self.rules);
        let made = tokio::task::spawn_blocking(move || {
            let key = keys.current(OWN_ALGORITHM, read_at).ok_or(KeyError::Crypto(OWN_ALGORITHM))?;
            let mut all = BTreeMap::new();
            for epoch in &view.epochs {
                // What was ended after the back-up of a database that was restored, nobody knows. Until every token from before has expired, all of them count as ended.
                let bits = match epoch.ended_at() {
                    Some(at) if now >= at.plus(SHOWN_FOR) => continue,
                    Some(_) => StatusBits::all_set(),
                    None => StatusBits::default(),
                };
                // The next list is there while the last one fills, so that everybody who keeps the names of the lists knows it before a token names it.
                let last = epoch.last_list.unwrap_or_else(|| view.greatest.list().max(epoch.first_list)) + 1;
                all.extend((epoch.first_list..=last).map(|number| (number, bits.clone())));
            }
            for index in view.ended {
                if let Some(bits) = all.get_mut(&index.list()) {
                    bits.set(index.position());
                }
            }
            let aggregation_uri = format!("{issuer}/status-lists");
            let sign = |(number, bits): (i64, StatusBits)| {
                let before = last.as_ref().and_then(|last| last.get(number)).filter(|list| list.bits == bits);
                let compressed = before.map_or_else(|| compress(&bits), |list| list.compressed.clone());
                let address = list_address(&issuer, number);
                let head = DocumentHead { address: &address, issued_at: read_at, expires_at: read_at.plus(rules.lifetime) };
                let token = sign_document(key, head, &StatusListBody::new(&compressed, &aggregation_uri, rules.ttl.as_secs()))?;
                Ok((number, Arc::new(StatusList { gzip: gzip(&token), tag: entity_tag(&token), token, bits, compressed })))
            };
            let lists = all.into_iter().map(sign).collect::<Result<_, KeyError>>()?;
            Ok::<_, KeyError>(StatusLists { lists, version, kid: key.kid().to_owned(), read_at, next_end: view.next_end })
        });
        Ok(Arc::new(made.await.map_err(|_| KeyError::Crypto(OWN_ALGORITHM))??))
    }
}
