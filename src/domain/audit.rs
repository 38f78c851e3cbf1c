//! What happened, and who did it: the record that every change and every issued token leaves.

use std::net::{IpAddr, Ipv6Addr};

use uuid::Uuid;

use super::credential::{KeyCredential, UserCredential};
use super::entity::{Organization, Project, ServiceAccount, Team, User, Workspace};
use super::id::{ApiKeyId, AuditEventId, OrganizationId, RequestId, SessionId};
use super::role::Role;
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

impl Origin {
    /// What a limit counts by: the address, or with IPv6 the network of 64 bits, all of which is one customer's.
    #[must_use]
    pub fn network(&self) -> Option<IpAddr> {
        self.address.map(network)
    }
}

/// What a limit per address counts by: the address, or with IPv6 the network of 64 bits, all of which is one customer's.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        IpAddr::V4(_) => address,
    }
}

/// Who did it, as they were called then.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `service_account`, `user`, `unknown`, `operator` (someone with the database at hand) or `system` (Hourpass itself).
    pub kind: &'static str,
    /// Their id.
    pub id: Option<Uuid>,
    /// Their name.
    pub name: String,
    /// The API key that they used.
    pub api_key_id: Option<ApiKeyId>,
    /// The sign-in, or the value of the API key, that they used.
    pub session_id: Option<SessionId>,
}

impl Actor {
    /// Someone who did not prove who they are.
    #[must_use]
    pub fn unknown() -> Self {
        Self { kind: "unknown", id: None, name: "unknown".to_owned(), api_key_id: None, session_id: None }
    }

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
            session_id: Some(credential.session.map_or(credential.value.grant, |session| session.id)),
        }
    }
}

impl From<&UserCredential> for Actor {
    fn from(credential: &UserCredential) -> Self {
        Self { kind: "user", id: Some(credential.user.id.0), name: credential.user.email.to_string(), api_key_id: None, session_id: None }
    }
}

/// What it was done to, as it was called then.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl From<&Project> for Target {
    fn from(project: &Project) -> Self {
        Self::new("project", project.id.0, &project.slug)
    }
}

impl From<&Role> for Target {
    fn from(role: &Role) -> Self {
        Self::new("role", role.id.0, &role.name)
    }
}

impl From<&Team> for Target {
    fn from(team: &Team) -> Self {
        Self::new("team", team.id.0, &team.name)
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
    /// An organization was changed.
    OrganizationUpdate,
    /// An organization was deleted.
    OrganizationDelete,
    /// A workspace was made.
    WorkspaceCreate,
    /// A workspace was changed.
    WorkspaceUpdate,
    /// A workspace was deleted.
    WorkspaceDelete,
    /// A project was made.
    ProjectCreate,
    /// A project was changed.
    ProjectUpdate,
    /// A project was deleted.
    ProjectDelete,
    /// A service account was made.
    ServiceAccountCreate,
    /// A service account was changed, activated or deactivated.
    ServiceAccountUpdate,
    /// A service account was deleted, with its keys.
    ServiceAccountDelete,
    /// The tokens of all keys of a service account were ended.
    ServiceAccountRevokeTokens,
    /// An API key was made.
    ApiKeyCreate,
    /// An API key of another system was made known by its hash.
    ApiKeyImport,
    /// An API key was changed, activated or deactivated, or the retention of its old value was moved.
    ApiKeyUpdate,
    /// An API key got a new value.
    ApiKeyRotate,
    /// An API key was deleted.
    ApiKeyDelete,
    /// The tokens of an API key were ended.
    ApiKeyRevokeTokens,
    /// An API key was found to be in wrong hands.
    ApiKeyCompromise,
    /// What someone left behind was ended: API keys, passwords and invitations that they, or whoever had their key, may know.
    CredentialEnd,
    /// Someone became the maker of what another had made.
    CredentialAdopt,
    /// A user was made.
    UserCreate,
    /// A user was changed, activated or deactivated.
    UserUpdate,
    /// A user was deleted.
    UserDelete,
    /// A user was sent a link with which to set a password.
    UserInvite,
    /// A user set a password by the link of an invitation.
    UserSetPassword,
    /// A user changed their password.
    UserChangePassword,
    /// A user's password was replaced and their sign-ins ended.
    UserResetPassword,
    /// A user signed out.
    UserSignOut,
    /// A sign-in in a browser was renewed by its use.
    SessionRenew,
    /// Someone ended sign-ins of theirs.
    SessionEnd,
    /// A permission was added to the catalogue.
    PermissionCreate,
    /// A permission of the catalogue was described anew.
    PermissionUpdate,
    /// A permission was taken out of the catalogue.
    PermissionDelete,
    /// A role was made.
    RoleCreate,
    /// A role was changed.
    RoleUpdate,
    /// A role was deleted.
    RoleDelete,
    /// A role, or permissions without one, were given.
    RoleAssign,
    /// A role, or permissions, were taken back.
    RoleUnassign,
    /// A team was made.
    TeamCreate,
    /// A team was changed.
    TeamUpdate,
    /// A team was deleted.
    TeamDelete,
    /// Someone became a member of a team.
    TeamAddMember,
    /// Someone is a member of a team no more.
    TeamRemoveMember,
    /// A signing key was made.
    SigningKeyCreate,
    /// A signing key counts no more, nor does anything that it signed.
    SigningKeyWithdraw,
    /// A signing key is not published any more: all that it signed has expired.
    SigningKeyRetire,
    /// The database was found to be restored from a back-up, and everything that it gave out before was revoked.
    DatabaseRestore,
}

impl Action {
    /// Every one of them.
    pub const ALL: [Self; 50] = [
        Self::TokenIssue,
        Self::OrganizationCreate,
        Self::OrganizationUpdate,
        Self::OrganizationDelete,
        Self::WorkspaceCreate,
        Self::WorkspaceUpdate,
        Self::WorkspaceDelete,
        Self::ProjectCreate,
        Self::ProjectUpdate,
        Self::ProjectDelete,
        Self::ServiceAccountCreate,
        Self::ServiceAccountUpdate,
        Self::ServiceAccountDelete,
        Self::ServiceAccountRevokeTokens,
        Self::ApiKeyCreate,
        Self::ApiKeyImport,
        Self::ApiKeyUpdate,
        Self::ApiKeyRotate,
        Self::ApiKeyDelete,
        Self::ApiKeyRevokeTokens,
        Self::ApiKeyCompromise,
        Self::CredentialEnd,
        Self::CredentialAdopt,
        Self::UserCreate,
        Self::UserUpdate,
        Self::UserDelete,
        Self::UserInvite,
        Self::UserSetPassword,
        Self::UserChangePassword,
        Self::UserResetPassword,
        Self::UserSignOut,
        Self::SessionRenew,
        Self::SessionEnd,
        Self::PermissionCreate,
        Self::PermissionUpdate,
        Self::PermissionDelete,
        Self::RoleCreate,
        Self::RoleUpdate,
        Self::RoleDelete,
        Self::RoleAssign,
        Self::RoleUnassign,
        Self::TeamCreate,
        Self::TeamUpdate,
        Self::TeamDelete,
        Self::TeamAddMember,
        Self::TeamRemoveMember,
        Self::SigningKeyCreate,
        Self::SigningKeyWithdraw,
        Self::SigningKeyRetire,
        Self::DatabaseRestore,
    ];

    /// As in the database and in JSON: `resource.verb`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenIssue => "token.issue",
            Self::OrganizationCreate => "organization.create",
            Self::OrganizationUpdate => "organization.update",
            Self::OrganizationDelete => "organization.delete",
            Self::WorkspaceCreate => "workspace.create",
            Self::WorkspaceUpdate => "workspace.update",
            Self::WorkspaceDelete => "workspace.delete",
            Self::ProjectCreate => "project.create",
            Self::ProjectUpdate => "project.update",
            Self::ProjectDelete => "project.delete",
            Self::ServiceAccountCreate => "service_account.create",
            Self::ServiceAccountUpdate => "service_account.update",
            Self::ServiceAccountDelete => "service_account.delete",
            Self::ServiceAccountRevokeTokens => "service_account.revoke_tokens",
            Self::ApiKeyCreate => "api_key.create",
            Self::ApiKeyImport => "api_key.import",
            Self::ApiKeyUpdate => "api_key.update",
            Self::ApiKeyRotate => "api_key.rotate",
            Self::ApiKeyDelete => "api_key.delete",
            Self::ApiKeyRevokeTokens => "api_key.revoke_tokens",
            Self::ApiKeyCompromise => "api_key.compromise",
            Self::CredentialEnd => "credential.end",
            Self::CredentialAdopt => "credential.adopt",
            Self::UserCreate => "user.create",
            Self::UserUpdate => "user.update",
            Self::UserDelete => "user.delete",
            Self::UserInvite => "user.invite",
            Self::UserSetPassword => "user.set_password",
            Self::UserChangePassword => "user.change_password",
            Self::UserResetPassword => "user.reset_password",
            Self::UserSignOut => "user.sign_out",
            Self::SessionRenew => "session.renew",
            Self::SessionEnd => "session.end",
            Self::PermissionCreate => "permission.create",
            Self::PermissionUpdate => "permission.update",
            Self::PermissionDelete => "permission.delete",
            Self::RoleCreate => "role.create",
            Self::RoleUpdate => "role.update",
            Self::RoleDelete => "role.delete",
            Self::RoleAssign => "role.assign",
            Self::RoleUnassign => "role.unassign",
            Self::TeamCreate => "team.create",
            Self::TeamUpdate => "team.update",
            Self::TeamDelete => "team.delete",
            Self::TeamAddMember => "team.add_member",
            Self::TeamRemoveMember => "team.remove_member",
            Self::SigningKeyCreate => "signing_key.create",
            Self::SigningKeyWithdraw => "signing_key.withdraw",
            Self::DatabaseRestore => "database.restore",
            Self::SigningKeyRetire => "signing_key.retire",
        }
    }

    /// The part before the dot.
    #[must_use]
    pub fn resource(self) -> &'static str {
        self.as_str().split_once('.').map_or("", |(resource, _)| resource)
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// It was done.
    Granted,
    /// It was refused, for the reason with this code.
    Denied(&'static str),
}

impl Outcome {
    /// `granted` or `denied`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied(_) => "denied",
        }
    }

    /// Why it was refused.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Granted => None,
            Self::Denied(reason) => Some(reason),
        }
    }
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
    /// For an issued token: when it expires.
    pub token_expires_at: Option<Timestamp>,
    /// What was set, changed or asked, as a JSON object; never a secret.
    pub details: Option<serde_json::Value>,
}
