//! Who is calling: an API key or an access token, looked at afresh with every request.

use super::memory::Known;
use super::{Context, SigningError};
use crate::domain::access::Access;
use crate::domain::api_key::RawApiKey;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::claims::{AccessTokenClaims, PrincipalType};
use crate::domain::credential::{KeyCredential, Refusal, SessionCredential};
use crate::domain::entity::Organization;
use crate::domain::id::AuditEventId;
use crate::domain::time::Timestamp;
use crate::keys;
use crate::store::{Holder, Member, StoreError, Tx};

/// Why a credential does not count.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Not a key or token of ours, altered, over, or for someone else. The reason is for the log alone.
    #[error("the credential is not known here, has expired, or is for another service; exchange your API key at /auth/login for a new token")]
    Invalid(String),
    /// Proven, and refused all the same.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A key as Bearer, where that is switched off.
    #[error("this server takes API keys only at /auth/login; exchange the key there and send the access_token")]
    DirectUse,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SigningError> for AuthenticationError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Store(error) => Self::Store(error),
            other => Self::Store(StoreError::Corrupt(other.to_string())),
        }
    }
}

impl AuthenticationError {
    /// The stable code of the error body.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_credentials",
            Self::Refused(refusal) => refusal.code(),
            Self::DirectUse => "api_key_direct_use_disabled",
            Self::Store(StoreError::Unavailable(_)) => "unavailable",
            Self::Store(_) => "internal_error",
        }
    }
}

/// Who someone proved to be.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A machine, by its key or by a token obtained with it.
    ServiceAccount(Box<KeyCredential>),
    /// A person, by a token of their sign-in.
    User(Box<SessionCredential>),
}

impl Principal {
    /// As a member of teams.
    pub(super) fn member(&self) -> Member {
        match self {
            Self::ServiceAccount(credential) => Member::ServiceAccount(credential.account.id),
            Self::User(credential) => Member::User(credential.holder.user.id),
        }
    }

    fn holder(&self) -> Holder {
        match self {
            Self::ServiceAccount(credential) => Holder::ServiceAccount(credential.account.id),
            Self::User(credential) => Holder::User(credential.holder.user.id),
        }
    }
}

/// Someone who calls, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// What they may do with this credential.
    pub access: Access,
    /// What the token that they called with says, where it was narrowed: it bounds what they may do.
    bound: Option<Access>,
}

impl Caller {
    fn new(principal: Principal, all: Access, bound: Option<Access>) -> Self {
        let access = match &bound {
            Some(bound) => all.narrowed(bound),
            None => all,
        };
        Self { principal, access, bound }
    }

    /// The caller as they are now, seen from a transaction that has locked their account: a request may have come in before their rights were taken away, and
    /// its body long after. A person is locked here.
    ///
    /// # Errors
    /// Where their credential counts no more.
    pub(super) async fn again(&self, tx: &mut Tx, now: Timestamp) -> Result<Self, AuthenticationError> {
        let principal = match &self.principal {
            Principal::ServiceAccount(credential) => {
                let found = tx.find_key_credential_by_grant(credential.value.grant).await?;
                let found = found.ok_or_else(|| invalid("the API key is gone, or its tokens were ended"))?;
                found.check(now)?;
                Principal::ServiceAccount(Box::new(found))
            }
            Principal::User(credential) => {
                let found = tx.lock_session(credential.holder.user.id, credential.session.id).await?;
                let found = found.filter(|found| found.session.expires_at > now).ok_or_else(|| invalid("the sign-in is over"))?;
                found.holder.check()?;
                Principal::User(Box::new(found))
            }
        };
        let assignments = tx.list_assignments(principal.holder()).await?;
        Ok(Self::new(principal, Access::of(&assignments), self.bound.clone()))
    }

    /// The caller's organization: the only one that they see.
    #[must_use]
    pub fn organization(&self) -> &Organization {
        match &self.principal {
            Principal::ServiceAccount(credential) => &credential.organization,
            Principal::User(credential) => &credential.holder.organization,
        }
    }

    /// As the audit trail knows them.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match &self.principal {
            Principal::ServiceAccount(credential) => credential.as_ref().into(),
            Principal::User(credential) => Actor { session_id: Some(credential.session.id), ..Actor::from(&credential.holder) },
        }
    }
}

/// Finds out who is calling.
#[derive(Debug)]
pub struct Authenticator {
    context: Context,
    direct_use: bool,
}

impl Authenticator {
    /// With `direct_use`, API keys count as well as tokens.
    #[must_use]
    pub fn new(context: Context, direct_use: bool) -> Self {
        Self { context, direct_use }
    }

    /// Finds out whose `credential` this is, an API key or an access token for Hourpass itself.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn authenticate(&self, credential: &str, origin: &Origin) -> Result<Caller, AuthenticationError> {
        let now = self.context.sources.now();
        // A JWT is three parts, and the first begins with {" in base64url.
        let ((principal, access), bound) = if credential.starts_with("eyJ") && credential.matches('.').count() == 2 {
            let published = self.context.signing.keys().await?;
            let claims = keys::verify(&published, credential, &self.context.issuer, now).map_err(invalid)?;
            (self.by_token(&claims).await?, claims.narrowed.then(|| claims.access()))
        } else {
            (self.by_key(&RawApiKey::from_presented(credential.to_owned()), origin, now).await?, None)
        };
        Ok(Caller::new(principal, access, bound))
    }

    /// Ends a person's sign-in, and with it the tokens that it yielded. A machine has none to end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sign_out(&self, caller: &Caller, origin: Origin) -> Result<(), AuthenticationError> {
        let Principal::User(credential) = &caller.principal else { return Ok(()) };
        let now = self.context.sources.now();
        let event = Event {
            id: AuditEventId::generate(now, self.context.sources.random()),
            organization_id: Some(caller.organization().id),
            occurred_at: now,
            actor: caller.actor(),
            action: Action::UserSignOut,
            target: Target::from(&credential.holder.user),
            outcome: Outcome::Granted,
            origin,
            token_expires_at: None,
            details: None,
        };
        let mut tx = self.context.store.begin().await?;
        tx.delete_session(credential.holder.user.id, credential.session.id, now).await?;
        tx.insert_event(&event).await?;
        Ok(tx.commit().await?)
    }

    async fn by_key(&self, key: &RawApiKey, origin: &Origin, now: Timestamp) -> Result<(Principal, Access), AuthenticationError> {
        if !key.may_exist(&self.context.prefix) {
            return Err(invalid("not in the form of an API key"));
        }
        let found = self.context.memory.key(key.hash()).await?.ok_or_else(|| invalid("unknown API key"))?;
        if !self.direct_use {
            return Err(AuthenticationError::DirectUse);
        }
        found.credential.check(self.context.sources.latest())?;
        self.context.usage.note(&found.credential, origin, now);
        Ok(of_key(&found))
    }

    /// A token is only as good as the key value or the sign-in that it was obtained with.
    async fn by_token(&self, claims: &AccessTokenClaims) -> Result<(Principal, Access), AuthenticationError> {
        match (claims.principal_type, claims.api_key_id, claims.sid) {
            (PrincipalType::ServiceAccount, Some(key), Some(grant)) => {
                let found = self.context.memory.grant(grant).await?.filter(|found| found.credential.key.id == key);
                let found = found.ok_or_else(|| invalid("the API key of the token is gone, or its tokens were ended"))?;
                found.credential.check(self.context.sources.latest())?;
                Ok(of_key(&found))
            }
            (PrincipalType::User, None, Some(session)) => {
                let found = self.context.memory.session(session).await?.ok_or_else(|| invalid("the sign-in of the token is over"))?;
                if found.credential.session.expires_at <= self.context.sources.latest() {
                    return Err(invalid("the sign-in of the token is over"));
                }
                found.credential.holder.check()?;
                Ok((Principal::User(Box::new(found.credential.clone())), found.access.clone()))
            }
            _ => Err(invalid("the token names neither a key nor a sign-in")),
        }
    }
}

fn of_key(found: &Known<KeyCredential>) -> (Principal, Access) {
    (Principal::ServiceAccount(Box::new(found.credential.clone())), found.access.clone())
}

fn invalid(reason: impl ToString) -> AuthenticationError {
    AuthenticationError::Invalid(reason.to_string())
}
