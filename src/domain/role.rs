//! Built-in roles: named sets of permissions at one level.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::access::Grant;
use super::name::Invalid;
use super::permission::{self, Permission};

/// Where a role is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In the whole organization, and so in each of its workspaces.
    Organization,
    /// In one workspace.
    Workspace,
}

/// A built-in role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything in the organization and its workspaces.
    OrganizationAdmin,
    /// May see who is there.
    OrganizationMember,
    /// May see what there is and read what happened.
    OrganizationAuditor,
    /// May do everything in the workspace.
    WorkspaceAdmin,
    /// May see everything in the workspace and deploy.
    WorkspaceDeveloper,
    /// May see everything in the workspace.
    WorkspaceViewer,
}

impl Role {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::OrganizationAdmin,
        Self::OrganizationMember,
        Self::OrganizationAuditor,
        Self::WorkspaceAdmin,
        Self::WorkspaceDeveloper,
        Self::WorkspaceViewer,
    ];

    /// The name that people see, and that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrganizationAdmin => "Organization Admin",
            Self::OrganizationMember => "Organization Member",
            Self::OrganizationAuditor => "Organization Auditor",
            Self::WorkspaceAdmin => "Workspace Admin",
            Self::WorkspaceDeveloper => "Workspace Developer",
            Self::WorkspaceViewer => "Workspace Viewer",
        }
    }

    /// Where it is given.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::OrganizationAdmin | Self::OrganizationMember | Self::OrganizationAuditor => Level::Organization,
            Self::WorkspaceAdmin | Self::WorkspaceDeveloper | Self::WorkspaceViewer => Level::Workspace,
        }
    }

    /// What its holder may do at that level.
    #[must_use]
    pub fn grant(self) -> Grant {
        match self {
            Self::OrganizationAdmin | Self::WorkspaceAdmin => Grant::Everything,
            Self::OrganizationMember => Grant::These(BTreeSet::from([Permission::SERVICE_ACCOUNTS_READ])),
            Self::OrganizationAuditor => reading(permission::HOURPASS.iter().chain(&permission::WORKSPACE)),
            Self::WorkspaceViewer => reading(permission::WORKSPACE.iter()),
            Self::WorkspaceDeveloper => {
                let deploy = permission::WORKSPACE.iter().filter(|permission| permission.as_str() == "pipelines.deploy");
                reading(permission::WORKSPACE.iter()).union(Grant::These(deploy.cloned().collect()))
            }
        }
    }
}

/// Those of `permissions` that only look.
fn reading<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Grant {
    Grant::These(permissions.filter(|permission| permission.action() == "read").cloned().collect())
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Invalid;

    /// By name, in any case and with spaces, `-` or `_` between the words, for the sake of shells.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wanted = text.replace(['-', '_'], " ");
        Self::ALL.into_iter().find(|role| role.name().eq_ignore_ascii_case(&wanted)).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|role| role.name()).collect();
            Invalid(format!("there is no role {text:?}; there are: {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_found_however_a_shell_writes_them() {
        for text in ["Organization Admin", "organization-admin", "ORGANIZATION_ADMIN"] {
            assert_eq!(text.parse(), Ok(Role::OrganizationAdmin));
        }
        assert!("admin".parse::<Role>().is_err_and(|why| why.0.contains("Workspace Viewer")));
    }
}
