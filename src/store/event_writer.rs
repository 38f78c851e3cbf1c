//! Audit events are added: alone in a transaction, or many with one statement.

use std::iter;
use std::sync::LazyLock;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Sqlite, SqliteConnection};

use super::commit::Trace;
use super::dialect::{self, PgTransaction};
use super::{Db, Engine, Pg, PgSession, Store, StoreError, Tx};
use crate::domain::audit::Event;
use crate::domain::secret_filter::{masked, masked_json};
use crate::domain::time::Timestamp;

/// The values of an event, in the order of [`INSERT`], each given to `$add`. Texts that came from outside go through the filter of credentials, as a last line of defence: nothing else
/// adds events.
macro_rules! values {
    ($event:ident, $add:ident) => {
        $add!($event, Some($event.id.0));
        $add!($event, $event.organization_id.map(|id| id.0));
        $add!($event, Some($event.occurred_at.as_micros()));
        $add!($event, Some($event.actor.kind));
        $add!($event, $event.actor.id);
        $add!($event, Some(masked(&$event.actor.name)));
        $add!($event, $event.actor.api_key_id.map(|id| id.0));
        $add!($event, $event.actor.session_id.map(|id| id.0));
        $add!($event, Some($event.action.as_str()));
        $add!($event, Some($event.action.resource()));
        $add!($event, Some($event.target.kind));
        $add!($event, $event.target.id);
        $add!($event, Some(masked(&$event.target.name)));
        $add!($event, Some($event.outcome.as_str()));
        $add!($event, $event.outcome.reason());
        $add!($event, $event.origin.address.map(|address| address.to_string()));
        $add!($event, $event.origin.user_agent.as_deref().map(masked));
        $add!($event, $event.origin.request_id.map(|id| id.0));
        $add!($event, $event.token_expires_at.map(Timestamp::as_micros));
        $add!($event, $event.details.as_ref().map(masked_json));
    };
}

statements! {
    INSERT = "INSERT INTO audit_events (id, organization_id, occurred_at, actor_kind, actor_id, actor_name, api_key_id, session_id, action, resource, \
              target_kind, target_id, target_name, outcome, reason, address, user_agent, request_id, token_expires_at, details) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
}

/// The most events that one statement adds.
const MOST: usize = 256;
/// What PostgreSQL calls the types of the values of an event, in the order of [`INSERT`].
const TYPES: [&str; 20] = [
    "UUID", "UUID", "BIGINT", "TEXT", "UUID", "TEXT", "UUID", "UUID", "TEXT", "TEXT", "TEXT", "UUID", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "UUID",
    "BIGINT", "TEXT",
];

/// `INSERT` of 1, 2, 4 … [`MOST`] rows for SQLite. Each is prepared once a connection, so there are few, and rows that are left over have no id.
static SQLITE_INSERTS: LazyLock<[String; MOST.ilog2() as usize + 1]> = LazyLock::new(|| {
    // SQLite takes `$1` for a name, and looks for each name among all that a statement has.
    let row = format!("({})", vec!["?"; TYPES.len()].join(", "));
    std::array::from_fn(|power| {
        let rows = vec![row.as_str(); 1 << power].join(", ");
        format!("{}SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL", insert_into())
    })
});

/// `INSERT` for PostgreSQL, of an array for each column.
static POSTGRES_INSERT: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<_> = TYPES.iter().enumerate().map(|(index, kind)| format!("${}::{kind}[]", index + 1)).collect();
    format!("{}SELECT * FROM UNNEST({})", insert_into(), columns.join(", "))
});

/// The same in a transaction: also returns how many rows there are, and by what another connection finds out whether the transaction was committed.
static POSTGRES_INSERT_MARKED: LazyLock<String> =
    LazyLock::new(|| format!("WITH added AS ({} RETURNING 1) SELECT count(*), {} FROM added", *POSTGRES_INSERT, dialect::TRANSACTION));

/// [`INSERT`] without the values.
fn insert_into() -> &'static str {
    INSERT.rsplit_once("VALUES").unwrap_or_default().0
}

/// Adds events with one statement for each [`MOST`] of them: each statement is a round trip, and outside of a transaction one of its own.
async fn insert_sqlite(connection: &mut SqliteConnection, events: &[Event]) -> Result<(), StoreError> {
    for events in events.chunks(MOST) {
        let rows = events.len().next_power_of_two();
        let mut arguments = SqliteArguments::default();
        for event in events.iter().map(Some).chain(iter::repeat(None)).take(rows) {
            macro_rules! add {
                ($event:ident, $value:expr) => {
                    arguments.add(event.and_then(|$event| $value)).map_err(sqlx::Error::Encode)?;
                };
            }
            values!(event, add);
        }
        let sql = SQLITE_INSERTS.get(rows.ilog2() as usize).map_or("", String::as_str);
        all_of(events, sqlx::query_with(sql, arguments).execute(&mut *connection).await?.rows_affected())?;
    }
    Ok(())
}

/// As [`insert_sqlite`].
async fn insert_postgres(connection: &mut PgSession, events: &[Event]) -> Result<(), StoreError> {
    for events in events.chunks(MOST) {
        let arguments = postgres_arguments(events)?;
        all_of(events, sqlx::query_with(POSTGRES_INSERT.as_str(), arguments).execute(&mut *connection).await?.rows_affected())?;
    }
    Ok(())
}

async fn insert_pooled(pool: &Pg, events: &[Event]) -> Result<(), StoreError> {
    let mut tx = pool.begin().await?;
    insert_postgres(&mut tx, events).await?;
    Ok(tx.commit().await?)
}

/// As [`insert_postgres`], in a transaction. Returns which transaction it is.
async fn insert_postgres_marked(connection: &mut PgSession, events: &[Event]) -> Result<Option<PgTransaction>, StoreError> {
    let mut transaction = None;
    for events in events.chunks(MOST) {
        let arguments = postgres_arguments(events)?;
        let (added, id, server): (i64, String, String) =
            sqlx::query_as_with(POSTGRES_INSERT_MARKED.as_str(), arguments).fetch_one(&mut *connection).await?;
        all_of(events, added.unsigned_abs())?;
        transaction = Some(PgTransaction { id, server });
    }
    Ok(transaction)
}

fn postgres_arguments(events: &[Event]) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    macro_rules! add {
        ($event:ident, $value:expr) => {
            arguments.add(events.iter().map(|$event| $value).collect::<Vec<_>>()).map_err(sqlx::Error::Encode)?;
        };
    }
    values!(event, add);
    Ok(arguments)
}

fn all_of(events: &[Event], added: u64) -> Result<(), StoreError> {
    if added == events.len() as u64 { Ok(()) } else { Err(StoreError::Refused(format!("of {} events {added} were added", events.len()))) }
}

/// A connection that adds events. Whoever adds many one after the other keeps it: to return it and to get it again takes two round trips, of which one is waited for.
#[derive(Debug)]
pub struct EventWriter {
    lent: Lent,
    store: Store,
}

#[derive(Debug)]
enum Lent {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PgSession),
    /// Through a pooler a session is only kept for a transaction.
    Pooled(Pg),
}

impl Store {
    /// Lends a connection for adding events. With SQLite nobody else can write until it is dropped.
    ///
    /// # Errors
    /// Where the database cannot be reached.
    pub async fn event_writer(&self) -> Result<EventWriter, StoreError> {
        let lent = match &self.write {
            Db::Sqlite(pool) => pool.acquire().await.map(Lent::Sqlite),
            Db::Postgres(pool) if pool.is_pooled() => Ok(Lent::Pooled(pool.clone())),
            Db::Postgres(pool) => pool.connection().await.map(Lent::Postgres),
        };
        match lent.map_err(StoreError::from) {
            Ok(lent) => Ok(EventWriter { lent, store: self.clone() }),
            Err(error) => self.note_write(Err(error)),
        }
    }
}

impl EventWriter {
    /// The most events that [`EventWriter::insert`] takes.
    pub const MOST: usize = MOST;

    /// Adds events: all of them or none. When this returns `Ok`, they survive a crash and a power cut.
    ///
    /// # Errors
    /// Where the database fails. Then this is to be dropped.
    pub async fn insert(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let inserted = match &mut self.lent {
            Lent::Sqlite(connection) => match self.store.check_file() {
                Ok(()) => insert_sqlite(connection, events).await,
                replaced => replaced,
            },
            Lent::Postgres(connection) => insert_postgres(connection, events).await,
            Lent::Pooled(pool) => insert_pooled(pool, events).await,
        };
        self.store.note_write(inserted)
    }
}

impl Tx {
    /// Adds an event.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_event(&mut self, event: &Event) -> Result<(), StoreError> {
        self.insert_events(std::slice::from_ref(event)).await
    }

    /// Adds many events.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let transaction = match &mut self.engine {
            Engine::Sqlite(tx) => insert_sqlite(tx, events).await.map(|()| None),
            Engine::Postgres(tx) => insert_postgres_marked(tx, events).await,
        }?;
        if let Some(event) = events.last() {
            self.trace = Some(Trace { event: event.id, transaction });
        }
        Ok(())
    }
}
