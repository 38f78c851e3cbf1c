//! Requests that are repeated: a repeat with the same Idempotency-Key is answered with what was answered before, and nothing is done twice.
//!
//! The answer is kept in the transaction of the change, so that either both are there or none. Whether a repeat may have it is decided when it comes: by the same checks as the first
//! request, and by whether what the answer shows still works.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::authentication::Caller;
use super::makers::judge;
use super::management::{Management, ManagementError, require_cover};
use crate::domain::access::Access;
use crate::domain::api_key::ApiKeyHash;
use crate::keys::AnswerKey;
use crate::store::{Holder, StoreError, Tx};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// A request that came with an Idempotency-Key.
#[derive(Debug)]
pub struct Attempt {
    key: AnswerKey,
    /// Of the route and the body.
    fingerprint: [u8; 32],
}

impl Attempt {
    /// A request that consists of these parts.
    #[must_use]
    pub fn new(key: AnswerKey, request: &[&[u8]]) -> Self {
        Self { fingerprint: key.fingerprint(request), key }
    }
}

/// An answer as it was kept, which may hold what is shown once.
pub struct KeptAnswer(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for KeptAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeptAnswer([redacted])")
    }
}

/// Proof that this request is no repeat: what makes an [`Uncommitted`] needs one, so that no use case that makes something can forget to look.
#[derive(Debug)]
pub(super) struct Claim(Option<Arc<Attempt>>);

/// What a use case has made in a transaction that is not committed yet: the answer is kept with it.
#[must_use = "nothing was done until it is committed"]
pub struct Uncommitted<T> {
    tx: Tx,
    made: T,
    claim: Claim,
    secret: Option<ApiKeyHash>,
    afterwards: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Uncommitted<T> {
    pub(super) fn new(tx: Tx, claim: Claim, made: T) -> Self {
        Self { tx, made, claim, secret: None, afterwards: None }
    }

    /// The answer shows the key or invitation of this hash. A repeat is refused once it no longer works.
    pub(super) fn showing(mut self, secret: Option<ApiKeyHash>) -> Self {
        self.secret = secret;
        self
    }

    /// What to do when it is committed.
    pub(super) fn afterwards(mut self, work: impl FnOnce() + Send + 'static) -> Self {
        self.afterwards = Some(Box::new(work));
        self
    }

    /// Commits it with the answer that `render` makes of it, and returns that.
    ///
    /// # Errors
    /// Those of `render`, and if the database fails.
    pub async fn commit<E: From<ManagementError>>(self, render: impl FnOnce(T) -> Result<Zeroizing<Vec<u8>>, E>) -> Result<KeptAnswer, E> {
        let Self { mut tx, made, claim, secret, afterwards } = self;
        let answer = render(made)?;
        if let Claim(Some(attempt)) = claim {
            let sealed = attempt.key.seal(&answer).map_err(|error| ManagementError::from(StoreError::Corrupt(error.to_string())))?;
            tx.keep_answer(attempt.key.id(), &sealed, secret.as_ref()).await.map_err(ManagementError::from)?;
        }
        tx.commit().await.map_err(ManagementError::from)?;
        if let Some(work) = afterwards {
            work();
        }
        Ok(KeptAnswer(answer))
    }
}

impl Management {
    /// Claims the answer for this request. To be called when the caller was checked, and before anything is written or found to be taken.
    ///
    /// # Errors
    /// [`ManagementError::Repeated`] with the answer, if the request was answered before, and why a repeat does not get it.
    pub(super) async fn claim(&self, tx: &mut Tx, caller: &Caller) -> Result<Claim, ManagementError> {
        let Some(attempt) = &caller.attempt else { return Ok(Claim(None)) };
        let (id, now) = (attempt.key.id(), self.sources.latest());
        let found = tx.claim_answer(id, &attempt.fingerprint, now, now.plus(KEPT_FOR)).await;
        let found = found.map_err(|error| if error.is_lock_timeout() { ManagementError::InProgress } else { error.into() })?;
        let Some(kept) = found else { return Ok(Claim(Some(Arc::clone(attempt)))) };
        if kept.fingerprint != attempt.fingerprint {
            return Err(ManagementError::KeyReused);
        }
        if let Some(secret) = kept.secret {
            self.check_shown(tx, caller, &secret).await?;
        }
        let answer = attempt.key.open(&kept.sealed).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Err(ManagementError::Repeated(KeptAnswer(answer)))
    }

    /// Refuses a repeat whose answer shows a key or invitation that no longer works, or that by now gives more than the caller holds.
    async fn check_shown(&self, tx: &mut Tx, caller: &Caller, secret: &ApiKeyHash) -> Result<(), ManagementError> {
        let now = self.sources.latest();
        if let Some(mut found) = tx.find_key_credential(secret).await? {
            if found.made_by_other {
                let owners = Access::of(&tx.list_assignments(Holder::ServiceAccount(found.account.id)).await?);
                let makers = tx.list_makers(found.value.id.0).await?;
                found.left_behind = judge(owners, &makers, async |holder| tx.list_assignments(holder).await).await?.is_none();
            }
            if found.value.retained_until.is_some() || found.check(now).is_err() {
                return Err(ManagementError::Outdated);
            }
            return require_cover(tx, caller, Holder::ServiceAccount(found.account.id), &found.account.name).await;
        }
        let invitation = tx.find_invitation(secret).await?.filter(|invitation| invitation.expires_at > now).ok_or(ManagementError::Outdated)?;
        let user = tx.find_user_credential(invitation.user).await?.ok_or(ManagementError::Outdated)?;
        if user.check().is_err() {
            return Err(ManagementError::Outdated);
        }
        // The first administrator of another organization is invited by who manages the platform, who holds nothing there.
        if user.organization.id == caller.organization().id {
            require_cover(tx, caller, Holder::User(user.user.id), &user.user.email).await?;
        }
        Ok(())
    }
}
