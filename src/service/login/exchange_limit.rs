//! How many exchanges a service account may make, on this node.
//!
//! A good key costs a signature and a record with each exchange, and its token counts for an hour: whoever exchanges it many times a second has a mistake in a loop, or fills the
//! audit trail on purpose. What is beyond the limit leaves a record at most once a minute for each account, which says how many were refused since the last.

use std::num::NonZeroU32;
use std::time::Duration;

use moka::Entry;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::domain::entity::ServiceAccount;
use crate::domain::id::ServiceAccountId;
use crate::domain::time::Timestamp;
use crate::service::rate_limit::{Quota, RateLimiter};

/// How often the refusals of an account leave a record.
const RECORDED_EVERY: Duration = Duration::from_mins(1);
/// Of how many accounts it is remembered when that was last done.
const REMEMBERED: u64 = 100_000;

/// Whose exchanges are counted together: those of an account with keys that work, or with others. Whoever has an old key of an account does not use up what its good keys may.
type Counted = (ServiceAccountId, bool);

/// Limits exchanges by account.
#[derive(Debug)]
pub struct ExchangeLimit {
    /// For accounts that have no limit of their own; without this, none.
    default: Option<NonZeroU32>,
    spent: RateLimiter<Counted>,
    /// When a refusal was last recorded, and how many were not since.
    refused: Cache<ServiceAccountId, (Timestamp, u64)>,
}

/// An exchange beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beyond {
    /// How many the account may make a minute.
    pub(super) most: NonZeroU32,
    /// How long until another is allowed.
    pub(super) wait: Duration,
    /// If this is to be recorded: how many were refused since the last that was.
    pub(super) unrecorded: Option<u64>,
}

impl ExchangeLimit {
    /// With this limit for accounts that have none of their own.
    #[must_use]
    pub fn new(default: Option<NonZeroU32>) -> Self {
        Self { default, spent: RateLimiter::default(), refused: Cache::new(REMEMBERED) }
    }

    /// The limit of an account.
    #[must_use]
    pub fn of(&self, account: &ServiceAccount) -> Option<NonZeroU32> {
        account.exchanges_per_minute.or(self.default)
    }

    /// The limit of an account that has used it up, and how long until another exchange is allowed.
    #[must_use]
    pub fn used_up(&self, account: &ServiceAccount, now: Timestamp) -> Option<(NonZeroU32, Duration)> {
        let most = self.of(account)?;
        let wait = self.spent.wait(&(account.id, true), Quota::per_minute(most), now);
        (wait > Duration::ZERO).then_some((most, wait))
    }

    /// Counts an exchange with a key that works, or with one that does not.
    pub(super) fn count(&self, account: &ServiceAccount, works: bool, now: Timestamp) -> Result<(), Beyond> {
        let Some(most) = self.of(account) else { return Ok(()) };
        self.spent.check(&(account.id, works), Quota::per_minute(most), now).map_err(|wait| Beyond {
            most,
            wait,
            unrecorded: self.refuse(account.id, now),
        })
    }

    /// Counts a refusal. Returns how many were not recorded before, if this one is to be.
    fn refuse(&self, account: ServiceAccountId, now: Timestamp) -> Option<u64> {
        let mut unrecorded = None;
        self.refused.entry(account).and_compute_with(|last| match last.map(Entry::into_value) {
            Some((at, count)) if at <= now && now.since(at) < RECORDED_EVERY => Op::Put((at, count.saturating_add(1))),
            last => {
                unrecorded = Some(last.map_or(0, |(_, count)| count));
                Op::Put((now, 0))
            }
        });
        unrecorded
    }
}
