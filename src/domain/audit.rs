//! What happened, and who did it: the record that every change and every issued token leaves.

use std::net::IpAddr;

use uuid::Uuid;

use super::credential::{KeyCredential, UserCredential};
use super::entity::{Organization, ServiceAccount, User, Workspace};
use super::id::{ApiKeyId, AuditEventId, OrganizationId, RequestId, SessionId};
use super::time::Timestamp;

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The address of the caller.
    pub address: Option<IpAddr>,
    /// What its `User-Agent` said, cut to 500 characters.
    pub user_agent: Option<String>,
    /// The request, as in the logs.
    pub request_id: Option<RequestId>,
}

/// Who did it, as they were called then.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `service_account`, `user`, `operator` (someone with the database at hand) or `system` (Hourpass itself).
    pub kind: &'static str,
    /// Their id.
    pub id: Option<Uuid>,
    /// Their name.
    pub name: String,
    /// The API key that they used.
    pub api_key_id: Option<ApiKeyId>,
    /// The sign-in that they used.
    pub session_id: Option<SessionId>,
}

impl Actor {
    /// Someone who runs `hourpass admin` on the database.
    #[must_use]
    pub fn operator() -> Self {
        Self { kind: "operator", id: None, name: "hourpass admin".to_owned(), api_key_id: None, session_id: None }
    }

    /// Hourpass itself.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: "system", id: None, name: "hourpass".to_owned(), api_key_id: None, session_id: None }
    }
}

impl From<&KeyCredential> for Actor {
    fn from(credential: &KeyCredential) -> Self {
        Self {
            kind: "service_account",
            id: Some(credential.account.id.0),
            name: credential.account.name.to_string(),
            api_key_id: Some(credential.key.id),
            session_id: None,
        }
    }
}

impl From<&UserCredential> for Actor {
    fn from(credential: &UserCredential) -> Self {
        Self { kind: "user", id: Some(credential.user.id.0), name: credential.user.email.to_string(), api_key_id: None, session_id: None }
    }
}

/// What it was done to, as it was called then.
#[derive(Clone, Debug)]
pub struct Target {
    /// Such as `service_account`.
    pub kind: &'static str,
    /// Its id; without one, it is Hourpass itself.
    pub id: Option<Uuid>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// Hourpass itself, as the receiver of a token.
    #[must_use]
    pub fn hourpass() -> Self {
        Self { kind: "hourpass", id: None, name: "hourpass".to_owned() }
    }

    /// A thing of kind `kind`.
    #[must_use]
    pub fn new(kind: &'static str, id: Uuid, name: impl ToString) -> Self {
        Self { kind, id: Some(id), name: name.to_string() }
    }
}

impl From<&Organization> for Target {
    fn from(organization: &Organization) -> Self {
        Self::new("organization", organization.id.0, &organization.slug)
    }
}

impl From<&Workspace> for Target {
    fn from(workspace: &Workspace) -> Self {
        Self::new("workspace", workspace.id.0, &workspace.slug)
    }
}

impl From<&ServiceAccount> for Target {
    fn from(account: &ServiceAccount) -> Self {
        Self::new("service_account", account.id.0, &account.name)
    }
}

impl From<&User> for Target {
    fn from(user: &User) -> Self {
        Self::new("user", user.id.0, &user.email)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A token was asked for.
    TokenIssue,
    /// An organization was made.
    OrganizationCreate,
    /// A workspace was made.
    WorkspaceCreate,
    /// A service account was made.
    ServiceAccountCreate,
    /// An API key was made.
    ApiKeyCreate,
    /// A user was made.
    UserCreate,
    /// A user's password was replaced and their sign-ins ended.
    UserResetPassword,
    /// A role was given.
    RoleAssign,
    /// A signing key was made.
    SigningKeyCreate,
}

impl Action {
    /// As in the database and in JSON: `resource.verb`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenIssue => "token.issue",
            Self::OrganizationCreate => "organization.create",
            Self::WorkspaceCreate => "workspace.create",
            Self::ServiceAccountCreate => "service_account.create",
            Self::ApiKeyCreate => "api_key.create",
            Self::UserCreate => "user.create",
            Self::UserResetPassword => "user.reset_password",
            Self::RoleAssign => "role.assign",
            Self::SigningKeyCreate => "signing_key.create",
        }
    }
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was done.
    Granted,
    /// It was refused, for the reason with this code.
    Denied(&'static str),
}

/// One audit event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id.
    pub id: AuditEventId,
    /// Whose it is; without one it is the server's own.
    pub organization_id: Option<OrganizationId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// What it was done to.
    pub target: Target,
    /// How it ended.
    pub outcome: Outcome,
    /// Where the request came from.
    pub origin: Origin,
    /// What was set or asked, as a JSON object; never a secret.
    pub details: Option<serde_json::Value>,
}
