//! The signing keys of this node: read from the database, made where they are missing, and made anew in time.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;

use super::Sources;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::id::{AuditEventId, OrganizationId};
use crate::domain::signing::{CLOCKS_DIFFER, KeyState, PUBLISHED_BEFORE, RETIRED_AFTER, Rotation, SigningAlgorithm};
use crate::domain::time::Timestamp;
use crate::keys::{KeyError, KeySet, MasterKey, PublishedKey, SigningKey};
use crate::store::{Position, SIGNING_KEYS, Store, StoreError, StoredSigningKey, Tx};

/// What tokens for Hourpass itself and status lists are signed with.
pub(super) const OWN_ALGORITHM: SigningAlgorithm = SigningAlgorithm::Es256;

/// How often the published keys are looked for at most, and for how long a validator is kept waiting.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_FOR: Duration = Duration::from_millis(200);
/// What was read longer ago is not handed out for others to keep.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// For how long the tokens are counted that an emergency ended: it is done already.
const COUNT_FOR: Duration = Duration::from_secs(2);

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
    /// The database holds no signing key.
    #[error("the database holds no signing key yet: start the server first, which makes it. Nothing was made")]
    None,
    /// There is no key of this algorithm that another could replace.
    #[error("there is no {0} signing key to rotate: the server makes the first one when a workspace uses {0}. Nothing was made")]
    NothingToRotate(SigningAlgorithm),
    /// Another node or operator did the same at the same moment.
    #[error("the {0} signing key was just rotated by somebody else, and nothing was done; look at the keys before you do it again")]
    RotatedMeanwhile(SigningAlgorithm),
}

impl SigningError {
    /// The failure of what somebody else did for several.
    #[must_use]
    pub fn of_another(error: &Self) -> Self {
        match error {
            Self::Store(error) => Self::Store(StoreError::of_another(error)),
            other => Self::Store(StoreError::Corrupt(other.to_string())),
        }
    }
}

/// A key, and where it is in its life.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    /// Its name.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub active_from: Timestamp,
    /// When the next one takes over, where that is known.
    pub active_until: Option<Timestamp>,
    /// Since when it is not published any more.
    pub retired_at: Option<Timestamp>,
}

/// A rotation that was done.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key that signs next.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// From when on.
    pub active_from: Timestamp,
    /// The keys that are published no more from now on.
    pub withdrawn: Vec<String>,
}

impl Rotated {
    /// Tells the log, when it is done.
    pub(super) fn tell(&self) {
        let Self { kid, algorithm, active_from, withdrawn } = self;
        tracing::info!(kid, %algorithm, active_from = active_from.as_seconds(), ?withdrawn, "the signing key that signs next");
    }
}

/// When a key is to begin to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once, where its algorithm has none.
    IfMissing,
    /// At once, in place of all others of its algorithm, which are withdrawn.
    Now,
    /// Then; published until then, and the others for as long as what they signed counts.
    At(Timestamp),
}

/// Who has keys rotated.
#[derive(Clone, Debug)]
pub struct RotatedBy {
    /// Who.
    pub actor: Actor,
    /// Whose audit trail it goes to; the first organization's, where nothing is said.
    pub organization: Option<OrganizationId>,
    /// Where the request came from.
    pub origin: Origin,
}

impl RotatedBy {
    pub(super) fn operator() -> Self {
        Self { actor: Actor::operator(), ..Self::system() }
    }

    pub(super) fn system() -> Self {
        Self { actor: Actor::system(), organization: None, origin: Origin::default() }
    }
}

/// A key that was made and is not kept yet.
#[derive(Debug)]
pub struct NewSigningKey {
    key: StoredSigningKey,
    /// The newest key of its algorithm when that was decided.
    seen: Option<String>,
}

/// The keys that are published, as a node knows them.
#[derive(Debug)]
pub struct Published {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// Whether they were read from the database just now.
    pub is_fresh: bool,
}

/// The keys as last read, and up to where the changes were followed then.
#[derive(Debug)]
struct Held {
    position: Position,
    /// When the reading began.
    read_at: Timestamp,
    keys: Arc<KeySet>,
}

/// The signing keys in use.
#[derive(Debug)]
pub struct Signing {
    store: Store,
    master: MasterKey,
    sources: Sources,
    rotation: Rotation,
    held: RwLock<Held>,
    /// When the keys to publish were last looked for.
    looked_at: Mutex<Option<Timestamp>>,
    /// Held by who makes a key that is missing.
    making: tokio::sync::Mutex<()>,
}

impl Signing {
    /// Reads the keys in use. Makes none.
    ///
    /// # Errors
    /// [`SigningError::None`] if there is no key; if the database fails or the master key opens none of the keys.
    pub async fn open(store: Store, master: MasterKey, sources: Sources, rotation: Rotation) -> Result<Self, SigningError> {
        let this = Self::unread(store, master, sources, rotation);
        if this.reload().await?.algorithms().contains(&OWN_ALGORITHM) { Ok(this) } else { Err(SigningError::None) }
    }

    /// Reads the keys in use, and makes Hourpass's own if there is none: for a server.
    ///
    /// # Errors
    /// If the database fails or the master key opens none of the keys.
    pub async fn open_or_create(store: Store, master: MasterKey, sources: Sources, rotation: Rotation) -> Result<Self, SigningError> {
        let this = Self::unread(store, master, sources, rotation);
        this.reload_or_make(OWN_ALGORITHM).await?;
        Ok(this)
    }

    fn unread(store: Store, master: MasterKey, sources: Sources, rotation: Rotation) -> Self {
        let held = RwLock::new(Held { position: store.changes().position(), read_at: Timestamp::from_seconds(0), keys: Arc::default() });
        Self { store, master, sources, rotation, held, looked_at: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    /// The keys as this node last saw them.
    #[must_use]
    pub fn known(&self) -> Arc<KeySet> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).keys)
    }

    /// The keys, as nobody is known to have changed them since.
    ///
    /// # Errors
    /// Where the database fails or a key does not open.
    pub async fn keys(&self) -> Result<Arc<KeySet>, SigningError> {
        let held = {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            self.store.changes().hold(held.position, &[SIGNING_KEYS]).then(|| Arc::clone(&held.keys))
        };
        match held {
            Some(keys) => Ok(keys),
            // Apart, as it is large and seldom needed: whoever waits for an exchange carries its size along.
            None => Box::pin(self.reload()).await,
        }
    }

    /// The keys to publish: as the database has them, or had them a second ago. When it cannot be asked in a moment, those that this node knows, for
    /// validators are not to stop because the database does.
    pub async fn published(&self) -> Published {
        let now = self.sources.now();
        let due = {
            let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
            let due = looked_at.is_none_or(|at| now < at || now.since(at) >= LOOK_EVERY);
            if due {
                *looked_at = Some(now);
            }
            due
        };
        // A new workspace may bring an algorithm into use, so that it is looked for now and then also where no key changed.
        let looking = async { if due { self.reload().await } else { self.keys().await } };
        match tokio::time::timeout(LOOK_FOR, looking).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the published keys may be out of date"),
            Err(_) => tracing::warn!("the published keys may be out of date: the database does not answer"),
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = held.read_at <= now && now.since(held.read_at) < FRESH_FOR;
        Published { keys: Arc::clone(&held.keys), is_fresh }
    }

    /// Reads the keys in use anew.
    ///
    /// # Errors
    /// Where the database fails or a key does not open.
    pub async fn reload(&self) -> Result<Arc<KeySet>, SigningError> {
        let (position, read_at) = (self.store.changes().position(), self.sources.now());
        let stored = self.store.list_signing_keys_in_use(OWN_ALGORITHM, read_at).await?;
        let known = self.known();
        let same = stored.len() == known.iter().count()
            && stored.iter().all(|key| known.iter().any(|it| (it.key.kid(), it.active_from) == (key.kid.as_str(), key.active_from)));
        let keys = if same { known } else { Arc::new(KeySet::new(stored.iter().map(|key| self.unseal(key)).collect::<Result<_, _>>()?)) };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held { position, read_at, keys: Arc::clone(&keys) };
        Ok(keys)
    }

    /// The keys, among them one for `algorithm`, which is made where there is none yet. It may not be its turn yet: see [`KeySet::awaited`].
    ///
    /// # Errors
    /// Where the database fails or a key does not open.
    pub async fn with_key_for(&self, algorithm: SigningAlgorithm) -> Result<Arc<KeySet>, SigningError> {
        let keys = self.keys().await?;
        if keys.algorithms().contains(&algorithm) { Ok(keys) } else { Box::pin(self.reload_or_make(algorithm)).await }
    }

    async fn reload_or_make(&self, algorithm: SigningAlgorithm) -> Result<Arc<KeySet>, SigningError> {
        // Of those who find on this node that there is none, one makes it.
        let _making = self.making.lock().await;
        let reloaded = self.reload().await?;
        if reloaded.algorithms().contains(&algorithm) {
            return Ok(reloaded);
        }
        let made = self.prepare(algorithm).await?;
        let mut tx = self.store.begin().await?;
        if algorithm == OWN_ALGORITHM {
            match self.rotate_in(&mut tx, made, Turn::IfMissing, &RotatedBy::system()).await {
                Ok(rotated) => {
                    tx.commit().await?;
                    rotated.tell();
                }
                // Of several nodes that do so at once, the first wins, and the others read its key.
                Err(SigningError::RotatedMeanwhile(_)) => drop(tx),
                Err(error) => return Err(error),
            }
        } else {
            self.introduce_in(&mut tx, algorithm, Some(made), &RotatedBy::system()).await?;
            tx.commit().await?;
        }
        let made = self.reload().await?;
        // Or else nothing uses the algorithm any more: the workspace changed in between.
        if made.algorithms().contains(&algorithm) { Ok(made) } else { Err(KeyError::Crypto(algorithm).into()) }
    }

    fn unseal(&self, stored: &StoredSigningKey) -> Result<PublishedKey, SigningError> {
        let pkcs8 = self.master.unseal(&stored.kid, &stored.sealed).map_err(|_| SigningError::MasterKey(stored.kid.clone()))?;
        let key = SigningKey::from_pkcs8(stored.algorithm, &pkcs8)?;
        if key.kid() != stored.kid || key.public_jwk()? != stored.public_jwk {
            return Err(KeyError::Public(stored.kid.clone()).into());
        }
        let introduced_at = stored.introduces.then_some(stored.created_at);
        Ok(PublishedKey { key, generation: stored.generation, active_from: stored.active_from, introduced_at, low_s: stored.low_s })
    }

    /// Makes a key, for [`Signing::rotate_in`]. It is kept nowhere yet.
    ///
    /// # Errors
    /// Where the cryptographic library refuses, and where the database fails.
    pub async fn prepare(&self, algorithm: SigningAlgorithm) -> Result<NewSigningKey, SigningError> {
        let stored = self.store.list_signing_keys().await?;
        let seen = stored.into_iter().rfind(|key| key.algorithm == algorithm && key.retired_at.is_none()).map(|key| key.kid);
        Ok(NewSigningKey { key: self.make(algorithm).await?, seen })
    }

    async fn make(&self, algorithm: SigningAlgorithm) -> Result<StoredSigningKey, KeyError> {
        // An RSA key takes up to a second of a core.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let (key, pkcs8) = made.map_err(|_| KeyError::Crypto(algorithm))??;
        let sealed = self.master.seal(key.kid(), &pkcs8).map_err(|_| KeyError::Crypto(algorithm))?;
        let (kid, public_jwk, now) = (key.kid().to_owned(), key.public_jwk()?, self.sources.now());
        Ok(StoredSigningKey {
            kid,
            algorithm,
            public_jwk,
            sealed,
            generation: 1,
            active_from: now,
            created_at: now,
            retired_at: None,
            introduces: false,
            low_s: true,
        })
    }

    /// Makes a key for an algorithm that is not published, for [`Signing::introduce_in`]: outside of the transaction, because that takes a while.
    ///
    /// # Errors
    /// Where the cryptographic library refuses, and where the database fails.
    pub async fn prepare_to_introduce(&self, algorithm: SigningAlgorithm) -> Result<Option<NewSigningKey>, SigningError> {
        let published = self.store.list_signing_keys_in_use(OWN_ALGORITHM, self.sources.now().plus(CLOCKS_DIFFER / 2)).await?;
        if published.iter().any(|key| key.algorithm == algorithm) { Ok(None) } else { self.prepare(algorithm).await.map(Some) }
    }

    /// Publishes the first key of an algorithm that something is to be signed with, unless the algorithm is published: before the transaction has anything use it. The key
    /// signs when everybody who keeps the published keys has read them again.
    ///
    /// # Errors
    /// Where the cryptographic library refuses, and where the database fails.
    pub async fn introduce_in(
        &self,
        tx: &mut Tx,
        algorithm: SigningAlgorithm,
        made: Option<NewSigningKey>,
        by: &RotatedBy,
    ) -> Result<(), SigningError> {
        if retire_unpublished(tx, &self.sources, algorithm, by).await? {
            return Ok(());
        }
        let mut made = match made {
            Some(made) => made.key,
            // It was published a moment ago. Nothing is read here but by the transaction: it may have the only connection.
            None => self.make(algorithm).await?,
        };
        let now = self.sources.now();
        let generations = tx.list_signing_keys().await?.into_iter().filter(|key| key.algorithm == algorithm).map(|key| key.generation);
        made.generation += generations.max().unwrap_or_default();
        (made.created_at, made.active_from, made.introduces) = (now, now.plus(PUBLISHED_BEFORE), true);
        // Otherwise somebody else introduces it at the same moment, which is as well.
        if tx.insert_signing_key(&made).await? {
            let details = json!({ "algorithm": algorithm, "active_from": made.active_from });
            record(tx, &self.sources, by, Action::SigningKeyCreate, &made.kid, details).await?;
        }
        Ok(())
    }

    /// Has `made` sign next, from its turn on. Where the next key is published already, or only a missing one was to be made and is there, all stays as it is, and `made` is dropped. In an
    /// emergency the keys that were published ahead go, too: they lay where the one lay that is withdrawn.
    ///
    /// # Errors
    /// Where somebody else did so at the same moment, and where the database fails.
    pub async fn rotate_in(&self, tx: &mut Tx, made: NewSigningKey, turn: Turn, by: &RotatedBy) -> Result<Rotated, SigningError> {
        let (NewSigningKey { key: mut made, seen }, now) = (made, self.sources.now());
        let algorithm = made.algorithm;
        let mut others: Vec<_> = tx.list_signing_keys().await?.into_iter().filter(|key| key.algorithm == algorithm).collect();
        made.generation += others.iter().map(|key| key.generation).max().unwrap_or_default();
        others.retain(|key| key.retired_at.is_none());
        let newest = others.last();
        let there = match turn {
            Turn::Now if newest.map(|key| &key.kid) != seen.as_ref() => return Err(SigningError::RotatedMeanwhile(algorithm)),
            Turn::Now => None,
            Turn::At(_) => newest.filter(|key| key.active_from > now),
            Turn::IfMissing => newest,
        };
        if let Some(key) = there {
            return Ok(Rotated { kid: key.kid.clone(), algorithm, active_from: key.active_from, withdrawn: Vec::new() });
        }
        (made.active_from, made.introduces) = match turn {
            Turn::At(at) => (at, others.is_empty()),
            Turn::Now | Turn::IfMissing => (now, false),
        };
        if !tx.insert_signing_key(&made).await? {
            return Err(SigningError::RotatedMeanwhile(algorithm));
        }
        let details = json!({ "algorithm": algorithm, "active_from": made.active_from });
        record(tx, &self.sources, by, Action::SigningKeyCreate, &made.kid, details).await?;
        let mut withdrawn = Vec::new();
        for other in others.into_iter().filter(|_| turn == Turn::Now) {
            tx.retire_signing_key(&other.kid, now).await?;
            record(tx, &self.sources, by, Action::SigningKeyWithdraw, &other.kid, json!({ "algorithm": algorithm })).await?;
            withdrawn.push(other.kid);
        }
        Ok(Rotated { kid: made.kid, algorithm, active_from: made.active_from, withdrawn })
    }

    /// Has another key sign, on behalf of whoever has the database at hand.
    ///
    /// # Errors
    /// Where somebody else did so at the same moment, and where the database fails.
    pub async fn rotate_by_operator(&self, algorithm: SigningAlgorithm, at_once: bool) -> Result<Rotated, SigningError> {
        let made = self.prepare(algorithm).await?;
        if made.seen.is_none() {
            return Err(SigningError::NothingToRotate(algorithm));
        }
        let mut tx = self.store.begin().await?;
        let by = RotatedBy::operator();
        let rotated = self.rotate_in(&mut tx, made, self.turn(at_once), &by).await?;
        tx.commit().await?;
        rotated.tell();
        Ok(rotated)
    }

    /// How many tokens, at most, the withdrawn keys have signed that have not expired: of all algorithms. Nothing where that takes too long to find out.
    pub async fn count_ended(&self, rotated: &Rotated) -> Option<i64> {
        if rotated.withdrawn.is_empty() { Some(0) } else { self.count_outstanding().await }
    }

    /// How many tokens, at most, have not expired: of all organizations and algorithms. Nothing where that takes too long to find out.
    pub async fn count_outstanding(&self) -> Option<i64> {
        let counted = tokio::time::timeout(COUNT_FOR, self.store.count_tokens_that_count(self.sources.now())).await;
        counted.ok()?.ok()
    }

    /// When a key takes its turn that somebody asks for: at once, or when it was published for long enough.
    #[must_use]
    pub fn turn(&self, at_once: bool) -> Turn {
        if at_once { Turn::Now } else { Turn::At(self.sources.now().plus(self.rotation.ahead())) }
    }

    /// Makes the keys that will be needed, and publishes those no more of which every token has expired.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn take_turns(&self) -> Result<(), SigningError> {
        let known = self.reload().await?.algorithms();
        for algorithm in SigningAlgorithm::ALL.into_iter().filter(|algorithm| !known.contains(algorithm)) {
            // A workspace that was made beside the server.
            if self.store.uses_signing_algorithm(algorithm).await? {
                self.reload_or_make(algorithm).await?;
            }
        }
        let (keys, now) = (self.reload().await?, self.sources.now());
        // What is retired stays so. A node whose clock is ahead is not to decide that alone.
        let certain = now.min(self.store.database_time().await?);
        for algorithm in keys.algorithms() {
            let of_algorithm: Vec<_> = keys.iter().filter(|it| it.key.algorithm() == algorithm).collect();
            if let Some(at) = of_algorithm.first().and_then(|newest| self.rotation.next(newest.active_from, now)) {
                let made = self.prepare(algorithm).await?;
                let mut tx = self.store.begin().await?;
                match self.rotate_in(&mut tx, made, Turn::At(at), &RotatedBy::system()).await {
                    Ok(rotated) => {
                        tx.commit().await?;
                        rotated.tell();
                    }
                    // By another node, which is as well.
                    Err(SigningError::RotatedMeanwhile(_)) => drop(tx),
                    Err(error) => return Err(error),
                }
            }
            // The newest comes first, so that each one's successor stands before it.
            for (_, over) in of_algorithm.iter().zip(of_algorithm.iter().skip(1)).filter(|(next, _)| next.active_from.plus(RETIRED_AFTER) <= certain)
            {
                let mut tx = self.store.begin().await?;
                if tx.retire_signing_key(over.key.kid(), now).await? {
                    record(&mut tx, &self.sources, &RotatedBy::system(), Action::SigningKeyRetire, over.key.kid(), json!({ "algorithm": algorithm }))
                        .await?;
                    tx.commit().await?;
                }
            }
        }
        Ok(())
    }

    /// Lists all keys that there ever were, with where each is in its life.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list(&self) -> Result<Vec<KeyInfo>, StoreError> {
        let (stored, now) = (self.store.list_signing_keys().await?, self.sources.now());
        let info = |key: &StoredSigningKey| {
            let successor = stored.iter().find(|it| it.algorithm == key.algorithm && it.generation == key.generation + 1);
            let active_until = successor.map(|it| it.active_from).or_else(|| Some(key.active_from.plus(self.rotation.every?)));
            KeyInfo {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                state: KeyState::of(key.active_from, successor.map(|it| it.active_from), key.retired_at.is_some(), now),
                created_at: key.created_at,
                active_from: key.active_from,
                active_until,
                retired_at: key.retired_at,
            }
        };
        Ok(stored.iter().map(info).collect())
    }
}

/// Retires the keys of an algorithm that is not published, unless it is. They signed nothing that counts any more, and nobody has read them for a while: if something is to
/// be signed with that algorithm again, it is with a key that was published before. Returns whether the algorithm is published.
///
/// # Errors
/// Where the database fails.
pub(super) async fn retire_unpublished(tx: &mut Tx, sources: &Sources, algorithm: SigningAlgorithm, by: &RotatedBy) -> Result<bool, StoreError> {
    let now = sources.now();
    // Read before it is looked what is published, so that a key that another transaction introduces in between is not among them.
    let all = tx.list_signing_keys().await?;
    // Not only by this clock: another node may be ahead, and publish it no longer.
    if tx.list_signing_keys_in_use(OWN_ALGORITHM, now.plus(CLOCKS_DIFFER / 2)).await?.iter().any(|key| key.algorithm == algorithm) {
        return Ok(true);
    }
    for key in all.iter().filter(|key| key.algorithm == algorithm && key.retired_at.is_none()) {
        if tx.retire_signing_key(&key.kid, now).await? {
            record(tx, sources, by, Action::SigningKeyRetire, &key.kid, json!({ "algorithm": algorithm })).await?;
        }
    }
    Ok(false)
}

async fn record(tx: &mut Tx, sources: &Sources, by: &RotatedBy, action: Action, kid: &str, details: serde_json::Value) -> Result<(), StoreError> {
    let now = sources.now();
    // Whoever runs this Hourpass is in its first organization.
    let organization_id = match by.organization {
        Some(organization) => Some(organization),
        None => tx.find_first_organization().await?,
    };
    tx.insert_event(&Event {
        id: AuditEventId::generate(now, sources.random()),
        organization_id,
        occurred_at: now,
        actor: by.actor.clone(),
        action,
        target: Target { kind: "signing_key", id: None, name: kid.to_owned() },
        outcome: Outcome::Granted,
        origin: by.origin.clone(),
        token_expires_at: None,
        details: Some(details),
    })
    .await
}
