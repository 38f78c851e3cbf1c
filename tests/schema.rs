//! The tables: statements and schemas of both engines, upgrades, and how a database is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hourpass::domain::access::{Access, Place};
use hourpass::domain::id::{OrganizationId, Reference, ServiceAccountId, UserId, WorkspaceId};
use hourpass::domain::name::Email;
use hourpass::domain::permission::{CATALOGUE, Permission};
use hourpass::domain::status::StatusIndex;
use hourpass::domain::time::Timestamp;
use hourpass::store::{Db, EventFilter, Holder, OpenMode, Store, StoreError, statements};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Executor, PgConnection, Row, SqlSafeStr, SqliteConnection};
use uuid::Uuid;

use crate::support::{Database, Engine, hourpass as program, on_both_engines};

async fn open(database: &Database) -> Store {
    Store::open(&database.url, 4, Duration::from_secs(2), OpenMode::CreateIfMissing).await.unwrap()
}

/// A token that was issued, at the moment that the test's ids have.
macro_rules! exchange {
    ($actor:literal, $target:literal) => {
        concat!(
            "INSERT INTO audit_events (id, organization_id, occurred_at, actor_kind, actor_id, actor_name, action, resource, target_kind, target_id, target_name, outcome, token_expires_at) ",
            "VALUES ($1, $2, 17592186044416000, 'service_account', $3, ", $actor, ", 'token.issue', 'token', 'workspace', $4, ", $target, ", 'granted', 17592189644416000)"
        )
    };
}

/// A database as the first version left it: an organization, a workspace, an account that is Developer there, and an administrator.
macro_rules! first_schema {
    ($connection:ident, $folder:literal, $id:ident) => {{
        let mut migrator = sqlx::migrate::Migrator::new(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder))).await.unwrap();
        migrator.migrations.to_mut().retain(|migration| migration.version == 1);
        migrator.run(&mut $connection).await.unwrap();
        let rows = [
            ("INSERT INTO organizations (id, slug, name, created_at) VALUES ($1, 'one', 'One', 1)", vec![1]),
            (
                "INSERT INTO workspaces (id, organization_id, slug, name, audience, token_lifetime_seconds, signing_algorithm, created_at) \
              VALUES ($1, $2, 'ws', 'ws', 'urn:ws', 60, 'ES256', 1)",
                vec![3, 1],
            ),
            (
                "INSERT INTO service_accounts (id, organization_id, name, description, active, created_at) VALUES ($1, $2, 'ci', '', TRUE, 1)",
                vec![4, 1],
            ),
            (
                "INSERT INTO users (id, organization_id, email, password_hash, active, created_at) VALUES ($1, $2, 'ada@example.com', 'x', TRUE, 1)",
                vec![5, 1],
            ),
            (
                "INSERT INTO role_assignments (id, organization_id, user_id, role, created_at) VALUES ($1, $2, $3, 'Organization Admin', 1)",
                vec![6, 1, 5],
            ),
            (
                "INSERT INTO role_assignments (id, organization_id, service_account_id, workspace_id, role, created_at) \
              VALUES ($1, $2, $3, $4, 'Workspace Developer', 1)",
                vec![7, 1, 4, 3],
            ),
            ("INSERT INTO api_keys (id, service_account_id, name, active, created_at) VALUES ($1, $2, 'key', TRUE, 1)", vec![8, 4]),
            (
                "INSERT INTO api_key_values (id, api_key_id, hash, hint, grant_id, created_at, expires_at, retained_until) \
              SELECT $1, $2, private_key, 'h', $3, 1, 200, 100 FROM signing_keys WHERE kid = 'one'",
                vec![9, 8, 10],
            ),
            (
                "INSERT INTO api_key_values (id, api_key_id, hash, hint, grant_id, created_at) \
              SELECT $1, $2, private_key, 'h', $3, 1 FROM signing_keys WHERE kid = 'two'",
                vec![11, 8, 12],
            ),
            ("INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES ($1, $2, 1, 300)", vec![13, 5]),
            // Exchanges: of an account and for a workspace that are gone, and of the account that is there, under its name and an earlier one.
            (exchange!("'gone-ci'", "'gone-ws'"), vec![21, 1, 19, 20]),
            (exchange!("'ci'", "'ws'"), vec![22, 1, 4, 3]),
            (exchange!("'first-ci'", "'ws'"), vec![23, 1, 4, 3]),
        ];
        let keys = "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, created_at, retired_at) VALUES ($1, $2, '{}', $3, 7, NULL)";
        for (kid, algorithm) in [("one", "ES256"), ("two", "RS256")] {
            sqlx::query(keys).bind(kid).bind(algorithm).bind(kid.as_bytes()).execute(&mut $connection).await.unwrap();
        }
        for (sql, ids) in rows {
            let query = ids.into_iter().fold(sqlx::query(sql), |query, number| query.bind($id(number)));
            query.execute(&mut $connection).await.unwrap();
        }
        $connection.close().await.unwrap();
    }};
}

on_both_engines! {
    async fn every_statement_is_understood(engine: Engine) {
        let database = engine.database().await;
        let store = open(&database).await;
        let statements = statements();
        assert!(statements.len() >= 30, "only {} statements; is a module missing from the list?", statements.len());
        for (module, name, sql) in statements {
            let prepared = match store.pool() {
                Db::Sqlite(pool) => pool.prepare(sql.into_sql_str()).await.map(drop),
                Db::Postgres(pool) => pool.prepare(sql.into_sql_str()).await.map(drop),
            };
            prepared.unwrap_or_else(|error| panic!("{module}::{name}: {error}\n{sql}"));
        }
    }

    async fn what_was_given_before_roles_had_tables_is_kept(engine: Engine) {
        let database = engine.database().await;
        let id = |number: u128| Uuid::from_u128(0x1000_0000_0000_7000_8000_0000_0000_0000 + number);
        match engine {
            Engine::Sqlite => {
                let options = database.url.parse::<SqliteConnectOptions>().unwrap().create_if_missing(true).foreign_keys(true);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                first_schema!(connection, "migrations/sqlite", id);
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(&database.url).await.unwrap();
                first_schema!(connection, "migrations/postgres", id);
            }
        }
        let store = open(&database).await;
        // Each value of a key, and each sign-in, has a place in the status lists, until it ends; and the signing keys sign on.
        let status = async |micros| store.read_status(Timestamp::from_micros(micros), Timestamp::from_micros(micros)).await.unwrap();
        let (before, after) = (status(99).await, status(400).await);
        assert_eq!((before.ended.len(), before.next_end, before.greatest.0), (0, Some(Timestamp::from_micros(100)), 3));
        assert_eq!((after.ended, after.next_end), (vec![StatusIndex(1)], None));
        let signing = store.list_signing_keys().await.unwrap();
        assert!(signing.iter().all(|key| (key.generation, key.active_from.as_micros(), key.retired_at) == (1, 7, None)) && signing.len() == 2);
        let access = Access::of(&store.list_assignments(Holder::User(UserId(id(5)))).await.unwrap());
        assert!(access.holds(&Permission::USERS_MANAGE, Place::Organization) && !access.holds_somewhere(&Permission::PLATFORM_MANAGE));
        let catalogue = store.list_catalogue(OrganizationId(id(1))).await.unwrap();
        assert_eq!(catalogue.iter().map(Permission::as_str).collect::<Vec<_>>(), CATALOGUE.map(|(name, _)| name));
        let access = Access::of(&store.list_assignments(Holder::ServiceAccount(ServiceAccountId(id(4)))).await.unwrap());
        assert_eq!(access.at_workspace(WorkspaceId(id(3)), &catalogue).len(), 6);
        assert!(access.at_hourpass().is_empty());
        assert!(store.find_workspace(OrganizationId(id(1)), &Reference::from("ws")).await.unwrap().is_some());
        // What was done under names that are nobody's by now is found.
        let all = (Uuid::nil(), Uuid::max());
        for (actor, target, found) in [("gone-ci", None, vec![21]), ("ci", None, vec![22]), ("first-ci", None, vec![23]), ("", Some("gone-ws"), vec![21]), ("", Some("ws"), vec![23, 22])] {
            let filter = EventFilter { actor_name: Some(actor.to_owned()).filter(|_| target.is_none()), target_name: target.map(str::to_owned), ..EventFilter::default() };
            let events = store.list_events(OrganizationId(id(1)), &filter, all, 10).await.unwrap();
            assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), found.into_iter().map(id).collect::<Vec<_>>(), "{actor} {target:?}");
        }
        let email = Email::parse("ada@example.com").unwrap();
        assert_eq!(store.find_password(&email).await.unwrap().unwrap().version, 1);
    }

    async fn several_may_open_an_empty_database_at_once(engine: Engine) {
        let database = engine.database().await;
        let opening = (0..8).map(|_| Store::open(&database.url, 2, Duration::from_secs(20), OpenMode::CreateIfMissing));
        for one in futures_util::future::join_all(opening).await {
            one.unwrap().ping().await.unwrap();
        }
    }

    async fn a_newer_schema_is_left_alone(engine: Engine) {
        const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'newer', TRUE, $1, 0)";
        const TABLES: &str = "SELECT count(*) FROM organizations";
        let database = engine.database().await;
        let store = open(&database).await;
        match store.pool() {
            Db::Sqlite(pool) => sqlx::query(NEWER).bind(&b"x"[..]).execute(pool).await.map(drop).unwrap(),
            Db::Postgres(pool) => sqlx::query(NEWER).bind(&b"x"[..]).execute(pool).await.map(drop).unwrap(),
        }
        let output = program(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
        let newest: u32 = migrations.map(|file| file.unwrap().file_name().to_str().unwrap()[..4].parse().unwrap()).max().unwrap();
        let expected = format!("the database has schema version 9999, and this hourpass knows versions up to {newest}; ");
        assert!(message.contains(&expected), "{message}");
        let organizations: i64 = match store.pool() {
            Db::Sqlite(pool) => sqlx::query_scalar(TABLES).fetch_one(pool).await.unwrap(),
            Db::Postgres(pool) => sqlx::query_scalar(TABLES).fetch_one(pool).await.unwrap(),
        };
        assert_eq!(organizations, 0);
        assert!(!database.folder.path().join("data").exists() && !database.folder.path().join("master.key").exists());
    }
}

/// What a schema is made of: tables, columns with their type and whether they may be null, and unique indexes.
type Schema = BTreeMap<String, (BTreeMap<String, (String, bool)>, BTreeSet<Vec<String>>)>;

#[tokio::test]
async fn both_engines_have_the_same_schema() {
    let (sqlite, postgres) = (Engine::Sqlite.database().await, Engine::Postgres.database().await);
    let (sqlite, postgres) = (open(&sqlite).await, open(&postgres).await);
    let (Db::Sqlite(sqlite), Db::Postgres(postgres)) = (sqlite.pool(), postgres.pool()) else { panic!() };

    let mut ours = Schema::new();
    let columns = "SELECT t.name AS t, c.name AS c, c.type AS type, c.\"notnull\" AS required FROM sqlite_schema t, pragma_table_info(t.name) c \
                   WHERE t.type = 'table' AND t.name <> '_sqlx_migrations' AND t.name NOT LIKE 'sqlite_%'";
    for row in sqlx::query(columns).fetch_all(sqlite).await.unwrap() {
        let column = (row.get::<String, _>("type"), row.get::<bool, _>("required"));
        ours.entry(row.get("t")).or_default().0.insert(row.get("c"), column);
    }
    let indexes = "SELECT t.name AS t, group_concat(c.name, ' ') AS columns FROM sqlite_schema t, pragma_index_list(t.name) i, pragma_index_info(i.name) c \
                   WHERE t.type = 'table' AND t.name <> '_sqlx_migrations' AND t.name NOT LIKE 'sqlite_%' GROUP BY t.name, i.name, i.\"unique\"";
    for row in sqlx::query(indexes).fetch_all(sqlite).await.unwrap() {
        let columns = row.get::<String, _>("columns").split(' ').map(str::to_owned).collect();
        ours.entry(row.get("t")).or_default().1.insert(columns);
    }

    // SQLite has no index for a key that is its own number of a row.
    ours.get_mut("changes").unwrap().1.insert(vec!["position".to_owned()]);
    ours.get_mut("status_entries").unwrap().1.insert(vec!["idx".to_owned()]);

    let mut theirs = Schema::new();
    let columns = "SELECT table_name::text AS t, column_name::text AS c, data_type::text AS type, is_nullable = 'NO' AS required \
                   FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";
    for row in sqlx::query(columns).fetch_all(postgres).await.unwrap() {
        let (table, column, kind): (String, String, String) = (row.get("t"), row.get("c"), row.get("type"));
        let kind = match kind.as_str() {
            "uuid" | "bytea" => "BLOB",
            "bigint" | "boolean" => "INTEGER",
            "text" => "TEXT",
            other => panic!("{table}.{column} is of type {other}"),
        };
        theirs.entry(table).or_default().0.insert(column, (kind.to_owned(), row.get("required")));
    }
    let indexes = "SELECT i.indrelid::regclass::text AS t, array_agg(a.attname::text ORDER BY k.ordinal) AS columns FROM pg_index i \
                   CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, ordinal) \
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                   WHERE i.indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) \
                   AND i.indrelid::regclass::text <> '_sqlx_migrations' GROUP BY i.indexrelid, i.indrelid";
    for row in sqlx::query(indexes).fetch_all(postgres).await.unwrap() {
        theirs.entry(row.get("t")).or_default().1.insert(row.get("columns"));
    }
    assert!(ours.len() >= 9);
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn sqlite_keeps_what_it_acknowledges() {
    let database = Engine::Sqlite.database().await;
    let store = open(&database).await;
    let Db::Sqlite(pool) = store.pool() else { panic!() };
    for (pragma, value) in
        [("PRAGMA synchronous", "2"), ("PRAGMA foreign_keys", "1"), ("PRAGMA journal_mode", "wal"), ("PRAGMA busy_timeout", "2000")]
    {
        let row = sqlx::query(sqlx::AssertSqlSafe(pragma)).fetch_one(pool).await.unwrap();
        let found = row.try_get::<i64, _>(0).map_or_else(|_| row.get::<String, _>(0), |number| number.to_string());
        assert_eq!(found, value, "{pragma}");
    }
}

#[tokio::test]
async fn urls_that_are_none_of_ours() {
    for (url, why) in [("mysql://localhost/x", "must begin with sqlite:// or postgres://"), ("sqlite::memory:", "would lose everything")] {
        let error = Store::open(url, 1, Duration::from_secs(1), OpenMode::CreateIfMissing).await.unwrap_err();
        assert!(matches!(&error, StoreError::Refused(text) if text.contains(why)), "{error}");
    }
    // A password in a URL is not repeated.
    let error = Store::open("postgres://ada:hunter2@127.0.0.1:notaport/x", 1, Duration::from_secs(1), OpenMode::CreateIfMissing).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
