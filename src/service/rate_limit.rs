//! Rate limits, in the memory of one node.
//!
//! The generic cell rate algorithm: for each key one time is kept, up to which what was done so far is spread out evenly. A check looks at one entry, whatever others are
//! remembered; of too many, some are forgotten, and begin with a whole quota again.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use moka::Entry;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::domain::time::Timestamp;

/// How many keys are remembered.
const REMEMBERED: u64 = 100_000;
const MINUTE: Duration = Duration::from_mins(1);

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// After each time, one more is allowed when this has passed.
    interval: Duration,
    /// So many are allowed at once.
    burst: NonZeroU32,
}

impl Quota {
    /// So many a minute, which may all come at once.
    #[must_use]
    pub fn per_minute(most: NonZeroU32) -> Self {
        Self { interval: MINUTE / most.get(), burst: most }
    }

    /// So many a second, and more at once if there were fewer before.
    #[must_use]
    pub fn per_second(most: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { interval: Duration::from_secs(1) / most.get(), burst }
    }

    /// How long it takes from a burst until another is allowed.
    fn window(self) -> Duration {
        self.interval.saturating_mul(self.burst.get())
    }
}

/// What was done so far: up to when it is spread out, by which quota.
#[derive(Clone, Copy)]
struct Spent {
    until: Timestamp,
    quota: Quota,
}

impl Spent {
    const fn nothing(quota: Quota, now: Timestamp) -> Self {
        Self { until: now, quota }
    }

    /// Up to when it is spread out by this quota: after a change, as many count as before. Nothing counts of what was done by a clock that was ahead.
    fn until(self, quota: Quota, now: Timestamp) -> Timestamp {
        let full = now.plus(quota.window());
        // A small step back of the clock gives nobody another burst.
        if self.until > now.plus(self.quota.window() * 2) {
            return now;
        }
        let until = if self.quota == quota {
            self.until
        } else {
            let number = self.until.since(now).as_micros().div_ceil(self.quota.interval.as_micros().max(1));
            now.plus(quota.interval.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)))
        };
        until.clamp(now, full)
    }
}

/// Limits how often each of many may do something.
pub struct RateLimiter<K> {
    spent: Cache<K, Spent>,
}

impl<K> fmt::Debug for RateLimiter<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RateLimiter")
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Default for RateLimiter<K> {
    fn default() -> Self {
        // A quota is whole again after its window, of which none here is longer than a minute.
        Self { spent: Cache::builder().max_capacity(REMEMBERED).time_to_live(2 * MINUTE).build() }
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> RateLimiter<K> {
    /// Counts one, if it is allowed.
    ///
    /// # Errors
    /// If it is not: how long until one is.
    pub fn check(&self, key: &K, quota: Quota, now: Timestamp) -> Result<(), Duration> {
        let mut allowed = Ok(());
        let full = now.plus(quota.window());
        self.spent.entry_by_ref(key).and_compute_with(|spent| {
            let spent = spent.map_or(Spent::nothing(quota, now), Entry::into_value);
            let until = spent.until(quota, now).plus(quota.interval);
            if until > full {
                allowed = Err(until.since(full));
                return Op::Nop;
            }
            Op::Put(Spent { until, quota })
        });
        allowed
    }

    /// How long until one is allowed, without counting it; zero if it is allowed now.
    #[must_use]
    pub fn wait(&self, key: &K, quota: Quota, now: Timestamp) -> Duration {
        let full = now.plus(quota.window());
        self.spent.get(key).map_or(Duration::ZERO, |spent| spent.until(quota, now).plus(quota.interval).since(full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_a_minute() -> Quota {
        Quota::per_minute(NonZeroU32::new(3).unwrap())
    }

    #[test]
    fn a_quota_is_spent_and_comes_back_evenly() {
        let (limiter, start) = (RateLimiter::default(), Timestamp::from_seconds(1_000));
        let after = |seconds| start.plus(Duration::from_secs(seconds));
        for _ in 0..3 {
            assert_eq!(limiter.check(&1, three_a_minute(), start), Ok(()));
        }
        assert_eq!(limiter.check(&1, three_a_minute(), start), Err(Duration::from_secs(20)));
        assert_eq!(limiter.wait(&1, three_a_minute(), after(5)), Duration::from_secs(15));
        // Somebody else is not concerned.
        assert_eq!(limiter.check(&2, three_a_minute(), start), Ok(()));
        assert_eq!(limiter.check(&1, three_a_minute(), after(20)), Ok(()));
        assert_eq!(limiter.check(&1, three_a_minute(), after(20)), Err(Duration::from_secs(20)));
        // Whoever waited for long has no more than a whole quota.
        assert_eq!((0..10).filter(|_| limiter.check(&1, three_a_minute(), after(9_000)).is_ok()).count(), 3);
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nobody_out() {
        let (limiter, start) = (RateLimiter::default(), Timestamp::from_seconds(1_000_000));
        let used = |now| (0..10).filter(|_| limiter.check(&1, three_a_minute(), now).is_ok()).count();
        assert_eq!(used(start), 3);
        assert_eq!(used(start.minus(Duration::from_secs(1))), 0);
        let before = Timestamp::from_seconds(1_000);
        assert_eq!(limiter.wait(&1, three_a_minute(), before), Duration::ZERO);
        assert_eq!(used(before), 3);
    }

    #[test]
    fn what_was_done_counts_when_the_quota_is_another() {
        let (limiter, now) = (RateLimiter::default(), Timestamp::from_seconds(1_000));
        let check = |most| limiter.check(&1, Quota::per_minute(NonZeroU32::new(most).unwrap()), now).is_ok();
        assert_eq!([check(2), check(2), check(2)], [true, true, false]);
        assert_eq!([check(4), check(4), check(4)], [true, true, false]);
        assert_eq!([check(1), check(4), check(1_000_000)], [false, false, true]);
    }

    #[test]
    fn a_burst_may_be_longer_than_a_second() {
        let (limiter, start) = (RateLimiter::default(), Timestamp::from_seconds(1_000));
        let quota = Quota::per_second(NonZeroU32::new(5).unwrap(), NonZeroU32::new(100).unwrap());
        assert_eq!((0..1_000).filter(|_| limiter.check(&(), quota, start).is_ok()).count(), 100);
        assert_eq!((0..1_000).filter(|_| limiter.check(&(), quota, start.plus(Duration::from_secs(1))).is_ok()).count(), 5);
    }
}
