//! How often a password is guessed.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use moka::Entry;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::LoginError;
use crate::domain::name::Email;
use crate::domain::time::Timestamp;

/// Within this time from the first on, guesses are counted together.
const WINDOW: Duration = Duration::from_mins(1);
/// How many who guess are remembered.
const REMEMBERED: u64 = 100_000;

/// Of whose password, and from which address.
type Guessed = (Email, Option<IpAddr>);

/// Counts wrong passwords by person and address: somebody elsewhere locks nobody out.
#[derive(Debug)]
pub(super) struct Guesses {
    /// Allowed in a window; without a number, all are.
    most: Option<NonZeroU32>,
    /// Since when, and how many.
    counted: Cache<Guessed, (Timestamp, u32)>,
}

impl Guesses {
    pub(super) fn new(most: Option<NonZeroU32>) -> Self {
        Self { most, counted: Cache::builder().max_capacity(REMEMBERED).time_to_live(2 * WINDOW).build() }
    }

    /// Counts a password before it is compared, so that many at once are counted, too, and too many cost no hash.
    pub(super) fn count(&self, guessed: Guessed, now: Timestamp) -> Result<(), LoginError> {
        let Some(most) = self.most else { return Ok(()) };
        let counted = self.counted.entry(guessed).and_upsert_with(|before| match before.map(Entry::into_value) {
            Some((since, count)) if since <= now && now.since(since) < WINDOW => (since, count.saturating_add(1)),
            _ => (now, 1),
        });
        let (since, count) = counted.into_value();
        if count > most.get() { Err(LoginError::TooManyGuesses(WINDOW.saturating_sub(now.since(since)))) } else { Ok(()) }
    }

    /// It was not compared after all.
    pub(super) fn take_back(&self, guessed: &Guessed) {
        self.counted.entry_by_ref(guessed).and_compute_with(|counted| match counted.map(Entry::into_value) {
            Some((since, count)) => Op::Put((since, count.saturating_sub(1))),
            None => Op::Nop,
        });
    }

    /// It was no guess.
    pub(super) fn forget(&self, guessed: &Guessed) {
        self.counted.invalidate(guessed);
    }
}
