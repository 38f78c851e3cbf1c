//! API keys, and what they are the credential of.

use sqlx::FromRow;
use uuid::Uuid;

use super::organization::{OrganizationRow, organization_columns};
use super::service_account::{ServiceAccountRow, service_account_columns};
use super::{Db, Store, StoreError, Tx};
use crate::domain::api_key::ApiKeyHash;
use crate::domain::credential::KeyCredential;
use crate::domain::entity::ApiKey;
use crate::domain::id::{ApiKeyId, ServiceAccountId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// The columns of [`ApiKeyRow`], of a table called `k`.
macro_rules! api_key_columns {
    () => {
        "k.id AS key_id, k.service_account_id AS key_service_account_id, k.name AS key_name, k.hint AS key_hint, k.active AS key_active, \
         k.expires_at AS key_expires_at, k.created_at AS key_created_at"
    };
}

macro_rules! select_credential {
    ($where:literal) => {
        concat!(
            "SELECT ",
            api_key_columns!(),
            ", ",
            service_account_columns!(),
            ", ",
            organization_columns!(),
            " FROM api_keys k JOIN service_accounts a ON a.id = k.service_account_id JOIN organizations o ON o.id = a.organization_id WHERE ",
            $where
        )
    };
}

statements! {
    INSERT = "INSERT INTO api_keys (id, service_account_id, name, hash, hint, active, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    LIST = concat!("SELECT ", api_key_columns!(), " FROM api_keys k WHERE k.service_account_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3");
    FIND_CREDENTIAL_BY_HASH = select_credential!("k.hash = $1");
    FIND_CREDENTIAL_BY_ID = select_credential!("k.id = $1");
}

#[derive(FromRow)]
struct ApiKeyRow {
    key_id: Uuid,
    key_service_account_id: Uuid,
    key_name: String,
    key_hint: String,
    key_active: bool,
    key_expires_at: Option<i64>,
    key_created_at: i64,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: ApiKeyId(row.key_id),
            service_account_id: ServiceAccountId(row.key_service_account_id),
            name: Name::from_stored(row.key_name),
            hint: row.key_hint,
            active: row.key_active,
            expires_at: row.key_expires_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(row.key_created_at),
        }
    }
}

#[derive(FromRow)]
struct KeyCredentialRow {
    #[sqlx(flatten)]
    organization: OrganizationRow,
    #[sqlx(flatten)]
    account: ServiceAccountRow,
    #[sqlx(flatten)]
    key: ApiKeyRow,
}

impl From<KeyCredentialRow> for KeyCredential {
    fn from(row: KeyCredentialRow) -> Self {
        Self { organization: row.organization.into(), account: row.account.into(), key: row.key.into() }
    }
}

impl Store {
    /// Finds whose key has this hash.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_key_credential(&self, hash: &ApiKeyHash) -> Result<Option<KeyCredential>, StoreError> {
        let row =
            on!(Db, &self.read, |pool| sqlx::query_as::<_, KeyCredentialRow>(FIND_CREDENTIAL_BY_HASH).bind(&hash.0[..]).fetch_optional(pool).await)?;
        Ok(row.map(KeyCredential::from))
    }

    /// Finds whose key has this id.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_key_credential_by_id(&self, id: ApiKeyId) -> Result<Option<KeyCredential>, StoreError> {
        let row = on!(Db, &self.read, |pool| sqlx::query_as::<_, KeyCredentialRow>(FIND_CREDENTIAL_BY_ID).bind(id.0).fetch_optional(pool).await)?;
        Ok(row.map(KeyCredential::from))
    }

    /// Lists the keys of an account in the order of their ids: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_api_keys(&self, account: ServiceAccountId, after: Uuid, limit: i64) -> Result<Vec<ApiKey>, StoreError> {
        let rows = on!(Db, &self.read, |pool| sqlx::query_as::<_, ApiKeyRow>(LIST).bind(account.0).bind(after).bind(limit).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(ApiKey::from).collect())
    }
}

impl Tx {
    /// Makes an API key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its name is taken.
    pub async fn insert_api_key(&mut self, key: &ApiKey, hash: &ApiKeyHash) -> Result<(), StoreError> {
        on!(Self, self, |tx| sqlx::query(INSERT)
            .bind(key.id.0)
            .bind(key.service_account_id.0)
            .bind(key.name.as_str())
            .bind(&hash.0[..])
            .bind(&key.hint)
            .bind(key.active)
            .bind(key.expires_at.map(Timestamp::as_micros))
            .bind(key.created_at.as_micros())
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }
}
