//! Copies of a SQLite database: how they are made, and what is in them.

use std::path::Path;

use sqlx::{Connection, FromRow, SqliteConnection};

use super::dialect::SQLITE_MIGRATIONS;
use super::existing::{Schema, absolute, explain_sqlite, newest, reading, schema_of_sqlite};
use super::{Db, Store, StoreError};
use crate::domain::time::Timestamp;

const COPY: &str = "VACUUM INTO $1";
const COUNT: &str = "SELECT (SELECT count(*) FROM organizations) AS organizations, (SELECT count(*) FROM service_accounts) AS service_accounts, \
                     (SELECT count(*) FROM api_keys) AS api_keys, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM audit_events) AS audit_events";
const LAST_EVENT: &str = "SELECT occurred_at FROM audit_events ORDER BY id DESC LIMIT 1";
const LIST_SEALED: &str = "SELECT kid, private_key FROM signing_keys WHERE retired_at IS NULL ORDER BY kid";

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Counts {
    /// Organizations.
    pub organizations: i64,
    /// Service accounts.
    pub service_accounts: i64,
    /// API keys.
    pub api_keys: i64,
    /// People.
    pub users: i64,
    /// Events of the audit trail.
    pub audit_events: i64,
}

/// What a copy was found to be. It is whole: SQLite's checks of its integrity and of its references found nothing.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The version of its schema.
    pub schema: i64,
    /// What it holds.
    pub counts: Counts,
    /// When its last audit event happened.
    pub last_event_at: Option<Timestamp>,
    /// The names of the signing keys that are not retired, and their encrypted private halves.
    pub sealed_keys: Vec<(String, Vec<u8>)>,
}

impl Store {
    /// Copies the database into an empty file, as of one moment, while others go on working.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for PostgreSQL, which has a program of its own for that; if the copy cannot be written.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let Db::Sqlite(pool) = &self.read else {
            return Err(StoreError::Refused("PostgreSQL is copied with pg_dump".to_owned()));
        };
        let name = file.to_str().ok_or_else(|| StoreError::Refused("the name of the file must be UTF-8".to_owned()))?;
        sqlx::query(COPY).bind(name).execute(pool).await?;
        Ok(())
    }
}

/// Writes what is in the write-ahead log beside a copy into the copy itself, and removes the log.
///
/// # Errors
/// [`StoreError::Refused`] if it is damaged or no database.
pub async fn settle_copy(file: &Path) -> Result<(), StoreError> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(false);
    let settling = async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await?;
        connection.close().await?;
        if mode == "delete" { Ok(()) } else { Err(StoreError::Refused(format!("the copy {} is in use", file.display()))) }
    };
    settling.await.map_err(|error| explain_sqlite(error, file))
}

/// Checks that a file that nobody writes to is a whole Hourpass database of this version's schema or an earlier one, and reads what it holds. Writes nothing.
///
/// # Errors
/// [`StoreError::Refused`] if it is not.
pub async fn inspect(file: &Path) -> Result<Inspection, StoreError> {
    read(file).await.map_err(|error| explain_sqlite(error, file))
}

async fn read(file: &Path) -> Result<Inspection, StoreError> {
    let place = absolute(file);
    let refused = |why: String| StoreError::Refused(format!("{} {why}", place.display()));
    let mut connection = SqliteConnection::connect_with(&reading(file)).await?;
    let Schema::Version(schema) = schema_of_sqlite(&mut connection).await? else {
        return Err(refused("is not a Hourpass database".to_owned()));
    };
    if schema > newest(&SQLITE_MIGRATIONS) {
        return Err(refused(format!(
            "has schema version {schema}, and this hourpass knows versions up to {}; use the newer hourpass that made it",
            newest(&SQLITE_MIGRATIONS)
        )));
    }
    check(&mut connection).await?.map_or(Ok(()), |why| Err(refused(why)))?;
    let counts = sqlx::query_as(COUNT).fetch_one(&mut connection).await?;
    let last: Option<i64> = sqlx::query_scalar(LAST_EVENT).fetch_optional(&mut connection).await?;
    let sealed_keys = sqlx::query_as(LIST_SEALED).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(Inspection { schema, counts, last_event_at: last.map(Timestamp::from_micros), sealed_keys })
}

/// What is wrong with a database, by SQLite's own checks.
async fn check(connection: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_all(&mut *connection).await?;
    if let Some(damage) = found.into_iter().find(|line| line != "ok") {
        return Ok(Some(format!("is damaged: {damage}")));
    }
    let broken: Option<(String, Option<i64>, String, i64)> = sqlx::query_as("PRAGMA foreign_key_check").fetch_optional(connection).await?;
    Ok(broken.map(|(table, _, other, _)| format!("is damaged: a row of {table} refers to a row of {other} that is not there")))
}

/// Whether a database together with the log beside it is whole. Reads both, and writes to neither.
pub(super) async fn is_whole(file: &Path) -> Result<bool, StoreError> {
    let reading = async {
        let mut connection = SqliteConnection::connect_with(&reading(file)).await?;
        let found = check(&mut connection).await;
        connection.close().await?;
        found
    };
    match reading.await {
        Ok(found) => Ok(found.is_none()),
        Err(error) => match explain_sqlite(error, file) {
            StoreError::Refused(_) => Ok(false),
            other => Err(other),
        },
    }
}
