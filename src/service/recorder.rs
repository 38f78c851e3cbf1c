//! Records of issued tokens, written together.
//!
//! A token leaves only after its record is durable, and what makes a record durable is a sync of the disk, which takes as long for one as for hundreds. So one task writes: it
//! takes all the records that wait, commits them in one transaction, and tells each of those who wait. While it does, the next ones gather; the busier the server, the larger
//! the batches. Nothing waits for a batch to fill.

use std::cell::RefCell;

use tokio::runtime::{self, Handle};
use tokio::sync::{mpsc, oneshot};

use crate::domain::audit::Event;
use crate::store::{EventWriter, Store, StoreError};

/// Records that may wait. Beyond it a login is refused, rather than queued for longer than anyone would wait.
const WAITING: usize = 4_096;
/// Records in one transaction, so that none is long.
const BATCH: usize = EventWriter::MOST;
/// Batches that are written before others who want to write have their turn.
const TURNS: usize = 8;

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
        // Refused records are written again one by one. Those that may have been written are not: their tokens are not handed out, and the client tries again.
        if matches!(error, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) {
            // The store tells it once for each outage.
            tracing::debug!(%error, "records of issued tokens cannot be written");
            return Self::Unavailable;
        }
        tracing::error!(%error, "records of issued tokens cannot be written");
        Self::Refused
    }
}

/// How the writing of a record went.
type Written = Result<(), RecordError>;

/// Who waits, and where to tell them.
struct Waiter {
    relay: Relay,
    done: oneshot::Sender<Written>,
}

/// Who is told, and what.
type Told = (oneshot::Sender<Written>, Written);

/// A record, and who waits for it.
type Waiting = (Event, Waiter);

/// Tells those who wait on one runtime how it went. To wake a task of another runtime takes a system call each, and every worker of the server has a runtime of its own; so
/// each is sent all of a batch at once, and wakes its own.
type Relay = mpsc::UnboundedSender<Vec<Told>>;

thread_local! {
    /// Of the runtime that this thread last recorded on.
    static RELAY: RefCell<Option<(runtime::Id, Relay)>> = const { RefCell::new(None) };
}

/// The relay of the runtime that this is called on.
fn relay_here() -> Relay {
    let runtime = Handle::current().id();
    RELAY.with_borrow_mut(|known| match known {
        Some((of, relay)) if *of == runtime && !relay.is_closed() => relay.clone(),
        _ => {
            let (relay, mut told) = mpsc::unbounded_channel::<Vec<Told>>();
            tokio::spawn(async move {
                while let Some(batch) = told.recv().await {
                    for (done, result) in batch {
                        // Whoever waited may have gone.
                        let _gone = done.send(result);
                    }
                }
            });
            known.insert((runtime, relay)).1.clone()
        }
    })
}

/// Hands records to the task that writes them.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<Waiting>);

impl Recorder {
    /// A recorder, and the task that has to be run for it. The task ends when the last recorder is dropped and everything is written.
    pub fn new(store: Store) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), write_all(Writer { store, connection: None }, receiver))
    }

    /// Writes a record. When this returns `Ok`, it survives a crash and a power cut.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn record(&self, event: Event) -> Result<(), RecordError> {
        let (done, written) = oneshot::channel();
        self.0.try_send((event, Waiter { relay: relay_here(), done })).map_err(|_| RecordError::Unavailable)?;
        written.await.unwrap_or(Err(RecordError::Unavailable))
    }
}

/// Writes records.
struct Writer {
    store: Store,
    /// Kept while records wait, and how many more batches it may be.
    connection: Option<(EventWriter, usize)>,
}

async fn write_all(mut writer: Writer, mut receiver: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    // The database is kept busy: while it writes, those are told whose records it wrote before.
    let mut written = Vec::with_capacity(BATCH);
    loop {
        if receiver.is_empty() {
            tell(&mut written);
            writer.connection = None;
        }
        if receiver.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let (events, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let (results, ()) = tokio::join!(writer.write_each(&events), async { tell(&mut written) });
        written.extend(waiting.into_iter().zip(results));
    }
}

fn tell(written: &mut Vec<(Waiter, Written)>) {
    let mut relays: Vec<(Relay, Vec<_>)> = Vec::new();
    for (Waiter { relay, done }, result) in written.drain(..) {
        match relays.iter_mut().find(|(known, _)| known.same_channel(&relay)) {
            Some((_, batch)) => batch.push((done, result)),
            None => relays.push((relay, vec![(done, result)])),
        }
    }
    for (relay, batch) in relays {
        // Their runtime may have ended, and they with it.
        let _gone = relay.send(batch);
    }
}

impl Writer {
    /// Writes them together; or, as one that the database refuses is not to take the others with it, alone.
    async fn write_each(&mut self, events: &[Event]) -> Vec<Written> {
        let together = self.write(events).await.map_err(RecordError::from);
        if together != Err(RecordError::Refused) || events.len() == 1 {
            return vec![together; events.len()];
        }
        let mut results = Vec::with_capacity(events.len());
        for event in events {
            results.push(self.write(std::slice::from_ref(event)).await.map_err(RecordError::from));
        }
        results
    }

    /// Writes them with one round trip.
    async fn write(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let (mut connection, turns) = match self.connection.take() {
            Some(kept) => kept,
            None => (self.store.event_writer().await?, TURNS),
        };
        connection.insert(events).await?;
        self.connection = (turns > 1).then(|| (connection, turns - 1));
        Ok(())
    }
}
