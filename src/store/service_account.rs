//! Service accounts.

use std::num::NonZeroU32;

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Ended, Engine, Store, StoreError, Tx};
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::{LastUse, ServiceAccount};
use crate::domain::id::{OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// The columns of [`ServiceAccountRow`], of a table called `a`.
macro_rules! service_account_columns {
    () => {
        "a.id AS account_id, a.organization_id AS account_organization_id, a.name AS account_name, a.description AS account_description, \
         a.active AS account_active, a.created_at AS account_created_at, a.last_used_at AS account_last_used_at, \
         a.last_used_address AS account_last_used_address, a.last_used_user_agent AS account_last_used_user_agent, \
         a.labels AS account_labels, a.claims AS account_claims, a.next_key_expires_at AS account_next_key_expires_at, \
         a.exchanges_per_minute AS account_exchanges_per_minute"
    };
}
pub(super) use service_account_columns;

/// The conditions of a list, of a table called `a`; `$1` is the organization, and the name stands in the statement's own words. Whether a text is a part of
/// another, the two engines are asked in the same words: whether anything is left out when it is left out.
macro_rules! list {
    ($from:literal, $where:literal) => {
        concat!(
            "SELECT ",
            service_account_columns!(),
            " FROM ",
            $from,
            " WHERE a.organization_id = $1 AND a.id > $2",
            " AND (a.active = $3 OR CAST($3 AS BOOLEAN) IS NULL)",
            " AND (a.last_used_at IS NULL OR NOT $4)",
            " AND (a.last_used_at < $5 OR a.last_used_at IS NULL OR CAST($5 AS BIGINT) IS NULL)",
            " AND (a.next_key_expires_at < $6 OR CAST($6 AS BIGINT) IS NULL)",
            " AND (replace(lower(a.name), lower($8), '') <> lower(a.name) OR CAST($8 AS TEXT) IS NULL)",
            " AND (a.created_at < $9 OR CAST($9 AS BIGINT) IS NULL)",
            // The first expiry may be over, and hide another: only where it comes before then is it looked for.
            " AND (CAST($10 AS BIGINT) IS NULL OR EXISTS (SELECT 1 FROM api_keys k JOIN api_key_values v ON v.api_key_id = k.id",
            " WHERE k.service_account_id = a.id AND k.active AND v.retained_until IS NULL AND v.expires_at > $10 AND v.expires_at < $6))",
            $where,
            " ORDER BY a.id LIMIT $7"
        )
    };
}

statements! {
    INSERT = "INSERT INTO service_accounts (id, organization_id, name, description, active, created_at, labels, claims, exchanges_per_minute) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    FIND_BY_ID = concat!("SELECT ", service_account_columns!(), " FROM service_accounts a WHERE a.organization_id = $1 AND a.id = $2");
    FIND_BY_NAME = concat!("SELECT ", service_account_columns!(), " FROM service_accounts a WHERE a.organization_id = $1 AND a.name = $2");
    COUNT = "SELECT count(*) FROM service_accounts WHERE organization_id = $1";
    // Of an index that holds all of it (ids are in the order of creation), but for the keys of those of which one expires, or expired, before then.
    COUNT_STATES = "SELECT count(CASE WHEN a.active THEN 1 END), count(CASE WHEN NOT a.active THEN 1 END), \
                    count(CASE WHEN a.active AND (a.last_used_at < $2 OR a.last_used_at IS NULL AND a.id < $3) THEN 1 END), \
                    (SELECT count(DISTINCT e.id) FROM service_accounts e JOIN api_keys k ON k.service_account_id = e.id \
                    JOIN api_key_values v ON v.api_key_id = k.id WHERE e.organization_id = $1 AND e.active AND e.next_key_expires_at < $5 AND k.active \
                    AND v.retained_until IS NULL AND v.expires_at > $4 AND v.expires_at < $5) FROM service_accounts a WHERE a.organization_id = $1";
    LIST = list!("service_accounts a", "");
    LIST_BY_NAME = list!("service_accounts a", " AND a.name = $11");
    // CROSS JOIN, because SQLite then reads the labels first.
    LIST_BY_LABEL = list!(
        "labels l CROSS JOIN service_accounts a",
        " AND (a.name = $11 OR CAST($11 AS TEXT) IS NULL) AND l.organization_id = $1 AND l.name = $12 AND l.value = $13 AND l.owner_id > $2 AND a.id = l.owner_id"
    );
    FIND_NEXT_EXPIRY = "SELECT min(v.expires_at) FROM api_keys k JOIN api_key_values v ON v.api_key_id = k.id \
                        WHERE k.service_account_id = $1 AND k.active AND v.retained_until IS NULL AND v.expires_at > $2";
    // Changes nothing, and makes others who would change the account wait. PostgreSQL has FOR UPDATE for it, SQLite has not.
    LOCK = "UPDATE service_accounts SET active = active WHERE organization_id = $1 AND id = $2";
    UPDATE = "UPDATE service_accounts SET name = $2, description = $3, active = $4, labels = $5, claims = $6, exchanges_per_minute = $7 WHERE id = $1";
    // What the filter on expiry looks at: a list must not look into all keys of all accounts.
    SET_NEXT_EXPIRY = "UPDATE service_accounts SET next_key_expires_at = (SELECT min(v.expires_at) FROM api_keys k \
                       JOIN api_key_values v ON v.api_key_id = k.id AND v.retained_until IS NULL \
                       WHERE k.service_account_id = service_accounts.id AND k.active) WHERE id = $1";
    RETIRE_HASHES = "INSERT INTO retired_key_hashes (hash, retired_at) SELECT v.hash, $2 FROM api_key_values v JOIN api_keys k ON k.id = v.api_key_id \
                     WHERE k.service_account_id = $1";
    DELETE_VALUES = "DELETE FROM api_key_values WHERE api_key_id IN (SELECT id FROM api_keys WHERE service_account_id = $1)";
    DELETE_KEYS = "DELETE FROM api_keys WHERE service_account_id = $1";
    DELETE_LABELS = "DELETE FROM labels WHERE owner_id = $1";
    DELETE = "DELETE FROM service_accounts WHERE id = $1";
}

#[derive(FromRow)]
pub(super) struct ServiceAccountRow {
    account_id: Uuid,
    account_organization_id: Uuid,
    account_name: String,
    account_description: String,
    account_active: bool,
    account_created_at: i64,
    account_last_used_at: Option<i64>,
    account_last_used_address: Option<String>,
    account_last_used_user_agent: Option<String>,
    #[sqlx(try_from = "String")]
    account_labels: Labels,
    #[sqlx(try_from = "String")]
    account_claims: CustomClaims,
    account_next_key_expires_at: Option<i64>,
    account_exchanges_per_minute: Option<i64>,
}

impl From<ServiceAccountRow> for ServiceAccount {
    fn from(row: ServiceAccountRow) -> Self {
        Self {
            id: ServiceAccountId(row.account_id),
            organization_id: OrganizationId(row.account_organization_id),
            name: Name::from_stored(row.account_name),
            description: row.account_description,
            active: row.account_active,
            labels: row.account_labels,
            claims: row.account_claims,
            created_at: Timestamp::from_micros(row.account_created_at),
            last_use: last_use(row.account_last_used_at, row.account_last_used_address, row.account_last_used_user_agent),
            next_key_expires_at: row.account_next_key_expires_at.map(Timestamp::from_micros),
            exchanges_per_minute: row.account_exchanges_per_minute.and_then(|most| u32::try_from(most).ok()).and_then(NonZeroU32::new),
        }
    }
}

/// The last use from its three columns.
pub(super) fn last_use(at: Option<i64>, address: Option<String>, user_agent: Option<String>) -> Option<LastUse> {
    at.map(|at| LastUse { at: Timestamp::from_micros(at), address, user_agent })
}

/// Which accounts a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    /// Those of exactly this name.
    pub name: Option<String>,
    /// Those that have this in their name, in any case.
    pub search: Option<String>,
    /// Those that are active, or those that are not.
    pub active: Option<bool>,
    /// Those of which no key was ever used.
    pub never_used: bool,
    /// Those of which no key was used since then, or ever.
    pub unused_since: Option<Timestamp>,
    /// Those that have a key that expires before then, or expired before.
    pub expiring_before: Option<Timestamp>,
    /// With `expiring_before`: those that have a key that expires between this time and that one.
    pub expiring_after: Option<Timestamp>,
    /// Those that were made before then.
    pub created_before: Option<Timestamp>,
    /// Those with this label: its name and value.
    pub label: Option<(String, String)>,
}

/// How many service accounts an organization has of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCounts {
    /// Active ones.
    pub active: i64,
    /// Deactivated ones.
    pub inactive: i64,
    /// Active ones of which no key was used for some time, or ever since they were made before that.
    pub unused: i64,
    /// Active ones that have a key that works and expires soon.
    pub expiring: i64,
}

reads! {
    /// Finds a service account of an organization by its id.
    fn find_service_account_by_id(organization: OrganizationId, id: Uuid) -> Option<ServiceAccount> = |connection| {
        let row = sqlx::query_as::<_, ServiceAccountRow>(FIND_BY_ID).bind(organization.0).bind(id).fetch_optional(connection).await?;
        Ok(row.map(ServiceAccount::from))
    };
    /// Finds a service account of an organization by its name.
    fn find_service_account_by_name(organization: OrganizationId, name: &str) -> Option<ServiceAccount> = |connection| {
        let row = sqlx::query_as::<_, ServiceAccountRow>(FIND_BY_NAME).bind(organization.0).bind(name).fetch_optional(connection).await?;
        Ok(row.map(ServiceAccount::from))
    };
    /// How many service accounts an organization has.
    fn count_service_accounts(organization: OrganizationId) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT).bind(organization.0).fetch_one(connection).await?)
    };
    /// When the next of an account's active keys expires, of those that do after `now`.
    fn find_next_key_expiry(account: ServiceAccountId, now: Timestamp) -> Option<Timestamp> = |connection| {
        let at: Option<i64> = sqlx::query_scalar(FIND_NEXT_EXPIRY).bind(account.0).bind(now.as_micros()).fetch_one(connection).await?;
        Ok(at.map(Timestamp::from_micros))
    };
}

impl Store {
    /// Finds a service account of an organization by its id or name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_service_account(&self, organization: OrganizationId, reference: &Reference) -> Result<Option<ServiceAccount>, StoreError> {
        match reference {
            Reference::Id(id) => self.find_service_account_by_id(organization, *id).await,
            Reference::Name(name) => self.find_service_account_by_name(organization, name).await,
        }
    }

    /// Counts the service accounts of an organization: among them those that are older than `unused_since` and were not used since then, and those with a key
    /// that expires between two times.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_account_states(
        &self,
        organization: OrganizationId,
        unused_since: Timestamp,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<AccountCounts, StoreError> {
        let (active, inactive, unused, expiring) = on!(Db, &self.read, |pool| sqlx::query_as::<_, (i64, i64, i64, i64)>(COUNT_STATES)
            .bind(organization.0)
            .bind(unused_since.as_micros())
            .bind(ServiceAccountId::earliest(unused_since).0)
            .bind(from.as_micros())
            .bind(until.as_micros())
            .fetch_one(pool)
            .await)?;
        Ok(AccountCounts { active, inactive, unused, expiring })
    }

    /// Lists the service accounts of an organization in the order of their ids: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_service_accounts(
        &self,
        organization: OrganizationId,
        filter: &AccountFilter,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<ServiceAccount>, StoreError> {
        // With a name there is at most one, and the index on names finds it.
        let sql = match filter {
            AccountFilter { label: Some(_), .. } => LIST_BY_LABEL,
            AccountFilter { name: Some(_), .. } => LIST_BY_NAME,
            _ => LIST,
        };
        let rows = on!(Db, &self.read, |pool| {
            let query = sqlx::query_as::<_, ServiceAccountRow>(sql)
                .bind(organization.0)
                .bind(after)
                .bind(filter.active)
                .bind(filter.never_used)
                .bind(filter.unused_since.map(Timestamp::as_micros))
                .bind(filter.expiring_before.map(Timestamp::as_micros))
                .bind(limit)
                .bind(filter.search.as_deref().filter(|search| !search.is_empty()))
                .bind(filter.created_before.map(Timestamp::as_micros))
                .bind(filter.expiring_after.map(Timestamp::as_micros));
            match (&filter.label, &filter.name) {
                (Some((label, value)), name) => query.bind(name).bind(label).bind(value).fetch_all(pool).await,
                (None, Some(name)) => query.bind(name).fetch_all(pool).await,
                (None, None) => query.fetch_all(pool).await,
            }
        })?;
        Ok(rows.into_iter().map(ServiceAccount::from).collect())
    }
}

impl Tx {
    /// Makes a service account.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its name is taken.
    pub async fn insert_service_account(&mut self, account: &ServiceAccount) -> Result<(), StoreError> {
        on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
            .bind(account.id.0)
            .bind(account.organization_id.0)
            .bind(account.name.as_str())
            .bind(&account.description)
            .bind(account.active)
            .bind(account.created_at.as_micros())
            .bind(account.labels.to_json())
            .bind(account.claims.to_json())
            .bind(account.exchanges_per_minute.map(|most| i64::from(most.get())))
            .execute(&mut **tx)
            .await
            .map(drop))?;
        self.replace_labels(account.id.0, account.organization_id, &account.labels).await
    }

    /// Reads a service account, and keeps others from changing or deleting it, or its keys, until the transaction ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn lock_service_account(&mut self, organization: OrganizationId, id: ServiceAccountId) -> Result<Option<ServiceAccount>, StoreError> {
        let row = on!(Engine, &mut self.engine, |tx| {
            sqlx::query(LOCK).bind(organization.0).bind(id.0).execute(&mut **tx).await?;
            sqlx::query_as::<_, ServiceAccountRow>(FIND_BY_ID).bind(organization.0).bind(id.0).fetch_optional(&mut **tx).await?
        });
        Ok(row.map(ServiceAccount::from))
    }

    /// Replaces all that can change of a service account.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the name is taken.
    pub async fn update_service_account(&mut self, account: &ServiceAccount, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(account.id.0);
        self.retire_account_name(account.id, now, Some(account.name.as_str())).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(UPDATE)
            .bind(account.id.0)
            .bind(account.name.as_str())
            .bind(&account.description)
            .bind(account.active)
            .bind(account.labels.to_json())
            .bind(account.claims.to_json())
            .bind(account.exchanges_per_minute.map(|most| i64::from(most.get())))
            .execute(&mut **tx)
            .await
            .map(drop))?;
        self.replace_labels(account.id.0, account.organization_id, &account.labels).await
    }

    /// Deletes a service account with its keys, all that it was given, and its memberships.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_service_account(&mut self, id: ServiceAccountId, now: Timestamp) -> Result<(), StoreError> {
        self.delete_access_of_service_account(id).await?;
        self.end_status(Ended::Account(id), now).await?;
        self.retire_account_name(id, now, None).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(RETIRE_HASHES).bind(id.0).bind(now.as_micros()).execute(&mut **tx).await.map(drop))?;
        for sql in [DELETE_VALUES, DELETE_KEYS, DELETE_LABELS, DELETE] {
            on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(id.0).execute(&mut **tx).await.map(drop))?;
        }
        Ok(())
    }

    /// Notes when the first of the account's active keys expires, or has expired, and that its keys changed. To be called after each change of them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn set_next_key_expiry(&mut self, id: ServiceAccountId) -> Result<(), StoreError> {
        self.note_change(id.0);
        on!(Engine, &mut self.engine, |tx| sqlx::query(SET_NEXT_EXPIRY).bind(id.0).execute(&mut **tx).await.map(drop)).map_err(StoreError::from)
    }
}
