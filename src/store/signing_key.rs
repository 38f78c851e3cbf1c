//! Signing keys, sealed.

use sqlx::FromRow;

use super::{Db, Engine, Store, StoreError, Tx};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, created_at, retired_at) VALUES ($1, $2, $3, $4, $5, NULL) \
              ON CONFLICT DO NOTHING";
    // A key type is published only while something signs with it: some validators choke on a type that they don't know.
    LIST_IN_USE = "SELECT kid, algorithm, public_jwk, private_key FROM signing_keys k WHERE k.retired_at IS NULL \
                   AND (k.algorithm = $1 OR EXISTS (SELECT 1 FROM workspaces w WHERE w.signing_algorithm = k.algorithm)) ORDER BY k.created_at, k.kid";
    COUNT = "SELECT count(*) FROM signing_keys";
}

/// A signing key as it is kept.
#[derive(Clone, Debug)]
pub struct StoredSigningKey {
    /// Its name: the RFC 7638 thumbprint of its public half.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Its public half, as a JWK (RFC 7517) in JSON.
    pub public_jwk: String,
    /// Its private half, sealed with the master key.
    pub sealed: Vec<u8>,
}

#[derive(FromRow)]
struct SigningKeyRow {
    kid: String,
    algorithm: String,
    public_jwk: String,
    private_key: Vec<u8>,
}

impl TryFrom<SigningKeyRow> for StoredSigningKey {
    type Error = StoreError;

    fn try_from(row: SigningKeyRow) -> Result<Self, StoreError> {
        let algorithm = row.algorithm.parse().map_err(|_| StoreError::Corrupt(format!("signing_keys.algorithm {:?}", row.algorithm)))?;
        Ok(Self { kid: row.kid, algorithm, public_jwk: row.public_jwk, sealed: row.private_key })
    }
}

impl Store {
    /// Lists the current keys of the algorithm `always` and of those that workspaces use.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_signing_keys_in_use(&self, always: SigningAlgorithm) -> Result<Vec<StoredSigningKey>, StoreError> {
        let rows = on!(Db, &self.read, |pool| sqlx::query_as::<_, SigningKeyRow>(LIST_IN_USE).bind(always.as_str()).fetch_all(pool).await)?;
        rows.into_iter().map(StoredSigningKey::try_from).collect()
    }

    /// How many signing keys there are.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_signing_keys(&self) -> Result<i64, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_scalar(COUNT).fetch_one(pool).await).map_err(StoreError::from)
    }
}

impl Tx {
    /// Makes this the current key of its algorithm. `false`: there is one already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_signing_key(&mut self, key: &StoredSigningKey, now: Timestamp) -> Result<bool, StoreError> {
        let rows = on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
            .bind(&key.kid)
            .bind(key.algorithm.as_str())
            .bind(&key.public_jwk)
            .bind(&key.sealed)
            .bind(now.as_micros())
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }
}
