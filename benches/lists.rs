//! How long every list takes with much data: 100,000 service accounts and 1,000,000 audit events, asked for over HTTP.
//!
//! ```sh
//! cargo bench --bench lists                                                  # SQLite
//! TEST_POSTGRES_URL=postgres://user@127.0.0.1/postgres cargo bench --bench lists   # and PostgreSQL
//! LISTS_ACCOUNTS=1000 LISTS_EVENTS=10000 cargo bench --bench lists           # a quick look
//! ```
//!
//! It makes a database of its own, fills it, and prints for each request the median and the 99th percentile of 50 answers in milliseconds, then the plan of each
//! statement that it ran. It talks to 127.0.0.1 alone and ends by itself.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark fails by panicking, reads the clock, and makes databases by name"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use hourpass::app::{Application, system_sources};
use hourpass::config::Config;
use hourpass::domain::api_key::{KeyPrefix, RawApiKey};
use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use hourpass::domain::entity::{ApiKey, KeyValue, LastUse, ServiceAccount};
use hourpass::domain::id::{ApiKeyId, AuditEventId, KeyValueId, OrganizationId, ServiceAccountId, SessionId};
use hourpass::domain::name::Name;
use hourpass::domain::time::Timestamp;
use hourpass::service::Sources;
use hourpass::store::{Db, KeyUse, Store, Tx, statements};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use uuid::Uuid;

const ROUNDS: usize = 50;
/// Rows in one transaction while filling.
const BATCH: usize = 5_000;
/// Of so many accounts one is deactivated, and of so many one was never used.
const ONE_IN: usize = 1_000;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    run("SQLite", &format!("sqlite://{}", folder.path().join("lists.db").display())).await;
    if let Ok(server) = std::env::var("TEST_POSTGRES_URL") {
        let name = format!("lists_{}", std::process::id());
        let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        run("PostgreSQL", &format!("{}/{name}", server.rsplit_once('/').unwrap().0)).await;
        connection.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
    }
}

async fn run(engine: &str, url: &str) {
    let sources = system_sources();
    let settings = [
        ("HOURPASS_SERVER__PORT", "0"),
        ("HOURPASS_DATABASE__URL", url),
        ("HOURPASS_SIGNING__MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ];
    let config = Config::load(None, settings.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let mut application = Application::build(config, sources.clone()).await.unwrap();
    let key = application.take_first_start().unwrap().api_key;
    let (base, store) = (application.url().to_owned(), application.store().clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(application.run_until(async { drop(stopped.await) }));

    let (accounts, events) = (number("LISTS_ACCOUNTS", 100_000), number("LISTS_EVENTS", 1_000_000));
    let organization = store.find_organization("default").await.unwrap().unwrap().id;
    let started = Instant::now();
    let ids = fill_accounts(&store, &sources, organization, accounts).await;
    fill_events(&store, &sources, organization, &ids, events).await;
    analyze(&store).await;
    println!("\n{engine}: {accounts} accounts and {events} events, filled in {} s\n", started.elapsed().as_secs());

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (some, since) = (ids[ids.len() / 2 + 1], sources.now().minus(Duration::from_hours(24)));
    let requests = [
        "/api/v1/service_accounts".to_owned(),
        "/api/v1/service_accounts?limit=200".to_owned(),
        "/api/v1/service_accounts?active=false".to_owned(),
        "/api/v1/service_accounts?never_used=true".to_owned(),
        "/api/v1/service_accounts?unused_since=2020-01-01T00:00:00Z".to_owned(),
        "/api/v1/service_accounts?expiring_before=2020-01-01T00:00:00Z".to_owned(),
        "/api/v1/service_accounts?expiring_before=2100-01-01T00:00:00Z".to_owned(),
        format!("/api/v1/service_accounts?name=account-{}&expiring_before=2100-01-01T00:00:00Z", accounts / 2 + 1),
        format!("/api/v1/service_accounts?name=account-{}", accounts / 2 + 1),
        "/api/v1/service_accounts?name=nobody".to_owned(),
        format!("/api/v1/service_accounts/{some}/api_keys"),
        "/api/v1/audit_events".to_owned(),
        "/api/v1/audit_events?limit=200".to_owned(),
        format!("/api/v1/audit_events?actor={some}"),
        format!("/api/v1/audit_events?actor=account-{}", accounts / 2 + 1),
        "/api/v1/audit_events?actor=nobody".to_owned(),
        format!("/api/v1/audit_events?target={some}"),
        "/api/v1/audit_events?target=nobody".to_owned(),
        "/api/v1/audit_events?action=service_account.delete".to_owned(),
        "/api/v1/audit_events?action=api_key".to_owned(),
        "/api/v1/audit_events?action=token.issue".to_owned(),
        "/api/v1/audit_events?outcome=denied".to_owned(),
        format!("/api/v1/audit_events?since={since}"),
        "/api/v1/audit_events?until=2020-01-01T00:00:00Z".to_owned(),
        // "busy" did half of everything.
        "/api/v1/audit_events?actor=busy".to_owned(),
        "/api/v1/audit_events?actor=busy&action=api_key".to_owned(),
        "/api/v1/audit_events?actor=busy&outcome=denied".to_owned(),
        "/api/v1/audit_events?actor=busy&action=service_account&outcome=denied".to_owned(),
        "/api/v1/audit_events?target=hourpass&outcome=denied".to_owned(),
        format!("/api/v1/audit_events?target=default&actor={some}"),
        format!("/api/v1/service_accounts/{some}/impact"),
        // Pages, with the chart of exchanges: the first time it counts what is over, and then the present hour alone.
        "/".to_owned(),
        "/?chart=30-days".to_owned(),
    ];
    println!("| request | items | first ms | median ms | p99 ms |\n|---|---|---|---|---|");
    for path in &requests {
        let mut times = Vec::new();
        let mut items = 0;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let answer = client.get(format!("{base}{path}")).bearer_auth(key.expose()).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}");
            let text = answer.text().await.unwrap();
            times.push(started.elapsed());
            items = serde_json::from_str::<serde_json::Value>(&text).map_or(1, |body| body["items"].as_array().map_or(1, Vec::len));
        }
        let first = times[0].as_secs_f64() * 1_000.0;
        times.sort_unstable();
        let milliseconds = |index: usize| times[index].as_secs_f64() * 1_000.0;
        let path = path.replace(&some.to_string(), "ID");
        println!("| `{path}` | {items} | {first:.1} | {:.1} | {:.1} |", milliseconds(ROUNDS / 2), milliseconds(ROUNDS - 1));
    }
    plans(&store, sources.now(), organization, some).await;
    drop(stop);
    running.await.unwrap().unwrap();
}

/// Spread over the last 90 days, so that ids are in the order of time as in real life.
fn moment(now: Timestamp, index: usize, of: usize) -> Timestamp {
    let whole = Duration::from_hours(24 * 90);
    now.minus(whole).plus(whole / u32::try_from(of).unwrap() * u32::try_from(index).unwrap())
}

async fn fill_accounts(store: &Store, sources: &Sources, organization_id: OrganizationId, count: usize) -> Vec<ServiceAccountId> {
    let now = sources.now();
    let mut ids = Vec::with_capacity(count);
    let all: Vec<usize> = (0..count).collect();
    for batch in all.chunks(BATCH) {
        let mut tx = store.begin().await.unwrap();
        let mut used = Vec::new();
        for &index in batch {
            let at = moment(now, index, count);
            let account = ServiceAccount {
                id: ServiceAccountId::generate(at, sources.random()),
                organization_id,
                name: Name::parse(&format!("account-{index}")).unwrap(),
                description: "made by the benchmark of lists".to_owned(),
                labels: Labels::default(),
                claims: CustomClaims::default(),
                active: index % ONE_IN != 0,
                created_at: at,
                last_use: None,
                next_key_expires_at: None,
                exchanges_per_minute: None,
            };
            tx.insert_service_account(&account).await.unwrap();
            if index % ONE_IN != 1 {
                let last = LastUse { at: now, address: Some("192.0.2.1".to_owned()), user_agent: None };
                // Of no key in particular.
                used.push(KeyUse { account: account.id, key: ApiKeyId(Uuid::nil()), value: KeyValueId(Uuid::nil()), last: Arc::new(last) });
            }
            if index % 10 == 0 {
                // Keys that expire one after the other over the next year.
                let expires_at = now.plus(Duration::from_hours(24 * 365) / u32::try_from(count).unwrap() * u32::try_from(index).unwrap());
                insert_key(&mut tx, sources, &account, expires_at).await;
            }
            ids.push(account.id);
        }
        tx.set_last_uses(&used).await.unwrap();
        tx.commit().await.unwrap();
    }
    ids
}

async fn insert_key(tx: &mut Tx, sources: &Sources, account: &ServiceAccount, expires_at: Timestamp) {
    let (at, random) = (account.created_at, sources.random());
    let key = ApiKey {
        id: ApiKeyId::generate(at, random),
        service_account_id: account.id,
        name: Name::parse("default").unwrap(),
        active: true,
        compromised_at: None,
        created_at: at,
        last_use: None,
    };
    let raw = RawApiKey::generate(&KeyPrefix::parse("hp_live_").unwrap(), random);
    let value = KeyValue {
        id: KeyValueId::generate(at, random),
        hint: raw.hint(),
        grant: SessionId::generate(at, random),
        created_at: at,
        expires_at: Some(expires_at),
        retained_until: None,
        last_use: None,
    };
    tx.insert_api_key(&key, &value, &raw.hash(), None).await.unwrap();
    tx.set_next_key_expiry(account.id).await.unwrap();
}

async fn fill_events(store: &Store, sources: &Sources, organization: OrganizationId, accounts: &[ServiceAccountId], count: usize) {
    let now = sources.now();
    let all: Vec<usize> = (0..count).collect();
    for batch in all.chunks(BATCH) {
        let mut tx = store.begin().await.unwrap();
        for &index in batch {
            let at = moment(now, index, count);
            // Account by account in a stride that visits all.
            let who = if index % 2 == 0 { 0 } else { index * 7_919 % accounts.len() };
            let name = if who == 0 { "busy".to_owned() } else { format!("account-{who}") };
            // Of a hundred events one is a change, of which few are deletions, and of five hundred exchanges one is refused.
            let (action, target) = match index % 100 {
                0 if index % 10_000 == 0 => (Action::ServiceAccountDelete, Target::new("service_account", accounts[who].0, &name)),
                0 => (Action::ApiKeyCreate, Target::new("api_key", Uuid::from_u128(index as u128), "default")),
                _ => (Action::TokenIssue, Target::hourpass()),
            };
            let denied = action == Action::TokenIssue && index % 500 == 1;
            let event = Event {
                id: AuditEventId::generate(at, sources.random()),
                organization_id: Some(organization),
                occurred_at: at,
                actor: Actor { kind: "service_account", id: Some(accounts[who].0), name, api_key_id: None, session_id: None },
                action,
                target,
                outcome: if denied { Outcome::Denied("api_key_expired") } else { Outcome::Granted },
                origin: Origin { address: Some("192.0.2.1".parse().unwrap()), user_agent: Some("curl/8".to_owned()), request_id: None },
                token_expires_at: (action == Action::TokenIssue && !denied).then(|| at.plus(Duration::from_hours(1))),
                details: Some(serde_json::json!({ "scope": "pipelines.read" })),
            };
            tx.insert_event(&event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

/// What PostgreSQL does by itself after a while. SQLite has to do without, as it does in real life.
async fn analyze(store: &Store) {
    if let Db::Postgres(pool) = store.pool() {
        pool.execute("VACUUM ANALYZE").await.unwrap();
    }
}

/// The plan of every list, with real values in the place of its parameters.
async fn plans(store: &Store, now: Timestamp, organization: OrganizationId, account: ServiceAccountId) {
    println!("\nPlans:\n");
    let literal = |id: Uuid| match store.pool() {
        Db::Sqlite(_) => format!("x'{}'", id.simple()),
        Db::Postgres(_) => format!("'{id}'::uuid"),
    };
    let (organization, account) = (literal(organization.0), literal(account.0));
    let (first, last) = (literal(Uuid::nil()), literal(Uuid::max()));
    let ago = |hours: u64| literal(AuditEventId::earliest(now.minus(Duration::from_hours(hours))).0);
    let day = (ago(48), ago(24));
    for (module, name, sql) in statements() {
        let only = |wanted: &str, value: &str| if name == wanted { value.to_owned() } else { "NULL".to_owned() };
        let values = match module {
            "audit" if name.starts_with("TALLY") => vec![organization.clone(), day.0.clone(), day.1.clone(), only("TALLY_BY_ACTOR", &account)],
            "service_account" if name == "COUNT_STATES" => [&organization, "0", &first, "0", "0"].map(str::to_owned).to_vec(),
            "api_key" if name == "LIST_EXPIRING" => [&organization, "0", "9000000000000000", "5"].map(str::to_owned).to_vec(),
            _ if !name.starts_with("LIST") => continue,
            "audit" => vec![
                organization.clone(),
                first.clone(),
                last.clone(),
                only("LIST_BY_ACTOR", &account),
                only("LIST_BY_ACTOR_NAME", "'account-1'"),
                only("LIST_BY_TARGET", &account),
                only("LIST_BY_TARGET_NAME", "'account-1'"),
                only("LIST_CHANGES", "'api_key'"),
                "NULL".to_owned(),
                only("LIST_DENIED", "'denied'"),
                "51".to_owned(),
            ],
            "service_account" => {
                [&organization, &first, "NULL", "FALSE", "NULL", "NULL", "51", "NULL", "NULL", "NULL", "'account-1'", "'tier'", "'1'"]
                    .map(str::to_owned)
                    .to_vec()
            }
            _ => continue,
        };
        // From the last to the first, so that $1 is not taken for the beginning of $11.
        let sql = values.iter().enumerate().rev().fold(sql.to_owned(), |sql, (index, value)| sql.replace(&format!("${}", index + 1), value));
        let lines: Vec<String> = match store.pool() {
            Db::Sqlite(pool) => {
                let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>("detail")).collect()
            }
            Db::Postgres(pool) => {
                let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {sql}"))).fetch_all(pool).await.unwrap();
                let lines = rows.iter().map(|row| row.get::<String, _>(0).trim().to_owned());
                lines.filter(|line| line.contains("Scan") || line.contains("Sort")).collect()
            }
        };
        println!("- {module}::{name}: {}", lines.join("; "));
    }
}
