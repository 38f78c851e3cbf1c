//! The store's contract, the same on both engines.

use std::sync::Arc;
use std::time::Duration;

use hourpass::domain::access::{Assignment, Given, Place};
use hourpass::domain::api_key::ApiKeyHash;
use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use hourpass::domain::entity::{ApiKey, KeyPolicy, KeyValue, LastUse, Organization, ServiceAccount, Session, Team, User, Workspace};
use hourpass::domain::id::{
    ApiKeyId, AuditEventId, KeyValueId, OrganizationId, Reference, RequestId, RoleAssignmentId, ServiceAccountId, SessionId, TeamId, UserId,
    WorkspaceId,
};
use hourpass::domain::name::{Audience, Email, Name, Slug, WorkspaceUrl};
use hourpass::domain::permission::Permission;
use hourpass::domain::role::built_in;
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::domain::time::Timestamp;
use hourpass::store::{AccountFilter, Db, EventFilter, Holder, KeyFilter, KeyUse, Member, NewSession, OpenMode, Store, StoreError, StoredSigningKey};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::support::{Database, on_both_engines};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);

async fn open(database: &Database) -> Store {
    Store::open(&database.url, 4, Duration::from_secs(2), OpenMode::CreateIfMissing).await.unwrap()
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
        previous_signing_algorithm: None,
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
        next_key_expires_at: None,
        exchanges_per_minute: None,
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
        made.previous_signing_algorithm = Some(SigningAlgorithm::Rs256);
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
            tx.insert_api_key(&key, &value, &hash, None).await.unwrap();
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
        let taken = store.begin().await.unwrap().insert_api_key(&same_name, &value, &hash(30), None).await;
        assert!(matches!(&taken, Err(StoreError::Conflict(what)) if what.contains("name")), "{taken:?}");
        let (other, value, _) = key(30, &owner, "other");
        let taken = store.begin().await.unwrap().insert_api_key(&other, &value, &hash(20), None).await;
        assert!(matches!(&taken, Err(StoreError::Conflict(what)) if what.contains("hash")), "{taken:?}");
    }

    async fn values_of_a_key(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let owner = account(10, &one, "ci");
        let (key, mut first, first_hash) = key(20, &owner, "key");
        let mut tx = store.begin().await.unwrap();
        tx.insert_service_account(&owner).await.unwrap();
        tx.insert_api_key(&key, &first, &first_hash, None).await.unwrap();
        tx.commit().await.unwrap();

        // A key has one current value.
        let second = store.begin().await.unwrap().insert_key_value(&key, &value(21), &hash(21), None).await;
        assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
        first.retained_until = Some(NOW);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.lock_service_account(one.id, owner.id).await.unwrap().unwrap().name, owner.name);
        tx.update_key_value(owner.id, &first, NOW).await.unwrap();
        tx.insert_key_value(&key, &value(21), &hash(21), None).await.unwrap();
        tx.commit().await.unwrap();
        let details = store.find_api_key(owner.id, &Reference::from("key")).await.unwrap().unwrap();
        assert_eq!((details.current.id.0.as_u128(), details.retained.map(|old| (old.id, old.retained_until))), (21, Some((first.id, Some(NOW)))));

        let last = |seconds, address: &str| LastUse { at: Timestamp::from_seconds(seconds), address: Some(address.to_owned()), user_agent: None };
        let mut tx = store.begin().await.unwrap();
        let used = |value, last| KeyUse { account: owner.id, key: key.id, value, last: Arc::new(last) };
        // Of several uses the newest counts, and an older one does not take the place of a newer one.
        tx.set_last_uses(&[used(first.id, last(15, "::3")), used(first.id, last(20, "::1")), used(first.id, last(17, "::4"))]).await.unwrap();
        assert!(tx.set_last_uses(&[used(first.id, last(10, "::2"))]).await.unwrap().is_empty());
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
        let again = tx.insert_api_key(&other, &value, &first_hash, None).await;
        assert!(matches!(&again, Err(StoreError::Conflict(what)) if what.contains("hash")), "{again:?}");
    }

    async fn people_and_their_sign_ins(engine: Engine) {
        let database = engine.database().await;
        let (store, one, _) = two_organizations(&database).await;
        let email = Email::parse("ada@example.com").unwrap();
        let user = User { id: UserId(Uuid::from_u128(10)), organization_id: one.id, email: email.clone(), name: "Ada".to_owned(), active: true, has_password: false, password_by_other: false, created_at: NOW };
        let origin = Origin::default();
        let session = |number, expires_at| {
            let session = Session { id: SessionId(Uuid::from_u128(number)), created_at: NOW, expires_at, renewable_until: None };
            NewSession { session, cookie: None, origin: &origin }
        };
        let later = NOW.plus(Duration::from_mins(1));
        let mut tx = store.begin().await.unwrap();
        tx.insert_user(&user).await.unwrap();
        tx.set_password_hash(user.id, &SecretString::from("first")).await.unwrap();
        let version = tx.find_password_version(user.id).await.unwrap().unwrap();
        // A stronger hash of the same password is no other password.
        tx.replace_password_hash(user.id, version, &SecretString::from("hash")).await.unwrap();
        tx.replace_password_hash(user.id, version - 1, &SecretString::from("late")).await.unwrap();
        assert!(tx.insert_session(&session(20, NOW.minus(Duration::from_hours(25))), user.id, version).await.unwrap().is_some());
        assert!(tx.insert_session(&session(21, later), user.id, version).await.unwrap().is_some());
        // The password was replaced since it was compared.
        assert!(tx.insert_session(&session(22, later), user.id, version - 1).await.unwrap().is_none());
        tx.commit().await.unwrap();

        let stored = store.find_password(&email).await.unwrap().unwrap();
        assert_eq!((stored.holder.user.id, stored.holder.organization.id, stored.hash.expose_secret()), (user.id, one.id, "hash"));
        assert!(store.find_password(&Email::parse("eve@example.com").unwrap()).await.unwrap().is_none());
        // What was over a day ago is swept away.
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.prune_sessions(NOW.minus(Duration::from_hours(24)), 10).await.unwrap(), 1);
        tx.commit().await.unwrap();
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
            introduces: generation == 2,
            low_s: true,
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
        tx.delete_workspace(one.id, rs.id, NOW).await.unwrap();
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
}
