//! API keys and their values.

use sqlx::FromRow;
use uuid::Uuid;

use super::service_account::last_use;
use super::status::NewGrant;
use super::{Db, Ended, Engine, Maker, Store, StoreError, Tx};
use crate::domain::api_key::ApiKeyHash;
use crate::domain::claims::PrincipalType;
use crate::domain::entity::{ApiKey, KeyDetails, KeyValue};
use crate::domain::id::{ApiKeyId, KeyValueId, OrganizationId, Reference, ServiceAccountId, SessionId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// The columns of [`ApiKeyRow`], of a table called `k`.
macro_rules! api_key_columns {
    () => {
        "k.id AS key_id, k.service_account_id AS key_service_account_id, k.name AS key_name, k.active AS key_active, \
         k.compromised_at AS key_compromised_at, k.created_at AS key_created_at, k.last_used_at AS key_last_used_at, \
         k.last_used_address AS key_last_used_address, k.last_used_user_agent AS key_last_used_user_agent"
    };
}
pub(super) use api_key_columns;

/// The columns of [`ValueRow`], of a table called `v`.
macro_rules! value_columns {
    () => {
        "v.id AS value_id, v.hint AS value_hint, v.grant_id AS value_grant_id, v.created_at AS value_created_at, v.expires_at AS value_expires_at, \
         v.retained_until AS value_retained_until, v.last_used_at AS value_last_used_at, v.last_used_address AS value_last_used_address, \
         v.last_used_user_agent AS value_last_used_user_agent"
    };
}
pub(super) use value_columns;

macro_rules! select_details {
    ($where:literal) => {
        concat!(
            "SELECT ",
            api_key_columns!(),
            ", ",
            value_columns!(),
            ", r.id AS r_id, r.hint AS r_hint, r.grant_id AS r_grant_id,",
            " r.created_at AS r_created_at, r.expires_at AS r_expires_at, r.retained_until AS r_retained_until, r.last_used_at AS r_last_used_at,",
            " r.last_used_address AS r_last_used_address, r.last_used_user_agent AS r_last_used_user_agent,",
            " m.maker_kind, m.maker_id",
            " FROM api_keys k JOIN api_key_values v ON v.api_key_id = k.id AND v.retained_until IS NULL",
            " LEFT JOIN makers m ON m.made_id = v.id AND m.maker_id <> k.service_account_id",
            " LEFT JOIN api_key_values r ON r.api_key_id = k.id AND r.retained_until IS NOT NULL WHERE k.service_account_id = $1 AND ",
            $where
        )
    };
}

statements! {
    INSERT = "INSERT INTO api_keys (id, service_account_id, name, active, compromised_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    INSERT_VALUE = "INSERT INTO api_key_values (id, api_key_id, hash, hint, grant_id, created_at, expires_at, retained_until) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    LIST = select_details!("k.id > $2 AND (k.active = $3 OR CAST($3 AS BOOLEAN) IS NULL) AND (k.name = $4 OR CAST($4 AS TEXT) IS NULL) ORDER BY k.id LIMIT $5");
    COUNT_OUTLIVING = "SELECT count(*) FROM service_accounts a JOIN api_keys k ON k.service_account_id = a.id \
                       JOIN api_key_values v ON v.api_key_id = k.id WHERE a.organization_id = $1 AND a.active AND k.active \
                       AND v.retained_until IS NULL AND (v.expires_at IS NULL OR v.expires_at > $2)";
    // The condition on the account is there for the index that holds it.
    LIST_EXPIRING = "SELECT a.id AS account_id, a.name AS account_name, k.id AS key_id, k.name AS key_name, v.expires_at AS expires_at \
                     FROM service_accounts a JOIN api_keys k ON k.service_account_id = a.id JOIN api_key_values v ON v.api_key_id = k.id \
                     WHERE a.organization_id = $1 AND a.active AND a.next_key_expires_at < $3 AND k.active AND v.retained_until IS NULL \
                     AND v.expires_at > $2 AND v.expires_at < $3 ORDER BY v.expires_at, k.id LIMIT $4";
    FIND_BY_ID = select_details!("k.id = $2");
    FIND_BY_NAME = select_details!("k.name = $2");
    UPDATE = "UPDATE api_keys SET name = $2, active = $3, compromised_at = $4 WHERE id = $1";
    UPDATE_VALUE = "UPDATE api_key_values SET grant_id = $2, expires_at = $3, retained_until = $4 WHERE id = $1";
    RETIRE_HASHES = "INSERT INTO retired_key_hashes (hash, retired_at) SELECT hash, $2 FROM api_key_values WHERE api_key_id = $1";
    RETIRE_RETAINED_HASH = "INSERT INTO retired_key_hashes (hash, retired_at) SELECT hash, $2 FROM api_key_values \
                            WHERE api_key_id = $1 AND retained_until IS NOT NULL";
    IS_RETIRED = "SELECT count(*) > 0 FROM retired_key_hashes WHERE hash = $1";
    DELETE_RETAINED = "DELETE FROM api_key_values WHERE api_key_id = $1 AND retained_until IS NOT NULL";
    DELETE_VALUES = "DELETE FROM api_key_values WHERE api_key_id = $1";
    DELETE = "DELETE FROM api_keys WHERE id = $1";
    LIST_VALUES_OF_ACCOUNT = "SELECT v.id, v.expires_at, v.retained_until FROM api_key_values v JOIN api_keys k ON k.id = v.api_key_id WHERE k.service_account_id = $1";
    SET_GRANT = "UPDATE api_key_values SET grant_id = $2 WHERE id = $1";
}

/// A key that is about to expire.
#[derive(Clone, Debug, FromRow)]
pub struct ExpiringKey {
    /// Whose it is.
    pub account_id: Uuid,
    /// What that is called.
    pub account_name: String,
    /// The key.
    pub key_id: Uuid,
    /// What it is called.
    pub key_name: String,
    /// When it expires, in microseconds since the Unix epoch.
    pub expires_at: i64,
}

#[derive(FromRow)]
pub(super) struct ApiKeyRow {
    key_id: Uuid,
    key_service_account_id: Uuid,
    key_name: String,
    key_active: bool,
    key_compromised_at: Option<i64>,
    key_created_at: i64,
    key_last_used_at: Option<i64>,
    key_last_used_address: Option<String>,
    key_last_used_user_agent: Option<String>,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: ApiKeyId(row.key_id),
            service_account_id: ServiceAccountId(row.key_service_account_id),
            name: Name::from_stored(row.key_name),
            active: row.key_active,
            compromised_at: row.key_compromised_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(row.key_created_at),
            last_use: last_use(row.key_last_used_at, row.key_last_used_address, row.key_last_used_user_agent),
        }
    }
}

#[derive(FromRow)]
pub(super) struct ValueRow {
    value_id: Uuid,
    value_hint: String,
    value_grant_id: Uuid,
    value_created_at: i64,
    value_expires_at: Option<i64>,
    value_retained_until: Option<i64>,
    value_last_used_at: Option<i64>,
    value_last_used_address: Option<String>,
    value_last_used_user_agent: Option<String>,
}

impl From<ValueRow> for KeyValue {
    fn from(row: ValueRow) -> Self {
        Self {
            id: KeyValueId(row.value_id),
            hint: row.value_hint,
            grant: SessionId(row.value_grant_id),
            created_at: Timestamp::from_micros(row.value_created_at),
            expires_at: row.value_expires_at.map(Timestamp::from_micros),
            retained_until: row.value_retained_until.map(Timestamp::from_micros),
            last_use: last_use(row.value_last_used_at, row.value_last_used_address, row.value_last_used_user_agent),
        }
    }
}

/// The columns of the retained value, which are all null where there is none.
#[derive(FromRow)]
struct RetainedRow {
    r_id: Option<Uuid>,
    r_hint: Option<String>,
    r_grant_id: Option<Uuid>,
    r_created_at: Option<i64>,
    r_expires_at: Option<i64>,
    r_retained_until: Option<i64>,
    r_last_used_at: Option<i64>,
    r_last_used_address: Option<String>,
    r_last_used_user_agent: Option<String>,
}

#[derive(FromRow)]
struct KeyDetailsRow {
    #[sqlx(flatten)]
    key: ApiKeyRow,
    #[sqlx(flatten)]
    current: ValueRow,
    #[sqlx(flatten)]
    retained: RetainedRow,
    maker_kind: Option<String>,
    maker_id: Option<Uuid>,
}

impl From<KeyDetailsRow> for KeyDetails {
    fn from(KeyDetailsRow { key, current, retained: r, maker_kind, maker_id }: KeyDetailsRow) -> Self {
        let kind = |kind: String| if kind == PrincipalType::User.as_str() { PrincipalType::User } else { PrincipalType::ServiceAccount };
        let retained = match (r.r_id, r.r_hint, r.r_grant_id, r.r_created_at) {
            (Some(id), Some(hint), Some(grant), Some(created_at)) => Some(KeyValue {
                id: KeyValueId(id),
                hint,
                grant: SessionId(grant),
                created_at: Timestamp::from_micros(created_at),
                expires_at: r.r_expires_at.map(Timestamp::from_micros),
                retained_until: r.r_retained_until.map(Timestamp::from_micros),
                last_use: last_use(r.r_last_used_at, r.r_last_used_address, r.r_last_used_user_agent),
            }),
            _ => None,
        };
        Self { key: key.into(), current: current.into(), retained, made_by: maker_kind.map(kind).zip(maker_id) }
    }
}

/// Which keys a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// The one of exactly this name.
    pub name: Option<String>,
    /// Those that are active, or those that are not.
    pub active: Option<bool>,
}

/// What a key reference is looked up by.
fn find_by(reference: &Reference) -> &'static str {
    match reference {
        Reference::Id(_) => FIND_BY_ID,
        Reference::Name(_) => FIND_BY_NAME,
    }
}

impl Store {
    /// Lists the keys of an account in the order of their ids: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_api_keys(&self, account: ServiceAccountId, filter: &KeyFilter, after: Uuid, limit: i64) -> Result<Vec<KeyDetails>, StoreError> {
        let rows = on!(Db, &self.read, |pool| sqlx::query_as::<_, KeyDetailsRow>(LIST)
            .bind(account.0)
            .bind(after)
            .bind(filter.active)
            .bind(filter.name.as_deref())
            .bind(limit)
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(KeyDetails::from).collect())
    }

    /// Counts the keys of an organization that work and expire later than `than`, or never.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_keys_outliving(&self, organization: OrganizationId, than: Timestamp) -> Result<i64, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_scalar(COUNT_OUTLIVING).bind(organization.0).bind(than.as_micros()).fetch_one(pool).await)
            .map_err(StoreError::from)
    }

    /// Lists the keys of an organization that work and expire between two times, the first first: at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_expiring_keys(
        &self,
        organization: OrganizationId,
        (from, until): (Timestamp, Timestamp),
        limit: i64,
    ) -> Result<Vec<ExpiringKey>, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_as::<_, ExpiringKey>(LIST_EXPIRING)
            .bind(organization.0)
            .bind(from.as_micros())
            .bind(until.as_micros())
            .bind(limit)
            .fetch_all(pool)
            .await)
        .map_err(StoreError::from)
    }

    /// Finds a key of an account by its id or name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_api_key(&self, account: ServiceAccountId, reference: &Reference) -> Result<Option<KeyDetails>, StoreError> {
        let row = on!(Db, &self.read, |pool| {
            let query = sqlx::query_as::<_, KeyDetailsRow>(find_by(reference)).bind(account.0);
            match reference {
                Reference::Id(id) => query.bind(*id).fetch_optional(pool).await,
                Reference::Name(name) => query.bind(name).fetch_optional(pool).await,
            }
        })?;
        Ok(row.map(KeyDetails::from))
    }
}

impl Tx {
    /// Makes an API key with its first value.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its name or hash is taken.
    pub async fn insert_api_key(&mut self, key: &ApiKey, value: &KeyValue, hash: &ApiKeyHash, maker: Option<&Maker>) -> Result<(), StoreError> {
        on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
            .bind(key.id.0)
            .bind(key.service_account_id.0)
            .bind(key.name.as_str())
            .bind(key.active)
            .bind(key.compromised_at.map(Timestamp::as_micros))
            .bind(key.created_at.as_micros())
            .execute(&mut **tx)
            .await
            .map(drop))?;
        self.insert_key_value(key, value, hash, maker).await
    }

    /// Gives a key a value, which `maker` knows as well; nobody is named where whoever made it has the database at hand.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the hash is taken or was once ended, or the key has a current value and this is another.
    pub async fn insert_key_value(&mut self, key: &ApiKey, value: &KeyValue, hash: &ApiKeyHash, maker: Option<&Maker>) -> Result<(), StoreError> {
        let retired: bool = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(IS_RETIRED).bind(&hash.0[..]).fetch_one(&mut **tx).await)?;
        if retired {
            return Err(StoreError::Conflict("retired_key_hashes.hash".to_owned()));
        }
        on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT_VALUE)
            .bind(value.id.0)
            .bind(key.id.0)
            .bind(&hash.0[..])
            .bind(&value.hint)
            .bind(value.grant.0)
            .bind(value.created_at.as_micros())
            .bind(value.expires_at.map(Timestamp::as_micros))
            .bind(value.retained_until.map(Timestamp::as_micros))
            .execute(&mut **tx)
            .await
            .map(drop))?;
        if let Some(maker) = maker {
            self.insert_maker_of_value(value.id, key.id, key.service_account_id, maker).await?;
        }
        self.add_status(NewGrant::of_value(value), value.created_at).await.map(drop)
    }

    /// Reads a key of an account that this transaction has locked.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_api_key(&mut self, account: ServiceAccountId, id: ApiKeyId) -> Result<Option<KeyDetails>, StoreError> {
        let row = on!(Engine, &mut self.engine, |tx| sqlx::query_as::<_, KeyDetailsRow>(FIND_BY_ID)
            .bind(account.0)
            .bind(id.0)
            .fetch_optional(&mut **tx)
            .await)?;
        Ok(row.map(KeyDetails::from))
    }

    /// Replaces name, active flag and compromise of a key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the name is taken.
    pub async fn update_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        self.note_change(key.service_account_id.0);
        on!(Engine, &mut self.engine, |tx| sqlx::query(UPDATE)
            .bind(key.id.0)
            .bind(key.name.as_str())
            .bind(key.active)
            .bind(key.compromised_at.map(Timestamp::as_micros))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Replaces grant, expiry and retention of a value of a key of this account. Another grant ends the tokens obtained with it so far.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn update_key_value(&mut self, account: ServiceAccountId, value: &KeyValue, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(account.0);
        self.follow_status(value.id.0, value.grant, value.ends_at(), now).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(UPDATE_VALUE)
            .bind(value.id.0)
            .bind(value.grant.0)
            .bind(value.expires_at.map(Timestamp::as_micros))
            .bind(value.retained_until.map(Timestamp::as_micros))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Forgets the value that a key had before its current one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_retained_value(&mut self, key: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
        self.end_status(Ended::Retained(key), now).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(RETIRE_RETAINED_HASH).bind(key.0).bind(now.as_micros()).execute(&mut **tx).await.map(drop))?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(DELETE_RETAINED).bind(key.0).execute(&mut **tx).await.map(drop)).map_err(StoreError::from)
    }

    /// Deletes a key with its values.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_api_key(&mut self, key: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
        self.end_status(Ended::Key(key), now).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(RETIRE_HASHES).bind(key.0).bind(now.as_micros()).execute(&mut **tx).await.map(drop))?;
        for sql in [DELETE_VALUES, DELETE] {
            on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(key.0).execute(&mut **tx).await.map(drop))?;
        }
        Ok(())
    }

    /// Gives every value of every key of an account a new grant, which ends the tokens obtained with them. The links that it made end, too.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn replace_grants(&mut self, account: ServiceAccountId, now: Timestamp, mut next: impl FnMut() -> SessionId) -> Result<(), StoreError> {
        self.note_change(account.0);
        self.end_status(Ended::Account(account), now).await?;
        self.delete_invitations_of(account.0, now).await?;
        let values: Vec<(Uuid, Option<i64>, Option<i64>)> =
            on!(Engine, &mut self.engine, |tx| sqlx::query_as(LIST_VALUES_OF_ACCOUNT).bind(account.0).fetch_all(&mut **tx).await)?;
        for (id, expires_at, retained_until) in values {
            let grant = next();
            on!(Engine, &mut self.engine, |tx| sqlx::query(SET_GRANT).bind(id).bind(grant.0).execute(&mut **tx).await.map(drop))?;
            let ends_at = [expires_at, retained_until].into_iter().flatten().min().map(Timestamp::from_micros);
            self.add_status(NewGrant { id: grant, ends_at, outlived: true }, now).await?;
        }
        Ok(())
    }
}
