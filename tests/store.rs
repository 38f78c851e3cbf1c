//! The store's contract, the same on both engines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hourpass::domain::access::{Access, Assignment, Given, Place};
use hourpass::domain::api_key::ApiKeyHash;
use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use hourpass::domain::entity::{ApiKey, KeyPolicy, KeyValue, LastUse, Organization, ServiceAccount, Session, Team, User, Workspace};
use hourpass::domain::id::{
    ApiKeyId, AuditEventId, KeyValueId, OrganizationId, Reference, RequestId, RoleAssignmentId, ServiceAccountId, SessionId, TeamId, UserId,
    WorkspaceId,
};
use hourpass::domain::name::{Audience, Email, Name, Slug, WorkspaceUrl};
use hourpass::domain::permission::{CATALOGUE, Permission};
use hourpass::domain::role::built_in;
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::domain::status::StatusIndex;
use hourpass::domain::time::Timestamp;
use hourpass::store::{AccountFilter, Db, EventFilter, Holder, KeyFilter, Member, Store, StoreError, StoredSigningKey, statements};
use secrecy::{ExposeSecret, SecretString};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Executor, PgConnection, Row, SqlSafeStr, SqliteConnection};
use uuid::Uuid;

use crate::support::{Database, Engine, hourpass as program, on_both_engines};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);

async fn open(database: &Database) -> Store {
    Store::open(&database.url, 4, Duration::from_secs(2)).await.unwrap()
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

fn organization(number: u128, slug: &str) -> Organization {
    Organization {
        id: OrganizationId(Uuid::from_u128(number)),
        slug: Slug::parse(slug).unwrap(),
        name: Name::parse("Ünïcode & 'quotes'").unwrap(),
        key_policy: KeyPolicy::default(),
        created_at: NOW,
    }
}

fn workspace(number: u128, owner: &Organization, slug: &str) -> Workspace {
    Workspace {
        id: WorkspaceId(Uuid::from_u128(number)),
        organization_id: owner.id,
        slug: Slug::parse(slug).unwrap(),
        name: Name::parse(slug).unwrap(),
        url: None,
        audience: Audience::parse(&format!("urn:{number}:{slug}")).unwrap(),
        token_lifetime_seconds: 3_600,
        signing_algorithm: SigningAlgorithm::Es256,
        labels: Labels::default(),
        claims: CustomClaims::default(),
        created_at: NOW,
    }
}

fn account(number: u128, owner: &Organization, name: &str) -> ServiceAccount {
    ServiceAccount {
        id: ServiceAccountId(Uuid::from_u128(number)),
        organization_id: owner.id,
        name: Name::parse(name).unwrap(),
        description: "line\nline".to_owned(),
        active: true,
        labels: Labels::default(),
        claims: CustomClaims::default(),
        created_at: NOW,
        last_use: None,
    }
}

fn key(number: u128, owner: &ServiceAccount, name: &str) -> (ApiKey, KeyValue, ApiKeyHash) {
    let key = ApiKey {
        id: ApiKeyId(Uuid::from_u128(number)),
        service_account_id: owner.id,
        name: Name::parse(name).unwrap(),
        active: false,
        compromised_at: None,
        created_at: NOW,
        last_use: None,
    };
    (key, value(number), hash(number))
}

fn value(number: u128) -> KeyValue {
    KeyValue {
        id: KeyValueId(Uuid::from_u128(number)),
        hint: "hp_live_abcd".to_owned(),
        grant: SessionId(Uuid::from_u128(number)),
        created_at: NOW,
        expires_at: Some(Timestamp::from_micros(i64::MAX)),
        retained_until: None,
        last_use: None,
    }
}

fn hash(number: u128) -> ApiKeyHash {
    ApiKeyHash([u8::try_from(number).unwrap(); 32])
}

/// A database with the organizations `one` and `two`.
async fn two_organizations(database: &Database) -> (Store, Organization, Organization) {
    let store = open(database).await;
    let (one, two) = (organization(1, "one"), organization(2, "two"));
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_first_organization(&one).await.unwrap());
    assert!(tx.insert_organization(&two).await.unwrap());
    tx.commit().await.unwrap();
    (store, one, two)
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

    async fn organizations(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let found = store.find_organization("one").await.unwrap().unwrap();
        assert_eq!((found.id, found.name, found.created_at), (one.id, one.name, NOW));
        assert!(store.find_organization("three").await.unwrap().is_none());
        let mut tx = store.begin().await.unwrap();
        assert!(!tx.insert_first_organization(&organization(3, "three")).await.unwrap());
        assert!(!tx.insert_organization(&organization(3, "one")).await.unwrap());
    }

    async fn what_is_not_committed_is_not_there(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let mut tx = store.begin().await.unwrap();
        tx.insert_service_account(&account(10, &one, "ci")).await.unwrap();
        drop(tx);
        assert!(store.find_service_account(one.id, &Reference::from("ci")).await.unwrap().is_none());
    }

    async fn workspaces(engine: Engine) {
        let database = engine.database().await;
        let (store, one, two) = two_organizations(&database).await;
        let mut made = workspace(10, &one, "ws");
        made.url = Some(WorkspaceUrl::parse("https://ws.example.com").unwrap());
        made.signing_algorithm = SigningAlgorithm::EdDsa;
        let mut tx = store.begin().await.unwrap();
        tx.insert_workspace(&made).await.unwrap();
        tx.insert_workspace(&workspace(11, &two, "ws")).await.unwrap();
        tx.commit().await.unwrap();

        let id = Reference::Id(made.id.0);
        for found in [
            store.find_workspace(one.id, &id).await,
            store.find_workspace(one.id, &Reference::from("ws")).await,
            store.find_workspace_by_audience(one.id, "urn:10:ws").await,
            store.find_workspace_by_host(one.id, "ws.example.com").await,
        ] {
            let found = found.unwrap().unwrap();
            assert_eq!((found.id, found.url, found.signing_algorithm), (made.id, made.url.clone(), SigningAlgorithm::EdDsa));
        }
        assert!(store.find_workspace(two.id, &id).await.unwrap().is_none());
        assert!(store.find_workspace_by_audience(two.id, "urn:10:ws").await.unwrap().is_none());
        assert!(store.find_workspace_by_host(two.id, "ws.example.com").await.unwrap().is_none());

        let mut same_audience = workspace(12, &two, "other");
        same_audience.audience = made.audience;
        let mut same_host = workspace(12, &one, "other");
        same_host.url = Some(WorkspaceUrl::parse("http://ws.example.com").unwrap());
        for (taken, column) in [(workspace(12, &one, "ws"), "slug"), (same_audience, "audience"), (same_host, "host")] {
            let refused = store.begin().await.unwrap().insert_workspace(&taken).await;
            assert!(matches!(&refused, Err(StoreError::Conflict(what)) if what.contains(column)), "{refused:?}");
        }
        let orphan = workspace(13, &organization(9, "nine"), "ws");
        assert!(matches!(store.begin().await.unwrap().insert_workspace(&orphan).await, Err(StoreError::Driver(_))));
    }

    async fn service_accounts(engine: Engine) {
        let database = engine.database().await;
        let (store, one, two) = two_organizations(&database).await;
        let mut tx = store.begin().await.unwrap();
        for number in 10..15 {
            tx.insert_service_account(&ServiceAccount { active: number != 12, ..account(number, &one, &format!("ci-{number}")) }).await.unwrap();
        }
        tx.insert_service_account(&account(20, &two, "ci-10")).await.unwrap();
        tx.commit().await.unwrap();

        let found = store.find_service_account(one.id, &Reference::from("ci-10")).await.unwrap().unwrap();
        assert_eq!((found.id.0, found.description.as_str(), found.active), (Uuid::from_u128(10), "line\nline", true));
        assert!(store.find_service_account(two.id, &Reference::Id(found.id.0)).await.unwrap().is_none());
        // Names are compared to the letter.
        assert!(store.find_service_account(one.id, &Reference::from("CI-10")).await.unwrap().is_none());

        let list = async |filter: AccountFilter, after: u128, limit| {
            let found = store.list_service_accounts(one.id, &filter, Uuid::from_u128(after), limit).await.unwrap();
            found.into_iter().map(|account| account.id.0.as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(list(AccountFilter::default(), 0, 3).await, [10, 11, 12]);
        assert_eq!(list(AccountFilter::default(), 12, 3).await, [13, 14]);
        assert_eq!(list(AccountFilter { active: Some(false), ..AccountFilter::default() }, 0, 10).await, [12]);
        assert_eq!(list(AccountFilter { active: Some(true), ..AccountFilter::default() }, 0, 10).await, [10, 11, 13, 14]);
        assert_eq!(list(AccountFilter { name: Some("ci-13".to_owned()), ..AccountFilter::default() }, 0, 10).await, [13]);

        let refused = store.begin().await.unwrap().insert_service_account(&account(21, &one, "ci-10")).await;
        assert!(matches!(&refused, Err(StoreError::Conflict(what)) if what.contains("name")), "{refused:?}");
    }

    async fn api_keys(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let owner = account(10, &one, "ci");
        let mut tx = store.begin().await.unwrap();
        tx.insert_service_account(&owner).await.unwrap();
        for number in 20..23 {
            let (key, value, hash) = key(number, &owner, &format!("key-{number}"));
            tx.insert_api_key(&key, &value, &hash).await.unwrap();
        }
        tx.commit().await.unwrap();

        for found in [store.find_key_credential(&hash(21)).await, store.find_key_credential_by_grant(SessionId(Uuid::from_u128(21))).await] {
            let found = found.unwrap().unwrap();
            assert_eq!((found.organization.id, found.account.id, found.key.id.0), (one.id, owner.id, Uuid::from_u128(21)));
            assert_eq!((found.key.active, found.value.expires_at, found.value.hint.as_str()), (false, Some(Timestamp::from_micros(i64::MAX)), "hp_live_abcd"));
        }
        assert!(store.find_key_credential(&hash(99)).await.unwrap().is_none());
        let list = async |filter: KeyFilter, after| {
            let found = store.list_api_keys(owner.id, &filter, Uuid::from_u128(after), 9).await.unwrap();
            found.iter().map(|details| details.key.id.0.as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(list(KeyFilter::default(), 20).await, [21, 22]);
        assert_eq!(list(KeyFilter { active: Some(true), name: None }, 0).await, [0; 0]);
        assert_eq!(list(KeyFilter { active: Some(false), name: Some("key-22".to_owned()) }, 0).await, [22]);

        let (same_name, value, _) = key(30, &owner, "key-20");
        let taken = store.begin().await.unwrap().insert_api_key(&same_name, &value, &hash(30)).await;
        assert!(matches!(&taken, Err(StoreError::Conflict(what)) if what.contains("name")), "{taken:?}");
        let (other, value, _) = key(30, &owner, "other");
        let taken = store.begin().await.unwrap().insert_api_key(&other, &value, &hash(20)).await;
        assert!(matches!(&taken, Err(StoreError::Conflict(what)) if what.contains("hash")), "{taken:?}");
    }

    async fn values_of_a_key(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let owner = account(10, &one, "ci");
        let (key, mut first, first_hash) = key(20, &owner, "key");
        let mut tx = store.begin().await.unwrap();
        tx.insert_service_account(&owner).await.unwrap();
        tx.insert_api_key(&key, &first, &first_hash).await.unwrap();
        tx.commit().await.unwrap();

        // A key has one current value.
        let second = store.begin().await.unwrap().insert_key_value(key.id, &value(21), &hash(21)).await;
        assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
        first.retained_until = Some(NOW);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.lock_service_account(one.id, owner.id).await.unwrap().unwrap().name, owner.name);
        tx.update_key_value(owner.id, &first, NOW).await.unwrap();
        tx.insert_key_value(key.id, &value(21), &hash(21)).await.unwrap();
        tx.commit().await.unwrap();
        let details = store.find_api_key(owner.id, &Reference::from("key")).await.unwrap().unwrap();
        assert_eq!((details.current.id.0.as_u128(), details.retained.map(|old| (old.id, old.retained_until))), (21, Some((first.id, Some(NOW)))));

        let last = |seconds, address: &str| LastUse { at: Timestamp::from_seconds(seconds), address: Some(address.to_owned()), user_agent: None };
        let mut tx = store.begin().await.unwrap();
        tx.set_key_last_use(key.id, first.id, &last(20, "::1")).await.unwrap();
        // An older use does not take the place of a newer one.
        tx.set_key_last_use(key.id, first.id, &last(10, "::2")).await.unwrap();
        tx.set_service_account_last_use(owner.id, &last(20, "::1")).await.unwrap();
        let mut grants = 50;
        tx.replace_grants(owner.id, NOW, || { grants += 1; SessionId(Uuid::from_u128(grants)) }).await.unwrap();
        tx.commit().await.unwrap();
        let details = store.find_api_key(owner.id, &Reference::Id(key.id.0)).await.unwrap().unwrap();
        assert_eq!((details.key.last_use, details.retained.unwrap().last_use), (Some(last(20, "::1")), Some(last(20, "::1"))));
        assert!(store.find_key_credential_by_grant(first.grant).await.unwrap().is_none());
        assert_eq!(store.find_service_account(one.id, &Reference::from("ci")).await.unwrap().unwrap().last_use, Some(last(20, "::1")));

        let mut tx = store.begin().await.unwrap();
        tx.delete_service_account(owner.id, NOW).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.find_key_credential(&first_hash).await.unwrap().is_none());
        assert!(store.begin().await.unwrap().lock_service_account(one.id, owner.id).await.unwrap().is_none());
        // What was ended is never given to another key.
        let mut tx = store.begin().await.unwrap();
        tx.insert_service_account(&account(11, &one, "other")).await.unwrap();
        let (other, value, _) = self::key(30, &account(11, &one, "other"), "key");
        let again = tx.insert_api_key(&other, &value, &first_hash).await;
        assert!(matches!(&again, Err(StoreError::Conflict(what)) if what.contains("hash")), "{again:?}");
    }

    async fn people_and_their_sign_ins(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let email = Email::parse("ada@example.com").unwrap();
        let user = User { id: UserId(Uuid::from_u128(10)), organization_id: one.id, email: email.clone(), name: "Ada".to_owned(), active: true, has_password: false, created_at: NOW };
        let session = |number, expires_at| Session { id: SessionId(Uuid::from_u128(number)), user_id: user.id, expires_at };
        let later = NOW.plus(Duration::from_mins(1));
        let mut tx = store.begin().await.unwrap();
        tx.insert_user(&user).await.unwrap();
        tx.set_password_hash(user.id, &SecretString::from("first")).await.unwrap();
        let version = tx.find_password_version(user.id).await.unwrap().unwrap();
        // A stronger hash of the same password is no other password.
        tx.replace_password_hash(user.id, version, &SecretString::from("hash")).await.unwrap();
        tx.replace_password_hash(user.id, version - 1, &SecretString::from("late")).await.unwrap();
        assert!(tx.insert_session(&session(20, NOW.minus(Duration::from_hours(25))), version, NOW).await.unwrap().is_some());
        assert!(tx.insert_session(&session(21, later), version, NOW).await.unwrap().is_some());
        // The password was replaced since it was compared.
        assert!(tx.insert_session(&session(22, later), version - 1, NOW).await.unwrap().is_none());
        tx.commit().await.unwrap();

        let stored = store.find_password(&email).await.unwrap().unwrap();
        assert_eq!((stored.holder.user.id, stored.holder.organization.id, stored.hash.expose_secret()), (user.id, one.id, "hash"));
        assert!(store.find_password(&Email::parse("eve@example.com").unwrap()).await.unwrap().is_none());
        // A new sign-in sweeps away what is over.
        assert!(store.find_session(SessionId(Uuid::from_u128(20))).await.unwrap().is_none());
        let found = store.find_session(SessionId(Uuid::from_u128(21))).await.unwrap().unwrap();
        assert_eq!((found.holder.user.email, found.session.expires_at), (email.clone(), later));

        let mut tx = store.begin().await.unwrap();
        tx.set_password_hash(user.id, &SecretString::from("other")).await.unwrap();
        tx.delete_sessions(user.id, NOW).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_password(&email).await.unwrap().unwrap().hash.expose_secret(), "other");
        assert!(store.find_session(SessionId(Uuid::from_u128(21))).await.unwrap().is_none());
        let twin = User { id: UserId(Uuid::from_u128(11)), ..user };
        assert!(matches!(store.begin().await.unwrap().insert_user(&twin).await, Err(StoreError::Conflict(_))));
    }

    async fn roles(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let (owner, place) = (account(10, &one, "ci"), workspace(11, &one, "ws"));
        let role = |name: &str| Given::Role(built_in(name).unwrap().clone());
        let assignment = |number, given, place, team| Assignment { id: RoleAssignmentId(Uuid::from_u128(number)), given, place, team };
        let team = Team { id: TeamId(Uuid::from_u128(30)), organization_id: one.id, name: Name::parse("ops").unwrap(), description: String::new(), created_at: NOW };
        let permissions = Given::Permissions([Permission::parse("pipelines.deploy").unwrap(), Permission::ROLES_MANAGE].into());
        let given = [
            assignment(20, role("Organization Member"), Place::Organization, None),
            assignment(21, role("Workspace Viewer"), Place::Workspace(place.id), None),
            assignment(22, permissions, Place::Workspace(place.id), Some((team.id, team.name.clone()))),
        ];
        let mut tx = store.begin().await.unwrap();
        tx.insert_service_account(&owner).await.unwrap();
        tx.insert_workspace(&place).await.unwrap();
        tx.insert_team(&team).await.unwrap();
        tx.insert_team_member(team.id, Member::ServiceAccount(owner.id), NOW).await.unwrap();
        for it in &given {
            let holder = if it.team.is_some() { Holder::Team(team.id) } else { Holder::ServiceAccount(owner.id) };
            tx.insert_assignment(it.id, one.id, holder, &it.given, it.place, NOW).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut found = store.list_assignments(Holder::ServiceAccount(owner.id)).await.unwrap();
        found.sort_by_key(|assignment| assignment.id);
        assert_eq!(found, given);
        assert_eq!(store.count_assignments_with(one.id, &Permission::ROLES_MANAGE).await.unwrap(), 1);
        assert_eq!(store.count_assignments_with(one.id, &Permission::parse("pipelines.dep").unwrap()).await.unwrap(), 0);
        assert!(store.list_assignments(Holder::User(UserId(Uuid::from_u128(99)))).await.unwrap().is_empty());
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
        let email = Email::parse("ada@example.com").unwrap();
        assert_eq!(store.find_password(&email).await.unwrap().unwrap().version, 1);
    }

    async fn signing_keys(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let key = |kid: &str, algorithm, generation: i64| StoredSigningKey {
            kid: kid.to_owned(),
            algorithm,
            public_jwk: "{}".to_owned(),
            sealed: vec![0, 1, 255],
            generation,
            active_from: NOW.plus(Duration::from_secs(generation.unsigned_abs())),
            created_at: NOW,
            retired_at: None,
        };
        let later = NOW.plus(Duration::from_mins(1));
        let mut tx = store.begin().await.unwrap();
        assert!(tx.insert_signing_key(&key("a", SigningAlgorithm::Es256, 1)).await.unwrap());
        assert!(!tx.insert_signing_key(&key("b", SigningAlgorithm::Es256, 1)).await.unwrap());
        assert!(tx.insert_signing_key(&key("c", SigningAlgorithm::Rs256, 1)).await.unwrap());
        assert!(tx.insert_signing_key(&key("d", SigningAlgorithm::Es256, 2)).await.unwrap());
        assert!(tx.retire_signing_key("a", NOW).await.unwrap());
        assert!(!tx.retire_signing_key("a", NOW).await.unwrap());
        tx.commit().await.unwrap();
        let in_use = async || store.list_signing_keys_in_use(SigningAlgorithm::Es256, NOW).await.unwrap().into_iter().map(|key| key.kid).collect::<Vec<_>>();
        assert_eq!(in_use().await, ["d"]);
        let mut rs = workspace(10, &one, "rs");
        rs.signing_algorithm = SigningAlgorithm::Rs256;
        let mut tx = store.begin().await.unwrap();
        tx.insert_workspace(&rs).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(in_use().await, ["d", "c"]);
        assert_eq!(store.count_signing_keys().await.unwrap(), 3);
        // Until what was signed with it has expired.
        let mut tx = store.begin().await.unwrap();
        tx.delete_workspace(one.id, rs.id).await.unwrap();
        tx.publish_signing_keys_until(SigningAlgorithm::Rs256, later).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(in_use().await, ["d", "c"]);
        assert_eq!(store.list_signing_keys_in_use(SigningAlgorithm::Es256, later).await.unwrap(), [key("d", SigningAlgorithm::Es256, 2)]);
        let all = store.list_signing_keys().await.unwrap();
        assert_eq!(all.iter().map(|key| (key.kid.as_str(), key.retired_at)).collect::<Vec<_>>(), [("a", Some(NOW)), ("d", None), ("c", None)]);
    }

    async fn audit_events(engine: Engine) {
        const SQL: &str = "SELECT reason, address, details, occurred_at FROM audit_events";
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let event = Event {
            id: AuditEventId(Uuid::from_u128(1)),
            organization_id: Some(one.id),
            occurred_at: NOW,
            actor: Actor { id: Some(Uuid::from_u128(2)), api_key_id: Some(ApiKeyId(Uuid::from_u128(3))), ..Actor::operator() },
            action: Action::TokenIssue,
            target: Target::hourpass(),
            outcome: Outcome::Denied("api_key_expired"),
            origin: Origin {
                address: Some("2001:db8::1".parse().unwrap()),
                user_agent: Some("curl/8".to_owned()),
                request_id: Some(RequestId(Uuid::from_u128(4))),
            },
            token_expires_at: None,
            details: Some(serde_json::json!({ "a": "é" })),
        };
        let mut tx = store.begin().await.unwrap();
        tx.insert_event(&event).await.unwrap();
        tx.commit().await.unwrap();
        let row: (String, String, String, i64) = match store.pool() {
            Db::Sqlite(pool) => sqlx::query_as(SQL).fetch_one(pool).await.unwrap(),
            Db::Postgres(pool) => sqlx::query_as(SQL).fetch_one(pool).await.unwrap(),
        };
        assert_eq!(row, ("api_key_expired".to_owned(), "2001:db8::1".to_owned(), r#"{"a":"é"}"#.to_owned(), NOW.as_micros()));

        // As many as take each size of statement at least once, each with its own values.
        let many: Vec<_> = (0..2 * 256 + 64 + 2 * 16 + 3 * 4 + 3).map(|number: u128| Event {
            id: AuditEventId(Uuid::from_u128(10 + number)),
            actor: Actor { name: format!("ci-{number}"), ..event.actor.clone() },
            origin: Origin { user_agent: number.is_multiple_of(2).then(|| number.to_string()), ..event.origin.clone() },
            ..event.clone()
        }).collect();
        let mut tx = store.begin().await.unwrap();
        tx.insert_events(&many).await.unwrap();
        tx.commit().await.unwrap();
        let ids = (Uuid::from_u128(10), Uuid::from_u128(10_000));
        let mut stored = store.list_events(one.id, &EventFilter::default(), ids, 10_000).await.unwrap();
        stored.reverse();
        assert_eq!(stored.len(), many.len());
        for (stored, event) in stored.iter().zip(&many) {
            assert_eq!((stored.id, &stored.actor_name, &stored.user_agent), (event.id.0, &event.actor.name, &event.origin.user_agent));
            assert_eq!((stored.action.as_str(), stored.request_id, stored.details.as_deref()), ("token.issue", Some(Uuid::from_u128(4)), Some(r#"{"a":"é"}"#)));
        }
    }

    async fn several_may_open_an_empty_database_at_once(engine: Engine) {
        let database = engine.database().await;
        let opening = (0..8).map(|_| Store::open(&database.url, 2, Duration::from_secs(20)));
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
        assert!(message.contains("the database has schema version 9999, and this hourpass knows versions up to 4"), "{message}");
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
        let error = Store::open(url, 1, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Refused(text) if text.contains(why)), "{error}");
    }
    // A password in a URL is not repeated.
    let error = Store::open("postgres://ada:hunter2@127.0.0.1:notaport/x", 1, Duration::from_secs(1)).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
