//! When keys were last used is written in the background: many at once, in the order in which they become due, and none is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use hourpass::domain::api_key::{ApiKeyHash, KeyPrefix, RawApiKey};
use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::audit::Origin;
use hourpass::domain::credential::KeyCredential;
use hourpass::domain::entity::{ApiKey, KeyValue, ServiceAccount};
use hourpass::domain::id::{ApiKeyId, KeyValueId, OrganizationId, ServiceAccountId, SessionId};
use hourpass::domain::name::Name;
use hourpass::domain::time::Timestamp;
use hourpass::service::{Flushed, Usage};
use hourpass::store::{Db, OpenMode, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Engine, TestApp, eventually, on_both_engines};

/// So many keys of accounts of their own, in one transaction: their raw values and what the server knows of them.
async fn keys(app: &TestApp, count: u128) -> (Vec<RawApiKey>, Vec<KeyCredential>) {
    let organization_id: OrganizationId = app.store.find_organization("default").await.unwrap().unwrap().id;
    let (now, prefix) = (Timestamp::from_seconds(app.clock.seconds()), KeyPrefix::parse("hp_live_").unwrap());
    let mut raws = Vec::new();
    let mut tx = app.store.begin().await.unwrap();
    for number in 1..=count {
        let id = Uuid::from_u128(number);
        let account = ServiceAccount {
            id: ServiceAccountId(id),
            organization_id,
            name: Name::parse(&format!("account-{number}")).unwrap(),
            description: String::new(),
            labels: Labels::default(),
            claims: CustomClaims::default(),
            active: true,
            created_at: now,
            last_use: None,
            next_key_expires_at: None,
            exchanges_per_minute: None,
        };
        let key = ApiKey {
            id: ApiKeyId(id),
            service_account_id: account.id,
            name: Name::parse("default").unwrap(),
            active: true,
            compromised_at: None,
            created_at: now,
            last_use: None,
        };
        let raw = RawApiKey::generate(&prefix, app.random());
        let value = KeyValue {
            id: KeyValueId(id),
            hint: raw.hint(),
            grant: SessionId(id),
            created_at: now,
            expires_at: None,
            retained_until: None,
            last_use: None,
        };
        tx.insert_service_account(&account).await.unwrap();
        tx.insert_api_key(&key, &value, &raw.hash(), None).await.unwrap();
        raws.push(raw);
    }
    tx.commit().await.unwrap();
    let mut credentials = Vec::new();
    for raw in &raws {
        credentials.push(credential(&app.store, &raw.hash()).await);
    }
    (raws, credentials)
}

async fn credential(store: &Store, hash: &ApiKeyHash) -> KeyCredential {
    store.find_key_credential(hash).await.unwrap().unwrap()
}

/// When accounts, keys and values that were made by [`keys`] were last used: each different second, and how many rows there are of it.
async fn written(app: &TestApp, table: &str) -> Vec<(i64, i64)> {
    let sql = format!(
        "SELECT last_used_at / 1000000, count(*) FROM {table} WHERE last_used_at IS NOT NULL AND last_used_address = '192.0.2.1' GROUP BY 1 ORDER BY 1"
    );
    let sql = sqlx::AssertSqlSafe(sql);
    match app.store.pool() {
        Db::Sqlite(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
        Db::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
    }
}

fn origin() -> Origin {
    Origin { address: Some("192.0.2.1".parse().unwrap()), user_agent: Some("ci \"8\" \\ \u{fc}".to_owned()), request_id: None }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_767_225_600 + seconds)
}

fn flushed(uses: usize, transactions: usize) -> Flushed {
    Flushed { uses, transactions }
}

on_both_engines! {
    async fn a_use_is_written_soon_though_nobody_asks_again(engine: Engine) {
        let app = TestApp::start(engine).await;
        let made = app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        app.anyone().login(made["key"].as_str().unwrap()).await.token();
        let admin = app.admin_client();
        let found = async || admin.get("/api/v1/service_accounts/ci").await.expect(200);
        eventually(async || found().await["last_used_at"] != Value::Null).await;
        let found = found().await;
        assert_eq!((&found["last_used_at"], &found["last_used_address"]), (&made["created_at"], &json!("127.0.0.1")));
    }

    async fn uses_of_many_keys_are_written_in_a_few_transactions_once_a_minute(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (_, credentials) = keys(&app, 1_200).await;
        let usage = Usage::new(app.store.clone());
        let note_all = |seconds| {
            for it in &credentials {
                usage.note(it, &origin(), at(seconds));
            }
        };
        note_all(0);
        note_all(1);
        assert_eq!(usage.flush(at(1), false).await.unwrap(), flushed(1_200, 3));
        assert_eq!(usage.flush(at(1), false).await.unwrap(), flushed(0, 0));
        note_all(30);
        assert_eq!(usage.flush(at(60), false).await.unwrap(), flushed(0, 0));
        for table in ["service_accounts", "api_keys", "api_key_values"] {
            assert_eq!(written(&app, table).await, [(at(1).as_seconds(), 1_200)], "{table}");
        }
        assert_eq!(usage.flush(at(61), false).await.unwrap(), flushed(1_200, 3));
        for table in ["service_accounts", "api_keys", "api_key_values"] {
            assert_eq!(written(&app, table).await, [(at(30).as_seconds(), 1_200)], "{table}");
        }
        assert_eq!(usage.waiting(), 0);
    }

    async fn the_newest_use_wins_with_two_nodes(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (_, credentials) = keys(&app, 3).await;
        let (one, two) = (Usage::new(app.store.clone()), Usage::new(app.store.clone()));
        for it in &credentials {
one.note(it, &origin(), at(10));
}
        for it in &credentials {
two.note(it, &origin(), at(20));
}
        two.flush(at(20), false).await.unwrap();
        one.flush(at(20), false).await.unwrap();
        for table in ["service_accounts", "api_keys", "api_key_values"] {
            assert_eq!(written(&app, table).await, [(at(20).as_seconds(), 3)], "{table}");
        }
    }

    async fn two_nodes_that_write_the_same_keys_at_once_do_not_wait_for_each_other_for_ever(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (_, credentials) = keys(&app, 400).await;
        let nodes: Vec<Usage> = (0..4).map(|_| Usage::new(app.store.clone())).collect();
        for (number, node) in (0..).zip(&nodes) {
            for it in &credentials {
node.note(it, &origin(), at(number));
}
        }
        // What another is just writing is put off for a second.
        let flush = async |node: &Usage| {
            for second in 0.. {
                node.flush(at(10 + second), false).await.unwrap();
                if node.waiting() == 0 {
                    break;
                }
            }
        };
        tokio::join!(flush(&nodes[0]), flush(&nodes[1]), flush(&nodes[2]), flush(&nodes[3]));
        assert_eq!(written(&app, "api_key_values").await, [(at(3).as_seconds(), 400)]);
    }

    async fn an_account_that_somebody_is_changing_keeps_no_other_use_from_being_written(engine: Engine) {
        // On SQLite one transaction is after the other anyway.
        if engine == Engine::Postgres {
            let app = TestApp::start(engine).await;
            let (_, credentials) = keys(&app, 10).await;
            let usage = Usage::new(app.store.clone());
            for it in &credentials {
usage.note(it, &origin(), at(0));
}
            let mut tx = app.store.begin().await.unwrap();
            tx.lock_service_account(credentials[4].organization.id, credentials[4].account.id).await.unwrap().unwrap();
            assert_eq!(usage.flush(at(0), true).await.unwrap(), flushed(9, 1), "nobody is waited for");
            assert_eq!((written(&app, "api_keys").await, usage.waiting()), (vec![(at(0).as_seconds(), 9)], 1));
            drop(tx);
            assert_eq!(usage.flush(at(1), false).await.unwrap(), flushed(1, 1));
            assert_eq!((written(&app, "api_keys").await, usage.waiting()), (vec![(at(0).as_seconds(), 10)], 0));
        }
    }

    async fn the_use_of_a_key_that_is_gone_is_forgotten_and_a_failure_forgets_nothing(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (_, credentials) = keys(&app, 2).await;
        let usage = Usage::new(app.store.clone());
        for it in &credentials {
usage.note(it, &origin(), at(0));
}
        app.admin_client().delete("/api/v1/service_accounts/account-1").await;
        usage.flush(at(0), false).await.unwrap();
        assert_eq!((usage.waiting(), written(&app, "service_accounts").await), (0, vec![(at(0).as_seconds(), 1)]));

        let another = Store::open(&app.database.url, 2, Duration::from_secs(2), OpenMode::ExistingOnly).await.unwrap();
        let usage = Usage::new(another.clone());
        usage.note(&credentials[1], &origin(), at(5));
        another.close().await;
        assert!(usage.flush(at(5), true).await.is_err());
        assert_eq!(usage.waiting(), 1);
    }

    async fn a_clean_stop_writes_all_uses_that_waited(engine: Engine) {
        let app = TestApp::start(engine).await;
        let (raws, _) = keys(&app, 30).await;
        let another = app.build_another(&[]).await.unwrap();
        let client = Client::new(another.url());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(Box::pin(another.run_until(async { drop(stopped.await) })));
        let use_all = async || {
            for raw in &raws {
                client.login(raw.expose()).await.token();
            }
        };
        use_all().await;
        // These are due a minute after the others were written.
        app.clock.advance_seconds(30);
        use_all().await;
        drop(stop);
        running.await.unwrap().unwrap();
        let mut times = BTreeSet::new();
        let admin = app.admin_client();
        for number in 1..=30 {
            times.insert(admin.get(&format!("/api/v1/service_accounts/account-{number}/api_keys/default")).await.expect(200)["last_used_at"].to_string());
        }
        assert_eq!(times, BTreeSet::from(["\"2026-01-01T00:00:30Z\"".to_owned()]));
    }
}
