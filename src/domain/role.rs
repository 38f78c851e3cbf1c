//! Roles: named sets of permissions at one level, built in or made by an organization.

use std::sync::LazyLock;

use uuid::Uuid;

use super::access::{Grant, Level};
use super::id::{OrganizationId, RoleId};
use super::name::Name;
use super::permission::Permission;
use super::time::Timestamp;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Whose it is; without one, it is built in.
    pub organization_id: Option<OrganizationId>,
    /// Its name, unique in the organization.
    pub name: Name,
    /// What it is for.
    pub description: String,
    /// Where it can be given.
    pub level: Level,
    /// What its holder may do there.
    pub grant: Grant,
    /// When it was made; without one, it is built in.
    pub created_at: Option<Timestamp>,
}

/// The id of the role Platform Admin.
pub const PLATFORM_ADMIN: RoleId = id(1);
/// The id of the role Organization Admin.
pub const ORGANIZATION_ADMIN: RoleId = id(2);

/// The ids of built-in roles come before all others, so that lists begin with them.
const fn id(number: u128) -> RoleId {
    RoleId(Uuid::from_u128(0x7000_8000_0000_0000_0000 | number))
}

/// The built-in roles.
pub static BUILT_IN: LazyLock<[Role; 10]> = LazyLock::new(|| {
    let everything = || Grant { everything: true, ..Grant::default() };
    let reading = || Grant { reading: true, ..Grant::default() };
    let deploying = || Grant { reading: true, ..Grant::these([Permission::from_stored("pipelines.deploy".to_owned())]) };
    let directory = Grant::these([
        Permission::SERVICE_ACCOUNTS_READ,
        Permission::WORKSPACES_READ,
        Permission::ROLES_READ,
        Permission::TEAMS_READ,
        Permission::USERS_READ,
    ]);
    let role = |id: RoleId, name: &str, level: Level, grant: Grant, description: &str| Role {
        id,
        organization_id: None,
        name: Name::from_stored(name.to_owned()),
        description: description.to_owned(),
        level,
        grant,
        created_at: None,
    };
    let platform = Grant::these([Permission::PLATFORM_MANAGE, Permission::SIGNING_KEYS_MANAGE, Permission::ROLES_READ, Permission::ROLES_MANAGE]);
    [
        role(
            PLATFORM_ADMIN,
            "Platform Admin",
            Level::Platform,
            platform,
            "Makes and deletes organizations, sees nothing of what is in them, and makes others Platform Admin.",
        ),
        role(ORGANIZATION_ADMIN, "Organization Admin", Level::Organization, everything(), "Everything, at Hourpass and at every workspace."),
        role(id(3), "Organization Member", Level::Organization, directory, "Sees who and what there is, and no audit events."),
        role(id(4), "Organization Auditor", Level::Organization, reading(), "Sees everything, at Hourpass and at every workspace."),
        role(id(5), "Workspace Admin", Level::Workspace, everything(), "Everything in the workspace and its projects."),
        role(id(6), "Workspace Developer", Level::Workspace, deploying(), "Sees everything in the workspace, and deploys."),
        role(id(7), "Workspace Viewer", Level::Workspace, reading(), "Sees everything in the workspace."),
        role(id(8), "Project Admin", Level::Project, everything(), "Everything in the project."),
        role(id(9), "Project Contributor", Level::Project, deploying(), "Sees everything in the project, and deploys."),
        role(id(10), "Project Viewer", Level::Project, reading(), "Sees everything in the project."),
    ]
});

/// The built-in role of this name, in any case and with spaces, `-` or `_` between the words, for the sake of shells.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static Role> {
    let words = |c: char| c.is_whitespace() || c == '-' || c == '_';
    let wanted = name.split(words).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    BUILT_IN.iter().find(|role| role.name.as_str().eq_ignore_ascii_case(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_found_however_a_shell_writes_them() {
        for text in ["Organization Admin", "organization-admin", "ORGANIZATION_ADMIN", " Organization  Admin"] {
            assert_eq!(built_in(text).map(|role| role.id), Some(ORGANIZATION_ADMIN));
        }
        assert_eq!(built_in("admin"), None);
    }

    #[test]
    fn hold_only_what_their_level_admits() {
        for role in BUILT_IN.iter() {
            assert!(role.grant.named.iter().all(|permission| role.level.admits(permission).is_ok()), "{}", role.name);
            assert_eq!((role.id.0.get_version_num(), role.id.0.get_variant()), (7, uuid::Variant::RFC4122), "{}", role.name);
        }
    }
}
