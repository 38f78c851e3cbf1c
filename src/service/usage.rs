//! When and from where keys were last used.
//!
//! Noted in memory with each use, and written in the background, many at once: the first use soon, and then at most once a minute for each key, so that a busy key does not cost a
//! write for every request. Apart from the records of issued tokens, which never wait for it. What waits is kept in the order in which it becomes due, so that neither a use nor
//! a write costs more when many keys are in use.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::audit::Origin;
use crate::domain::credential::KeyCredential;
use crate::domain::entity::LastUse;
use crate::domain::id::{KeyValueId, ServiceAccountId};
use crate::domain::time::Timestamp;
use crate::store::{KeyUse, Store, StoreError};

const AT_MOST_EVERY: Duration = Duration::from_mins(1);
/// After what time it is tried again to write a use of an account that somebody was just changing.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How many keys' last write is remembered. Forgetting one costs a write too many.
const REMEMBERED: u64 = 100_000;
/// How many keys are written in one transaction, so that none is long.
const BATCH: usize = 500;
/// From how many waiting uses on they are written although they are not due.
const MANY: usize = 100_000;
/// How many uses may wait. Beyond it those of further keys are not noted: that many wait only if the database takes nothing.
const MOST: usize = 200_000;

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Uses.
    pub uses: usize,
    /// In so many transactions.
    pub transactions: usize,
}

/// A use that is not written yet.
#[derive(Debug)]
struct Waiting {
    noted: KeyUse,
    due: Timestamp,
}

/// Uses that are not written yet: of each value of a key the newest.
#[derive(Debug, Default)]
struct Pending {
    uses: HashMap<KeyValueId, Waiting>,
    /// The same, in the order in which they become due.
    queue: BTreeSet<(Timestamp, KeyValueId)>,
    /// Whether there was no room for another key.
    full: bool,
}

impl Pending {
    /// Notes a use, which becomes due at `due` if none of the same value waits. Returns whether there was room.
    fn note(&mut self, noted: KeyUse, due: impl FnOnce() -> Timestamp) -> bool {
        if let Some(waiting) = self.uses.get_mut(&noted.value) {
            // Of several requests at once, the last to get here need not be the newest.
            if waiting.noted.last.at <= noted.last.at {
                waiting.noted = noted;
            }
            return true;
        }
        if self.uses.len() >= MOST {
            return false;
        }
        let (value, due) = (noted.value, due());
        self.queue.insert((due, value));
        self.uses.insert(value, Waiting { noted, due });
        true
    }

    /// At most `limit` uses that come after `cursor` and are due by `until`, the first due first; and where to go on. They go on waiting.
    fn take(
        &self,
        cursor: Option<(Timestamp, KeyValueId)>,
        until: Option<Timestamp>,
        limit: usize,
    ) -> (Vec<KeyUse>, Option<(Timestamp, KeyValueId)>) {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let due = self.queue.range((from, Bound::Unbounded)).take(limit).take_while(|(due, _)| until.is_none_or(|until| *due <= until));
        let (mut taken, mut last) = (Vec::new(), cursor);
        for place in due {
            last = Some(*place);
            taken.extend(self.uses.get(&place.1).map(|waiting| waiting.noted.clone()));
        }
        (taken, last)
    }

    /// Forgets uses that were written. One that was noted meanwhile waits until `next`.
    fn forget<'a>(&mut self, written: impl IntoIterator<Item = &'a KeyUse>, next: Timestamp) {
        for it in written {
            let Some(waiting) = self.uses.get_mut(&it.value) else { continue };
            self.queue.remove(&(waiting.due, it.value));
            if Arc::ptr_eq(&waiting.noted.last, &it.last) {
                self.uses.remove(&it.value);
            } else {
                waiting.due = next;
                self.queue.insert((next, it.value));
            }
        }
        self.full = false;
    }

    /// Has uses wait until `next`.
    fn put_off<'a>(&mut self, uses: impl IntoIterator<Item = &'a KeyUse>, next: Timestamp) {
        for it in uses {
            if let Some(waiting) = self.uses.get_mut(&it.value) {
                self.queue.remove(&(waiting.due, it.value));
                waiting.due = next;
                self.queue.insert((next, it.value));
            }
        }
    }
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
        let value = credential.value.id;
        let noted = KeyUse { account: credential.account.id, key: credential.key.id, value, last: Arc::new(last) };
        let due = || self.written.get(&value).filter(|at| *at <= now).map_or(now, |at| at.plus(AT_MOST_EVERY));
        let mut pending = self.pending();
        let full = !pending.note(noted, due) && !std::mem::replace(&mut pending.full, true);
        drop(pending);
        if full {
            tracing::warn!(waiting = MOST, "so many uses of keys wait to be written that those of further keys are not noted");
        }
    }

    /// Writes what is due at `now`: everything, or those keys of which nothing was written within the last minute. A use is forgotten here only when it is written, so that nothing
    /// is lost if the database fails or this is given up half-way.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn flush(&self, now: Timestamp, everything: bool) -> Result<Flushed, StoreError> {
        let mut flushed = Flushed::default();
        // What is noted while this writes is for the next time.
        let (mut left, mut cursor) = (self.pending().uses.len(), None);
        while left > 0 {
            let batch;
            {
                let pending = self.pending();
                let until = if everything || pending.uses.len() > MANY { None } else { Some(now) };
                (batch, cursor) = pending.take(cursor, until, BATCH.min(left));
            }
            if batch.is_empty() {
                break;
            }
            left -= batch.len();
            self.write_or_split(&batch, now, &mut flushed).await?;
        }
        Ok(flushed)
    }

    /// Writes uses together; or, as one that the database refuses is not to keep the others from being written for ever, one by one.
    async fn write_or_split(&self, batch: &[KeyUse], now: Timestamp, flushed: &mut Flushed) -> Result<(), StoreError> {
        match self.write(batch, now, flushed).await {
            Err(error) if !matches!(error, StoreError::Unavailable(_)) => tracing::error!(%error, "uses of keys cannot be written together"),
            written => return written,
        }
        for it in batch {
            let alone = std::slice::from_ref(it);
            match self.write(alone, now, flushed).await {
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, key = %it.key, "the use of a key cannot be written, and is forgotten");
                    self.pending().forget(alone, now.plus(AT_MOST_EVERY));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn write(&self, batch: &[KeyUse], now: Timestamp, flushed: &mut Flushed) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let busy: BTreeSet<ServiceAccountId> = tx.set_last_uses(batch).await?;
        tx.commit().await?;
        let (put_off, written): (Vec<&KeyUse>, Vec<&KeyUse>) = batch.iter().partition(|it| busy.contains(&it.account));
        for it in &written {
            self.written.insert(it.value, now);
        }
        flushed.uses += written.len();
        flushed.transactions += 1;
        let mut pending = self.pending();
        pending.forget(written, now.plus(AT_MOST_EVERY));
        pending.put_off(put_off, now.plus(AGAIN_AFTER));
        Ok(())
    }

    /// How many uses wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending().uses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ApiKeyId;
    use uuid::Uuid;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn used(number: u128, when: i64) -> KeyUse {
        let id = Uuid::from_u128(number);
        let last = Arc::new(LastUse { at: at(when), address: None, user_agent: None });
        KeyUse { account: ServiceAccountId(id), key: ApiKeyId(id), value: KeyValueId(id), last }
    }

    fn numbers(taken: &[KeyUse]) -> Vec<u128> {
        taken.iter().map(|it| it.value.0.as_u128()).collect()
    }

    #[test]
    fn a_batch_is_bounded_and_in_the_order_in_which_uses_become_due() {
        let mut pending = Pending::default();
        for number in 0..20_000_u32 {
            pending.note(used(number.into(), 0), || at(20_000 - i64::from(number)));
        }
        let (first, cursor) = pending.take(None, Some(at(3)), 2);
        assert_eq!(numbers(&first), [19_999, 19_998]);
        let (second, cursor) = pending.take(cursor, Some(at(3)), 2);
        assert_eq!(numbers(&second), [19_997]);
        assert!(pending.take(cursor, Some(at(3)), 2).0.is_empty() && pending.take(None, Some(at(0)), 2).0.is_empty());
        assert_eq!(pending.take(None, None, 500).0.len(), 500);
    }

    #[test]
    fn the_newest_use_wins_and_keeps_its_turn() {
        let mut pending = Pending::default();
        pending.note(used(1, 5), || at(5));
        pending.note(used(1, 9), || at(9));
        pending.note(used(1, 7), || at(7));
        let (taken, _) = pending.take(None, Some(at(5)), 10);
        assert_eq!((taken.len(), taken[0].last.at), (1, at(9)));
    }

    #[test]
    fn a_use_that_was_noted_while_another_was_written_waits_for_the_next_time() {
        let mut pending = Pending::default();
        pending.note(used(1, 5), || at(5));
        pending.note(used(2, 5), || at(5));
        let (taken, _) = pending.take(None, None, 10);
        pending.note(used(2, 6), || at(0));
        pending.forget(&taken, at(65));
        assert!(pending.take(None, Some(at(64)), 10).0.is_empty());
        assert_eq!(numbers(&pending.take(None, Some(at(65)), 10).0), [2]);
        assert_eq!((pending.uses.len(), pending.queue.len()), (1, 1));
    }

    #[test]
    fn a_use_that_was_put_off_is_not_forgotten() {
        let mut pending = Pending::default();
        pending.note(used(1, 5), || at(5));
        let (taken, _) = pending.take(None, None, 10);
        pending.put_off(&taken, at(6));
        assert!(pending.take(None, Some(at(5)), 10).0.is_empty());
        assert_eq!(numbers(&pending.take(None, Some(at(6)), 10).0), [1]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pending = Pending::default();
        let noted = (0..MOST as u128 + 10).filter(|number| pending.note(used(*number, 0), || at(0))).count();
        assert_eq!((noted, pending.uses.len(), pending.queue.len()), (MOST, MOST, MOST));
        // One that waits already is replaced.
        assert!(pending.note(used(0, 1), || at(0)));
    }
}
