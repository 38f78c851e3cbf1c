//! Who may do what: the permissions that someone holds, and where.

use std::collections::{BTreeMap, BTreeSet};

use super::id::WorkspaceId;
use super::permission::{self, Permission};
use super::role::Role;

/// Permissions at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// All that exist there, also those that are added later.
    Everything,
    /// These.
    These(BTreeSet<Permission>),
}

impl Grant {
    /// No permission.
    pub const NOTHING: Self = Self::These(BTreeSet::new());

    fn holds(&self, permission: &Permission) -> bool {
        match self {
            Self::Everything => true,
            Self::These(permissions) => permissions.contains(permission),
        }
    }

    /// What either gives.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut ours), Self::These(theirs)) => {
                ours.extend(theirs);
                Self::These(ours)
            }
            _ => Self::Everything,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::These(_), Self::Everything) => false,
            (Self::These(ours), Self::These(theirs)) => theirs.is_subset(ours),
        }
    }
}

/// A role, and the workspace it is given in; without one, it is given in the whole organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What is given.
    pub role: Role,
    /// Where.
    pub workspace: Option<WorkspaceId>,
}

/// All that someone may do in their organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    organization: Grant,
    workspaces: BTreeMap<WorkspaceId, Grant>,
}

impl Access {
    /// What these assignments add up to.
    #[must_use]
    pub fn of(assignments: &[Assignment]) -> Self {
        let mut access = Self { organization: Grant::NOTHING, workspaces: BTreeMap::new() };
        for assignment in assignments {
            let held = match assignment.workspace {
                Some(id) => access.workspaces.entry(id).or_insert(Grant::NOTHING),
                None => &mut access.organization,
            };
            *held = std::mem::replace(held, Grant::NOTHING).union(assignment.role.grant());
        }
        access
    }

    /// Whether they hold this permission in the organization as a whole.
    #[must_use]
    pub fn holds(&self, permission: &Permission) -> bool {
        self.organization.holds(permission)
    }

    /// What they may do at Hourpass itself.
    #[must_use]
    pub fn at_hourpass(&self) -> Vec<Permission> {
        permission::HOURPASS.iter().filter(|permission| self.holds(permission)).cloned().collect()
    }

    /// What they may do at this workspace: what they hold there, and what they hold in the whole organization.
    #[must_use]
    pub fn at_workspace(&self, id: WorkspaceId) -> Vec<Permission> {
        let there = self.workspaces.get(&id);
        let held = |permission: &&Permission| self.holds(permission) || there.is_some_and(|grant| grant.holds(permission));
        permission::WORKSPACE.iter().filter(held).cloned().collect()
    }

    /// What is left of this in the hands of a token for Hourpass with this `scope`: a token never does more than it says, even where its holder may. A scope
    /// that names all that is held at Hourpass leaves everything.
    #[must_use]
    pub fn narrowed(&self, scope: &str) -> Self {
        let named: BTreeSet<&str> = scope.split(' ').collect();
        if self.at_hourpass().iter().all(|permission| named.contains(permission.as_str())) {
            return self.clone();
        }
        let left = self.at_hourpass().into_iter().filter(|permission| named.contains(permission.as_str()));
        Self { organization: Grant::These(left.collect()), workspaces: BTreeMap::new() }
    }

    /// Whether nothing in `other` goes beyond this: no one gives what they do not hold.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.organization.covers(&other.organization)
            && other.workspaces.iter().all(|(id, theirs)| {
                let ours = self.workspaces.get(id).unwrap_or(&Grant::NOTHING).clone().union(self.organization.clone());
                ours.covers(theirs)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn workspace(number: u128) -> WorkspaceId {
        WorkspaceId(Uuid::from_u128(number))
    }

    fn access(assignments: &[(Role, Option<u128>)]) -> Access {
        Access::of(&assignments.iter().map(|(role, id)| Assignment { role: *role, workspace: id.map(workspace) }).collect::<Vec<_>>())
    }

    fn names(permissions: &[Permission]) -> Vec<&str> {
        permissions.iter().map(Permission::as_str).collect()
    }

    #[test]
    fn a_workspace_role_reaches_no_further() {
        let viewer = access(&[(Role::WorkspaceViewer, Some(1))]);
        assert_eq!(names(&viewer.at_workspace(workspace(1))), ["pipelines.read", "nodes.read", "secrets.read", "alerts.read", "audit.read"]);
        assert!(viewer.at_workspace(workspace(2)).is_empty());
        assert!(viewer.at_hourpass().is_empty());
    }

    #[test]
    fn an_organization_role_reaches_every_workspace() {
        let admin = access(&[(Role::OrganizationAdmin, None)]);
        assert_eq!(admin.at_workspace(workspace(1)).len(), permission::WORKSPACE.len());
        assert_eq!(admin.at_hourpass().len(), permission::HOURPASS.len());
    }

    #[test]
    fn roles_add_up() {
        let both = access(&[(Role::WorkspaceViewer, Some(1)), (Role::WorkspaceDeveloper, Some(1)), (Role::OrganizationMember, None)]);
        assert!(names(&both.at_workspace(workspace(1))).contains(&"pipelines.deploy"));
        assert_eq!(names(&both.at_hourpass()), ["service_accounts.read"]);
    }

    #[test]
    fn a_narrowed_token_gives_away_no_more_than_it_names() {
        let admin = access(&[(Role::OrganizationAdmin, None)]);
        assert_eq!(admin.narrowed("service_accounts.read service_accounts.manage api_keys.manage audit.read organizations.manage"), admin);
        let narrowed = admin.narrowed("api_keys.manage");
        assert_eq!(names(&narrowed.at_hourpass()), ["api_keys.manage"]);
        assert!(!narrowed.covers(&access(&[(Role::WorkspaceViewer, Some(1))])));
        assert!(access(&[(Role::WorkspaceViewer, Some(1))]).narrowed("api_keys.manage").at_hourpass().is_empty());
    }

    #[test]
    fn covering_is_place_by_place() {
        let organization_admin = access(&[(Role::OrganizationAdmin, None)]);
        let workspace_admin = access(&[(Role::WorkspaceAdmin, Some(1))]);
        let viewer_elsewhere = access(&[(Role::WorkspaceViewer, Some(2))]);
        let auditor = access(&[(Role::OrganizationAuditor, None)]);
        assert!(organization_admin.covers(&organization_admin));
        assert!(organization_admin.covers(&workspace_admin));
        assert!(!workspace_admin.covers(&organization_admin));
        assert!(!workspace_admin.covers(&viewer_elsewhere));
        assert!(auditor.covers(&viewer_elsewhere));
        assert!(!auditor.covers(&workspace_admin));
        assert!(viewer_elsewhere.covers(&access(&[])));
    }
}
