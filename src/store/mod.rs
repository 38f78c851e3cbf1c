//! The database: the only user of sqlx.
//!
//! Two engines, one text: SQL stands in constants, written so that SQLite and PostgreSQL both take it, and `on!` expands one body for each engine. What has
//! to differ stands side by side in `dialect`. Reads that find nothing answer `Ok(None)`; a failure of the database is never "not found".
//!
//! May not know: HTTP, tokens, the rules of who may do what.

/// Runs one body on whichever engine `$value` (an enum with the variants `Sqlite` and `Postgres`) is of.
macro_rules! on {
    ($enum:ident, $value:expr, |$engine:ident| $body:expr) => {
        match $value {
            $enum::Sqlite($engine) => $body,
            $enum::Postgres($engine) => $body,
        }
    };
}

/// Names SQL texts, and lists them so that a test can prepare every one on both engines.
macro_rules! statements {
    ($($name:ident = $sql:expr;)+) => {
        $(const $name: &str = $sql;)+
        /// Every statement of this module: its name and its text.
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

/// Reads of one statement each, outside of a transaction (of `Store`) and inside of one (of `Tx`).
macro_rules! reads {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty = |$connection:ident| $body:expr;)+) => {
        impl $crate::store::Store {
            $($(#[$doc])*
            ///
            /// # Errors
            /// Where the database fails.
            pub async fn $name(&self, $($argument: $type),*) -> Result<$result, $crate::store::StoreError> {
                on!(Db, &self.read, |$connection| $body)
            })+
        }

        impl $crate::store::Tx {
            $($(#[$doc])*
            ///
            /// # Errors
            /// Where the database fails.
            pub async fn $name(&mut self, $($argument: $type),*) -> Result<$result, $crate::store::StoreError> {
                on!(Engine, &mut self.engine, |tx| {
                    let $connection = &mut **tx;
                    $body
                })
            })+
        }
    };
}

/// Statements of a transaction that answer nothing. `[changes id]` says of whom or what they change something that nodes hold in memory.
macro_rules! writes {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $([changes $subject:expr])? = $($sql:ident ($($value:expr),* $(,)?)),+;)+) => {
        impl $crate::store::Tx {
            $($(#[$doc])*
            ///
            /// # Errors
            /// [`StoreError::Conflict`](crate::store::StoreError::Conflict) where something unique is taken, and where the database fails.
            pub async fn $name(&mut self, $($argument: $type),*) -> Result<(), $crate::store::StoreError> {
                $(self.note_change($subject);)?
                on!(Engine, &mut self.engine, |tx| {
                    $(sqlx::query($sql)$(.bind($value))*.execute(&mut **tx).await?;)+
                });
                Ok(())
            })+
        }
    };
}

mod access;
mod answer;
mod api_key;
mod audit;
mod changes;
mod commit;
mod copy;
mod dialect;
mod epoch;
mod error;
mod event_writer;
mod existing;
mod former_name;
mod invitation;
mod key_credential;
mod label;
mod last_use;
mod last_write;
mod lock;
mod maker;
mod mark;
mod organization;
mod permission;
mod postgres;
mod project;
mod role;
mod service_account;
mod session;
mod signing_key;
mod status;
mod team;
mod user;
mod workspace;
mod write_ahead_log;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

use crate::domain::time::Timestamp;
use commit::Trace;
use dialect::OpenedFile;
use last_write::LastWrite;

pub use access::{AssignmentFilter, Holder, StoredAssignment};
pub use answer::StoredAnswer;
pub use api_key::{ExpiringKey, KeyFilter};
pub use audit::{EventFilter, Exchanges, ExchangesOf, Receivers, StoredEvent, Tally};
pub use changes::{Changes, Node, Position, Version};
pub use copy::{Counts, Inspection, inspect, settle_copy};
pub use dialect::{postgres_dump, sqlite_directory, sqlite_file};
pub use epoch::{Epoch, Evidence, RecentKey};
pub use error::StoreError;
pub use event_writer::EventWriter;
pub use invitation::StoredInvitation;
pub use last_use::KeyUse;
pub use lock::DatabaseLock;
pub use maker::{LeftBehind, LeftKey, MadeBy, Maker, Root};
pub use mark::HighWater;
pub use postgres::{Pg, PgSession, PgTx};
pub use service_account::{AccountCounts, AccountFilter};
pub use session::{NewSession, SessionHolder};
pub use signing_key::{SIGNING_KEYS, StoredSigningKey};
pub use status::{Ended, StatusView};
pub use team::{Member, TeamMember};
pub use user::{StoredPassword, UserFilter};
pub use workspace::WorkspaceFilter;

/// Whether opening a database may make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Makes the file and its folder (SQLite) and the tables, and brings older tables up to date. Only a server may do that.
    CreateIfMissing,
    /// Makes and migrates nothing: refuses unless a Hourpass database of exactly this version's schema is there.
    ExistingOnly,
}

/// A pool of connections to one engine.
#[derive(Clone, Debug)]
pub enum Db {
    /// The embedded engine.
    Sqlite(SqlitePool),
    /// The server.
    Postgres(Pg),
}

/// The database, open.
#[derive(Clone, Debug)]
pub struct Store {
    /// For statements outside a transaction.
    read: Db,
    /// For transactions. On SQLite a pool of one, so that writers of this process wait in a queue and not on SQLite's lock.
    write: Db,
    /// For following the changes, which is not to wait for whoever has taken all other connections.
    watch: Db,
    changes: Changes,
    /// The file of a SQLite database.
    file: Option<PathBuf>,
    /// Held as long as a SQLite database is open.
    _lock: Option<Arc<DatabaseLock>>,
    /// The file was changed after its write-ahead log was written, and not by SQLite.
    exchanged: bool,
    /// When a write last succeeded.
    last_write: Arc<LastWrite>,
    /// SQLite's file, which is to stay where it is.
    opened_file: Option<OpenedFile>,
}

/// What may stand between this program and PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Whether there is a pooler is found out at the start.
    #[default]
    Auto,
    /// There is one: nothing of a session is used.
    Transaction,
}

/// How PostgreSQL is reached, beside its URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresOptions<'a> {
    /// What may stand in between.
    pub pooler: Pooler,
    /// Where notifications are listened for, if not at the URL itself.
    pub listen_url: Option<&'a str>,
}

/// A transaction that writes. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Tx {
    engine: Engine,
    /// Of whom or what it changes something that nodes hold in memory.
    changed: BTreeSet<Uuid>,
    /// The highest status index that it gave out.
    index: i64,
    store: Store,
    /// By what another connection finds out whether it was committed.
    trace: Option<Trace>,
}

/// A transaction of one engine.
#[derive(Debug)]
enum Engine {
    /// On the embedded engine, begun IMMEDIATE.
    Sqlite(Transaction<'static, Sqlite>),
    /// On the server.
    Postgres(PgTx),
}

impl Store {
    /// Opens the database. `mode` says whether a missing database, and missing or older tables, are made; see [`OpenMode`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the URL is none of ours, if the schema is newer than this program, or if there is no Hourpass database of this version and
    /// `mode` does not allow to make one; [`StoreError::Unavailable`] if the database cannot be reached.
    pub async fn open(url: &str, max_connections: u32, timeout: Duration, mode: OpenMode) -> Result<Self, StoreError> {
        Self::open_with(url, max_connections, timeout, mode, PostgresOptions::default()).await
    }

    /// As [`Store::open`], with what is said of the way to PostgreSQL.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(
        url: &str,
        max_connections: u32,
        timeout: Duration,
        mode: OpenMode,
        postgres: PostgresOptions<'_>,
    ) -> Result<Self, StoreError> {
        dialect::open(url, max_connections, timeout, mode, postgres).await
    }

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// Where the database cannot be reached or stays locked.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.check_file()?;
        let engine = match dialect::begin(&self.write).await {
            Ok(engine) => engine,
            Err(error) => return self.note_write(Err(error)),
        };
        Ok(Tx { engine, changed: BTreeSet::new(), index: 0, store: self.clone(), trace: None })
    }

    /// Refuses if SQLite's file is no longer the one that was opened: what is written to a removed file is lost.
    fn check_file(&self) -> Result<(), StoreError> {
        self.opened_file.as_ref().map_or(Ok(()), OpenedFile::check)
    }

    /// Proves that the database takes writes, on the connections that requests write with. Does nothing if something was
    /// written within `fresh` and nothing failed since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if nothing can be written, or not within `within`.
    pub async fn prove_writable(&self, node: &Node, fresh: Duration, within: Duration) -> Result<(), StoreError> {
        self.check_file()?;
        if self.last_write.is_within(fresh) {
            return Ok(());
        }
        let written = tokio::time::timeout(within, self.write_heartbeat(&self.write, node)).await.unwrap_or_else(|_| Err(StoreError::timed_out()));
        self.note_write(written)
    }

    /// Takes in whether something could be written.
    fn note_write<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.last_write.succeeded(),
            Err(error @ StoreError::Unavailable(_)) => self.last_write.write_failed(error),
            Err(_) => {}
        }
        result
    }

    /// Says that the database was silent for too long, so that its connections are looked after.
    pub fn suspect(&self) {
        if let Db::Postgres(watch) = &self.watch {
            watch.suspect();
        }
    }

    /// How many times all connections were replaced because the database failed or another server took over.
    #[must_use]
    pub fn replacements(&self) -> u64 {
        if let Db::Postgres(watch) = &self.watch { watch.replacements() } else { 0 }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on!(Db, &self.read, |pool| sqlx::query(PING).execute(pool).await.map(drop)).map_err(StoreError::from)
    }

    /// The database's own time: PostgreSQL's clock, or with SQLite this machine's.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn database_time(&self) -> Result<Timestamp, StoreError> {
        dialect::time(&self.read).await.map(Timestamp::from_micros)
    }

    /// Closes every connection, when those in use are done.
    pub async fn close(&self) {
        on!(Db, &self.watch, |pool| pool.close().await);
        on!(Db, &self.write, |pool| pool.close().await);
        on!(Db, &self.read, |pool| pool.close().await);
    }

    /// The pool for reads: for tests that look at the tables themselves.
    #[must_use]
    pub fn pool(&self) -> &Db {
        &self.read
    }
}

impl Tx {
    /// Runs a statement that deletes at most `$2` rows from before `$1`. Returns how many.
    async fn delete_before(&mut self, sql: &'static str, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        on!(Engine, &mut self.engine, |tx| sqlx::query(sql)
            .bind(before.as_micros())
            .bind(limit)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(StoreError::from)
    }

    /// Makes everything in it last. When this returns `Ok`, it survives a crash and a power cut, and this node answers by nothing older.
    ///
    /// If the connection is lost while the database commits, another connection asks what became of the transaction.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] if nobody can tell whether it was committed. After any other error, nothing of it counts as done.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let position = if self.changed.is_empty() { None } else { Some(self.append_changes().await?) };
        let Self { engine, changed, index, store, trace } = self;
        if let Some(position) = position {
            // Before: whether or not the commit goes through, and whoever waits for it, nothing older is believed from now on.
            store.changes.note_own(&changed, position);
        }
        if let Err(error) = on!(Engine, engine, |tx| tx.commit().await) {
            store.settle(trace, error).await?;
        }
        store.changes.raise_marks(position.unwrap_or(0), index);
        if let Some(position) = position {
            store.changes.confirm_own(position);
        }
        Ok(())
    }

    /// Notes that a status index was given out.
    pub(in crate::store) fn note_index(&mut self, index: i64) {
        self.index = self.index.max(index);
    }

    /// Notes that something changed of an account, a person or an organization that nodes hold in memory.
    pub(in crate::store) fn note_change(&mut self, subject: Uuid) {
        self.changed.insert(subject);
    }
}

statements! {
    PING = "SELECT 1";
}

/// Every statement of the store, with the module and name that it has: for the test that prepares them all on both engines.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str, &'static str)> {
    [
        ("store", STATEMENTS),
        ("access", access::STATEMENTS),
        ("answer", answer::STATEMENTS),
        ("api_key", api_key::STATEMENTS),
        ("audit", audit::STATEMENTS),
        ("changes", changes::STATEMENTS),
        ("epoch", epoch::STATEMENTS),
        ("commit", commit::STATEMENTS),
        ("event_writer", event_writer::STATEMENTS),
        ("former_name", former_name::STATEMENTS),
        ("invitation", invitation::STATEMENTS),
        ("key_credential", key_credential::STATEMENTS),
        ("label", label::STATEMENTS),
        ("maker", maker::STATEMENTS),
        ("organization", organization::STATEMENTS),
        ("permission", permission::STATEMENTS),
        ("project", project::STATEMENTS),
        ("role", role::STATEMENTS),
        ("service_account", service_account::STATEMENTS),
        ("session", session::STATEMENTS),
        ("signing_key", signing_key::STATEMENTS),
        ("status", status::STATEMENTS),
        ("team", team::STATEMENTS),
        ("user", user::STATEMENTS),
        ("workspace", workspace::STATEMENTS),
    ]
    .into_iter()
    .flat_map(|(module, statements)| statements.iter().map(move |(name, sql)| (module, *name, *sql)))
    .collect()
}
