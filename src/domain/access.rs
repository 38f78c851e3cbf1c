//! Who may do what: the permissions that someone holds, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::id::{ProjectId, RoleAssignmentId, TeamId, WorkspaceId};
use super::name::{Invalid, Name};
use super::permission::{self, BuiltIn, Permission};
use super::role::Role;

/// How far a place reaches, the widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// This Hourpass, and nothing inside of any organization.
    Platform,
    /// One organization, and so each of its workspaces.
    Organization,
    /// One workspace, and so each of its projects.
    Workspace,
    /// One project.
    Project,
}

impl Level {
    /// As in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Organization => "organization",
            Self::Workspace => "workspace",
            Self::Project => "project",
        }
    }

    /// Whether `permission` can be held at a place of this level. What a workspace does with those of the catalogue is its own business.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn admits(self, permission: &Permission) -> Result<(), Invalid> {
        let catalogue = permission::CATALOGUE.iter().any(|(name, _)| *name == permission.as_str());
        let narrowest = permission.built_in().map_or(Self::Project, |built_in| built_in.narrowest);
        // There, they are about who manages the platform.
        let roles = [Permission::ROLES_READ, Permission::ROLES_MANAGE].contains(permission);
        let admitted = match self {
            Self::Platform => narrowest == Self::Platform || roles,
            _ => narrowest != Self::Platform && (catalogue || self <= narrowest),
        };
        if admitted {
            Ok(())
        } else {
            Err(Invalid(format!("{permission} is nothing that is held at the level {self}, but at the level {narrowest}")))
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Platform, Self::Organization, Self::Workspace, Self::Project];
        all.into_iter().find(|level| level.as_str() == text).ok_or_else(|| Invalid("must be organization, workspace or project".to_owned()))
    }
}

/// Where something is given and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On this Hourpass.
    Platform,
    /// In the whole organization.
    Organization,
    /// In this workspace.
    Workspace(WorkspaceId),
    /// In this project of this workspace.
    Project(WorkspaceId, ProjectId),
}

impl Place {
    /// The place of a permission in the `scope` of a token for Hourpass.
    #[must_use]
    pub fn at_hourpass(permission: &Permission) -> Self {
        permission.built_in().map_or(Self::Organization, Self::widest)
    }

    /// The widest place where it counts.
    fn widest(permission: &BuiltIn) -> Self {
        if permission.narrowest == Level::Platform { Self::Platform } else { Self::Organization }
    }

    /// How far it reaches.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Platform => Level::Platform,
            Self::Organization => Level::Organization,
            Self::Workspace(_) => Level::Workspace,
            Self::Project(..) => Level::Project,
        }
    }

    /// The workspace that it is, or is in.
    #[must_use]
    pub const fn workspace(self) -> Option<WorkspaceId> {
        match self {
            Self::Workspace(id) | Self::Project(id, _) => Some(id),
            Self::Platform | Self::Organization => None,
        }
    }

    /// The project that it is.
    #[must_use]
    pub const fn project(self) -> Option<ProjectId> {
        match self {
            Self::Project(_, id) => Some(id),
            _ => None,
        }
    }

    /// This place and those around it: what is held there is held here. The platform is around nothing.
    fn around(self) -> impl Iterator<Item = Self> {
        let organization = (self != Self::Platform && self != Self::Organization).then_some(Self::Organization);
        let workspace = self.project().and(self.workspace()).map(Self::Workspace);
        [Some(self), workspace, organization].into_iter().flatten()
    }
}

/// Permissions at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// All that there are, also those that are added later.
    pub everything: bool,
    /// All that only look (`….read`), also those that are added later.
    pub reading: bool,
    /// These.
    pub named: BTreeSet<Permission>,
}

impl Grant {
    /// These permissions.
    #[must_use]
    pub fn these(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self { named: permissions.into_iter().collect(), ..Self::default() }
    }

    /// Whether this permission is among them.
    #[must_use]
    pub fn holds(&self, permission: &Permission) -> bool {
        self.everything || self.reading && permission.action() == "read" || self.named.contains(permission)
    }

    fn add(&mut self, other: &Self) {
        self.everything |= other.everything;
        self.reading |= other.reading;
        self.named.extend(other.named.iter().cloned());
    }

    fn covers(&self, other: &Self) -> bool {
        self.everything || !other.everything && (self.reading || !other.reading) && other.named.iter().all(|permission| self.holds(permission))
    }

    /// The permissions that are in both.
    fn shared(&self, other: &Self) -> Self {
        let held = |one: &Self, by: &Self| one.named.iter().filter(|permission| by.holds(permission)).cloned().collect::<BTreeSet<_>>();
        Self {
            everything: self.everything && other.everything,
            reading: (self.everything || self.reading) && (other.everything || other.reading),
            named: held(self, other).union(&held(other, self)).cloned().collect(),
        }
    }

    /// As people read it: `*` is everything, `*.read` all that only looks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let wide = [self.everything.then_some("*"), self.reading.then_some("*.read")];
        wide.into_iter().flatten().chain(self.named.iter().map(Permission::as_str))
    }
}

/// What was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A role.
    Role(Role),
    /// Permissions without a role.
    Permissions(BTreeSet<Permission>),
}

impl Given {
    /// The permissions.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match self {
            Self::Role(role) => role.grant.clone(),
            Self::Permissions(permissions) => Grant::these(permissions.iter().cloned()),
        }
    }
}

/// Something that someone was given, themselves or through a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its id.
    pub id: RoleAssignmentId,
    /// What.
    pub given: Given,
    /// Where.
    pub place: Place,
    /// The team that it was given to, where it came to its members so.
    pub team: Option<(TeamId, Name)>,
}

/// All that someone may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access(BTreeMap<Place, Grant>);

impl Access {
    /// What these assignments add up to.
    #[must_use]
    pub fn of(assignments: &[Assignment]) -> Self {
        assignments.iter().map(|assignment| (assignment.place, assignment.given.grant())).collect()
    }

    /// Whether they hold this permission at this place, or around it.
    #[must_use]
    pub fn holds(&self, permission: &Permission, place: Place) -> bool {
        place.around().any(|place| self.0.get(&place).is_some_and(|grant| grant.holds(permission)))
    }

    /// Whether they hold this permission at any place at all.
    #[must_use]
    pub fn holds_somewhere(&self, permission: &Permission) -> bool {
        let widest = Place::at_hourpass(permission).level();
        let narrowest = permission.built_in().map_or(Level::Project, |it| it.narrowest);
        let asked = |level: Level| (widest..=narrowest).contains(&level) || level == Level::Platform && level.admits(permission).is_ok();
        self.0.iter().any(|(place, grant)| asked(place.level()) && grant.holds(permission))
    }

    /// Whether they hold this permission anywhere in their organization.
    #[must_use]
    pub fn holds_inside(&self, permission: &Permission) -> bool {
        self.0.iter().any(|(place, grant)| *place != Place::Platform && place.level().admits(permission).is_ok() && grant.holds(permission))
    }

    /// What they may do at Hourpass itself, in the whole organization and on the platform.
    #[must_use]
    pub fn at_hourpass(&self) -> Vec<Permission> {
        permission::HOURPASS.iter().filter(|it| self.holds(&it.permission, Place::widest(it))).map(|it| it.permission.clone()).collect()
    }

    /// What they may do at Hourpass in single workspaces and projects only.
    #[must_use]
    pub fn at_parts_of_hourpass(&self) -> Vec<(Place, Vec<Permission>)> {
        let parts = self.0.keys().filter(|place| place.workspace().is_some());
        let there = |place: &Place| {
            let level = place.level();
            self.only_at(*place, permission::HOURPASS.iter().filter(|it| level <= it.narrowest).map(|it| &it.permission))
        };
        parts.filter_map(there).collect()
    }

    /// Which of these permissions of its catalogue they hold in the whole workspace.
    #[must_use]
    pub fn at_workspace(&self, id: WorkspaceId, catalogue: &[Permission]) -> Vec<Permission> {
        catalogue.iter().filter(|permission| self.holds(permission, Place::Workspace(id))).cloned().collect()
    }

    /// Which of these permissions they hold in single projects of the workspace only.
    #[must_use]
    pub fn at_projects(&self, id: WorkspaceId, catalogue: &[Permission]) -> Vec<(Place, Vec<Permission>)> {
        let projects = self.0.keys().filter(|place| place.project().is_some() && place.workspace() == Some(id));
        projects.filter_map(|place| self.only_at(*place, catalogue.iter())).collect()
    }

    /// Those of `permissions` that are held at `place` and not around it.
    fn only_at<'a>(&self, place: Place, permissions: impl Iterator<Item = &'a Permission>) -> Option<(Place, Vec<Permission>)> {
        let around = |permission: &Permission| place.around().skip(1).any(|place| self.holds(permission, place));
        let only: Vec<_> = permissions.filter(|permission| self.holds(permission, place) && !around(permission)).cloned().collect();
        (!only.is_empty()).then_some((place, only))
    }

    /// What is left of this in the hands of a token that names `token`: never more than it says, even where its holder may.
    #[must_use]
    pub fn narrowed(&self, token: &Self) -> Self {
        let places: BTreeSet<_> = self.0.keys().chain(token.0.keys()).copied().collect();
        let left = places.into_iter().map(|place| {
            let named = place.around().filter_map(|place| token.0.get(&place)).flat_map(|grant| grant.named.iter());
            (place, Grant::these(named.filter(|permission| self.holds(permission, place)).cloned()))
        });
        left.collect()
    }

    /// What both this and `other` hold, at each place.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Self {
        let places: BTreeSet<_> = self.0.keys().chain(other.0.keys()).copied().collect();
        places.into_iter().map(|place| (place, self.held_at(place).shared(&other.held_at(place)))).collect()
    }

    /// All that is held at this place, also because it is held around it.
    fn held_at(&self, place: Place) -> Grant {
        let mut held = Grant::default();
        place.around().filter_map(|place| self.0.get(&place)).for_each(|grant| held.add(grant));
        held
    }

    /// Whether nothing in `other` goes beyond this: no one gives what they do not hold.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(place, theirs)| self.covers_at(*place, theirs))
    }

    /// Whether all of this grant is held at this place.
    #[must_use]
    pub fn covers_at(&self, place: Place, grant: &Grant) -> bool {
        self.held_at(place).covers(grant)
    }
}

impl FromIterator<(Place, Grant)> for Access {
    fn from_iter<I: IntoIterator<Item = (Place, Grant)>>(grants: I) -> Self {
        let mut access = Self::default();
        for (place, grant) in grants {
            access.0.entry(place).or_default().add(&grant);
        }
        access
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::role;
    use uuid::Uuid;

    const ONE: WorkspaceId = WorkspaceId(Uuid::from_u128(1));
    const TWO: WorkspaceId = WorkspaceId(Uuid::from_u128(2));
    const PROJECT: Place = Place::Project(ONE, ProjectId(Uuid::from_u128(3)));

    fn access(roles: &[(&str, Place)]) -> Access {
        roles.iter().map(|(name, place)| (*place, role::built_in(name).unwrap().grant.clone())).collect()
    }

    fn names(permissions: &[Permission]) -> Vec<&str> {
        permissions.iter().map(Permission::as_str).collect()
    }

    fn catalogue() -> Vec<Permission> {
        permission::CATALOGUE.iter().map(|(name, _)| Permission::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_workspace_role_reaches_no_further() {
        let viewer = access(&[("Workspace Viewer", Place::Workspace(ONE))]);
        assert_eq!(names(&viewer.at_workspace(ONE, &catalogue())), ["pipelines.read", "nodes.read", "secrets.read", "alerts.read", "audit.read"]);
        assert!(viewer.at_workspace(TWO, &catalogue()).is_empty());
        assert!(viewer.at_hourpass().is_empty());
        assert!(viewer.holds(&Permission::WORKSPACES_READ, Place::Workspace(ONE)) && viewer.holds(&Permission::WORKSPACES_READ, PROJECT));
        assert!(!viewer.holds(&Permission::WORKSPACES_READ, Place::Organization));
        // The workspace's own audit trail, not ours.
        assert!(!viewer.holds_somewhere(&Permission::AUDIT_READ) && viewer.holds_somewhere(&Permission::ROLES_READ));
    }

    #[test]
    fn an_organization_role_reaches_every_workspace_and_not_the_platform() {
        let admin = access(&[("Organization Admin", Place::Organization)]);
        assert_eq!(admin.at_workspace(ONE, &catalogue()), catalogue());
        assert_eq!(admin.at_hourpass().len(), permission::HOURPASS.iter().filter(|it| it.narrowest != Level::Platform).count());
        assert!(!admin.holds_somewhere(&Permission::PLATFORM_MANAGE));
        let platform = access(&[("Platform Admin", Place::Platform)]);
        assert!(platform.holds(&Permission::PLATFORM_MANAGE, Place::Platform));
        assert!(platform.at_workspace(ONE, &catalogue()).is_empty() && !platform.holds(&Permission::AUDIT_READ, Place::Organization));
        assert!(!admin.covers(&platform) && !platform.covers(&admin));
    }

    #[test]
    fn what_is_held_in_one_project_only_is_told_apart() {
        let both = access(&[("Workspace Viewer", Place::Workspace(ONE)), ("Project Contributor", PROJECT)]);
        assert!(!names(&both.at_workspace(ONE, &catalogue())).contains(&"pipelines.deploy"));
        assert_eq!(both.at_projects(ONE, &catalogue()), [(PROJECT, vec![Permission::parse("pipelines.deploy").unwrap()])]);
        assert!(both.at_projects(TWO, &catalogue()).is_empty());
        let admin = access(&[("Project Admin", PROJECT)]);
        assert_eq!(
            admin.at_parts_of_hourpass(),
            [(PROJECT, vec![Permission::WORKSPACES_READ, Permission::PROJECTS_MANAGE, Permission::ROLES_READ, Permission::ROLES_MANAGE])]
        );
    }

    #[test]
    fn what_two_share_is_what_both_hold() {
        let here = [
            access(&[("Organization Admin", Place::Organization)]),
            access(&[("Organization Auditor", Place::Organization), ("Workspace Developer", Place::Workspace(ONE))]),
            access(&[("Workspace Admin", Place::Workspace(ONE)), ("Platform Admin", Place::Platform)]),
            access(&[("Project Admin", PROJECT), ("Organization Member", Place::Organization)]),
            Access::default(),
        ];
        let places = [Place::Platform, Place::Organization, Place::Workspace(ONE), Place::Workspace(TWO), PROJECT];
        let all: Vec<_> = catalogue().into_iter().chain(permission::HOURPASS.iter().map(|it| it.permission.clone())).collect();
        for (one, other) in here.iter().flat_map(|one| here.iter().map(move |other| (one, other))) {
            let shared = one.shared(other);
            for (permission, place) in all.iter().flat_map(|permission| places.map(|place| (permission, place))) {
                assert_eq!(
                    shared.holds(permission, place),
                    one.holds(permission, place) && other.holds(permission, place),
                    "{permission} at {place:?}"
                );
            }
            assert!(one.covers(&shared) && other.covers(&shared));
        }
    }

    #[test]
    fn a_narrowed_token_gives_away_no_more_than_it_names() {
        let admin = access(&[("Organization Admin", Place::Organization), ("Workspace Viewer", Place::Workspace(ONE))]);
        let token = |permission: Permission, place: Place| [(place, Grant::these([permission]))].into_iter().collect::<Access>();
        let narrowed = admin.narrowed(&token(Permission::ROLES_MANAGE, Place::Organization));
        assert_eq!(names(&narrowed.at_hourpass()), ["roles.manage"]);
        assert!(!narrowed.covers(&access(&[("Workspace Viewer", Place::Workspace(ONE))])));
        let there = admin.narrowed(&token(Permission::ROLES_MANAGE, Place::Workspace(TWO)));
        assert!(there.holds(&Permission::ROLES_MANAGE, Place::Workspace(TWO)) && !there.holds(&Permission::ROLES_MANAGE, Place::Workspace(ONE)));
        let viewer = access(&[("Workspace Viewer", Place::Workspace(ONE))]);
        assert!(!viewer.narrowed(&token(Permission::ROLES_MANAGE, Place::Organization)).holds_somewhere(&Permission::ROLES_MANAGE));
    }

    #[test]
    fn covering_is_place_by_place() {
        let organization_admin = access(&[("Organization Admin", Place::Organization)]);
        let workspace_admin = access(&[("Workspace Admin", Place::Workspace(ONE))]);
        let viewer_elsewhere = access(&[("Workspace Viewer", Place::Workspace(TWO))]);
        let auditor = access(&[("Organization Auditor", Place::Organization)]);
        let project = access(&[("Project Admin", PROJECT)]);
        assert!(organization_admin.covers(&organization_admin));
        assert!(organization_admin.covers(&workspace_admin) && organization_admin.covers(&project));
        assert!(workspace_admin.covers(&project) && !project.covers(&workspace_admin));
        assert!(!workspace_admin.covers(&organization_admin));
        assert!(!workspace_admin.covers(&viewer_elsewhere));
        assert!(auditor.covers(&viewer_elsewhere));
        assert!(!auditor.covers(&workspace_admin));
        assert!(viewer_elsewhere.covers(&access(&[])));
    }

    #[test]
    fn a_place_admits_what_reaches_no_further() {
        let admitted = |permission: &Permission| {
            [Level::Platform, Level::Organization, Level::Workspace, Level::Project].map(|level| level.admits(permission).is_ok())
        };
        assert_eq!(admitted(&Permission::PLATFORM_MANAGE), [true, false, false, false]);
        assert_eq!(admitted(&Permission::USERS_MANAGE), [false, true, false, false]);
        assert_eq!(admitted(&Permission::WORKSPACES_MANAGE), [false, true, true, false]);
        assert_eq!(admitted(&Permission::ROLES_MANAGE), [true, true, true, true]);
        // It is in every catalogue, too.
        assert_eq!(admitted(&Permission::AUDIT_READ), [false, true, true, true]);
        assert_eq!(admitted(&Permission::parse("reports.write").unwrap()), [false, true, true, true]);
    }
}
