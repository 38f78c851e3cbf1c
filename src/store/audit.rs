//! Audit events are read, and pruned when they are old. They are only ever added: see `event_writer`.

use std::cmp::Reverse;
use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Store, StoreError, Tx};
use crate::domain::audit::Target;
use crate::domain::id::{ApiKeyId, AuditEventId, OrganizationId, ServiceAccountId};
use crate::domain::time::Timestamp;

/// A list, newest first. `$drive` decides which index it is read by; the other conditions are looked at on the way. The link to an account or a person that is
/// gone is left out: the event keeps the name. (Not by EXISTS: PostgreSQL would read all accounts first.)
macro_rules! list {
    ($drive:literal) => {
        concat!(
            "SELECT e.id, e.organization_id, e.occurred_at, e.actor_kind,",
            " CASE e.actor_kind WHEN 'service_account' THEN (SELECT a.id FROM service_accounts a WHERE a.id = e.actor_id)",
            " WHEN 'user' THEN (SELECT u.id FROM users u WHERE u.id = e.actor_id) ELSE e.actor_id END AS actor_id,",
            " e.actor_name, e.api_key_id, e.session_id, e.action, e.target_kind,",
            " CASE e.target_kind WHEN 'service_account' THEN (SELECT a.id FROM service_accounts a WHERE a.id = e.target_id)",
            " WHEN 'user' THEN (SELECT u.id FROM users u WHERE u.id = e.target_id) ELSE e.target_id END AS target_id,",
            " e.target_name, e.outcome, e.reason, e.address, e.user_agent, e.request_id, e.token_expires_at, e.details",
            " FROM audit_events e WHERE ",
            $drive,
            " AND e.id >= $2 AND e.id < $3",
            " AND (e.actor_id = $4 OR $4 IS NULL) AND (e.actor_name = $5 OR CAST($5 AS TEXT) IS NULL)",
            " AND (e.target_id = $6 OR $6 IS NULL) AND (e.target_name = $7 OR CAST($7 AS TEXT) IS NULL)",
            " AND (e.resource = $8 OR CAST($8 AS TEXT) IS NULL) AND (e.action = $9 OR CAST($9 AS TEXT) IS NULL)",
            " AND (e.outcome = $10 OR CAST($10 AS TEXT) IS NULL) ORDER BY e.id DESC LIMIT $11"
        )
    };
}

/// The exchanges of an account (`$2`), or of one of its keys (`$3`), with ids from `$4` on.
macro_rules! exchanges {
    ($select:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM audit_events e WHERE ",
            "e.organization_id = $1 AND e.actor_id = $2 AND (e.api_key_id = $3 OR $3 IS NULL)",
            " AND e.id >= $4 AND e.action = 'token.issue' AND e.outcome = 'granted'",
            $rest
        )
    };
}

/// How many exchanges an organization (`$1`) saw between two ids, or an account (`$4`) of it. All that happened is counted out of an index alone, however much it is; what is no exchange, and what
/// was refused, is taken off, by indexes that hold only that. `$drive` decides whose events all are. (What an account did in another organization, such as making it, is not told from an
/// exchange: nobody does that often.)
macro_rules! tally {
    ($drive:literal) => {
        concat!(
            "SELECT (SELECT count(*) FROM audit_events e WHERE ",
            $drive,
            " AND e.id >= $2 AND e.id < $3) AS everything,",
            " (SELECT count(*) FROM audit_events e WHERE e.organization_id = $1 AND e.resource <> 'token' AND e.resource IN ",
            resources_that_change!(),
            " AND e.id >= $2 AND e.id < $3 AND (e.actor_id = $4 OR $4 IS NULL)) AS changes,",
            " (SELECT count(*) FROM audit_events e WHERE e.organization_id = $1 AND e.outcome = 'denied' AND e.resource = 'token'",
            " AND e.id >= $2 AND e.id < $3 AND (e.actor_id = $4 OR $4 IS NULL)) AS refused"
        )
    };
}

/// All resources but `token`, so that the index on changes is read at one place for each, and not as a whole.
macro_rules! resources_that_change {
    () => {
        "('organization', 'workspace', 'project', 'service_account', 'api_key', 'credential', 'user', 'session', 'permission', 'role', 'team', 'signing_key', 'database')"
    };
}

statements! {
    LIST = list!("e.organization_id = $1");
    LIST_BY_ACTOR = list!("e.organization_id = $1 AND e.actor_id = $4");
    LIST_BY_TARGET = list!("e.organization_id = $1 AND e.target_id = $6");
    LIST_CHANGES = list!("e.organization_id = $1 AND e.resource = $8 AND e.resource <> 'token'");
    // Without the exchanges that yielded a token, which are found through whoever has the name, or had it.
    LIST_BY_ACTOR_NAME = list!("e.organization_id = $1 AND e.actor_name = $5 AND e.token_expires_at IS NULL");
    LIST_BY_TARGET_NAME = list!("e.organization_id = $1 AND e.target_name = $7 AND e.token_expires_at IS NULL");
    LIST_FOR_HOURPASS = list!("e.organization_id = $1 AND e.target_id IS NULL AND e.token_expires_at IS NOT NULL");
    LIST_DENIED = list!("e.organization_id = $1 AND e.outcome = 'denied'");
    COUNT_EXCHANGES = exchanges!("count(*) AS exchanges, count(DISTINCT e.address) AS addresses", "");
    COUNT_RECEIVERS = exchanges!("e.target_kind AS kind, e.target_name AS name, count(*) AS exchanges", " GROUP BY 1, 2 ORDER BY 3 DESC, 2 LIMIT 100");
    COUNT_OUTSTANDING = exchanges!(
        "count(*)",
        " AND e.token_expires_at > $5 AND EXISTS (SELECT 1 FROM api_key_values v JOIN api_keys k ON k.id = v.api_key_id \
         JOIN service_accounts a ON a.id = k.service_account_id WHERE v.grant_id = e.session_id AND k.active AND a.active \
         AND (v.retained_until IS NULL OR v.retained_until > $5) AND (v.expires_at IS NULL OR v.expires_at > $5))"
    );
    COUNT_THAT_COUNT = "SELECT count(*) FROM audit_events WHERE id >= $1 AND action = 'token.issue' AND outcome = 'granted' AND token_expires_at > $2";
    TALLY = tally!("e.organization_id = $1");
    TALLY_BY_ACTOR = tally!("e.actor_id = $4");
    PRUNE = "DELETE FROM audit_events WHERE id IN (SELECT id FROM audit_events WHERE id < $1 ORDER BY id LIMIT $2)";
}

/// The longest life of a token.
const LONGEST_TOKEN: Duration = Duration::from_hours(1);
/// Which events a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Done by this account or person.
    pub actor_id: Option<Uuid>,
    /// Done by someone who had this name then.
    pub actor_name: Option<String>,
    /// Done to this.
    pub target_id: Option<Uuid>,
    /// Done to something that had this name then.
    pub target_name: Option<String>,
    /// Of this resource, such as `api_key`.
    pub resource: Option<&'static str>,
    /// Of exactly this action.
    pub action: Option<&'static str>,
    /// `granted` or `denied`.
    pub outcome: Option<&'static str>,
}

/// A name that events are read by.
#[derive(Clone, Copy, Debug)]
enum Named<'a> {
    Actor(&'a str),
    Target(&'a str),
}

impl EventFilter {
    /// The statement that reads the fewest rows past those that are wanted.
    fn statement(&self) -> &'static str {
        match self {
            Self { resource: Some(resource), .. } if *resource != "token" => LIST_CHANGES,
            Self { outcome: Some("denied"), .. } => LIST_DENIED,
            Self { actor_id: Some(_), .. } => LIST_BY_ACTOR,
            Self { target_id: Some(_), .. } => LIST_BY_TARGET,
            Self { actor_name: Some(_), .. } => LIST_BY_ACTOR_NAME,
            Self { target_name: Some(_), .. } => LIST_BY_TARGET_NAME,
            _ => LIST,
        }
    }

    /// The name that [`EventFilter::statement`] reads by.
    fn named(&self) -> Option<Named<'_>> {
        match (self.statement(), &self.actor_name, &self.target_name) {
            (LIST_BY_ACTOR_NAME, Some(name), _) => Some(Named::Actor(name)),
            (LIST_BY_TARGET_NAME, _, Some(name)) => Some(Named::Target(name)),
            _ => None,
        }
    }
}

impl<'a> Named<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Actor(name) | Self::Target(name) => name,
        }
    }

    /// How what `owner` did, or what was done to it, is read.
    fn of(self, owner: Uuid, filter: &EventFilter) -> (&'static str, EventFilter) {
        match self {
            Self::Actor(_) => (LIST_BY_ACTOR, EventFilter { actor_id: Some(owner), ..filter.clone() }),
            Self::Target(_) => (LIST_BY_TARGET, EventFilter { target_id: Some(owner), ..filter.clone() }),
        }
    }
}

/// The newest events that were read so far.
struct Newest {
    events: Vec<StoredEvent>,
    limit: usize,
}

impl Newest {
    fn add(&mut self, more: Vec<StoredEvent>) {
        self.events.extend(more);
        self.events.sort_unstable_by_key(|event| Reverse(event.id));
        self.events.dedup_by_key(|event| event.id);
        self.events.truncate(self.limit);
    }

    /// Whether no event before this one is among them.
    fn are_all_since(&self, id: Uuid) -> bool {
        self.events.len() == self.limit && self.events.last().is_some_and(|last| last.id >= id)
    }
}

/// An event as it is kept.
#[derive(Clone, Debug, FromRow)]
pub struct StoredEvent {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub organization_id: Option<Uuid>,
    /// When it happened, in microseconds since the Unix epoch.
    pub occurred_at: i64,
    /// What kind of caller did it.
    pub actor_kind: String,
    /// Who did it; nothing where the account is gone.
    pub actor_id: Option<Uuid>,
    /// How they were called then.
    pub actor_name: String,
    /// The API key that they used.
    pub api_key_id: Option<Uuid>,
    /// The sign-in or key value that they used.
    pub session_id: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// What kind of thing it was done to.
    pub target_kind: String,
    /// What it was done to; nothing where the account is gone.
    pub target_id: Option<Uuid>,
    /// How that was called then.
    pub target_name: String,
    /// `granted` or `denied`.
    pub outcome: String,
    /// Why it was denied.
    pub reason: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// With which `User-Agent`.
    pub user_agent: Option<String>,
    /// In which request.
    pub request_id: Option<Uuid>,
    /// When the issued token expires, in microseconds since the Unix epoch.
    pub token_expires_at: Option<i64>,
    /// A JSON object.
    pub details: Option<String>,
}

/// The exchanges of an account or key.
#[derive(Clone, Debug)]
pub struct Exchanges {
    /// How many.
    pub count: i64,
    /// From how many addresses.
    pub addresses: i64,
    /// For whom, with how many each; those with the most first, at most 100.
    pub receivers: Vec<Receivers>,
}

/// The exchanges for one receiver.
#[derive(Clone, Debug, FromRow)]
pub struct Receivers {
    /// `workspace` or `hourpass`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many.
    pub exchanges: i64,
}

/// How many exchanges there were in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that yielded a token.
    pub granted: i64,
    /// Those that were refused.
    pub refused: i64,
}

/// Whose exchanges are counted.
#[derive(Clone, Copy, Debug)]
pub struct ExchangesOf {
    /// In this organization.
    pub organization: OrganizationId,
    /// Of this account.
    pub account: ServiceAccountId,
    /// With this key only.
    pub key: Option<ApiKeyId>,
}

impl Store {
    /// Lists the events of an organization, newest first: at most `limit` with ids from `from` on and before `before`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_events(
        &self,
        organization: OrganizationId,
        filter: &EventFilter,
        range: (Uuid, Uuid),
        limit: u16,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut newest = Newest { events: self.read_events(filter.statement(), organization, filter, range, limit).await?, limit: limit.into() };
        let Some(named) = filter.named() else { return Ok(newest.events) };
        if matches!(named, Named::Target(name) if name == Target::hourpass().name) {
            newest.add(self.read_events(LIST_FOR_HOURPASS, organization, filter, range, limit).await?);
        }
        let mut owners = self.list_owners(organization, named.name()).await?;
        let mut last = None;
        loop {
            for owner in &owners {
                let events = owner.events();
                if newest.are_all_since(events.1) {
                    return Ok(newest.events);
                }
                let (from, before) = (events.0.max(range.0), events.1.min(range.1));
                if from < before {
                    let (sql, filter) = named.of(owner.id, filter);
                    newest.add(self.read_events(sql, organization, &filter, (from, before), limit).await?);
                }
            }
            owners = self.list_former_owners(organization, named.name(), last).await?;
            last = owners.last().copied();
            if last.is_none() {
                return Ok(newest.events);
            }
        }
    }

    async fn read_events(
        &self,
        sql: &'static str,
        organization: OrganizationId,
        filter: &EventFilter,
        (from, before): (Uuid, Uuid),
        limit: u16,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_as::<_, StoredEvent>(sql)
            .bind(organization.0)
            .bind(from)
            .bind(before)
            .bind(filter.actor_id)
            .bind(filter.actor_name.as_deref())
            .bind(filter.target_id)
            .bind(filter.target_name.as_deref())
            .bind(filter.resource)
            .bind(filter.action)
            .bind(filter.outcome)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)
        .map_err(StoreError::from)
    }

    /// Counts the exchanges since `since`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_exchanges(&self, of: ExchangesOf, since: Timestamp) -> Result<Exchanges, StoreError> {
        let from = AuditEventId::earliest(since).0;
        let key = of.key.map(|key| key.0);
        let (organization, account) = (of.organization.0, of.account.0);
        let (count, addresses) = on!(Db, &self.read, |pool| sqlx::query_as::<_, (i64, i64)>(COUNT_EXCHANGES)
            .bind(organization)
            .bind(account)
            .bind(key)
            .bind(from)
            .fetch_one(pool)
            .await)?;
        let receivers = on!(Db, &self.read, |pool| sqlx::query_as::<_, Receivers>(COUNT_RECEIVERS)
            .bind(organization)
            .bind(account)
            .bind(key)
            .bind(from)
            .fetch_all(pool)
            .await)?;
        Ok(Exchanges { count, addresses, receivers })
    }

    /// Counts the tokens issued since `since` that count at `now`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_outstanding_tokens(&self, of: ExchangesOf, since: Timestamp, now: Timestamp) -> Result<i64, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_scalar(COUNT_OUTSTANDING)
            .bind(of.organization.0)
            .bind(of.account.0)
            .bind(of.key.map(|key| key.0))
            .bind(AuditEventId::earliest(since).0)
            .bind(now.as_micros())
            .fetch_one(pool)
            .await)
        .map_err(StoreError::from)
    }

    /// Counts the exchanges of an organization, or of one of its accounts, from `from` on and before `until`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn tally_exchanges(
        &self,
        organization: OrganizationId,
        account: Option<ServiceAccountId>,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Tally, StoreError> {
        let sql = if account.is_some() { TALLY_BY_ACTOR } else { TALLY };
        let (everything, changes, refused) = on!(Db, &self.read, |pool| sqlx::query_as::<_, (i64, i64, i64)>(sql)
            .bind(organization.0)
            .bind(AuditEventId::earliest(from).0)
            .bind(AuditEventId::earliest(until).0)
            .bind(account.map(|account| account.0))
            .fetch_one(pool)
            .await)?;
        Ok(Tally { granted: (everything - changes - refused).max(0), refused })
    }

    /// Counts the tokens, of all organizations, that have not expired. Those that were ended before are among them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_tokens_that_count(&self, now: Timestamp) -> Result<i64, StoreError> {
        let from = AuditEventId::earliest(now.minus(LONGEST_TOKEN)).0;
        on!(Db, &self.read, |pool| sqlx::query_scalar(COUNT_THAT_COUNT).bind(from).bind(now.as_micros()).fetch_one(pool).await)
            .map_err(StoreError::from)
    }
}

impl Tx {
    /// Deletes at most `limit` of the events before `before`, the oldest first. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prune_events(&mut self, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        let before = AuditEventId::earliest(before).0;
        on!(Engine, &mut self.engine, |tx| sqlx::query(PRUNE).bind(before).bind(limit).execute(&mut **tx).await.map(|done| done.rows_affected()))
            .map_err(StoreError::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::domain::audit::Action;

    #[test]
    fn every_resource_but_tokens_is_counted_as_a_change() {
        let listed: BTreeSet<_> = resources_that_change!().trim_matches(['(', ')']).split(", ").map(|name| name.trim_matches('\'')).collect();
        let all: BTreeSet<_> = Action::ALL.iter().map(|action| action.resource()).filter(|resource| *resource != "token").collect();
        assert_eq!(listed, all);
    }
}
