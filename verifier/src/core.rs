//! The decision itself, from what is held in memory: no I/O, no waiting.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use moka::Expiry;
use moka::sync::Cache;

use crate::error::VerifyError;
use crate::key::{Key, KeySet};
use crate::options::{Options, StaleLists};
use crate::stats::{Counters, count};
use crate::status_list::StatusList;
use crate::token::{AccessToken, StatusReference};
use crate::{jws, snapshot};

/// The keys as they were last read.
pub(crate) struct HeldKeys {
    pub(crate) set: KeySet,
    /// The text that they were read from.
    pub(crate) jwks: String,
    /// When that reading began, since the Unix epoch. `None` for keys of a snapshot, which do not age: the lists beside them do.
    pub(crate) read_at: Option<Duration>,
}

/// A status list that tokens have named.
pub(crate) struct Tracked {
    pub(crate) uri: String,
    held: RwLock<Option<Arc<StatusList>>>,
    /// When a token last asked for it, in seconds since the Unix epoch.
    used_at: AtomicU64,
    #[cfg(feature = "http")]
    pub(crate) flight: Arc<crate::flight::Flight>,
    #[cfg(feature = "http")]
    pub(crate) etag: RwLock<Option<String>>,
}

impl Tracked {
    pub(crate) fn new(uri: &str, list: Option<StatusList>) -> Self {
        Self {
            uri: uri.to_owned(),
            held: RwLock::new(list.map(Arc::new)),
            used_at: AtomicU64::new(0),
            #[cfg(feature = "http")]
            flight: Arc::default(),
            #[cfg(feature = "http")]
            etag: RwLock::default(),
        }
    }

    pub(crate) fn held(&self) -> Option<Arc<StatusList>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the list, unless the one held is newer, and not from a future that a clock was in by mistake.
    #[cfg(feature = "http")]
    pub(crate) fn replace(&self, list: StatusList, now: Duration, leeway: Duration) -> bool {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let newer = !held.as_ref().is_some_and(|held| list.is_older_than(held) && !held.is_early(now, leeway));
        if newer {
            *held = Some(Arc::new(list));
        }
        newer
    }

    #[cfg(feature = "http")]
    pub(crate) fn idle(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_secs(self.used_at.load(Ordering::Relaxed)))
    }
}

/// After how long asking for the list again can help.
#[cfg(feature = "http")]
fn retry_after(tracked: &Tracked, now: Duration) -> Duration {
    tracked.flight.wait(now).max(Duration::from_secs(1))
}

/// Nothing changes in a snapshot; but a verifier of a newer one may take its place.
#[cfg(not(feature = "http"))]
const fn retry_after(_: &Tracked, _: Duration) -> Duration {
    Duration::from_mins(1)
}

/// A token whose signature and claims hold, whatever its status. Kept for its next use.
pub(crate) struct Verified {
    pub(crate) token: Arc<AccessToken>,
    key: Arc<Key>,
    /// How long it could be of use, counted from when it was put here.
    lifetime: Duration,
}

struct UntilExpired;

impl Expiry<[u8; 32], Arc<Verified>> for UntilExpired {
    fn expire_after_create(&self, _: &[u8; 32], verified: &Arc<Verified>, _: Instant) -> Option<Duration> {
        Some(verified.lifetime)
    }
}

/// What all clones of a verifier share.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    keys: RwLock<Arc<HeldKeys>>,
    lists: RwLock<HashMap<String, Arc<Tracked>>>,
    /// Keyed by the SHA-256 of the token's text, so that no token stands in memory longer than its request.
    cache: Option<Cache<[u8; 32], Arc<Verified>>>,
    #[cfg(feature = "http")]
    pub(crate) remote: Option<crate::remote::Remote>,
}

impl Core {
    pub(crate) fn new(options: Options, keys: HeldKeys) -> Self {
        let cache = (options.cache_entries > 0).then(|| Cache::builder().max_capacity(options.cache_entries).expire_after(UntilExpired).build());
        Self {
            options,
            cache,
            counters: Counters::default(),
            keys: RwLock::new(Arc::new(keys)),
            lists: RwLock::default(),
            #[cfg(feature = "http")]
            remote: None,
        }
    }

    /// Checks everything but the status, and says whether the signature had been checked before.
    pub(crate) fn admit(&self, text: &str, now: Duration) -> Result<(Arc<Verified>, bool), VerifyError> {
        if text.len() > self.options.max_token_size {
            return Err(VerifyError::TooLong);
        }
        let keys = self.keys();
        if keys.read_at.is_some_and(|read_at| now.saturating_sub(read_at) > self.options.max_key_age) {
            return Err(VerifyError::KeysUnavailable { retry_after: self.options.provoked_refresh_interval });
        }
        let Some(cache) = &self.cache else { return Ok((Arc::new(self.examine(text, &keys.set, now)?), false)) };
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        if let Some(verified) = cache.get(&hash) {
            let outcome =
                if keys.set.trusts(&verified.key) { verified.token.check_times(now, self.options.leeway) } else { Err(VerifyError::UnknownKey) };
            if let Err(error) = outcome {
                cache.invalidate(&hash);
                return Err(error);
            }
            return Ok((verified, true));
        }
        let verified = Arc::new(self.examine(text, &keys.set, now)?);
        cache.insert(hash, Arc::clone(&verified));
        Ok((verified, false))
    }

    fn examine(&self, text: &str, keys: &KeySet, now: Duration) -> Result<Verified, VerifyError> {
        let options = &self.options;
        let signed = jws::verify(text, keys, &options.token_type)?;
        let token = AccessToken::parse(signed.payload)?;
        if token.issuer() != options.issuer {
            return Err(VerifyError::WrongIssuer);
        }
        if !token.audiences().iter().any(|audience| options.audiences.contains(audience)) {
            return Err(VerifyError::WrongAudience);
        }
        token.check_times(now, options.leeway)?;
        match token.status() {
            None if !options.allow_without_status => return Err(VerifyError::NoStatus),
            Some(reference) if !options.is_list_uri(&reference.uri) => return Err(VerifyError::ForeignStatusList),
            _ => {}
        }
        let expires_at = Duration::from_secs(u64::try_from(token.expires_at()).unwrap_or_default());
        Ok(Verified { token: Arc::new(token), key: signed.key, lifetime: expires_at.saturating_add(options.leeway).saturating_sub(now) })
    }

    /// Whether the token's status is "valid". Says [`VerifyError::StatusUnavailable`] where no list is held that tells.
    pub(crate) fn check_status(&self, token: &AccessToken, now: Duration) -> Result<(), VerifyError> {
        let Some(StatusReference { idx, uri }) = token.status() else { return Ok(()) };
        let tracked = self.track(uri)?;
        tracked.used_at.store(now.as_secs(), Ordering::Relaxed);
        let unavailable = || VerifyError::StatusUnavailable { retry_after: retry_after(&tracked, now) };
        // A list counts as long as its key does.
        let counts = |list: &Arc<StatusList>| self.keys().set.trusts(list.key()) && !list.is_early(now, self.options.leeway);
        let list = tracked.held().filter(counts).ok_or_else(unavailable)?;
        let is_stale = list.is_stale(now);
        if is_stale && self.options.stale_lists == StaleLists::Refuse {
            return Err(unavailable());
        }
        match list.status(*idx) {
            Some(0) => {}
            Some(1) => return Err(VerifyError::Revoked),
            Some(2) => return Err(VerifyError::Suspended),
            Some(other) => return Err(VerifyError::UnknownStatus(other)),
            None => return Err(VerifyError::StatusOutOfRange),
        }
        if is_stale {
            count(&self.counters.stale_allowed);
        }
        Ok(())
    }

    /// The list of that address. Only called for tokens whose signature holds: no one else makes us follow a list.
    pub(crate) fn track(&self, uri: &str) -> Result<Arc<Tracked>, VerifyError> {
        if let Some(tracked) = self.lists.read().unwrap_or_else(PoisonError::into_inner).get(uri) {
            return Ok(Arc::clone(tracked));
        }
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= self.options.max_lists && !lists.contains_key(uri) {
            return Err(VerifyError::StatusUnavailable { retry_after: Duration::from_mins(1) });
        }
        let tracked = lists.entry(uri.to_owned()).or_insert_with(|| Arc::new(Tracked::new(uri, None)));
        Ok(Arc::clone(tracked))
    }

    /// Follows a list that is there already.
    pub(crate) fn put(&self, tracked: Tracked) {
        self.lists.write().unwrap_or_else(PoisonError::into_inner).insert(tracked.uri.clone(), Arc::new(tracked));
    }

    #[cfg(feature = "http")]
    pub(crate) fn forget(&self, uri: &str) {
        self.lists.write().unwrap_or_else(PoisonError::into_inner).remove(uri);
    }

    pub(crate) fn keys(&self) -> Arc<HeldKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(feature = "http")]
    pub(crate) fn replace_keys(&self, keys: HeldKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    pub(crate) fn lists(&self) -> Vec<Arc<Tracked>> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn snapshot(&self) -> snapshot::Snapshot {
        let jwt = |tracked: Arc<Tracked>| Some((tracked.uri.clone(), tracked.held()?.jwt().to_owned()));
        let jwks = serde_json::from_str(&self.keys().jwks).unwrap_or_default();
        snapshot::Snapshot { issuer: self.options.issuer.clone(), jwks, status_lists: self.lists().into_iter().filter_map(jwt).collect() }
    }
}
