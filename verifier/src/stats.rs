//! What a verifier has done, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::VerifyError;

/// Counts since the verifier was made, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tokens accepted whose signature was checked.
    pub verified: u64,
    /// Tokens accepted that had been seen before.
    pub cached: u64,
    /// Refusals, by [`VerifyError::code`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Tokens accepted by a status list past its `exp`, which only [`StaleLists::Allow`](crate::StaleLists::Allow) does.
    pub stale_allowed: u64,
    /// Times that the issuer was asked for its keys.
    pub key_fetches: u64,
    /// Of these, how many failed.
    pub key_fetch_failures: u64,
    /// Times that the issuer was asked for a status list.
    pub list_fetches: u64,
    /// Of these, how many failed, or brought a list that does not count.
    pub list_fetch_failures: u64,
    /// Status lists that are followed.
    pub lists: usize,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) verified: AtomicU64,
    pub(crate) cached: AtomicU64,
    pub(crate) stale_allowed: AtomicU64,
    pub(crate) key_fetches: AtomicU64,
    pub(crate) key_fetch_failures: AtomicU64,
    pub(crate) list_fetches: AtomicU64,
    pub(crate) list_fetch_failures: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn refuse(&self, error: &VerifyError) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(error.code()).or_default() += 1;
    }

    pub(crate) fn read(&self, lists: usize) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            verified: read(&self.verified),
            cached: read(&self.cached),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            stale_allowed: read(&self.stale_allowed),
            key_fetches: read(&self.key_fetches),
            key_fetch_failures: read(&self.key_fetch_failures),
            list_fetches: read(&self.list_fetches),
            list_fetch_failures: read(&self.list_fetch_failures),
            lists,
        }
    }
}
