//! What a verified token says (RFC 9068, section 2.2, with Hourpass's additions).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::claims;
use crate::error::VerifyError;

/// What kind of caller a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalType {
    /// A machine.
    ServiceAccount,
    /// A person.
    User,
}

/// Permissions that are held in a part of the receiver only (RFC 9396, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationDetail {
    /// What kind of part: `project` or `workspace`. Others are passed on as they are, and give nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id of that part.
    #[serde(default)]
    pub identifier: String,
    /// Its slug.
    #[serde(default)]
    pub slug: String,
    /// The workspace that a project is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<String>,
    /// The permissions.
    #[serde(default)]
    pub actions: Vec<String>,
    /// What else it says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where a token's status stands (draft-ietf-oauth-status-list, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The place in the list.
    pub idx: u64,
    /// The list.
    pub uri: String,
}

/// A verified token. It is only ever made by a [`Verifier`](crate::Verifier).
#[derive(Clone)]
pub struct AccessToken {
    json: String,
    iss: String,
    sub: String,
    aud: Vec<String>,
    client_id: Option<String>,
    jti: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    scope: String,
    authorization_details: Vec<AuthorizationDetail>,
    status: Option<StatusReference>,
    principal_type: Option<PrincipalType>,
    name: Option<String>,
    org_id: Option<String>,
    workspace_id: Option<String>,
    api_key_id: Option<String>,
    sid: Option<String>,
    custom: Map<String, Value>,
}

/// Says whose token it is, and nothing that the holder did not choose to name.
impl fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessToken").field("sub", &self.sub).field("jti", &self.jti).field("exp", &self.exp).finish_non_exhaustive()
    }
}

impl AccessToken {
    /// Reads the payload of a token whose signature holds. Whom it is for, and when, is the caller's to check.
    pub(crate) fn parse(payload: Vec<u8>) -> Result<Self, VerifyError> {
        let claims = claims::read(&payload)?;
        let json = String::from_utf8(payload).map_err(|_| VerifyError::Malformed)?;
        // RFC 7519 allows fractions of seconds; Hourpass issues none, and a time in the form 1e9 is nobody's honest work.
        let time = |time: Option<i64>, name| time.filter(|time| *time >= 0).ok_or(VerifyError::InvalidClaim(name));
        let text = |text: Option<String>, name| text.filter(|text| !text.is_empty()).ok_or(VerifyError::InvalidClaim(name));
        let nbf = claims.nbf.map(|nbf| time(Some(nbf), "nbf")).transpose()?;
        let (exp, iat) = (time(claims.exp, "exp")?, time(claims.iat, "iat")?);
        let (iss, sub, jti) = (text(claims.iss, "iss")?, text(claims.sub, "sub")?, text(claims.jti, "jti")?);
        Ok(Self {
            json,
            iss,
            sub,
            aud: claims.aud.ok_or(VerifyError::InvalidClaim("aud"))?,
            client_id: claims.client_id,
            jti,
            iat,
            exp,
            nbf,
            scope: claims.scope.unwrap_or_default(),
            authorization_details: claims.authorization_details.unwrap_or_default(),
            status: claims.status,
            principal_type: claims.principal_type,
            name: claims.name,
            org_id: claims.org_id,
            workspace_id: claims.workspace_id,
            api_key_id: claims.api_key_id,
            sid: claims.sid,
            custom: claims.custom,
        })
    }

    /// Whether the permission is held everywhere at this receiver.
    #[must_use]
    pub fn has(&self, permission: &str) -> bool {
        self.scopes().any(|held| held == permission)
    }

    /// Whether the permission is held in that project, named by its id or its slug: there alone, or everywhere at this receiver.
    #[must_use]
    pub fn has_in_project(&self, project: &str, permission: &str) -> bool {
        self.has(permission)
            || self.authorization_details.iter().any(|detail| {
                detail.kind == "project"
                    && !project.is_empty()
                    && (detail.identifier == project || detail.slug == project)
                    && detail.actions.iter().any(|action| action == permission)
            })
    }

    /// # Errors
    /// [`VerifyError::InsufficientScope`] where the permission is not held everywhere at this receiver.
    pub fn require(&self, permission: &str) -> Result<(), VerifyError> {
        if self.has(permission) { Ok(()) } else { Err(VerifyError::InsufficientScope { scope: permission.to_owned() }) }
    }

    /// # Errors
    /// [`VerifyError::InsufficientScope`] where the permission is held neither in that project, named by its id or its slug, nor everywhere
    /// at this receiver.
    pub fn require_in_project(&self, project: &str, permission: &str) -> Result<(), VerifyError> {
        if self.has_in_project(project, permission) { Ok(()) } else { Err(VerifyError::InsufficientScope { scope: permission.to_owned() }) }
    }

    /// `iss`: the Hourpass that it is from.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.iss
    }

    /// `sub`: the id of the service account or user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.sub
    }

    /// `aud`: whom it is for.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.aud
    }

    /// `client_id`: who asked for it.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `jti`: its own id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.jti
    }

    /// `iat`: when it was issued, in seconds since the Unix epoch.
    #[must_use]
    pub const fn issued_at(&self) -> i64 {
        self.iat
    }

    /// `exp`: from when on it is refused, in seconds since the Unix epoch.
    #[must_use]
    pub const fn expires_at(&self) -> i64 {
        self.exp
    }

    /// `nbf`: before when it is refused, in seconds since the Unix epoch.
    #[must_use]
    pub const fn not_before(&self) -> Option<i64> {
        self.nbf
    }

    /// `scope`: the permissions held everywhere at this receiver.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|permission| !permission.is_empty())
    }

    /// `authorization_details`: the permissions held in parts of this receiver only.
    #[must_use]
    pub fn authorization_details(&self) -> &[AuthorizationDetail] {
        &self.authorization_details
    }

    /// Where its status stands.
    #[must_use]
    pub const fn status(&self) -> Option<&StatusReference> {
        self.status.as_ref()
    }

    /// What kind of caller it stands for.
    #[must_use]
    pub const fn principal_type(&self) -> Option<PrincipalType> {
        self.principal_type
    }

    /// The name of the service account, or the email address of the person; empty where the token has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The organization's id.
    #[must_use]
    pub fn organization_id(&self) -> Option<&str> {
        self.org_id.as_deref()
    }

    /// The id of the workspace that it is for.
    #[must_use]
    pub fn workspace_id(&self) -> Option<&str> {
        self.workspace_id.as_deref()
    }

    /// The id of the API key that it was obtained with.
    #[must_use]
    pub fn api_key_id(&self) -> Option<&str> {
        self.api_key_id.as_deref()
    }

    /// `sid`: what it was obtained with, and ends with: a sign-in, or a value of an API key.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// A claim that has no accessor of its own.
    #[must_use]
    pub fn custom(&self, name: &str) -> Option<&Value> {
        self.custom.get(name)
    }

    /// All claims, as the JSON text that was signed.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.json
    }

    /// All claims, read as a type of the caller's.
    ///
    /// # Errors
    /// Where they are not of that type.
    pub fn claims<T: serde::de::DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.json)
    }

    /// Its times, against the clock. `leeway` is for clocks that differ.
    pub(crate) fn check_times(&self, now: Duration, leeway: Duration) -> Result<(), VerifyError> {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if seconds(now.saturating_sub(leeway)) >= self.exp {
            return Err(VerifyError::Expired);
        }
        let latest = seconds(now.saturating_add(leeway));
        if self.iat > latest || self.nbf.is_some_and(|nbf| nbf > latest) { Err(VerifyError::NotYetValid) } else { Ok(()) }
    }
}
