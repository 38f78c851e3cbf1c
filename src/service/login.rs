//! The exchange: an API key, or a person's password, for a short-lived access token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;

use super::Sources;
use super::passwords::{PasswordError, Passwords};
use super::signing::{Signing, SigningError};
use crate::domain::access::Access;
use crate::domain::api_key::RawApiKey;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::claims::{AccessTokenClaims, PrincipalType};
use crate::domain::credential::{KeyCredential, Refusal, UserCredential};
use crate::domain::entity::{Session, Workspace};
use crate::domain::id::{AuditEventId, OrganizationId, Reference, SessionId, TokenId};
use crate::domain::name::Email;
use crate::domain::permission::{self, Permission};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;
use crate::keys::{self, KeyError};
use crate::store::{Holder, Store, StoreError};

/// The life of a token for Hourpass itself, in seconds.
const OWN_LIFETIME_SECONDS: i64 = 3_600;
/// Who asks for a person's token: Hourpass's own sign-in.
const OWN_CLIENT_ID: &str = "hourpass";

/// What someone presents.
#[derive(Debug)]
pub enum Presented {
    /// An API key.
    ApiKey(RawApiKey),
    /// A person's address and password.
    Password {
        /// As typed.
        email: String,
        /// As typed.
        password: SecretString,
    },
}

/// Whom the token is to be for.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// Hourpass itself.
    Hourpass,
    /// The workspace of this slug or id.
    Workspace(Reference),
    /// Whoever has this audience: Hourpass itself or a workspace.
    Audience(String),
    /// The workspace that is reached at this host.
    Host(String),
}

/// A wish for a token.
#[derive(Debug)]
pub struct LoginRequest {
    /// Who asks.
    pub presented: Presented,
    /// For whom the token is to be.
    pub receiver: Receiver,
    /// The permissions asked for, with spaces between them; all that are held where this is nothing or empty.
    pub scope: Option<String>,
    /// Where the request came from.
    pub origin: Origin,
}

/// An issued token. Its record is durable.
#[derive(Debug)]
pub struct Issued {
    /// The token in compact form.
    pub access_token: String,
    /// Its life in seconds: always `exp - iat`.
    pub expires_in: i64,
    /// Its permissions.
    pub scope: Option<String>,
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// An unknown API key.
    #[error("this API key is not known here; check that all of it was copied, and that it is a key of this server")]
    UnknownKey,
    /// An unknown address or a wrong password: which of them is not said.
    #[error("the email address or the password is wrong; to exchange an API key, send it as password and leave username out")]
    WrongPassword,
    /// The secret is right, and refused all the same.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many sign-ins at once.
    #[error("too many sign-ins at once; try again in a second")]
    Busy,
    /// No such workspace in the caller's organization.
    #[error("there is no workspace {0} in your organization; check the name, or leave it out for a token for Hourpass itself")]
    InvalidTarget(String),
    /// A login for a workspace that names none.
    #[error("say which workspace: send workspace=<slug>, or post to /workspaces/<slug>/api/v1/login, or to the workspace's own host")]
    NoTarget,
    /// The caller may do nothing there.
    #[error("you hold no permission in workspace {0}; ask an administrator for a role there")]
    AccessDenied(String),
    /// More permissions were asked for than are held.
    #[error("the scope {0} is more than you hold there; leave scope out to get all that you hold")]
    InvalidScope(String),
    /// The database failed: the token is not issued.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to sign with.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A password cannot be compared.
    #[error("{0}")]
    Password(PasswordError),
}

impl LoginError {
    /// The stable code of the error body.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey | Self::WrongPassword => "invalid_credentials",
            Self::Refused(refusal) => refusal.code(),
            Self::Busy => "too_many_requests",
            Self::InvalidTarget(_) | Self::NoTarget => "invalid_target",
            Self::AccessDenied(_) => "access_denied",
            Self::InvalidScope(_) => "invalid_scope",
            Self::Store(StoreError::Unavailable(_)) | Self::Signing(SigningError::Store(StoreError::Unavailable(_))) => "unavailable",
            Self::Store(_) | Self::Signing(_) | Self::Password(_) => "internal_error",
        }
    }
}

impl From<KeyError> for LoginError {
    fn from(error: KeyError) -> Self {
        Self::Signing(error.into())
    }
}

impl From<PasswordError> for LoginError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Broken(_) => Self::Password(error),
        }
    }
}

/// Who presented a valid secret.
enum Subject {
    Key(Box<KeyCredential>),
    User(Box<UserCredential>),
}

impl Subject {
    fn organization(&self) -> OrganizationId {
        match self {
            Self::Key(credential) => credential.organization.id,
            Self::User(credential) => credential.organization.id,
        }
    }

    fn holder(&self) -> Holder {
        match self {
            Self::Key(credential) => Holder::ServiceAccount(credential.account.id),
            Self::User(credential) => Holder::User(credential.user.id),
        }
    }

    fn actor(&self) -> Actor {
        match self {
            Self::Key(credential) => credential.as_ref().into(),
            Self::User(credential) => credential.as_ref().into(),
        }
    }

    fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Key(credential) => credential.check(now),
            Self::User(credential) => credential.check(),
        }
    }
}

/// A token that may be issued.
struct Permitted {
    workspace: Option<Workspace>,
    permissions: Vec<Permission>,
}

/// Exchanges credentials for tokens.
#[derive(Debug)]
pub struct Login {
    store: Store,
    signing: Arc<Signing>,
    passwords: Passwords,
    sources: Sources,
    issuer: String,
}

impl Login {
    /// With `issuer` as the `iss` of tokens, and the `aud` of those for Hourpass itself.
    #[must_use]
    pub fn new(store: Store, signing: Arc<Signing>, passwords: Passwords, sources: Sources, issuer: String) -> Self {
        Self { store, signing, passwords, sources, issuer }
    }

    /// Issues a token, after its record is durable.
    ///
    /// # Errors
    /// Why not. A refusal of someone who holds the secret is on record, too.
    pub async fn login(&self, request: LoginRequest) -> Result<Issued, LoginError> {
        let subject = self.identify(request.presented).await?;
        // Read here and not before: comparing a password can take a while.
        let now = self.sources.now();
        match self.permit(&subject, &request.receiver, request.scope.as_deref(), now).await {
            Ok(permitted) => self.issue(&subject, permitted, request.origin, now).await,
            Err(error) => {
                self.record_refusal(&subject, &error, &request.receiver, request.origin, now).await?;
                Err(error)
            }
        }
    }

    async fn identify(&self, presented: Presented) -> Result<Subject, LoginError> {
        match presented {
            Presented::ApiKey(key) => {
                if !key.is_well_formed() {
                    return Err(LoginError::UnknownKey);
                }
                let found = self.store.find_key_credential(&key.hash()).await?;
                found.map(|credential| Subject::Key(Box::new(credential))).ok_or(LoginError::UnknownKey)
            }
            Presented::Password { email, password } => {
                let stored = match Email::parse(&email) {
                    Ok(email) => self.store.find_password(&email).await?,
                    Err(_) => None,
                };
                let matches = self.passwords.matches(&password, stored.as_ref().map(|stored| &stored.hash)).await?;
                match stored {
                    Some(stored) if matches => Ok(Subject::User(Box::new(stored.holder))),
                    Some(stored) => {
                        let user = &stored.holder.user;
                        tracing::info!(user = %user.id, "wrong password");
                        Err(LoginError::WrongPassword)
                    }
                    None => Err(LoginError::WrongPassword),
                }
            }
        }
    }

    async fn permit(&self, subject: &Subject, receiver: &Receiver, scope: Option<&str>, now: Timestamp) -> Result<Permitted, LoginError> {
        subject.check(now)?;
        let workspace = self.find_receiver(subject.organization(), receiver).await?;
        let access = Access::of(&self.store.list_assignments(subject.holder()).await?);
        let held = match &workspace {
            Some(workspace) => access.at_workspace(workspace.id),
            None => access.at_hourpass(),
        };
        if let (Some(workspace), true) = (&workspace, held.is_empty()) {
            return Err(LoginError::AccessDenied(workspace.slug.to_string()));
        }
        Ok(Permitted { workspace, permissions: narrow(held, scope)? })
    }

    /// The workspace that the token is to be for, or nothing where it is for Hourpass itself.
    async fn find_receiver(&self, organization: OrganizationId, receiver: &Receiver) -> Result<Option<Workspace>, LoginError> {
        let (found, name) = match receiver {
            Receiver::Hourpass => return Ok(None),
            Receiver::Audience(audience) if *audience == self.issuer => return Ok(None),
            Receiver::Workspace(reference) => (self.store.find_workspace(organization, reference).await?, reference.to_string()),
            Receiver::Audience(audience) => (self.store.find_workspace_by_audience(organization, audience).await?, audience.clone()),
            Receiver::Host(host) => return self.store.find_workspace_by_host(organization, host).await?.map(Some).ok_or(LoginError::NoTarget),
        };
        // A token for a workspace that had our own audience would count here, with permissions that were given there.
        found.filter(|workspace| workspace.audience.as_str() != self.issuer).map(Some).ok_or(LoginError::InvalidTarget(name))
    }

    async fn issue(&self, subject: &Subject, permitted: Permitted, origin: Origin, now: Timestamp) -> Result<Issued, LoginError> {
        let (algorithm, lifetime, audience) = match &permitted.workspace {
            Some(workspace) => (workspace.signing_algorithm, workspace.token_lifetime_seconds, workspace.audience.to_string()),
            None => (SigningAlgorithm::Es256, OWN_LIFETIME_SECONDS, self.issuer.clone()),
        };
        let keys = self.signing.with_key_for(algorithm).await?;
        let key = keys.current(algorithm).ok_or(KeyError::Crypto(algorithm))?;
        let mut actor = subject.actor();
        let session = match subject {
            Subject::Key(_) => None,
            Subject::User(credential) => Some(Session {
                id: SessionId::generate(now, self.sources.random()),
                user_id: credential.user.id,
                expires_at: now.plus(Duration::from_secs(lifetime.unsigned_abs())),
            }),
        };
        actor.session_id = session.as_ref().map(|session| session.id);

        let issued_at = now.as_seconds();
        let subject_id = actor.id.map(|id| id.to_string()).unwrap_or_default();
        let (principal_type, client_id) = match subject {
            Subject::Key(_) => (PrincipalType::ServiceAccount, subject_id.clone()),
            Subject::User(_) => (PrincipalType::User, OWN_CLIENT_ID.to_owned()),
        };
        let claims = AccessTokenClaims {
            iss: self.issuer.clone(),
            sub: subject_id,
            aud: audience,
            client_id,
            iat: issued_at,
            exp: issued_at + lifetime,
            jti: TokenId::generate(now, self.sources.random()),
            scope: permission::to_scope(&permitted.permissions),
            org_id: subject.organization(),
            workspace_id: permitted.workspace.as_ref().map(|workspace| workspace.id),
            api_key_id: actor.api_key_id,
            sid: actor.session_id,
            principal_type,
            name: actor.name.clone(),
        };
        let access_token = keys::mint(key, &claims)?;

        let event = Event {
            id: AuditEventId::generate(now, self.sources.random()),
            organization_id: Some(claims.org_id),
            occurred_at: now,
            actor,
            action: Action::TokenIssue,
            target: permitted.workspace.as_ref().map_or_else(Target::hourpass, Target::from),
            outcome: Outcome::Granted,
            origin,
            details: Some(
                json!({ "jti": claims.jti, "audience": claims.aud, "scope": claims.scope, "expires_at": Timestamp::from_seconds(claims.exp) }),
            ),
        };
        // The token leaves only after its record is durable.
        let mut tx = self.store.begin().await?;
        if let Some(session) = session {
            tx.insert_session(&session, now).await?;
        }
        tx.insert_event(&event).await?;
        tx.commit().await?;
        Ok(Issued { access_token, expires_in: lifetime, scope: claims.scope })
    }

    async fn record_refusal(
        &self,
        subject: &Subject,
        error: &LoginError,
        receiver: &Receiver,
        origin: Origin,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let asked = match receiver {
            Receiver::Hourpass => Target::hourpass(),
            Receiver::Workspace(reference) => Target { kind: "workspace", id: None, name: reference.to_string() },
            Receiver::Audience(name) | Receiver::Host(name) => Target { kind: "workspace", id: None, name: name.clone() },
        };
        let mut tx = self.store.begin().await?;
        tx.insert_event(&Event {
            id: AuditEventId::generate(now, self.sources.random()),
            organization_id: Some(subject.organization()),
            occurred_at: now,
            actor: subject.actor(),
            action: Action::TokenIssue,
            target: asked,
            outcome: Outcome::Denied(error.code()),
            origin,
            details: None,
        })
        .await?;
        tx.commit().await
    }
}

/// Those of the permissions held that `scope` asks for.
fn narrow(held: Vec<Permission>, scope: Option<&str>) -> Result<Vec<Permission>, LoginError> {
    let asked: BTreeSet<&str> = scope.unwrap_or_default().split_ascii_whitespace().collect();
    if asked.is_empty() {
        return Ok(held);
    }
    let beyond: Vec<&str> = asked.iter().filter(|name| !held.iter().any(|permission| permission.as_str() == **name)).copied().collect();
    if !beyond.is_empty() {
        return Err(LoginError::InvalidScope(beyond.join(" ")));
    }
    Ok(held.into_iter().filter(|permission| asked.contains(permission.as_str())).collect())
}
