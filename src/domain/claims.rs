//! What an access token says: RFC 9068, with our additions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::{Access, Grant, Place};
use super::id::{ApiKeyId, OrganizationId, ProjectId, SessionId, TokenId, WorkspaceId};
use super::permission::{Permission, from_scope};
use super::status::Status;

/// What kind of caller a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalType {
    /// A machine.
    ServiceAccount,
    /// A person.
    User,
}

impl PrincipalType {
    /// As in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service_account",
            Self::User => "user",
        }
    }
}

/// Permissions that are held in a part of the receiver only (RFC 9396, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationDetail {
    /// What kind of part.
    #[serde(rename = "type")]
    pub kind: DetailType,
    /// The id of that project or workspace.
    pub identifier: uuid::Uuid,
    /// Its slug, for people and for receivers that know their projects by it.
    pub slug: String,
    /// The workspace that it is in, where it is a project.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workspace_id: Option<WorkspaceId>,
    /// The permissions.
    pub actions: Vec<Permission>,
}

/// What kind of part of its receiver an authorization detail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetailType {
    /// A project of a workspace.
    Project,
    /// A workspace: in tokens for Hourpass itself, whose parts they are.
    Workspace,
}

impl AuthorizationDetail {
    fn place(&self) -> Option<Place> {
        match (self.kind, self.workspace_id) {
            (DetailType::Project, Some(workspace)) => Some(Place::Project(workspace, ProjectId(self.identifier))),
            (DetailType::Project, None) => None,
            (DetailType::Workspace, _) => Some(Place::Workspace(WorkspaceId(self.identifier))),
        }
    }
}

/// The claims of an access token (RFC 9068, section 2.2). Times are `NumericDate`: whole seconds since the Unix epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The public URL of this Hourpass.
    pub iss: String,
    /// The id of the service account or user.
    pub sub: String,
    /// The one receiver: Hourpass itself, or a workspace.
    pub aud: String,
    /// Who asked for the token: the service account itself; for a person, Hourpass.
    pub client_id: String,
    /// When it was issued.
    pub iat: i64,
    /// From when on it is refused.
    pub exp: i64,
    /// Before when it is refused. Hourpass issues none, and honours it if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "number")]
    pub nbf: Option<i64>,
    /// Its own id.
    pub jti: TokenId,
    /// The permissions held at the receiver, with spaces between them; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// The permissions held in parts of the receiver only; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub authorization_details: Vec<AuthorizationDetail>,
    /// Whether it was asked for with a scope. A token for Hourpass that was not narrowed so stands for its holder; one that was does no more than it says.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub narrowed: bool,
    /// The organization.
    pub org_id: OrganizationId,
    /// The workspace that it is for; absent where it is for Hourpass itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workspace_id: Option<WorkspaceId>,
    /// The API key that it was obtained with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub api_key_id: Option<ApiKeyId>,
    /// What it was obtained with, and ends with: a person's sign-in, or a value of an API key (OpenID Connect Front-Channel Logout 1.0, section 3).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sid: Option<SessionId>,
    /// Where it is published whether what it was obtained with still counts. Tokens from before there was such a list have none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Status>,
    /// What kind of caller it stands for.
    pub principal_type: PrincipalType,
    /// The name of the account, or the email address of the person.
    pub name: String,
    /// What the organization adds.
    #[serde(flatten)]
    pub custom: BTreeMap<String, Value>,
}

/// A number that is there. `null` is none, and serde would take it for a claim that is not there.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}

impl AccessTokenClaims {
    /// What the token says that its holder may do at Hourpass.
    #[must_use]
    pub fn access(&self) -> Access {
        let scope = from_scope(self.scope.as_deref().unwrap_or_default()).map(|permission| (Place::at_hourpass(&permission), permission));
        let details = self.authorization_details.iter().filter_map(|detail| Some((detail.place()?, Grant::these(detail.actions.iter().cloned()))));
        scope.map(|(place, permission)| (place, Grant::these([permission]))).chain(details).collect()
    }
}
