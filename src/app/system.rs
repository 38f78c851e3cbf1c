//! The clock and the randomness of the machine: the only place that reads either.

use std::sync::Arc;

use rand::Rng;

use crate::domain::random::Random;
use crate::domain::time::{Clock, Timestamp};
use crate::service::Sources;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the present comes from")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(chrono::Utc::now().timestamp_micros())
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // ChaCha12, seeded and seeded anew by the operating system.
        rand::rng().fill_bytes(bytes);
    }
}

/// The machine's own clock and randomness.
#[must_use]
pub fn system_sources() -> Sources {
    Sources::new(Arc::new(SystemClock), Arc::new(SystemRandom))
}
