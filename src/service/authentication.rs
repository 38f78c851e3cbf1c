//! Who is calling: an API key, an access token or a session's cookie, looked at afresh with every request.

use std::sync::Arc;

use super::idempotency::Attempt;
use super::makers::{judge, password_counts};
use super::memory::Known;
use super::{Context, SigningError};
use crate::domain::access::Access;
use crate::domain::api_key::RawApiKey;
use crate::domain::audit::{Actor, Origin};
use crate::domain::claims::{AccessTokenClaims, PrincipalType};
use crate::domain::credential::{KeyCredential, Refusal, SessionCredential};
use crate::domain::entity::{Organization, Session};
use crate::domain::id::SessionId;
use crate::domain::time::Timestamp;
use crate::keys;
use crate::store::{Holder, Maker, Member, SessionHolder, StoreError, Tx};

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
            Self::Store(error) => error.code(),
        }
    }
}

/// Who someone proved to be.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A machine, by its key, by a token obtained with it, or in a browser where somebody signed in with it.
    ServiceAccount(Box<KeyCredential>),
    /// A person, by a token of their sign-in, or in the browser where they signed in.
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
    /// What they sent, if it came with an Idempotency-Key.
    pub attempt: Option<Arc<Attempt>>,
}

impl Caller {
    fn new(principal: Principal, all: Access, bound: Option<Access>) -> Self {
        let access = match &bound {
            Some(bound) => all.narrowed(bound),
            None => all,
        };
        Self { principal, access, bound, attempt: None }
    }

    /// The caller as they are now, seen from a transaction that has locked their account: a request may have come in before their rights were taken away, and
    /// its body long after. A person is locked here.
    ///
    /// # Errors
    /// Where their credential counts no more.
    pub(super) async fn again(&self, tx: &mut Tx, now: Timestamp) -> Result<Self, AuthenticationError> {
        let (principal, access) = match &self.principal {
            Principal::ServiceAccount(credential) => {
                let mut found = match credential.session {
                    Some(session) => tx.find_key_session(session.id).await?,
                    None => tx.find_key_credential_by_grant(credential.value.grant).await?,
                }
                .ok_or_else(|| invalid("the API key is gone, or its tokens were ended"))?;
                let mut access = Access::of(&tx.list_assignments(self.principal.holder()).await?);
                if found.made_by_other {
                    let makers = tx.list_makers(found.value.id.0).await?;
                    let judged = judge(access, &makers, async |holder| tx.list_assignments(holder).await).await?;
                    found.left_behind = judged.is_none();
                    access = judged.map(|judged| judged.access).unwrap_or_default();
                }
                check_key(&found, now)?;
                (Principal::ServiceAccount(Box::new(found)), access)
            }
            Principal::User(credential) => {
                let found = tx.lock_session(credential.holder.user.id, credential.session.id).await?;
                let mut found = found.filter(|found| found.session.is_valid(now)).ok_or_else(|| invalid("the sign-in is over"))?;
                let access = Access::of(&tx.list_assignments(self.principal.holder()).await?);
                if found.holder.user.password_by_other {
                    let makers = tx.list_makers(found.holder.user.id.0).await?;
                    found.holder.left_behind = !password_counts(access.clone(), &makers, async |holder| tx.list_assignments(holder).await).await?;
                }
                found.holder.check()?;
                (Principal::User(Box::new(found)), access)
            }
        };
        let attempt = self.attempt.clone();
        Ok(Self { attempt, ..Self::new(principal, access, self.bound.clone()) })
    }

    /// The caller's organization: the only one that they see.
    #[must_use]
    pub fn organization(&self) -> &Organization {
        match &self.principal {
            Principal::ServiceAccount(credential) => &credential.organization,
            Principal::User(credential) => &credential.holder.organization,
        }
    }

    /// Their id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.principal.member().id().into_bytes()
    }

    /// The sign-in that they called with; nothing where it was a key, or a token of one.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        match &self.principal {
            Principal::ServiceAccount(credential) => credential.session,
            Principal::User(credential) => Some(credential.session),
        }
    }

    /// As the maker of what they make, with what they called with.
    pub(super) fn maker(&self) -> Maker {
        let principal = self.principal.member();
        let (made_with, made_with_key) = match &self.principal {
            Principal::ServiceAccount(credential) => (credential.value.id.0, Some(credential.key.id)),
            Principal::User(credential) => (credential.holder.user.id.0, None),
        };
        Maker { principal, made_with, made_with_key, session: self.session().map(|session| session.id) }
    }

    /// Whether they called with a token that says less than all that they may do.
    #[must_use]
    pub const fn is_narrowed(&self) -> bool {
        self.bound.is_some()
    }

    /// Whose sign-ins are theirs.
    pub(super) fn session_holder(&self) -> SessionHolder {
        match &self.principal {
            Principal::ServiceAccount(credential) => SessionHolder::ServiceAccount(credential.account.id),
            Principal::User(credential) => SessionHolder::User(credential.holder.user.id),
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

    /// Finds out who signed in with the browser that sent this `cookie`.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn authenticate_cookie(&self, cookie: &RawApiKey) -> Result<Caller, AuthenticationError> {
        if !cookie.is_well_formed() {
            return Err(invalid("not in the form of a session's cookie"));
        }
        let found = self.context.memory.cookie(cookie.hash()).await?.ok_or_else(|| invalid("unknown cookie"))?;
        let (principal, access) = match *found {
            (session, PrincipalType::User) => self.by_session(session).await?,
            (session, PrincipalType::ServiceAccount) => {
                let found = self.context.memory.grant(session).await?.ok_or_else(|| invalid("the sign-in is over"))?;
                self.of_key(&found)?
            }
        };
        Ok(Caller::new(principal, access, None))
    }

    /// The caller as they are now, for an answer that takes long: what they called with may have ended since.
    ///
    /// # Errors
    /// Why it does not count any more.
    pub async fn authenticate_again(&self, caller: &Caller) -> Result<Caller, AuthenticationError> {
        let (principal, access) = match &caller.principal {
            Principal::ServiceAccount(credential) => {
                let sid = credential.session.map_or(credential.value.grant, |session| session.id);
                let found = self.context.memory.grant(sid).await?;
                self.of_key(&*found.ok_or_else(|| invalid("the API key is gone, or its tokens were ended"))?)?
            }
            Principal::User(credential) => self.by_session(credential.session.id).await?,
        };
        Ok(Caller::new(principal, access, caller.bound.clone()))
    }

    async fn by_key(&self, key: &RawApiKey, origin: &Origin, now: Timestamp) -> Result<(Principal, Access), AuthenticationError> {
        if !key.may_exist(&self.context.prefix) {
            return Err(invalid("not in the form of an API key"));
        }
        let found = self.context.memory.key(key.hash()).await?.ok_or_else(|| invalid("unknown API key"))?;
        if !self.direct_use {
            return Err(AuthenticationError::DirectUse);
        }
        let known = self.of_key(&found)?;
        self.context.usage.note(&found.credential, origin, now);
        Ok(known)
    }

    /// A token is only as good as the key value or the sign-in that it was obtained with.
    async fn by_token(&self, claims: &AccessTokenClaims) -> Result<(Principal, Access), AuthenticationError> {
        match (claims.principal_type, claims.api_key_id, claims.sid) {
            (PrincipalType::ServiceAccount, Some(key), Some(grant)) => {
                let found = self.context.memory.grant(grant).await?.filter(|found| found.credential.key.id == key);
                let found = found.ok_or_else(|| invalid("the API key of the token is gone, or its tokens were ended"))?;
                self.of_key(&found)
            }
            (PrincipalType::User, None, Some(session)) => self.by_session(session).await,
            _ => Err(invalid("the token names neither a key nor a sign-in")),
        }
    }

    async fn by_session(&self, id: SessionId) -> Result<(Principal, Access), AuthenticationError> {
        let found = self.context.memory.session(id).await?.filter(|found| found.credential.session.is_valid(self.context.sources.latest()));
        let found = found.ok_or_else(|| invalid("the sign-in is over"))?;
        found.credential.holder.check()?;
        Ok((Principal::User(Box::new(found.credential.clone())), found.access.clone()))
    }

    fn of_key(&self, found: &Known<KeyCredential>) -> Result<(Principal, Access), AuthenticationError> {
        check_key(&found.credential, self.context.sources.latest())?;
        Ok((Principal::ServiceAccount(Box::new(found.credential.clone())), found.access.clone()))
    }
}

/// Whether a key may be used, and the sign-in that stands for it, where it is one.
fn check_key(credential: &KeyCredential, now: Timestamp) -> Result<(), AuthenticationError> {
    if credential.session.is_some_and(|session| !session.is_valid(now)) {
        return Err(invalid("the sign-in is over"));
    }
    Ok(credential.check(now)?)
}

fn invalid(reason: impl ToString) -> AuthenticationError {
    AuthenticationError::Invalid(reason.to_string())
}
