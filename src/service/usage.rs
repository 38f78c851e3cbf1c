//! When and from where keys were last used.
//!
//! Noted in memory with each use, and written by a task in the background: the first use soon, and then at most once a minute for each key, so that a busy key does
//! not cost a write for every request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::audit::Origin;
use crate::domain::credential::KeyCredential;
use crate::domain::entity::LastUse;
use crate::domain::id::{KeyValueId, ServiceAccountId};
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError};

const AT_MOST_EVERY: Duration = Duration::from_mins(1);
/// How many keys' last write is remembered. Forgetting one costs a write too many.
const REMEMBERED: u64 = 100_000;
/// How many keys are written in one transaction, so that none is long.
const BATCH: usize = 200;

/// Uses that are not written yet.
type Pending = HashMap<KeyValueId, (ServiceAccountId, LastUse)>;

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
        self.pending().insert(credential.value.id, (credential.account.id, last));
    }

    /// Writes what is due at `now`: everything, or those keys of which nothing was written within the last minute. Returns how many. What could not be written
    /// is kept for the next time.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn flush(&self, now: Timestamp, everything: bool) -> Result<usize, StoreError> {
        let due = |id: &KeyValueId| everything || self.written.get(id).is_none_or(|at| now.since(at) >= AT_MOST_EVERY);
        let taken: Vec<_> = self.pending().extract_if(|id, _| due(id)).collect();
        let mut batches = taken.chunks(BATCH);
        while let Some(batch) = batches.next() {
            if let Err(error) = self.write(batch).await {
                let mut pending = self.pending();
                for (id, noted) in batch.iter().chain(batches.flatten()) {
                    // A use that was noted meanwhile is the later one.
                    if let Entry::Vacant(place) = pending.entry(*id) {
                        place.insert(noted.clone());
                    }
                }
                return Err(error);
            }
            for (id, _) in batch {
                self.written.insert(*id, now);
            }
        }
        Ok(taken.len())
    }

    async fn write(&self, batch: &[(KeyValueId, (ServiceAccountId, LastUse))]) -> Result<(), StoreError> {
        // In one order everywhere, so that two nodes never wait for each other.
        let mut batch: Vec<_> = batch.iter().collect();
        batch.sort_by_key(|(value, (account, _))| (*account, *value));
        let mut tx = self.store.begin().await?;
        for (_, (account, last)) in &batch {
            tx.set_service_account_last_use(*account, last).await?;
        }
        for (value, (_, last)) in &batch {
            tx.set_key_value_last_use(*value, last).await?;
        }
        tx.commit().await
    }
}
