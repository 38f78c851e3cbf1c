//! Where the two engines differ: opening, beginning, migrating.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Acquire, Connection, SqlitePool};
use url::Url;
use uuid::Uuid;

use super::commit::Outcome;
use super::last_use::Table;
use super::status::NewGrant;

use super::last_write::LastWrite;
use super::lock::{self, Entered};
use super::mark::{self, DatabaseFile, Said};
use super::write_ahead_log::{self, Log};
use super::{Changes, DatabaseLock, Db, Engine, OpenMode, Pg, PostgresOptions, Store, StoreError, Tx, copy, existing, postgres};
use crate::domain::entity::LastUse;
use crate::domain::id::{OrganizationId, ServiceAccountId};
use crate::domain::time::Timestamp;

pub(super) static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long it takes at least until an empty database is another's no more.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Any number that nobody else takes: "hourpass" in ASCII.
const CHANGES_LOCK: i64 = 0x686F_7572_7061_7373;
const CHANGES_CHANNEL: &str = "hourpass_changes";

const NEWEST_MIGRATION: &str = "SELECT max(version) FROM _sqlx_migrations";

/// The folder of the database file that a `sqlite:` URL names; nothing for another engine.
#[must_use]
pub fn sqlite_directory(url: &str) -> Option<PathBuf> {
    sqlite_file(url).map(|file| folder(&file).to_owned())
}

/// The database file that a `sqlite:` URL names; `None` for another engine.
#[must_use]
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let options = SqliteConnectOptions::from_str(url).ok().filter(|_| url.starts_with("sqlite:"))?;
    Some(options.get_filename().to_owned())
}

/// The command that copies the PostgreSQL database of this URL into a file. The password is not in it. `None` for another engine.
#[must_use]
pub fn postgres_dump(url: &str, file: &Path) -> Option<String> {
    // A URL of several servers is read by PostgreSQL's own programs, and by no parser of URLs.
    let hosts = postgres::hosts(url)?;
    let one = postgres::with_hosts(url, hosts.split(',').next()?)?;
    let mut url = Url::parse(&one).ok().filter(|url| url.scheme().starts_with("postgres"))?;
    let _has_a_host = url.set_password(None);
    let parameters: Vec<_> =
        url.query_pairs().filter(|(name, _)| name != "password").map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    url.set_query(None);
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    let url = postgres::with_hosts(url.as_str(), hosts)?;
    Some(format!("umask 077 && pg_dump --format=custom --file='{}' --dbname='{url}'", file.display()))
}

/// The folder that a file is in. For a name without one it is where the program runs, which cannot be opened by the empty path.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refused<T>(why: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Refused(why.into()))
}

pub(super) async fn open(
    url: &str,
    max_connections: u32,
    timeout: Duration,
    mode: OpenMode,
    postgres: PostgresOptions<'_>,
) -> Result<Store, StoreError> {
    // The URL itself stays out of every message: it may hold a password.
    let unreadable = |error: sqlx::Error| StoreError::Refused(format!("database.url cannot be read: {error}"));
    match url.split_once(':') {
        Some(("sqlite", rest)) => {
            let options = SqliteConnectOptions::from_str(url).map_err(unreadable)?;
            if rest.trim_start_matches('/').is_empty() || url.contains(":memory:") || url.contains("mode=memory") {
                return refused(
                    "database.url: a database without a file would lose everything at the end; name a file, as in sqlite://data/hourpass.db",
                );
            }
            open_sqlite(options, max_connections, timeout, mode).await
        }
        Some(("postgres" | "postgresql", _)) => {
            let PostgresOptions { pooler, listen_url } = postgres;
            let last_write = Arc::<LastWrite>::default();
            let settings = postgres::Settings { url, listen_url, pooler, connections: max_connections, timeout };
            let (pool, watch) = postgres::open(&settings, mode, Arc::clone(&last_write)).await?;
            let store = Store::opened(Db::Postgres(pool.clone()), Db::Postgres(pool), Db::Postgres(watch)).await?;
            Ok(Store { last_write, ..store })
        }
        _ => refused("database.url must begin with sqlite:// or postgres://"),
    }
}

/// Of several processes that open an empty database at once, one makes it, and the others wait. SQLite itself does not wait for whoever is just switching the file to WAL, so
/// that is waited for here.
async fn open_sqlite(options: SqliteConnectOptions, max_connections: u32, timeout: Duration, mode: OpenMode) -> Result<Store, StoreError> {
    let file = options.get_filename().to_owned();
    let check = async || existing::check_sqlite(&file).await.map_err(|error| existing::explain_sqlite(error, &file));
    match mode {
        OpenMode::CreateIfMissing => make_private(&file)?,
        // The lock would be a new file beside a database that may not be ours.
        OpenMode::ExistingOnly if !lock::is_there(&file) => check().await?,
        OpenMode::ExistingOnly => {}
    }
    let (lock, exchanged) = enter(&file, timeout).await?;
    if mode == OpenMode::ExistingOnly {
        check().await?;
        if exchanged {
            let file = existing::absolute(&file);
            return refused(format!("{} was put in the place of another database; start the server first, which makes it safe", file.display()));
        }
    }
    let lock = (file.clone(), Arc::new(lock));
    let mut waited = Duration::ZERO;
    loop {
        match connect_sqlite(options.clone(), max_connections, timeout, mode, (lock.clone(), exchanged))
            .await
            .map_err(|error| existing::explain_sqlite(error, &file))
        {
            Err(StoreError::Unavailable(_)) if waited < timeout => {
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
            }
            opened => return opened,
        }
    }
}

/// Takes the lock, and finds out whether the log beside the database belongs to it, before SQLite opens either.
async fn enter(file: &Path, timeout: Duration) -> Result<(DatabaseLock, bool), StoreError> {
    loop {
        match lock::enter(file, timeout).await? {
            // Whoever has it open has looked.
            Entered::Shared(lock) => return Ok((lock, false)),
            Entered::Alone(lock) => {
                let exchanged = examine_log(file).await?;
                if let Some(lock) = lock::share(lock) {
                    return Ok((lock, exchanged));
                }
            }
        }
    }
}

/// Whether the database was exchanged since its log was written, and both together are whole nevertheless.
async fn examine_log(file: &Path) -> Result<bool, StoreError> {
    let noted = match mark::read(&mark::beside_database(file)) {
        Ok(Said::This(said)) => said.file,
        _ => None,
    };
    let name = existing::absolute(file);
    let name = name.display();
    let log = write_ahead_log::examine(file, noted);
    let log = log.map_err(|error| StoreError::Refused(format!("the database {name} and its -wal cannot be read: {error}")))?;
    if log == Log::Own {
        return Ok(false);
    }
    // SQLite deletes the log beside an empty file.
    let empty = file.metadata().is_ok_and(|found| found.len() == 0);
    if empty || !copy::is_whole(file).await? {
        return Err(StoreError::Refused(format!(
            "{name} does not belong to the {name}-wal beside it, as when a back-up is copied over the database of a server that was killed; nothing was \
             changed: put the back-up in place with `hourpass admin restore FILE`, where FILE may be {name} itself"
        )));
    }
    Ok(true)
}

async fn connect_sqlite(
    options: SqliteConnectOptions,
    max_connections: u32,
    timeout: Duration,
    mode: OpenMode,
    (lock, exchanged): ((PathBuf, Arc<DatabaseLock>), bool),
) -> Result<Store, StoreError> {
    let options = options
        .create_if_missing(mode == OpenMode::CreateIfMissing)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL loses acknowledged commits at a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(timeout);
    // The writer first: it makes the file and turns on WAL before any reader comes.
    let write = sqlite_pool(1, timeout).connect_with(options.clone()).await?;
    if mode == OpenMode::CreateIfMissing {
        migrate_sqlite(&write, options.get_filename()).await?;
    }
    let read = sqlite_pool(max_connections, timeout).connect_with(options.clone()).await?;
    let watch = sqlite_pool(1, timeout).connect_with(options).await?;
    Store::opened_with(Db::Sqlite(read), Db::Sqlite(write), Db::Sqlite(watch), Some(lock), exchanged).await
}

/// Makes the file, and its folder, for its owner only where they are missing: hashes of passwords are in it. SQLite gives its other files the same mode.
fn make_private(file: &Path) -> Result<(), StoreError> {
    let folder = folder(file);
    let failed = |error: std::io::Error| StoreError::Refused(format!("the database {} cannot be made: {error}", file.display()));
    let mark = mark::beside_database(file);
    if !file.exists() && mark.exists() {
        return refused(format!(
            "the database {} is missing, and {} says that there was one; put a back-up in its place with `hourpass admin restore FILE`, or remove {} to begin \
             with an empty database. Nothing was made",
            existing::absolute(file).display(),
            mark.display(),
            mark.display()
        ));
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Which file was opened: a path can be given to another file, and then what is written goes to one that nobody will find.
#[derive(Clone, Debug)]
pub(super) struct OpenedFile {
    path: PathBuf,
    /// Device and number, which a file keeps.
    identity: (u64, u64),
}

impl OpenedFile {
    pub(super) fn at(path: &Path) -> Result<Self, StoreError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let identity = Self::identity(&path).ok_or_else(|| StoreError::Refused(format!("the database {} was removed", path.display())))?;
        Ok(Self { path, identity })
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
    }

    /// Refuses if the path no longer leads to the file that was opened.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if Self::identity(&self.path) == Some(self.identity) {
            return Ok(());
        }
        let why =
            format!("the database {} was removed or replaced while it was in use; restart to go on with what is there now", self.path.display());
        Err(StoreError::Unavailable(sqlx::Error::Io(std::io::Error::other(why))))
    }
}

fn sqlite_pool(connections: u32, timeout: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(timeout)
        // A file does not go away like a server.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        // After an I/O error or a full disk, SQLite rolls back by itself and sqlx's own count of open transactions stays behind: what such a connection later
        // "commits" never happens. Such a connection is closed.
        .after_release(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

pub(super) async fn begin(db: &Db) -> Result<Engine, StoreError> {
    Ok(match db {
        // A transaction that begins as a reader cannot always become a writer; IMMEDIATE waits for its turn at the beginning.
        Db::Sqlite(pool) => Engine::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
        Db::Postgres(pool) => Engine::Postgres(pool.begin().await?),
    })
}

/// Keeps others from changing who may do what in an organization, and lets them change all else. On SQLite, a transaction is alone anyway.
pub(super) async fn share_organization(tx: &mut Tx, id: OrganizationId) -> Result<(), StoreError> {
    if let Engine::Postgres(tx) = &mut tx.engine {
        sqlx::query("SELECT 1 FROM organizations WHERE id = $1 FOR SHARE").bind(id.0).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Makes transactions that note changes end one after the other, so that the order of positions is the order in which they are committed, and who has read up to one
/// has missed none before it. PostgreSQL takes a number when a row is written, and commits whenever it likes. To be called last, so that nobody who holds
/// this waits for anything else but the disk. On SQLite, a transaction is alone anyway.
pub(super) async fn order_changes(tx: &mut Tx) -> Result<(), StoreError> {
    if let Engine::Postgres(tx) = &mut tx.engine {
        sqlx::query("SELECT pg_advisory_xact_lock($1), pg_notify($2, '')").bind(CHANGES_LOCK).bind(CHANGES_CHANNEL).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Wakes whoever follows the changes when another node has made one, until the connection breaks. On SQLite there is nobody to listen to.
pub(super) async fn listen(watch: &Db, changes: &Changes) -> Result<(), StoreError> {
    let Db::Postgres(watch) = watch else { return std::future::pending().await };
    watch.listen(CHANGES_CHANNEL, changes).await
}

/// Keeps others from changing these accounts, without waiting for anybody who is just doing so. Returns those that somebody else holds. On SQLite a transaction is alone anyway.
pub(super) async fn lock_accounts(tx: &mut Tx, accounts: &BTreeSet<ServiceAccountId>) -> Result<BTreeSet<ServiceAccountId>, StoreError> {
    let Engine::Postgres(tx) = &mut tx.engine else { return Ok(BTreeSet::new()) };
    // Whoever changes a key or a value has locked its account first. Should somebody not, they are not waited for long either.
    sqlx::query("SET LOCAL lock_timeout = '100ms'").execute(&mut **tx).await?;
    let ids = |accounts: &BTreeSet<ServiceAccountId>| accounts.iter().map(|id| id.0).collect::<Vec<_>>();
    let locked: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM service_accounts WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED")
        .bind(ids(accounts))
        .fetch_all(&mut **tx)
        .await?;
    let mut missed = accounts.clone();
    for id in locked {
        missed.remove(&ServiceAccountId(id));
    }
    if missed.is_empty() {
        return Ok(missed);
    }
    // Of those that were not locked, the ones that are gone are nobody's.
    let busy: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM service_accounts WHERE id = ANY($1)").bind(ids(&missed)).fetch_all(&mut **tx).await?;
    Ok(busy.into_iter().map(ServiceAccountId).collect())
}

macro_rules! set_last_uses {
    ($table:literal, $uses:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " AS t SET last_used_at = u.at, last_used_address = u.address, last_used_user_agent = u.user_agent FROM ",
            $uses,
            " WHERE t.id = u.id AND (t.last_used_at IS NULL OR t.last_used_at < u.at)"
        )
    };
}

macro_rules! set_last_uses_sqlite {
    ($table:literal) => {
        // An array of [id, at, address, user_agent]: one parameter, however many there are. JSON has no bytes, so the id is in hexadecimal.
        set_last_uses!(
            $table,
            "(SELECT unhex(value ->> 0) AS id, value ->> 1 AS at, value ->> 2 AS address, value ->> 3 AS user_agent FROM json_each($1)) AS u"
        )
    };
}

macro_rules! set_last_uses_postgres {
    ($table:literal) => {
        set_last_uses!($table, "UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS u (id, at, address, user_agent)")
    };
}

/// Notes the last uses of rows of one table, where they are later than those noted.
pub(super) async fn set_last_uses(tx: &mut Tx, table: Table, rows: &[(Uuid, &LastUse)]) -> Result<(), StoreError> {
    match &mut tx.engine {
        Engine::Sqlite(tx) => {
            let sql = match table {
                Table::Accounts => set_last_uses_sqlite!("service_accounts"),
                Table::Keys => set_last_uses_sqlite!("api_keys"),
                Table::Values => set_last_uses_sqlite!("api_key_values"),
            };
            let row = |(id, last): &(Uuid, &LastUse)| json!([id.simple().to_string(), last.at.as_micros(), last.address, last.user_agent]);
            let rows = Value::Array(rows.iter().map(row).collect());
            sqlx::query(sql).bind(rows.to_string()).execute(&mut **tx).await?;
        }
        Engine::Postgres(tx) => {
            let sql = match table {
                Table::Accounts => set_last_uses_postgres!("service_accounts"),
                Table::Keys => set_last_uses_postgres!("api_keys"),
                Table::Values => set_last_uses_postgres!("api_key_values"),
            };
            sqlx::query(sql)
                .bind(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
                .bind(rows.iter().map(|(_, last)| last.at.as_micros()).collect::<Vec<_>>())
                .bind(rows.iter().map(|(_, last)| last.address.as_deref()).collect::<Vec<_>>())
                .bind(rows.iter().map(|(_, last)| last.user_agent.as_deref()).collect::<Vec<_>>())
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}

/// sqlx takes no lock on SQLite, so the whole migration stands in one transaction that excludes other writers.
async fn migrate_sqlite(pool: &SqlitePool, file: &Path) -> Result<(), StoreError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let known: bool = sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'").fetch_one(&mut *tx).await?;
    let newest: Option<i64> = if known { sqlx::query_scalar(NEWEST_MIGRATION).fetch_one(&mut *tx).await? } else { None };
    refuse_newer(newest, &SQLITE_MIGRATIONS)?;
    SQLITE_MIGRATIONS.run(&mut *tx.acquire().await?).await.map_err(migration_error)?;
    tx.commit().await?;
    if !known {
        tracing::warn!("made a new database at {}", existing::absolute(file).display());
    }
    Ok(())
}

/// Before anything is written, because an older program cannot know what a newer schema asks of it.
pub(super) fn refuse_newer(newest: Option<i64>, migrations: &Migrator) -> Result<(), StoreError> {
    let ours = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    match newest {
        Some(theirs) if theirs > ours => Err(StoreError::Refused(format!(
            "the database has schema version {theirs}, and this hourpass knows versions up to {ours}; run the newer hourpass that made it. Nothing was written"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Refused(format!("the database cannot be brought up to date: {other}")),
    }
}

macro_rules! take_status {
    ($lock:literal) => {
        concat!(
            "UPDATE status_entries SET grant_id = $1, ends_at = $2, outlived = $3, ended = FALSE WHERE idx = ",
            "(SELECT idx FROM status_entries WHERE ends_at < $4 ORDER BY ends_at LIMIT 1",
            $lock,
            ") RETURNING idx"
        )
    };
}

/// Takes an index that ended before `free`: on PostgreSQL, one that nobody else is just taking.
pub(super) async fn take_status(tx: &mut Tx, grant: NewGrant, free: i64) -> Result<Option<i64>, StoreError> {
    let NewGrant { id, ends_at, outlived } = grant;
    let ends_at = ends_at.map(Timestamp::as_micros);
    let taken = match &mut tx.engine {
        Engine::Sqlite(tx) => sqlx::query_scalar(take_status!("")).bind(id.0).bind(ends_at).bind(outlived).bind(free).fetch_optional(&mut **tx).await,
        Engine::Postgres(tx) => {
            let sql = take_status!(" FOR UPDATE SKIP LOCKED");
            sqlx::query_scalar(sql).bind(id.0).bind(ends_at).bind(outlived).bind(free).fetch_optional(&mut **tx).await
        }
    };
    Ok(taken?)
}

/// Lets a transaction that renews everything take its time, and keeps others from writing to what it renews.
pub(super) async fn begin_epoch(tx: &mut Tx) -> Result<(), StoreError> {
    if let Engine::Postgres(tx) = &mut tx.engine {
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut **tx).await?;
        sqlx::query("LOCK TABLE epochs, api_keys, api_key_values, sessions, status_entries IN EXCLUSIVE MODE").execute(&mut **tx).await?;
    }
    Ok(())
}

/// Has the next status index and the next position in the change log be higher than this.
pub(super) async fn jump_numbers(tx: &mut Tx, number: i64) -> Result<(), StoreError> {
    match &mut tx.engine {
        Engine::Sqlite(tx) => {
            sqlx::query("DELETE FROM sqlite_sequence WHERE name IN ('changes', 'status_entries')").execute(&mut **tx).await?;
            let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', $1), ('status_entries', $1)";
            sqlx::query(sql).bind(number).execute(&mut **tx).await?;
        }
        Engine::Postgres(tx) => {
            let sql = "SELECT setval(pg_get_serial_sequence('changes', 'position'), $1), setval(pg_get_serial_sequence('status_entries', 'idx'), $1)";
            sqlx::query(sql).bind(number).execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// Gives every value of every API key a new grant, at random.
pub(super) async fn replace_all_grants(tx: &mut Tx) -> Result<(), StoreError> {
    match &mut tx.engine {
        Engine::Sqlite(tx) => sqlx::query("UPDATE api_key_values SET grant_id = randomblob(16)").execute(&mut **tx).await.map(drop)?,
        Engine::Postgres(tx) => sqlx::query("UPDATE api_key_values SET grant_id = gen_random_uuid()").execute(&mut **tx).await.map(drop)?,
    }
    Ok(())
}

/// By what the file of a SQLite database is recognized. `None` while its schema cookie stands only in the log beside it.
pub(super) async fn identify_file(store: &Store) -> Result<Option<DatabaseFile>, StoreError> {
    let (Db::Sqlite(pool), Some(file)) = (&store.write, &store.file) else { return Ok(None) };
    let cookie: i64 = sqlx::query_scalar("PRAGMA schema_version").fetch_one(pool).await?;
    let Ok(cookie) = u32::try_from(cookie) else { return Ok(None) };
    if !matches!(mark::read(&mark::beside_database(file)), Ok(Said::This(said)) if said.file.is_some_and(|file| file.cookie == cookie)) {
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(pool).await?;
        if busy != 0 {
            return Ok(None);
        }
    }
    let found = file.metadata().map_err(sqlx::Error::Io)?;
    Ok(Some(DatabaseFile { cookie, inode: found.ino(), modified: mark::modified(&found) }))
}

/// The database's own time, in microseconds since the Unix epoch.
pub(super) async fn time(db: &Db) -> Result<i64, StoreError> {
    let time = match db {
        Db::Sqlite(pool) => sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)").fetch_one(pool).await,
        Db::Postgres(pool) => sqlx::query_scalar("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)").fetch_one(pool).await,
    };
    Ok(time?)
}

/// Says which transaction of which server this is, as text: what [`PgTransaction`] holds.
pub(super) const TRANSACTION: &str = "pg_current_xact_id()::text, extract(epoch FROM pg_postmaster_start_time())::text";
/// Whether the event `$1` is there; and, if this is still the server that ran the transaction `$2`, what became of that transaction. After a restart or a failover the
/// number may be that of another transaction.
const OUTCOME: &str = "SELECT EXISTS (SELECT 1 FROM audit_events WHERE id = $1), \
     CASE WHEN extract(epoch FROM pg_postmaster_start_time())::text = $3 THEN pg_xact_status($2::xid8) END";

/// A transaction of PostgreSQL.
#[derive(Clone, Debug)]
pub(super) struct PgTransaction {
    pub(super) id: String,
    /// When its server started.
    pub(super) server: String,
}

/// Whether a transaction may have been committed although COMMIT failed with this.
pub(super) fn is_ambiguous(error: &sqlx::Error) -> bool {
    use sqlx::Error as E;
    match error {
        E::Database(error) => {
            let code = error.code().unwrap_or_default();
            match code.parse::<u32>() {
                // IOERR. After IOERR_WRITE the frame that makes a transaction of what was written before is not whole.
                Ok(sqlite) if code.len() < 5 => sqlite & 0xFF == 10 && sqlite != 778,
                // The connection, a server that is shut down, errors of its system and its own: any other error has rolled the transaction back.
                _ => ["08", "57P", "58", "XX"].iter().any(|class| code.starts_with(class)),
            }
        }
        _ => true,
    }
}

/// For how long a connection is waited for.
pub(super) fn patience(db: &Db) -> Duration {
    match db {
        Db::Sqlite(pool) => pool.options().get_acquire_timeout(),
        Db::Postgres(pool) => pool.acquire_timeout(),
    }
}

/// Asks once what became of a transaction of PostgreSQL. `None` while it is still running.
pub(super) async fn outcome(pool: &Pg, event: Uuid, transaction: &PgTransaction) -> Result<Option<Outcome>, StoreError> {
    let PgTransaction { id, server } = transaction;
    let (there, status): (bool, Option<String>) = sqlx::query_as(OUTCOME).bind(event).bind(id).bind(server).fetch_one(pool).await?;
    Ok(match status.as_deref() {
        _ if there => Some(Outcome::Committed),
        Some("committed") => Some(Outcome::Committed),
        Some("aborted") => Some(Outcome::RolledBack),
        Some("in progress") => None,
        _ => Some(Outcome::Unknown),
    })
}
