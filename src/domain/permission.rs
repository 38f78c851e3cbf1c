//! Permissions: `resource.action`, such as `pipelines.deploy`.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::name::Invalid;

/// What someone may do. Its text is a scope token (RFC 6749, section 3.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Permission(Cow<'static, str>);

impl Permission {
    /// Reading service accounts and their keys.
    pub const SERVICE_ACCOUNTS_READ: Self = Self::built_in("service_accounts.read");
    /// Making, changing and deleting service accounts.
    pub const SERVICE_ACCOUNTS_MANAGE: Self = Self::built_in("service_accounts.manage");
    /// Making, changing, rotating and deleting API keys of service accounts.
    pub const API_KEYS_MANAGE: Self = Self::built_in("api_keys.manage");
    /// Reading audit events.
    pub const AUDIT_READ: Self = Self::built_in("audit.read");
    /// Changing the organization itself, such as how long its keys may live.
    pub const ORGANIZATIONS_MANAGE: Self = Self::built_in("organizations.manage");

    const fn built_in(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Two words of `a-z`, `0-9` and `_` with one dot between them; at most 100 characters.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        match text.split_once('.') {
            Some((resource, action)) if text.len() <= 100 && word(resource) && word(action) => Ok(Self(Cow::Owned(text.to_owned()))),
            _ => Err(Invalid(format!("{text:?} is not of the form resource.action, such as pipelines.deploy"))),
        }
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
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What can be done at Hourpass itself.
pub static HOURPASS: [Permission; 5] = [
    Permission::SERVICE_ACCOUNTS_READ,
    Permission::SERVICE_ACCOUNTS_MANAGE,
    Permission::API_KEYS_MANAGE,
    Permission::AUDIT_READ,
    Permission::ORGANIZATIONS_MANAGE,
];

/// What can be done at a workspace. Every workspace starts with these.
pub static WORKSPACE: [Permission; 9] = [
    Permission::built_in("pipelines.read"),
    Permission::built_in("pipelines.deploy"),
    Permission::built_in("nodes.read"),
    Permission::built_in("nodes.manage"),
    Permission::built_in("secrets.read"),
    Permission::built_in("secrets.manage"),
    Permission::built_in("alerts.read"),
    Permission::built_in("alerts.manage"),
    Permission::built_in("audit.read"),
];

/// Permissions as a `scope` (RFC 6749, section 3.3): with spaces between them, or nothing where there are none, for the grammar has no empty scope.
#[must_use]
pub fn to_scope(permissions: &[Permission]) -> Option<String> {
    (!permissions.is_empty()).then(|| permissions.iter().map(Permission::as_str).collect::<Vec<_>>().join(" "))
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
        for permission in HOURPASS.iter().chain(&WORKSPACE) {
            assert_eq!(Permission::parse(permission.as_str()).as_ref(), Ok(permission));
        }
    }
}
