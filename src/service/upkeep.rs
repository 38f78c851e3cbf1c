//! What is done now and then in the background: uses are written, old audit events pruned, sign-ins forgotten, and signing keys take turns.

use std::sync::Arc;
use std::time::Duration;

use super::usage::{Flushed, Usage};
use super::{Restoration, Signing, SigningError, Sources};
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError};

/// How often uses are written.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// At a stop, how long accounts that somebody is just changing are left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked whether the database has gone back.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How often the marks are synced.
const SYNC_EVERY: Duration = Duration::from_mins(1);
/// How often old events are looked for.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// How often it is looked whether signing keys are due.
const TURN_EVERY: Duration = Duration::from_mins(1);
/// After what time a sign-in that is over is forgotten: a clock that is ahead is not to end anybody's.
const FORGOTTEN: Duration = Duration::from_hours(24);
/// How many events or sign-ins are deleted in one transaction: others write in between.
const PRUNE_BATCH: i64 = 1_000;

/// What gets old.
#[derive(Clone, Copy)]
enum Old {
    Events,
    Names,
    Sessions,
    Answers,
}

/// The work in the background.
#[derive(Clone, Debug)]
pub struct Upkeep {
    store: Store,
    sources: Sources,
    usage: Arc<Usage>,
    signing: Arc<Signing>,
    /// How long audit events are kept; without this, for ever.
    retention: Option<Duration>,
}

impl Upkeep {
    /// With audit events kept for `retention`, or for ever.
    #[must_use]
    pub fn new(store: Store, sources: Sources, usage: Arc<Usage>, signing: Arc<Signing>, retention: Option<Duration>) -> Self {
        Self { store, sources, usage, signing, retention }
    }

    /// Does its work until it is dropped. Pruning much takes a while, and nothing else waits for it.
    pub async fn run(&self) {
        let flushing = every(FLUSH_EVERY, || async { self.flush(false).await.map(drop) });
        let pruning = every(PRUNE_EVERY, || async { self.prune().await.map(drop) });
        let forgetting = every(PRUNE_EVERY, || async { self.forget_sessions().await.map(drop) });
        let answers = every(PRUNE_EVERY, || async { self.forget_answers().await.map(drop) });
        let turning = every(TURN_EVERY, || self.take_turns());
        let syncing = every(SYNC_EVERY, || self.store.sync_marks());
        let watching = every(WATCH_EVERY, || self.watch());
        tokio::join!(watching, syncing, flushing, pruning, forgetting, answers, turning);
    }

    /// Makes and retires signing keys where it is time.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn take_turns(&self) -> Result<(), SigningError> {
        self.signing.take_turns().await
    }

    /// Looks whether the database has gone back. A database that does not answer is others' to speak of.
    async fn watch(&self) -> Result<(), StoreError> {
        match Restoration::new(self.store.clone(), self.sources.clone()).watch().await {
            Err(StoreError::Unavailable(error)) => tracing::debug!(%error, "it cannot be looked whether the database has gone back"),
            other => return other,
        }
        Ok(())
    }

    /// Writes the uses that are due, or all of them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn flush(&self, everything: bool) -> Result<Flushed, StoreError> {
        self.usage.flush(self.sources.now(), everything).await
    }

    /// Writes all uses of keys, for a stop. What cannot be written because somebody is just changing its account is tried again, so this ends only when nothing waits.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn flush_all(&self) -> Result<(), StoreError> {
        loop {
            self.flush(true).await?;
            if self.usage.waiting() == 0 {
                return Ok(());
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    /// Deletes the audit events that are too old, a batch at a time. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prune(&self) -> Result<u64, StoreError> {
        let Some(retention) = self.retention else { return Ok(0) };
        let before = self.sources.now().minus(retention);
        let pruned = self.prune_before(Old::Events, before).await?;
        // Under them nothing is left to be found.
        self.prune_before(Old::Names, before).await?;
        Ok(pruned)
    }

    /// Forgets the sign-ins that have long been over, a batch at a time. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_sessions(&self) -> Result<u64, StoreError> {
        let before = self.sources.now().minus(FORGOTTEN);
        self.prune_before(Old::Sessions, before).await
    }

    /// Deletes the answers that were kept for repeated requests and have expired, a batch at a time. Returns how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_answers(&self) -> Result<u64, StoreError> {
        self.prune_before(Old::Answers, self.sources.now()).await
    }

    async fn prune_before(&self, old: Old, before: Timestamp) -> Result<u64, StoreError> {
        let mut pruned = 0;
        loop {
            let mut tx = self.store.begin().await?;
            let batch = match old {
                Old::Events => tx.prune_events(before, PRUNE_BATCH).await?,
                Old::Names => tx.prune_names(before, PRUNE_BATCH).await?,
                Old::Sessions => tx.prune_sessions(before, PRUNE_BATCH).await?,
                Old::Answers => tx.prune_answers(before, PRUNE_BATCH).await?,
            };
            tx.commit().await?;
            pruned += batch;
            if batch < PRUNE_BATCH.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}

async fn every<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(period: Duration, work: impl Fn() -> F) {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(error) = work().await {
            tracing::warn!(%error, "work in the background has to wait");
        }
    }
}
