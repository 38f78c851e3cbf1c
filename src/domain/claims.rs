//! What an access token says: RFC 9068, with our additions.

use serde::{Deserialize, Serialize};

use super::id::{ApiKeyId, OrganizationId, SessionId, TokenId, WorkspaceId};

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
    /// Its own id.
    pub jti: TokenId,
    /// The permissions held at the receiver, with spaces between them; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
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
    /// What kind of caller it stands for.
    pub principal_type: PrincipalType,
    /// The name of the account, or the email address of the person.
    pub name: String,
}
