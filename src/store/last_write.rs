//! When a write last succeeded: what readiness goes by while there is traffic.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;

/// When a write last succeeded, unless something failed since.
#[derive(Debug, Default)]
pub(super) struct LastWrite(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    succeeded: Option<Instant>,
    /// Whether writes fail, and whether that was logged.
    outage: Option<Logged>,
    /// When an outage was last logged.
    logged: Option<Instant>,
}

/// Whether an outage was logged.
type Logged = bool;

/// An outage that comes and goes, as under too much load, is logged once within this time.
const LOGGED_AGAIN: Duration = Duration::from_secs(30);

impl LastWrite {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a write succeeded just now.
    #[expect(clippy::disallowed_methods, reason = "the age of a write is measured on the monotonic clock")]
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        state.succeeded = Some(Instant::now());
        if state.outage.take() == Some(true) {
            tracing::info!("the database takes writes again");
        }
    }

    /// Notes that the database failed: earlier writes no longer prove anything.
    pub(super) fn failed(&self) {
        self.state().succeeded = None;
    }

    /// Notes that a write failed. Logged once for each outage.
    #[expect(clippy::disallowed_methods, reason = "how long ago something was logged is measured on the monotonic clock")]
    pub(super) fn write_failed(&self, error: &StoreError) {
        let mut state = self.state();
        state.succeeded = None;
        if state.outage.is_none() {
            let log = state.logged.is_none_or(|at| at.elapsed() > LOGGED_AGAIN);
            state.outage = Some(log);
            if log {
                state.logged = Some(Instant::now());
                tracing::error!(%error, "the database takes no writes; what has to write is refused with 503 until it does");
            }
        }
    }

    /// Whether a write succeeded within this time, and nothing failed since.
    pub(super) fn is_within(&self, time: Duration) -> bool {
        self.state().succeeded.is_some_and(|at| at.elapsed() < time)
    }
}
