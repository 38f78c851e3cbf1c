//! Finds out whether a database is a Hourpass database of this version, without writing to it, and says in one sentence what to do if it is not.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::StoreError;
use super::dialect::{POSTGRES_MIGRATIONS, SQLITE_MIGRATIONS, refuse_newer};

/// What to do when a command looked for the database in the wrong place.
const WHERE: &str =
    "run this in the server's directory, or name the server's database with --config FILE or HOURPASS_DATABASE__URL. Nothing was made";

const LIST_MIGRATIONS: &str = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";

/// SQLite's result code for a file that is not a database.
const NOT_A_DATABASE: &str = "26";
/// SQLite's result code for a damaged database.
const CORRUPT: &str = "11";

/// The path as a person finds it from anywhere.
pub(super) fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// The database and its server, without user and password.
pub(super) fn describe_postgres(options: &PgConnectOptions) -> String {
    let name = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("PostgreSQL database {name} at {}", socket.display()),
        None => format!("PostgreSQL database {name} at {}:{}", options.get_host(), options.get_port()),
    }
}

/// Names the file that is no database or is damaged; every other error stays as it is.
pub(super) fn explain_sqlite(error: StoreError, file: &Path) -> StoreError {
    let file = absolute(file);
    match &error {
        StoreError::Driver(inner) => match primary_code(inner).as_deref() {
            Some(NOT_A_DATABASE) => StoreError::Refused(format!("{} is not a SQLite database; correct database.url", file.display())),
            Some(CORRUPT) => StoreError::Refused(format!(
                "the database {} is damaged, or the -wal file beside it is another database's; put a back-up in its place with `hourpass admin restore FILE`",
                file.display()
            )),
            _ => error,
        },
        _ => error,
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code().map(Cow::into_owned))
}

/// SQLite's code without the extension in the higher bytes.
fn primary_code(error: &sqlx::Error) -> Option<String> {
    Some((code(error)?.parse::<u32>().ok()? & 0xFF).to_string())
}

/// Refuses unless the file holds a Hourpass database of this version.
pub(super) async fn check_sqlite(file: &Path) -> Result<(), StoreError> {
    let place = absolute(file);
    let place = place.display();
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(StoreError::Refused(format!("{place} is not a file; {WHERE}"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Refused(format!("no Hourpass database at {place}; {WHERE}")));
        }
        Err(error) => return Err(StoreError::Refused(format!("the database {place} cannot be read: {error}"))),
    }
    let mut connection = SqliteConnection::connect_with(&reading(file)).await?;
    let found = schema_of_sqlite(&mut connection).await;
    connection.close().await?;
    found?.check(&SQLITE_MIGRATIONS, &format!("database {place}"))
}

/// Options that read a database and write nothing. While nobody has it open there is no log beside it; then SQLite does not make one either.
pub(super) fn reading(file: &Path) -> SqliteConnectOptions {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    SqliteConnectOptions::new().filename(file).create_if_missing(false).read_only(true).immutable(!Path::new(&log).exists())
}

/// Reads which schema a SQLite database has.
pub(super) async fn schema_of_sqlite(connection: &mut SqliteConnection) -> Result<Schema, StoreError> {
    let known: bool =
        match sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'").fetch_one(&mut *connection).await {
            Ok(known) => known,
            Err(error) if primary_code(&error).as_deref() == Some(NOT_A_DATABASE) => false,
            Err(error) => return Err(error.into()),
        };
    if !known {
        return Ok(Schema::Foreign);
    }
    match sqlx::query_as(LIST_MIGRATIONS).fetch_all(connection).await {
        Err(error) if primary_code(&error).as_deref() == Some(CORRUPT) => Err(error.into()),
        applied => Ok(Schema::of(applied.ok(), &SQLITE_MIGRATIONS)),
    }
}

/// Refuses unless the database holds the tables of a Hourpass of this version. In a transaction, it leaves nothing in the session.
pub(super) async fn check_postgres(connection: &mut PgConnection, options: &PgConnectOptions) -> Result<(), StoreError> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").persistent(false).fetch_one(&mut *connection).await?;
    let applied = if known { sqlx::query_as(LIST_MIGRATIONS).persistent(false).fetch_all(connection).await.ok() } else { None };
    Schema::of(applied, &POSTGRES_MIGRATIONS).check(&POSTGRES_MIGRATIONS, &describe_postgres(options))
}

/// Which schema a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// No tables of ours: it is empty or of another program.
    Foreign,
    /// Ours, of this version.
    Version(i64),
}

impl Schema {
    /// Our first migration tells our databases from those of other programs that use the same library.
    fn of(applied: Option<Vec<(i64, Vec<u8>)>>, migrations: &Migrator) -> Self {
        let applied = applied.unwrap_or_default();
        let first = migrations.iter().next();
        let ours = applied.first().zip(first).is_some_and(|((version, checksum), first)| *version == first.version && *checksum == *first.checksum);
        applied.last().filter(|_| ours).map_or(Self::Foreign, |(version, _)| Self::Version(*version))
    }

    fn check(self, migrations: &Migrator, place: &str) -> Result<(), StoreError> {
        let Self::Version(found) = self else {
            return Err(StoreError::Refused(format!("the {place} is not a Hourpass database: it has no tables of Hourpass; {WHERE}")));
        };
        refuse_newer(Some(found), migrations)?;
        let needed = newest(migrations);
        if found < needed {
            return Err(StoreError::Refused(format!(
                "the {place} has schema version {found}, and this hourpass needs version {needed}; start the newer server first, which brings the tables up \
                 to date. Nothing was written"
            )));
        }
        Ok(())
    }
}

/// The version that all migrations together make.
pub(super) fn newest(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}
