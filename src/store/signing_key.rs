//! Signing keys, sealed.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Store, StoreError, Tx};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, created_at, generation, active_from, introduces, low_s) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
              ON CONFLICT DO NOTHING";
    // A key type is published only while something signs with it, and what was signed with it counts: some validators choke on a type that they don't know.
    LIST_IN_USE = "SELECT kid, algorithm, public_jwk, private_key, generation, active_from, created_at, retired_at, introduces, low_s FROM signing_keys k \
                   WHERE k.retired_at IS NULL AND (k.algorithm = $1 OR k.published_until > $2 OR EXISTS (SELECT 1 FROM workspaces w WHERE w.signing_algorithm = k.algorithm)) \
                   ORDER BY k.algorithm, k.generation";
    LIST = "SELECT kid, algorithm, public_jwk, private_key, generation, active_from, created_at, retired_at, introduces, low_s FROM signing_keys ORDER BY algorithm, generation";
    PUBLISH_UNTIL = "UPDATE signing_keys SET published_until = $2 WHERE algorithm = $1";
    RETIRE = "UPDATE signing_keys SET retired_at = $2 WHERE kid = $1 AND retired_at IS NULL";
    USES = "SELECT EXISTS (SELECT 1 FROM workspaces WHERE signing_algorithm = $1)";
    COUNT = "SELECT count(*) FROM signing_keys";
}

/// Whom a change of the signing keys is noted for: no account, person or organization has this id.
pub const SIGNING_KEYS: Uuid = Uuid::nil();

/// A signing key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSigningKey {
    /// Its name: the RFC 7638 thumbprint of its public half.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Its public half, as a JWK (RFC 7517) in JSON.
    pub public_jwk: String,
    /// Its private half, sealed with the master key.
    pub sealed: Vec<u8>,
    /// The how manieth of its algorithm it is, from 1 on.
    pub generation: i64,
    /// From when on it signs, until the next one does.
    pub active_from: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is not published any more.
    pub retired_at: Option<Timestamp>,
    /// Whether its algorithm was not published when it was made, so that nothing is signed with that until `active_from`.
    pub introduces: bool,
    /// Whether all its ES256 signatures have a low s. Older versions made both, and their keys say no.
    pub low_s: bool,
}

#[derive(FromRow)]
struct SigningKeyRow {
    kid: String,
    algorithm: String,
    public_jwk: String,
    private_key: Vec<u8>,
    generation: i64,
    active_from: i64,
    created_at: i64,
    retired_at: Option<i64>,
    introduces: bool,
    low_s: bool,
}

impl TryFrom<SigningKeyRow> for StoredSigningKey {
    type Error = StoreError;

    fn try_from(row: SigningKeyRow) -> Result<Self, StoreError> {
        let algorithm = row.algorithm.parse().map_err(|_| StoreError::Corrupt(format!("signing_keys.algorithm {:?}", row.algorithm)))?;
        Ok(Self {
            kid: row.kid,
            algorithm,
            public_jwk: row.public_jwk,
            sealed: row.private_key,
            generation: row.generation,
            active_from: Timestamp::from_micros(row.active_from),
            created_at: Timestamp::from_micros(row.created_at),
            retired_at: row.retired_at.map(Timestamp::from_micros),
            introduces: row.introduces,
            low_s: row.low_s,
        })
    }
}

reads! {
    /// Lists the keys that are published: those of the algorithm `always` and of those that workspaces use, or used just before `now`, the oldest of each first.
    fn list_signing_keys_in_use(always: SigningAlgorithm, now: Timestamp) -> Vec<StoredSigningKey> = |connection| {
        let rows = sqlx::query_as::<_, SigningKeyRow>(LIST_IN_USE).bind(always.as_str()).bind(now.as_micros()).fetch_all(connection).await?;
        rows.into_iter().map(StoredSigningKey::try_from).collect()
    };
    /// Lists all keys that there ever were, the oldest of each algorithm first.
    fn list_signing_keys() -> Vec<StoredSigningKey> = |connection| {
        let rows = sqlx::query_as::<_, SigningKeyRow>(LIST).fetch_all(connection).await?;
        rows.into_iter().map(StoredSigningKey::try_from).collect()
    };
}

impl Store {
    /// Whether a workspace has its tokens signed with this algorithm.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn uses_signing_algorithm(&self, algorithm: SigningAlgorithm) -> Result<bool, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_scalar(USES).bind(algorithm.as_str()).fetch_one(pool).await).map_err(StoreError::from)
    }

    /// How many signing keys there are.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_signing_keys(&self) -> Result<i64, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_scalar(COUNT).fetch_one(pool).await).map_err(StoreError::from)
    }
}

writes! {
    /// Has the keys of an algorithm be published until then, whoever signs with it.
    fn publish_signing_keys_until(algorithm: SigningAlgorithm, until: Timestamp) [changes SIGNING_KEYS] =
        PUBLISH_UNTIL(algorithm.as_str(), until.as_micros());
}

impl Tx {
    /// Publishes a key no more. `false`: it is not published already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn retire_signing_key(&mut self, kid: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.note_change(SIGNING_KEYS);
        let rows = on!(Engine, &mut self.engine, |tx| sqlx::query(RETIRE)
            .bind(kid)
            .bind(now.as_micros())
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// Adds a key. `false`: its algorithm has one of this generation already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_signing_key(&mut self, key: &StoredSigningKey) -> Result<bool, StoreError> {
        self.note_change(SIGNING_KEYS);
        let rows = on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
            .bind(&key.kid)
            .bind(key.algorithm.as_str())
            .bind(&key.public_jwk)
            .bind(&key.sealed)
            .bind(key.created_at.as_micros())
            .bind(key.generation)
            .bind(key.active_from.as_micros())
            .bind(key.introduces)
            .bind(key.low_s)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }
}
