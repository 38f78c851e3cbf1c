//! Permissions: `resource.action`, such as `pipelines.deploy`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::access::Level;
use super::id::{OrganizationId, PermissionId};
use super::name::Invalid;
use super::secret_filter::refuse_secrets;
use super::time::Timestamp;

/// What someone may do. Its text is a scope token (RFC 6749, section 3.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permission(Cow<'static, str>);

/// One of Hourpass's own permissions.
#[derive(Debug)]
pub struct BuiltIn {
    /// The permission.
    pub permission: Permission,
    /// The narrowest place at which it can be held: what is done there concerns nothing beyond it.
    pub narrowest: Level,
    /// What it allows.
    pub description: &'static str,
}

macro_rules! built_in {
    ($($name:ident $text:literal $level:ident $description:literal;)+) => {
        impl Permission {
            $(#[doc = $description] pub const $name: Self = Self(Cow::Borrowed($text));)+
        }

        /// What can be done at Hourpass itself.
        pub static HOURPASS: &[BuiltIn] =
            &[$(BuiltIn { permission: Permission::$name, narrowest: Level::$level, description: $description }),+];
    };
}

built_in! {
    PLATFORM_MANAGE "platform.manage" Platform "Making, listing and deleting organizations.";
    ORGANIZATIONS_MANAGE "organizations.manage" Organization "Changing the organization itself, such as how long its keys may live.";
    SERVICE_ACCOUNTS_READ "service_accounts.read" Organization "Reading service accounts and their keys.";
    SERVICE_ACCOUNTS_MANAGE "service_accounts.manage" Organization "Making, changing and deleting service accounts.";
    API_KEYS_MANAGE "api_keys.manage" Organization "Making, changing, rotating and deleting API keys of service accounts.";
    WORKSPACES_READ "workspaces.read" Project "Reading projects; in the whole workspace, that, too; in the whole organization, all of them.";
    WORKSPACES_MANAGE "workspaces.manage" Workspace "Changing workspaces; in the whole organization, also making and deleting them.";
    PROJECTS_MANAGE "projects.manage" Project "Changing projects; in the whole workspace, also making and deleting them.";
    ROLES_READ "roles.read" Project "Reading who holds what there, and which roles and permissions there are.";
    ROLES_MANAGE "roles.manage" Project "Giving and taking roles and permissions; in the whole organization, also changing roles and the catalogue.";
    TEAMS_READ "teams.read" Organization "Reading teams and their members.";
    TEAMS_MANAGE "teams.manage" Organization "Making, changing and deleting teams, and their members.";
    USERS_READ "users.read" Organization "Reading the people of the organization.";
    USERS_MANAGE "users.manage" Organization "Inviting, changing and deleting people.";
    SIGNING_KEYS_MANAGE "signing_keys.manage" Platform "Rotating and revoking the keys that tokens are signed with.";
    AUDIT_READ "audit.read" Organization "Reading audit events, and what others may do and why.";
}

/// What a new organization's workspaces know: the catalogue that it starts with.
pub const CATALOGUE: [(&str, &str); 9] = [
    ("pipelines.read", "See pipelines and their runs."),
    ("pipelines.deploy", "Deploy pipelines."),
    ("nodes.read", "See nodes."),
    ("nodes.manage", "Add, change and remove nodes."),
    ("secrets.read", "Read secrets."),
    ("secrets.manage", "Add, change and remove secrets."),
    ("alerts.read", "See alerts."),
    ("alerts.manage", "Add, change and remove alerts."),
    ("audit.read", "Read the workspace's own audit trail."),
];

/// A permission of an organization's catalogue: something that can be done at its workspaces.
#[derive(Clone, Debug)]
pub struct CatalogueEntry {
    /// Its id.
    pub id: PermissionId,
    /// Whose catalogue it is in.
    pub organization_id: OrganizationId,
    /// Its name, unique in the organization.
    pub name: Permission,
    /// What it allows.
    pub description: String,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Permission {
    /// Two words of `a-z`, `0-9` and `_` with one dot between them; at most 100 characters.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        refuse_secrets(text)?;
        let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        match text.split_once('.') {
            Some((resource, action)) if text.len() <= 100 && word(resource) && word(action) => Ok(Self(Cow::Owned(text.to_owned()))),
            _ => Err(Invalid(
                "must be of the form resource.action in a-z, 0-9 and _, such as pipelines.deploy, with at most 100 characters".to_owned(),
            )),
        }
    }

    /// A text that was checked before it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// What is done: the part after the dot.
    #[must_use]
    pub fn action(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, action)| action)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is known of it, where it is one of Hourpass's own.
    #[must_use]
    pub fn built_in(&self) -> Option<&'static BuiltIn> {
        HOURPASS.iter().find(|built_in| built_in.permission == *self)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Permissions as a `scope` (RFC 6749, section 3.3): with spaces between them, or nothing where there are none, for the grammar has no empty scope.
#[must_use]
pub fn to_scope<'a>(permissions: impl IntoIterator<Item = &'a Permission>) -> Option<String> {
    let scope = permissions.into_iter().map(Permission::as_str).collect::<Vec<_>>().join(" ");
    (!scope.is_empty()).then_some(scope)
}

/// The permissions that a `scope` written by [`to_scope`] names.
pub fn from_scope(scope: &str) -> impl Iterator<Item = Permission> {
    scope.split_ascii_whitespace().map(|name| Permission::from_stored(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_resource_dot_action() {
        assert!(Permission::parse("pipelines.deploy").is_ok());
        for bad in ["", "pipelines", "pipelines.", ".read", "a.b.c", "A.b", "a b.c", "a.*"] {
            assert!(Permission::parse(bad).is_err(), "{bad}");
        }
        for name in HOURPASS.iter().map(|it| it.permission.as_str()).chain(CATALOGUE.map(|(name, _)| name)) {
            assert_eq!(Permission::parse(name).map(|it| it.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let scope = "pipelines.read pipelines.deploy";
        assert_eq!(to_scope(&from_scope(scope).collect::<Vec<_>>()), Some(scope.to_owned()));
        assert_eq!(to_scope(&[]), None);
    }
}
