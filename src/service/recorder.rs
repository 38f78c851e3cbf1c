//! Records of issued tokens, written together.
//!
//! A token leaves only after its record is durable, and what makes a record durable is a sync of the disk, which takes as long for one as for hundreds. So one task writes: it
//! takes all the records that wait, commits them in one transaction, and tells each of those who wait. While it does, the next ones gather; the busier the server, the larger
//! the batches. Nothing waits for a batch to fill.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Sources;
use super::usage::Usage;
use crate::domain::audit::Event;
use crate::store::{Store, StoreError};

/// Records that may wait. Beyond it a login is refused, rather than queued for longer than anyone would wait.
const WAITING: usize = 4_096;
/// Records in one transaction, so that none is long.
const BATCH: usize = 256;

/// Why a record was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The database failed in a way that may pass, too many wait already, or the server is stopping.
    #[error("the record of the token cannot be written now")]
    Unavailable,
    /// The database refused the record: a bug.
    #[error("the database refused the record of the token")]
    Refused,
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "records of issued tokens cannot be written");
        if matches!(error, StoreError::Unavailable(_)) { Self::Unavailable } else { Self::Refused }
    }
}

/// A record, and who waits for it.
type Waiting = (Event, oneshot::Sender<Result<(), RecordError>>);

/// Hands records to the task that writes them.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<Waiting>);

impl Recorder {
    /// A recorder, and the task that has to be run for it. The task ends when the last recorder is dropped and everything is written.
    pub fn new(store: Store, usage: Arc<Usage>, sources: Sources) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), write_all(Writer { store, usage, sources }, receiver))
    }

    /// Writes a record. When this returns `Ok`, it survives a crash and a power cut.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn record(&self, event: Event) -> Result<(), RecordError> {
        let (done, written) = oneshot::channel();
        self.0.try_send((event, done)).map_err(|_| RecordError::Unavailable)?;
        written.await.unwrap_or(Err(RecordError::Unavailable))
    }
}

/// Writes records, and what is due of the uses of keys with them.
struct Writer {
    store: Store,
    usage: Arc<Usage>,
    sources: Sources,
}

async fn write_all(writer: Writer, mut receiver: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let (events, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let mut result = writer.write(&events).await.map_err(RecordError::from);
        // One that the database refuses is not to take the others with it.
        let alone = result == Err(RecordError::Refused) && events.len() > 1;
        for (event, done) in events.iter().zip(waiting) {
            if alone {
                result = writer.write(std::slice::from_ref(event)).await.map_err(RecordError::from);
            }
            // Whoever waited may have gone.
            let _gone = done.send(result);
        }
    }
}

impl Writer {
    async fn write(&self, events: &[Event]) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.insert_events(events).await?;
        let now = self.sources.now();
        let due = self.usage.due_for_a_ride(now);
        let ride = Usage::ride(&mut tx, &due).await?;
        tx.commit().await?;
        if ride {
            self.usage.rode(&due, now);
        }
        Ok(())
    }
}
