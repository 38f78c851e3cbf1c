//! Time that stands still until it is moved, and randomness that can be repeated.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hourpass::domain::random::Random;
use hourpass::domain::time::{Clock, Timestamp};
use hourpass::service::Sources;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A clock that a test moves.
#[derive(Clone)]
pub struct MockClock(Arc<AtomicI64>);

impl MockClock {
    /// 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_767_225_600_000_000)))
    }

    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub fn seconds(&self) -> i64 {
        self.now().as_seconds()
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

struct Seeded(Mutex<StdRng>);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

/// Every server of a run gets another seed: two on one database are not to draw the same ids.
pub fn seeded(clock: &MockClock) -> Sources {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let random = StdRng::seed_from_u64(SEED.fetch_add(1, Ordering::Relaxed));
    Sources::new(Arc::new(clock.clone()), Arc::new(Seeded(Mutex::new(random))))
}
