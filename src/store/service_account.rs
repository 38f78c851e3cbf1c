//! Service accounts.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Store, StoreError, Tx};
use crate::domain::entity::ServiceAccount;
use crate::domain::id::{OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// The columns of [`ServiceAccountRow`], of a table called `a`.
macro_rules! service_account_columns {
    () => {
        "a.id AS account_id, a.organization_id AS account_organization_id, a.name AS account_name, a.description AS account_description, \
         a.active AS account_active, a.created_at AS account_created_at"
    };
}
pub(super) use service_account_columns;

statements! {
    INSERT = "INSERT INTO service_accounts (id, organization_id, name, description, active, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    FIND_BY_ID = concat!("SELECT ", service_account_columns!(), " FROM service_accounts a WHERE a.organization_id = $1 AND a.id = $2");
    FIND_BY_NAME = concat!("SELECT ", service_account_columns!(), " FROM service_accounts a WHERE a.organization_id = $1 AND a.name = $2");
    LIST = concat!(
        "SELECT ", service_account_columns!(), " FROM service_accounts a WHERE a.organization_id = $1 AND a.id > $2 \
         AND (CAST($3 AS TEXT) IS NULL OR a.name = $3) AND (CAST($4 AS BOOLEAN) IS NULL OR a.active = $4) ORDER BY a.id LIMIT $5"
    );
}

#[derive(FromRow)]
pub(super) struct ServiceAccountRow {
    account_id: Uuid,
    account_organization_id: Uuid,
    account_name: String,
    account_description: String,
    account_active: bool,
    account_created_at: i64,
}

impl From<ServiceAccountRow> for ServiceAccount {
    fn from(row: ServiceAccountRow) -> Self {
        Self {
            id: ServiceAccountId(row.account_id),
            organization_id: OrganizationId(row.account_organization_id),
            name: Name::from_stored(row.account_name),
            description: row.account_description,
            active: row.account_active,
            created_at: Timestamp::from_micros(row.account_created_at),
        }
    }
}

/// Which accounts a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    /// Those of exactly this name.
    pub name: Option<String>,
    /// Those that are active, or those that are not.
    pub active: Option<bool>,
}

impl Store {
    /// Finds a service account of an organization by its id or name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_service_account(&self, organization: OrganizationId, reference: &Reference) -> Result<Option<ServiceAccount>, StoreError> {
        let row = match reference {
            Reference::Id(id) => on!(Db, &self.read, |pool| sqlx::query_as::<_, ServiceAccountRow>(FIND_BY_ID)
                .bind(organization.0)
                .bind(*id)
                .fetch_optional(pool)
                .await),
            Reference::Name(name) => on!(Db, &self.read, |pool| sqlx::query_as::<_, ServiceAccountRow>(FIND_BY_NAME)
                .bind(organization.0)
                .bind(name)
                .fetch_optional(pool)
                .await),
        }?;
        Ok(row.map(ServiceAccount::from))
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
        let rows = on!(Db, &self.read, |pool| sqlx::query_as::<_, ServiceAccountRow>(LIST)
            .bind(organization.0)
            .bind(after)
            .bind(filter.name.as_deref())
            .bind(filter.active)
            .bind(limit)
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(ServiceAccount::from).collect())
    }
}

impl Tx {
    /// Makes a service account.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its name is taken.
    pub async fn insert_service_account(&mut self, account: &ServiceAccount) -> Result<(), StoreError> {
        on!(Self, self, |tx| sqlx::query(INSERT)
            .bind(account.id.0)
            .bind(account.organization_id.0)
            .bind(account.name.as_str())
            .bind(&account.description)
            .bind(account.active)
            .bind(account.created_at.as_micros())
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }
}
