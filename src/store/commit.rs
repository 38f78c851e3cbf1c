//! What became of a transaction whose COMMIT failed.
//!
//! A connection that breaks during COMMIT leaves both possible: the database has committed, or it has rolled back. Every transaction that changes something writes an audit event,
//! so another connection can look for the event; and PostgreSQL says of a transaction by its number whether it still runs.

use std::time::Duration;

use sqlx::SqlitePool;
use uuid::Uuid;

use super::dialect::{self, PgTransaction};
use super::{Db, Store, StoreError};
use crate::domain::id::AuditEventId;

statements! {
    IS_THERE = "SELECT EXISTS (SELECT 1 FROM audit_events WHERE id = $1)";
    // Of nobody: it makes no cache entry stale.
    OVERWRITE = "INSERT INTO changes (subject) VALUES ($1)";
}

/// How long to wait before the database is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// By what a transaction is found again from another connection.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// An audit event that it wrote.
    pub(super) event: AuditEventId,
    /// PostgreSQL's number of it.
    pub(super) transaction: Option<PgTransaction>,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    RolledBack,
    /// Nobody can tell: the server that ran it was restarted, or another one has taken its place.
    Unknown,
}

impl Store {
    /// Finds out what became of the transaction of this `trace` after COMMIT failed with `error`. Returns `Ok` if it was committed.
    ///
    /// A transaction without a trace changes nothing that has to be on record, such as when keys were last used; it is repeated without harm.
    pub(super) async fn settle(&self, trace: Option<Trace>, error: sqlx::Error) -> Result<(), StoreError> {
        let Some(trace) = trace.filter(|_| dialect::is_ambiguous(&error)) else { return Err(error.into()) };
        let asked = tokio::time::timeout(dialect::patience(&self.write), self.find_out(&trace)).await;
        let outcome = asked.unwrap_or(Outcome::Unknown);
        tracing::warn!(%error, ?outcome, "COMMIT failed, and the database was asked what became of it");
        match outcome {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack => Err(error.into()),
            Outcome::Unknown => {
                // If it was committed, other nodes learn of it by the change log, and so does this one.
                self.changes.wake();
                Err(StoreError::OutcomeUnknown(error))
            }
        }
    }

    /// Asks until there is an answer.
    async fn find_out(&self, trace: &Trace) -> Outcome {
        loop {
            let asked = match (&self.write, &trace.transaction) {
                (Db::Postgres(pool), Some(transaction)) => dialect::outcome(pool, trace.event.0, transaction).await,
                (Db::Postgres(_), None) => return Outcome::Unknown,
                (Db::Sqlite(pool), _) => overwrite(pool, trace.event.0).await.map(Some),
            };
            match asked {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the database cannot be asked yet"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Asks SQLite what became of a transaction. After a failed sync, its frames may lie in the write-ahead log though no reader sees them, and would come back after a crash. The next
/// transaction overwrites them: only after that they are certainly gone.
async fn overwrite(pool: &SqlitePool, event: Uuid) -> Result<Outcome, StoreError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let there: bool = sqlx::query_scalar(IS_THERE).bind(event).fetch_one(&mut *tx).await?;
    if there {
        return Ok(Outcome::Committed);
    }
    sqlx::query(OVERWRITE).bind(Uuid::nil()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Outcome::RolledBack)
}
