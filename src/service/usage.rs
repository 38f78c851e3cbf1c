//! When and from where keys were last used.
//!
//! Noted in memory with each use, and written with the next records of issued tokens, or else by a task in the background: the first use soon, and then at most once a minute for
//! each key, so that a busy key does not cost a write for every request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::audit::Origin;
use crate::domain::credential::KeyCredential;
use crate::domain::entity::LastUse;
use crate::domain::id::{ApiKeyId, KeyValueId, ServiceAccountId};
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError, Tx};

const AT_MOST_EVERY: Duration = Duration::from_mins(1);
/// How many keys' last write is remembered. Forgetting one costs a write too many.
const REMEMBERED: u64 = 100_000;
/// How many keys are written in one transaction, so that none is long.
const BATCH: usize = 200;

/// How many ride along with records of issued tokens.
const RIDING: usize = 50;

/// Uses that are due to be written.
#[derive(Debug, Default)]
pub(super) struct Due(Vec<(KeyValueId, Noted)>);

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Uses that are not written yet.
type Pending = HashMap<KeyValueId, Noted>;

/// A use: of which account and key, when and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Noted {
    account: ServiceAccountId,
    key: ApiKeyId,
    last: LastUse,
}

/// Notes uses, and writes them now and then.
#[derive(Debug)]
pub struct Usage {
    store: Store,
    pending: Mutex<Pending>,
    written: Cache<KeyValueId, Timestamp>,
}

impl Usage {
    /// With nothing noted yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, pending: Mutex::default(), written: Cache::new(REMEMBERED) }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use. Touches memory alone.
    pub fn note(&self, credential: &KeyCredential, origin: &Origin, now: Timestamp) {
        let last = LastUse { at: now, address: origin.address.map(|address| address.to_string()), user_agent: origin.user_agent.clone() };
        self.pending().insert(credential.value.id, Noted { account: credential.account.id, key: credential.key.id, last });
    }

    /// Writes what is due at `now`: everything, or those keys of which nothing was written within the last minute. Returns how many. A use is forgotten here
    /// only when it is written, so that nothing is lost where the database fails or this is given up half-way.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn flush(&self, now: Timestamp, everything: bool) -> Result<usize, StoreError> {
        let due = self.due(now, everything);
        for batch in due.0.chunks(BATCH) {
            let mut tx = self.store.begin().await?;
            write(&mut tx, batch).await?;
            tx.commit().await?;
            self.forget(batch, now);
        }
        Ok(due.0.len())
    }

    /// What is due at `now`, at most as much as belongs into a transaction of somebody else's.
    pub(super) fn due_for_a_ride(&self, now: Timestamp) -> Due {
        let mut due = self.due(now, false);
        due.0.truncate(RIDING);
        due
    }

    /// Writes these uses together with something else, unless somebody else is just changing one of the accounts: then they wait for another time. Returns whether they are
    /// part of the transaction now.
    ///
    /// # Errors
    /// Where the database fails in another way.
    pub(super) async fn ride(tx: &mut Tx, due: &Due) -> Result<bool, StoreError> {
        if due.0.is_empty() {
            return Ok(false);
        }
        tx.begin_attempt().await?;
        let written = write(tx, &due.0).await.is_ok();
        tx.end_attempt(written).await?;
        Ok(written)
    }

    /// Takes in that the transaction with these uses went through.
    pub(super) fn rode(&self, due: &Due, now: Timestamp) {
        self.forget(&due.0, now);
    }

    fn due(&self, now: Timestamp, everything: bool) -> Due {
        let due = |id: &KeyValueId| everything || self.written.get(id).is_none_or(|at| now.since(at) >= AT_MOST_EVERY);
        let mut due: Vec<_> = self.pending().iter().filter(|(id, _)| due(id)).map(|(id, noted)| (*id, noted.clone())).collect();
        // In one order everywhere, so that two nodes never wait for each other.
        due.sort_by_key(|(value, noted)| (noted.account, noted.key, *value));
        Due(due)
    }

    fn forget(&self, batch: &[(KeyValueId, Noted)], now: Timestamp) {
        let mut pending = self.pending();
        for (id, noted) in batch {
            self.written.insert(*id, now);
            // One that was noted meanwhile stays.
            if pending.get(id) == Some(noted) {
                pending.remove(id);
            }
        }
    }
}

async fn write(tx: &mut Tx, batch: &[(KeyValueId, Noted)]) -> Result<(), StoreError> {
    // All accounts first: their rows are what others lock before they touch a key.
    for (_, noted) in batch {
        tx.set_service_account_last_use(noted.account, &noted.last).await?;
    }
    for (value, noted) in batch {
        tx.set_key_last_use(noted.key, *value, &noted.last).await?;
    }
    Ok(())
}
