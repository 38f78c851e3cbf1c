//! Only a server makes a database, a master key or a signing key. Every other command that finds none says where it looked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hourpass::store::{OpenMode, Store};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{Database, Engine, Process, hourpass, on_both_engines};

/// Every subcommand of `hourpass admin` that works on an existing database, with arguments that it accepts.
const ADMIN: &[&[&str]] = &[
    &["issue-key", "--organization", "default", "--service-account", "ci"],
    &["create-organization", "--slug", "rival"],
    &["create-workspace", "--organization", "default", "--slug", "prod"],
    &["create-user", "--organization", "default", "--email", "ada@example.com"],
    &["assign-role", "--organization", "default", "--user", "ada@example.com", "--role", "organization-admin"],
    &["reset-password", "--email", "ada@example.com"],
    &["rotate-signing-key", "--now"],
    &["backup", "backup.db"],
    &["restored"],
    &["restored", "--revoke-since", "2026-01-31T12:00:00Z"],
];

/// The subcommands that the program itself lists.
fn listed(folder: &Path) -> BTreeSet<String> {
    let help = hourpass(folder).args(["admin", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Every file and folder below one, with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
            all.insert(path, Vec::new());
        } else {
            let bytes = std::fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

/// The tables of a PostgreSQL database.
async fn tables(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
}

/// Runs a command that has to fail, and returns its last line.
fn failure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{command:?}: {errors}");
    errors.lines().last().unwrap_or_default().to_owned()
}

/// Runs every subcommand against this database. Each has to fail with `text`, and nothing in the folder may be another afterwards.
fn all_refuse(folder: &Path, url: Option<&str>, text: &str) {
    let before = contents(folder);
    for arguments in ADMIN {
        let mut command = hourpass(folder);
        command.env("HOURPASS_DATABASE__TIMEOUT", "200ms").envs(url.map(|url| ("HOURPASS_DATABASE__URL", url))).arg("admin").args(*arguments);
        let said = failure(&mut command);
        assert!(said.contains(text), "{arguments:?} said {said:?} instead of {text:?}");
        assert!(contents(folder) == before, "{arguments:?} made or changed a file");
    }
}

fn server(database: &Database) -> Command {
    let mut command = hourpass(database.folder.path());
    command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
    command
}

/// Applies only the first migration, as the first version did.
macro_rules! first_schema {
    ($connection:expr, $folder:literal) => {{
        let mut migrator = sqlx::migrate::Migrator::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder))).await.unwrap();
        migrator.migrations.to_mut().retain(|migration| migration.version == 1);
        let mut connection = $connection;
        migrator.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }};
}

#[test]
fn every_admin_command_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried: BTreeSet<_> = ADMIN.iter().map(|arguments| arguments[0].to_owned()).collect();
    // It puts a database there: see `restore`.
    tried.insert("restore".to_owned());
    assert_eq!(listed(folder.path()), tried);
}

#[tokio::test]
async fn without_a_sqlite_database_admin_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let place = folder.join("data/hourpass.db");
    let what_to_do = "run this in the server's directory, or name the server's database with --config FILE or HOURPASS_DATABASE__URL";
    all_refuse(folder, None, &format!("no Hourpass database at {}; {what_to_do}", place.display()));
    // The folder is there, and the name is mistyped.
    std::fs::create_dir(folder.join("data")).unwrap();
    all_refuse(folder, Some("sqlite://data/hourpas.db"), &format!("no Hourpass database at {}; ", folder.join("data/hourpas.db").display()));
    all_refuse(folder, Some("sqlite://data/hourpas.db?mode=rwc"), "no Hourpass database at ");
    all_refuse(folder, Some("sqlite://data"), "data is not a file; ");
    // An empty file, another file, and the database of another program, in both journal modes.
    std::fs::write(&place, "").unwrap();
    all_refuse(folder, None, "is not a Hourpass database: it has no tables of Hourpass; ");
    std::fs::write(&place, "notes ".repeat(1_000)).unwrap();
    all_refuse(folder, None, "is not a Hourpass database: it has no tables of Hourpass; ");
    for (journal, more) in [
        ("DELETE", ""),
        (
            "WAL",
            "CREATE TABLE _sqlx_migrations (version INTEGER, checksum BLOB, success INTEGER); INSERT INTO _sqlx_migrations VALUES (1, x'00', 1);",
        ),
    ] {
        std::fs::remove_file(&place).unwrap();
        let options = SqliteConnectOptions::new().filename(&place).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("PRAGMA journal_mode = {journal}; CREATE TABLE notes (text TEXT); {more}"))).await.unwrap();
        connection.close().await.unwrap();
        all_refuse(folder, None, "is not a Hourpass database: it has no tables of Hourpass; ");
    }
}

#[tokio::test]
async fn without_a_postgres_database_admin_makes_nothing() {
    let database = Engine::Postgres.database().await;
    let folder = database.folder.path();
    let (server, name) = database.url.rsplit_once('/').unwrap();
    let address = server.rsplit_once('@').unwrap().1;
    let mistyped = format!("{}:hunter2@{address}/{name}_typo", server.rsplit_once('@').unwrap().0);
    all_refuse(folder, Some(&mistyped), &format!("there is no PostgreSQL database {name}_typo at {address}; correct database.url"));
    all_refuse(folder, Some(&database.url), &format!("the PostgreSQL database {name} at {address} is not a Hourpass database: "));
    assert!(tables(&database.url).await.is_empty());
    // Of another program, which keeps its versions in the same way.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let foreign =
        "CREATE TABLE _sqlx_migrations (version BIGINT, checksum BYTEA, success BOOLEAN); INSERT INTO _sqlx_migrations VALUES (1, '\\x00', TRUE)";
    connection.execute(foreign).await.unwrap();
    all_refuse(folder, Some(&database.url), "is not a Hourpass database: it has no tables of Hourpass; ");
    assert_eq!(tables(&database.url).await, ["_sqlx_migrations"]);
}

on_both_engines! {
    async fn an_older_schema_is_not_migrated_by_admin(engine: Engine) {
        const NEWEST: &str = "SELECT max(version) FROM _sqlx_migrations";
        let database = engine.database().await;
        match engine {
            Engine::Sqlite => {
                let options = database.url.parse::<SqliteConnectOptions>().unwrap().create_if_missing(true);
                first_schema!(SqliteConnection::connect_with(&options).await.unwrap(), "migrations/sqlite");
            }
            Engine::Postgres => first_schema!(PgConnection::connect(&database.url).await.unwrap(), "migrations/postgres"),
        }
        all_refuse(database.folder.path(), Some(&database.url), "has schema version 1, and this hourpass needs version ");
        let version: i64 = match engine {
            Engine::Sqlite => sqlx::query_scalar(NEWEST).fetch_one(&mut SqliteConnection::connect(&database.url).await.unwrap()).await.unwrap(),
            Engine::Postgres => sqlx::query_scalar(NEWEST).fetch_one(&mut PgConnection::connect(&database.url).await.unwrap()).await.unwrap(),
        };
        assert_eq!(version, 1);
    }

    async fn admin_makes_neither_a_master_key_nor_a_signing_key(engine: Engine) {
        let database = engine.database().await;
        let folder = database.folder.path();
        // As a server leaves it that was killed in its first moments: tables, and nothing else.
        Store::open(&database.url, 1, Duration::from_secs(2), OpenMode::CreateIfMissing).await.unwrap().close().await;
        let rotate = || { let mut command = server(&database); command.args(["admin", "rotate-signing-key", "--now"]); command };
        let before = contents(folder).into_keys().collect::<Vec<_>>();
        assert!(failure(&mut rotate()).contains("there is no master key file at /"));
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        assert!(failure(rotate().env("HOURPASS_SIGNING__MASTER_KEY", key)).contains("the database holds no signing key yet: start the server first"));
        assert_eq!(contents(folder).into_keys().collect::<Vec<_>>(), before);

        let running = Process::start(&mut server(&database));
        let none = failure(rotate().args(["--algorithm", "RS256"]));
        assert!(none.contains("there is no RS256 signing key to rotate"), "{none}");
        assert!(rotate().output().unwrap().status.success());
        running.stop();
        // The master key is lost. Nothing is made in its place.
        let file = if engine == Engine::Sqlite { folder.join("master.key") } else { folder.join("data/master.key") };
        std::fs::remove_file(&file).unwrap();
        assert!(failure(&mut rotate()).contains("is missing, and the database holds signing keys that only it opens"));
        assert!(!file.exists());
    }

    async fn a_server_says_that_it_made_a_database(engine: Engine) {
        let database = engine.database().await;
        let first = String::from_utf8(Process::start(&mut server(&database)).stop().stderr).unwrap();
        let said = match engine {
            Engine::Sqlite => format!("made a new database at {}", database.folder.path().join("hourpass.db").display()),
            Engine::Postgres => "made the tables of a new Hourpass in the PostgreSQL database test_".to_owned(),
        };
        assert!(first.lines().any(|line| line.contains("WARN") && line.contains(&said)), "{first}");
        let second = String::from_utf8(Process::start(&mut server(&database)).stop().stderr).unwrap();
        assert!(!second.contains("made "), "{second}");
    }
}

#[test]
fn other_commands_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let missing = failure(hourpass(folder).args(["serve", "--config", "no.toml"]));
    assert_eq!(missing, "hourpass: the configuration file no.toml cannot be read: No such file or directory (os error 2)");
    failure(hourpass(folder).args(["healthcheck", "--url", "http://127.0.0.1:1"]));
    failure(hourpass(folder).args(["admin", "create-organization", "--slug", "x", "--config", "no.toml"]));
    assert!(contents(folder).is_empty());
    // A database that cannot be made is one line, too.
    std::fs::write(folder.join("data"), "").unwrap();
    let said = failure(hourpass(folder).env("HOURPASS_SERVER__PORT", "0").arg("serve"));
    assert!(said.starts_with("hourpass: the database data/hourpass.db cannot be made: "), "{said}");
    std::fs::write(folder.join("notes"), "notes ".repeat(1_000)).unwrap();
    let said = failure(hourpass(folder).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", "sqlite://notes").arg("serve"));
    assert_eq!(said, format!("hourpass: {} is not a SQLite database; correct database.url", folder.join("notes").display()));
}
