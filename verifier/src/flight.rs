//! One request at a time for one thing, however many ask for it, and none sooner than is fit after the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

/// Longest wait after failures.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Requests for one thing.
#[derive(Default)]
pub(crate) struct Flight {
    gate: Arc<Mutex<()>>,
    /// How many have ended.
    ended: AtomicU64,
    /// How many have failed since the last that did not.
    failures: AtomicU64,
    /// Before when none is to start, in milliseconds since the Unix epoch.
    not_before: AtomicU64,
    /// How long that was in the future then, in milliseconds.
    pause: AtomicU64,
    started: AtomicBool,
}

impl Flight {
    /// Whether this is the first that asks for it.
    pub(crate) fn is_first(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    /// Whether the last one failed.
    pub(crate) fn failed(&self) -> bool {
        self.failures.load(Ordering::Acquire) > 0
    }

    /// How long until one may start.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        let wait = Duration::from_millis(self.not_before.load(Ordering::Acquire)).saturating_sub(now);
        // Longer than it ever was: the clock was set back.
        if wait > Duration::from_millis(self.pause.load(Ordering::Acquire).saturating_add(1)) { Duration::ZERO } else { wait }
    }

    /// Lets none start for that long. On failures in a row the time doubles.
    pub(crate) fn settle(&self, succeeded: bool, now: Duration, pause: Duration) {
        let failures = if succeeded { 0 } else { self.failures.load(Ordering::Acquire) + 1 };
        let backoff = if succeeded { pause } else { pause.max(Self::backoff(failures)) };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.pause.store(millis(backoff), Ordering::Release);
        self.not_before.store(millis(now.saturating_add(backoff)), Ordering::Release);
        self.failures.store(failures, Ordering::Release);
    }

    /// A second, then two, four, and so on.
    fn backoff(failures: u64) -> Duration {
        Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(MAX_BACKOFF)
    }

    /// Waits until one has ended that was under way or had not begun when this was called. Where `wanted` says so, that one is `work`.
    ///
    /// The work is a task of its own: callers that go away do not stop it, nor start another.
    pub(crate) async fn run(self: &Arc<Self>, handle: &Handle, wanted: impl FnOnce() -> bool, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.load(Ordering::Acquire);
        let guard = Arc::clone(&self.gate).lock_owned().await;
        if self.ended.load(Ordering::Acquire) != ended || !wanted() {
            return;
        }
        // It cannot fail but by a panic or the end of the runtime, and then what is held decides.
        let _ = self.launch(handle, guard, work).await;
    }

    /// Begins one, unless one is under way, and does not wait for it.
    #[cfg(feature = "exchange")]
    pub(crate) fn start(self: &Arc<Self>, handle: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(guard) = Arc::clone(&self.gate).try_lock_owned() {
            self.launch(handle, guard, work);
        }
    }

    fn launch(self: &Arc<Self>, handle: &Handle, guard: OwnedMutexGuard<()>, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let flight = Arc::clone(self);
        handle.spawn(async move {
            work.await;
            flight.ended.fetch_add(1, Ordering::AcqRel);
            drop(guard);
        })
    }
}
