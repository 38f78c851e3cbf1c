//! Answers that are kept for repeated requests.

use sqlx::FromRow;

use super::{Engine, StoreError, Tx};
use crate::domain::api_key::ApiKeyHash;
use crate::domain::time::Timestamp;

statements! {
    FORGET = "DELETE FROM answers WHERE id = $1 AND expires_at <= $2";
    // If another transaction has claimed it, this waits until that one ends.
    CLAIM = "INSERT INTO answers (id, fingerprint, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    FIND = "SELECT fingerprint, sealed, secret_hash FROM answers WHERE id = $1";
    KEEP = "UPDATE answers SET sealed = $2, secret_hash = $3 WHERE id = $1";
    PRUNE = "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
}

#[derive(FromRow)]
struct AnswerRow {
    fingerprint: Vec<u8>,
    sealed: Option<Vec<u8>>,
    secret_hash: Option<Vec<u8>>,
}

/// An answer that was kept.
#[derive(Debug)]
pub struct StoredAnswer {
    /// Of which request.
    pub fingerprint: Vec<u8>,
    /// The answer, encrypted.
    pub sealed: Vec<u8>,
    /// The SHA-256 of the key or invitation that it shows.
    pub secret: Option<ApiKeyHash>,
}

impl TryFrom<AnswerRow> for StoredAnswer {
    type Error = StoreError;

    fn try_from(row: AnswerRow) -> Result<Self, StoreError> {
        let corrupt = |column: &str| StoreError::Corrupt(format!("answers.{column}"));
        let secret = row.secret_hash.map(|hash| hash.try_into().map(ApiKeyHash).map_err(|_| corrupt("secret_hash"))).transpose()?;
        Ok(Self { fingerprint: row.fingerprint, sealed: row.sealed.ok_or_else(|| corrupt("sealed"))?, secret })
    }
}

impl Tx {
    /// Claims the answer of this id for the request that this transaction works on. If a request that was answered before has it, returns what was kept.
    ///
    /// # Errors
    /// If the database fails, or another transaction keeps this one waiting for too long: see [`StoreError::is_lock_timeout`].
    pub async fn claim_answer(
        &mut self,
        id: &[u8; 32],
        fingerprint: &[u8; 32],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<StoredAnswer>, StoreError> {
        let row: Option<AnswerRow> = on!(Engine, &mut self.engine, |tx| {
            sqlx::query(FORGET).bind(id.as_slice()).bind(now.as_micros()).execute(&mut **tx).await?;
            let claim = sqlx::query(CLAIM).bind(id.as_slice()).bind(fingerprint.as_slice()).bind(expires_at.as_micros());
            if claim.execute(&mut **tx).await?.rows_affected() == 1 {
                return Ok(None);
            }
            sqlx::query_as(FIND).bind(id.as_slice()).fetch_optional(&mut **tx).await?
        });
        // Whoever pruned it in between: the next attempt finds it free.
        row.ok_or_else(StoreError::changed_meanwhile)?.try_into().map(Some)
    }

    /// Keeps the answer that was claimed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_answer(&mut self, id: &[u8; 32], sealed: &[u8], secret: Option<&ApiKeyHash>) -> Result<(), StoreError> {
        on!(Engine, &mut self.engine, |tx| sqlx::query(KEEP)
            .bind(id.as_slice())
            .bind(sealed)
            .bind(secret.map(|hash| hash.0.as_slice()))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Deletes at most `limit` answers that expired before this time. Returns how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn prune_answers(&mut self, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        self.delete_before(PRUNE, before, limit).await
    }
}
