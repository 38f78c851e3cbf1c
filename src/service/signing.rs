//! The signing keys of this node: read from the database, made where they are missing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::Sources;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::id::AuditEventId;
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;
use crate::keys::{KeyError, KeySet, MasterKey, SigningKey};
use crate::store::{Store, StoreError, StoredSigningKey};

/// What tokens for Hourpass itself are signed with.
const OWN_ALGORITHM: SigningAlgorithm = SigningAlgorithm::Es256;

/// How often the published keys are looked for at most, and for how long a validator is kept waiting.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_FOR: Duration = Duration::from_millis(200);

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cryptographic library refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The master key is not the one that the keys were sealed with.
    #[error("the master key does not open signing key {0} in the database: give this node the master key that the database was set up with")]
    MasterKey(String),
}

/// The signing keys in use.
#[derive(Debug)]
pub struct Signing {
    store: Store,
    master: MasterKey,
    sources: Sources,
    keys: RwLock<Arc<KeySet>>,
    /// When the keys to publish were last looked for.
    looked_at: Mutex<Option<Timestamp>>,
}

impl Signing {
    /// Reads the keys in use, and makes Hourpass's own where there is none.
    ///
    /// # Errors
    /// Where the database fails or the master key opens none of the keys.
    pub async fn open(store: Store, master: MasterKey, sources: Sources) -> Result<Self, SigningError> {
        let this = Self { store, master, sources, keys: RwLock::default(), looked_at: Mutex::default() };
        this.reload().await?;
        this.with_key_for(OWN_ALGORITHM).await?;
        Ok(this)
    }

    /// The keys as this node last saw them.
    #[must_use]
    pub fn known(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys to publish: as the database has them, or had them a second ago. When it cannot be asked in a moment, those that this node knows, for
    /// validators are not to stop because the database does.
    pub async fn published(&self) -> Arc<KeySet> {
        let now = self.sources.now();
        let due = {
            let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
            let due = looked_at.is_none_or(|at| now < at || now.since(at) >= LOOK_EVERY);
            if due {
                *looked_at = Some(now);
            }
            due
        };
        if due {
            match tokio::time::timeout(LOOK_FOR, self.reload()).await {
                Ok(Ok(keys)) => return keys,
                Ok(Err(error)) => tracing::warn!(%error, "the published keys may be out of date"),
                Err(_) => tracing::warn!("the published keys may be out of date: the database does not answer"),
            }
        }
        self.known()
    }

    /// Reads the keys in use anew: another node or a new workspace may have brought one.
    ///
    /// # Errors
    /// Where the database fails or a key does not open.
    pub async fn reload(&self) -> Result<Arc<KeySet>, SigningError> {
        let stored = self.store.list_signing_keys_in_use(OWN_ALGORITHM).await?;
        let known = self.known();
        let names: BTreeSet<&str> = stored.iter().map(|key| key.kid.as_str()).collect();
        if names == known.kids().collect() {
            return Ok(known);
        }
        let keys = stored.iter().map(|key| self.unseal(key)).collect::<Result<Vec<_>, _>>()?;
        let keys = Arc::new(KeySet::new(keys));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }

    /// The keys, among them one for `algorithm`, which is made where there is none yet.
    ///
    /// # Errors
    /// Where the database fails or a key does not open.
    pub async fn with_key_for(&self, algorithm: SigningAlgorithm) -> Result<Arc<KeySet>, SigningError> {
        let known = self.known();
        if known.current(algorithm).is_some() {
            return Ok(known);
        }
        // Apart, as it is large and seldom needed: whoever waits for an exchange carries its size along.
        Box::pin(self.reload_or_make(algorithm)).await
    }

    async fn reload_or_make(&self, algorithm: SigningAlgorithm) -> Result<Arc<KeySet>, SigningError> {
        let reloaded = self.reload().await?;
        if reloaded.current(algorithm).is_some() {
            return Ok(reloaded);
        }
        self.make(algorithm).await?;
        let made = self.reload().await?;
        if made.current(algorithm).is_none() {
            // Nothing uses the algorithm any more: the workspace changed in between.
            return Err(KeyError::Crypto(algorithm).into());
        }
        Ok(made)
    }

    fn unseal(&self, stored: &StoredSigningKey) -> Result<SigningKey, SigningError> {
        let pkcs8 = self.master.unseal(&stored.kid, &stored.sealed).map_err(|_| SigningError::MasterKey(stored.kid.clone()))?;
        let key = SigningKey::from_pkcs8(stored.algorithm, &pkcs8)?;
        if key.kid() == stored.kid && key.public_jwk()? == stored.public_jwk { Ok(key) } else { Err(KeyError::Public(stored.kid.clone()).into()) }
    }

    /// Makes a key. Of several nodes that do so at once, the first wins, and the others read its key.
    async fn make(&self, algorithm: SigningAlgorithm) -> Result<(), SigningError> {
        // An RSA key takes up to a second of a core.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let (key, pkcs8) = made.map_err(|_| KeyError::Crypto(algorithm))??;
        let sealed = self.master.seal(key.kid(), &pkcs8).map_err(|_| KeyError::Crypto(algorithm))?;
        let stored = StoredSigningKey { kid: key.kid().to_owned(), algorithm, public_jwk: key.public_jwk()?, sealed };
        let now = self.sources.now();
        let mut tx = self.store.begin().await?;
        if tx.insert_signing_key(&stored, now).await? {
            tx.insert_event(&Event {
                id: AuditEventId::generate(now, self.sources.random()),
                organization_id: None,
                occurred_at: now,
                actor: Actor::system(),
                action: Action::SigningKeyCreate,
                target: Target { kind: "signing_key", id: None, name: stored.kid.clone() },
                outcome: Outcome::Granted,
                origin: Origin::default(),
                token_expires_at: None,
                details: Some(serde_json::json!({ "algorithm": algorithm })),
            })
            .await?;
            tx.commit().await?;
            tracing::info!(kid = stored.kid, %algorithm, "made a signing key");
        }
        Ok(())
    }
}
