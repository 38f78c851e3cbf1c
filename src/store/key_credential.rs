//! What an API key is the credential of: found by the key, by a value of it that a token names, or by the sign-in that stands for it.

use sqlx::FromRow;

use super::api_key::{ApiKeyRow, ValueRow, api_key_columns, value_columns};
use super::organization::{OrganizationRow, organization_columns};
use super::service_account::{ServiceAccountRow, service_account_columns};
use super::session::{SessionRow, session_columns};
use super::{Db, Engine, Store, StoreError};
use crate::domain::api_key::ApiKeyHash;
use crate::domain::credential::KeyCredential;
use crate::domain::id::SessionId;
use crate::domain::status::StatusIndex;

/// With whether somebody else made the value (`m`), or it was made with something that somebody made (`w`): only then is it looked for on whom it depends.
macro_rules! select_credential {
    ($columns:expr, $from:literal, $where:literal $(,)?) => {
        concat!(
            "SELECT ",
            api_key_columns!(),
            ", ",
            value_columns!(),
            ", ",
            service_account_columns!(),
            ", ",
            organization_columns!(),
            $columns,
            ", e.idx AS status_index, m.maker_id <> k.service_account_id OR w.made_id IS NOT NULL AS made_by_other FROM api_keys k JOIN service_accounts a ON a.id = k.service_account_id JOIN organizations o ON o.id = a.organization_id JOIN ",
            $from,
            " LEFT JOIN makers m ON m.made_id = v.id LEFT JOIN makers w ON w.made_id = m.made_with WHERE ",
            $where
        )
    };
}

statements! {
    FIND_CREDENTIAL_BY_HASH =
        select_credential!("", "api_key_values v ON v.api_key_id = k.id LEFT JOIN status_entries e ON e.grant_id = v.grant_id", "v.hash = $1");
    FIND_CREDENTIAL_BY_GRANT =
        select_credential!("", "api_key_values v ON v.api_key_id = k.id LEFT JOIN status_entries e ON e.grant_id = v.grant_id", "v.grant_id = $1");
    FIND_SESSION = select_credential!(
        concat!(", ", session_columns!()),
        "api_key_values v ON v.api_key_id = k.id JOIN sessions s ON s.grant_id = v.grant_id LEFT JOIN status_entries e ON e.grant_id = s.id",
        "s.id = $1"
    );
}

#[derive(FromRow)]
struct KeyCredentialRow {
    #[sqlx(flatten)]
    organization: OrganizationRow,
    #[sqlx(flatten)]
    account: ServiceAccountRow,
    #[sqlx(flatten)]
    key: ApiKeyRow,
    #[sqlx(flatten)]
    value: ValueRow,
    status_index: Option<i64>,
    made_by_other: Option<bool>,
}

impl From<KeyCredentialRow> for KeyCredential {
    fn from(row: KeyCredentialRow) -> Self {
        Self {
            organization: row.organization.into(),
            account: row.account.into(),
            key: row.key.into(),
            value: row.value.into(),
            status: row.status_index.map(StatusIndex),
            session: None,
            made_by_other: row.made_by_other.unwrap_or(false),
            left_behind: false,
        }
    }
}

#[derive(FromRow)]
struct KeySessionRow {
    #[sqlx(flatten)]
    credential: KeyCredentialRow,
    #[sqlx(flatten)]
    session: SessionRow,
}

impl From<KeySessionRow> for KeyCredential {
    fn from(row: KeySessionRow) -> Self {
        Self { session: Some(row.session.into()), ..row.credential.into() }
    }
}

reads! {
    /// Finds whose key has a value with this grant: what a token was obtained with.
    fn find_key_credential_by_grant(grant: SessionId) -> Option<KeyCredential> = |connection| {
        let row = sqlx::query_as::<_, KeyCredentialRow>(FIND_CREDENTIAL_BY_GRANT).bind(grant.0).fetch_optional(connection).await?;
        Ok(row.map(KeyCredential::from))
    };
    /// Finds whose key has this hash.
    fn find_key_credential(hash: &ApiKeyHash) -> Option<KeyCredential> = |connection| {
        let row = sqlx::query_as::<_, KeyCredentialRow>(FIND_CREDENTIAL_BY_HASH).bind(&hash.0[..]).fetch_optional(connection).await?;
        Ok(row.map(KeyCredential::from))
    };
    /// Finds the key of a service account's sign-in. It may be over.
    fn find_key_session(id: SessionId) -> Option<KeyCredential> = |connection| {
        Ok(sqlx::query_as::<_, KeySessionRow>(FIND_SESSION).bind(id.0).fetch_optional(connection).await?.map(KeyCredential::from))
    };
}

impl Store {
    /// Finds what the `sid` of a service account's token names: a value of a key, or a sign-in with one, which may be over.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_key_credential_by_sid(&self, id: SessionId) -> Result<Option<KeyCredential>, StoreError> {
        match self.find_key_credential_by_grant(id).await? {
            None => self.find_key_session(id).await,
            found => Ok(found),
        }
    }
}
