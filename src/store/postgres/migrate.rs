//! Brings the tables up to date.
//!
//! sqlx's own way keeps a lock and prepared statements of the session, which a pooler may lend to somebody else. So this
//! does the same in one transaction, with the same table and the same lock, and leaves nothing in the session.

use std::collections::BTreeMap;

use sqlx::migrate::{Migrate, MigrateError};
use sqlx::{Connection, PgConnection, Row};

use super::route::Route;
use crate::store::dialect::{POSTGRES_MIGRATIONS as MIGRATIONS, migration_error, refuse_newer};
use crate::store::{OpenMode, StoreError, existing};

const STATE: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL, current_database()::TEXT";
const LIST: &str = "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version";
const INSERT: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, TRUE, $3, 0)";
const TABLE: &str = "_sqlx_migrations";

/// However many processes start at once, one does the work and the others wait for it. Where nothing may be made, only
/// checks that the tables are those of this version.
pub(super) async fn run(route: &Route, mode: OpenMode) -> Result<(), StoreError> {
    let options = route.patient_options();
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    sqlx::raw_sql("SET LOCAL client_min_messages = warning").execute(&mut *tx).await?;
    let mut is_new = false;
    if mode == OpenMode::ExistingOnly {
        existing::check_postgres(&mut tx, &options).await?;
    } else if !is_current(&mut tx).await? {
        let row = sqlx::raw_sql(STATE).fetch_one(&mut *tx).await?;
        let lock = lock_id(&row.try_get::<String, _>(1)?);
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).persistent(false).execute(&mut *tx).await?;
        is_new = migrate(&mut tx).await?;
    }
    tx.commit().await?;
    if is_new {
        tracing::warn!("made the tables of a new Hourpass in the {}", existing::describe_postgres(&options));
    }
    Ok(connection.close().await?)
}

/// The migrations that were applied, with their checksums.
async fn applied(connection: &mut PgConnection) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    let row = sqlx::raw_sql(STATE).fetch_one(&mut *connection).await?;
    if !row.try_get::<bool, _>(0)? {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(LIST).persistent(false).fetch_all(connection).await?;
    let mut found = BTreeMap::new();
    for row in rows {
        let (version, checksum, success): (i64, Vec<u8>, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if !success {
            return Err(migration_error(MigrateError::Dirty(version)));
        }
        found.insert(version, checksum);
    }
    refuse_newer(found.keys().max().copied(), &MIGRATIONS)?;
    for (version, checksum) in &found {
        match MIGRATIONS.iter().find(|migration| migration.version == *version) {
            None => return Err(migration_error(MigrateError::VersionMissing(*version))),
            Some(migration) if *migration.checksum != *checksum.as_slice() => {
                return Err(migration_error(MigrateError::VersionMismatch(*version)));
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

async fn is_current(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let applied = applied(connection).await?;
    Ok(MIGRATIONS.iter().all(|migration| applied.contains_key(&migration.version)))
}

/// Returns whether there were no tables before.
async fn migrate(connection: &mut PgConnection) -> Result<bool, StoreError> {
    connection.ensure_migrations_table(TABLE).await.map_err(migration_error)?;
    let applied = applied(connection).await?;
    for migration in MIGRATIONS.iter().filter(|migration| !applied.contains_key(&migration.version)) {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *connection).await?;
        let insert = sqlx::query(INSERT).bind(migration.version).bind(&*migration.description).bind(&*migration.checksum);
        insert.persistent(false).execute(&mut *connection).await?;
    }
    Ok(applied.is_empty())
}

/// The lock that sqlx takes, so that versions which leave it to sqlx are excluded as well.
fn lock_id(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))
}
