//! Where the two engines differ: opening, beginning, migrating.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Acquire, Connection, SqlitePool};

use super::{Db, Store, StoreError, Tx};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const NEWEST_MIGRATION: &str = "SELECT max(version) FROM _sqlx_migrations";

/// The folder of the database file that a `sqlite:` URL names; nothing for another engine, or for a database in memory.
#[must_use]
pub fn sqlite_directory(url: &str) -> Option<PathBuf> {
    if !url.starts_with("sqlite:") {
        return None;
    }
    let options = SqliteConnectOptions::from_str(url).ok()?;
    options.get_filename().parent().map(Path::to_owned)
}

pub(super) async fn open(url: &str, max_connections: u32, timeout: Duration) -> Result<Store, StoreError> {
    // The URL itself stays out of every message: it may hold a password.
    let unreadable = |error: sqlx::Error| StoreError::Refused(format!("database.url cannot be read: {error}"));
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let options = SqliteConnectOptions::from_str(url).map_err(unreadable)?;
            if url.contains(":memory:") || url.contains("mode=memory") {
                return Err(StoreError::Refused("database.url: a database in memory would lose everything at the end; name a file".to_owned()));
            }
            open_sqlite(options, max_connections, timeout).await
        }
        Some("postgres" | "postgresql") => {
            let options = PgConnectOptions::from_str(url).map_err(unreadable)?.application_name("hourpass");
            let pool = PgPoolOptions::new().max_connections(max_connections).acquire_timeout(timeout).connect_with(options).await?;
            Ok(Store { read: Db::Postgres(pool.clone()), write: Db::Postgres(pool) })
        }
        _ => Err(StoreError::Refused("database.url must begin with sqlite:// or postgres://".to_owned())),
    }
}

async fn open_sqlite(options: SqliteConnectOptions, max_connections: u32, timeout: Duration) -> Result<Store, StoreError> {
    if let Some(folder) = options.get_filename().parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::Refused(format!("the folder {} of the database cannot be made: {error}", folder.display())))?;
    }
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL loses acknowledged commits at a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(timeout);
    // The writer first: it makes the file and turns on WAL before any reader comes.
    let write = sqlite_pool(1, timeout).connect_with(options.clone()).await?;
    let read = sqlite_pool(max_connections, timeout).connect_with(options).await?;
    Ok(Store { read: Db::Sqlite(read), write: Db::Sqlite(write) })
}

fn sqlite_pool(connections: u32, timeout: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        // After an I/O error or a full disk, SQLite rolls back by itself and sqlx's own count of open transactions stays behind: what such a connection later
        // "commits" never happens. Such a connection is closed.
        .after_release(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

pub(super) async fn begin(db: &Db) -> Result<Tx, StoreError> {
    Ok(match db {
        // A transaction that begins as a reader cannot always become a writer; IMMEDIATE waits for its turn at the beginning.
        Db::Sqlite(pool) => Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
        Db::Postgres(pool) => Tx::Postgres(pool.begin().await?),
    })
}

/// Brings the tables up to date. However many processes start at once, one does the work and the others wait for it.
pub(super) async fn migrate(db: &Db) -> Result<(), StoreError> {
    match db {
        Db::Sqlite(pool) => migrate_sqlite(pool).await,
        // sqlx holds an advisory lock meanwhile.
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await?;
            let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
            let newest: Option<i64> = if known { sqlx::query_scalar(NEWEST_MIGRATION).fetch_one(&mut *connection).await? } else { None };
            refuse_newer(newest, &POSTGRES_MIGRATIONS)?;
            POSTGRES_MIGRATIONS.run(&mut *connection).await.map_err(migration_error)
        }
    }
}

/// sqlx takes no lock on SQLite, so the whole migration stands in one transaction that excludes other writers.
async fn migrate_sqlite(pool: &SqlitePool) -> Result<(), StoreError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let known: bool = sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'").fetch_one(&mut *tx).await?;
    let newest: Option<i64> = if known { sqlx::query_scalar(NEWEST_MIGRATION).fetch_one(&mut *tx).await? } else { None };
    refuse_newer(newest, &SQLITE_MIGRATIONS)?;
    SQLITE_MIGRATIONS.run(&mut *tx.acquire().await?).await.map_err(migration_error)?;
    Ok(tx.commit().await?)
}

/// Before anything is written, because an older program cannot know what a newer schema asks of it.
fn refuse_newer(newest: Option<i64>, migrations: &Migrator) -> Result<(), StoreError> {
    let ours = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    match newest {
        Some(theirs) if theirs > ours => Err(StoreError::Refused(format!(
            "the database has schema version {theirs}, and this hourpass knows versions up to {ours}; run the newer hourpass that made it. Nothing was written"
        ))),
        _ => Ok(()),
    }
}

fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Refused(format!("the database cannot be brought up to date: {other}")),
    }
}
