//! Who has a name, and who had it: exchanges are found by name through them (see [`Store::list_events`]).

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Store, StoreError, Tx};
use crate::domain::id::{AuditEventId, OrganizationId, ServiceAccountId, UserId, WorkspaceId};
use crate::domain::time::Timestamp;

/// The name that the owner `$1` has, unless it is to be `$3`, was theirs until `$2`.
macro_rules! retire {
    ($table:literal, $name:literal) => {
        concat!(
            "INSERT INTO former_names (organization_id, name, owner_id, since, until) SELECT o.organization_id, o.",
            $name,
            ", o.id, coalesce((SELECT max(f.until) FROM former_names f WHERE f.owner_id = o.id), 0), $2 FROM ",
            $table,
            " o WHERE o.id = $1 AND (o.",
            $name,
            " <> $3 OR CAST($3 AS TEXT) IS NULL) ON CONFLICT DO NOTHING"
        )
    };
}

/// Those who have a name now, and since when, if they had another before.
macro_rules! owners {
    ($table:literal, $name:literal) => {
        concat!(
            "SELECT o.id, coalesce((SELECT max(f.until) FROM former_names f WHERE f.owner_id = o.id), 0) AS since, CAST(NULL AS BIGINT) AS until FROM ",
            $table,
            " o WHERE o.organization_id = $1 AND o.",
            $name,
            " = $2"
        )
    };
}

statements! {
    RETIRE_ACCOUNT_NAME = retire!("service_accounts", "name");
    RETIRE_USER_EMAIL = retire!("users", "email");
    RETIRE_WORKSPACE_SLUG = retire!("workspaces", "slug");
    LIST_OWNERS = concat!(
        owners!("service_accounts", "name"), " UNION ALL ", owners!("users", "email"), " UNION ALL ", owners!("workspaces", "slug")
    );
    LIST_FORMER_OWNERS = "SELECT f.owner_id AS id, f.since, f.until FROM former_names f WHERE f.organization_id = $1 AND f.name = $2 \
                          AND (f.until, f.owner_id) < ($3, $4) ORDER BY f.until DESC, f.owner_id DESC LIMIT $5";
    PRUNE = "DELETE FROM former_names WHERE (organization_id, name, until, owner_id) IN \
             (SELECT organization_id, name, until, owner_id FROM former_names WHERE until < $1 LIMIT $2)";
}

/// How long something may go on under a name that has changed: what is held in memory, and what is on its way. Clocks differ as well.
const LINGERING: Duration = Duration::from_hours(1);
/// How many owners are read at once.
const OWNERS: i64 = 200;

/// Someone who has a name, or had it.
#[derive(Clone, Copy, Debug, FromRow)]
pub(super) struct Owner {
    /// Their id.
    pub id: Uuid,
    since: i64,
    /// Nothing where they have it.
    until: Option<i64>,
}

impl Owner {
    /// The ids of what they did under this name: from the first on, and before the second.
    pub(super) fn events(&self) -> (Uuid, Uuid) {
        let from = AuditEventId::earliest(Timestamp::from_micros(self.since).minus(LINGERING)).0;
        let before = self.until.map(|until| AuditEventId::earliest(Timestamp::from_micros(until).plus(LINGERING)).0);
        (from, before.unwrap_or(Uuid::max()))
    }
}

writes! {
    /// Notes that an account's name is its own no more, unless it is `kept`.
    fn retire_account_name(id: ServiceAccountId, now: Timestamp, kept: Option<&str>) = RETIRE_ACCOUNT_NAME(id.0, now.as_micros(), kept);
    /// Notes that a person's address is theirs no more, unless it is `kept`.
    fn retire_user_email(id: UserId, now: Timestamp, kept: Option<&str>) = RETIRE_USER_EMAIL(id.0, now.as_micros(), kept);
    /// Notes that a workspace's slug, which never changes, is its own no more.
    fn retire_workspace_slug(id: WorkspaceId, now: Timestamp) = RETIRE_WORKSPACE_SLUG(id.0, now.as_micros(), None::<&str>);
}

impl Store {
    /// The service accounts, people and workspaces that have a name.
    pub(super) async fn list_owners(&self, organization: OrganizationId, name: &str) -> Result<Vec<Owner>, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_as::<_, Owner>(LIST_OWNERS).bind(organization.0).bind(name).fetch_all(pool).await)
            .map_err(StoreError::from)
    }

    /// Some of those that had a name, the last ones first, after one of them or after those that have it.
    pub(super) async fn list_former_owners(&self, organization: OrganizationId, name: &str, after: Option<Owner>) -> Result<Vec<Owner>, StoreError> {
        let (until, id) = after.and_then(|after| Some((after.until?, after.id))).unwrap_or((i64::MAX, Uuid::max()));
        on!(Db, &self.read, |pool| sqlx::query_as::<_, Owner>(LIST_FORMER_OWNERS)
            .bind(organization.0)
            .bind(name)
            .bind(until)
            .bind(id)
            .bind(OWNERS)
            .fetch_all(pool)
            .await)
        .map_err(StoreError::from)
    }
}

impl Tx {
    /// Forgets at most `limit` of the names under which nothing was done since `before`. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prune_names(&mut self, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        self.delete_before(PRUNE, before.minus(LINGERING), limit).await
    }
}
