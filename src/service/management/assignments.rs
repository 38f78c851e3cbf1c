//! Giving and taking roles and permissions.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Management, ManagementError, Page, no, own, require};
use crate::domain::access::{Given, Level, Place};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::entity::{Project, Workspace};
use crate::domain::id::{OrganizationId, Reference, RoleAssignmentId};
use crate::domain::name::Invalid;
use crate::domain::permission::Permission;
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;
use crate::store::{AssignmentFilter, Holder, Member, StoreError, StoredAssignment, Tx};

/// Whom something is given to, as the request names them.
#[derive(Clone, Debug)]
pub enum HolderReference {
    /// A service account, by id or name.
    ServiceAccount(Reference),
    /// A person, by id or email address.
    User(Reference),
    /// A team, by id or name.
    Team(Reference),
}

/// What is given, as the request names it.
#[derive(Clone, Debug)]
pub enum NewGiven {
    /// A role, by id or name.
    Role(Reference),
    /// Permissions without a role: at least one.
    Permissions(BTreeSet<Permission>),
}

/// A wish to give something.
#[derive(Clone, Debug)]
pub struct NewAssignment {
    /// What.
    pub given: NewGiven,
    /// To whom.
    pub holder: HolderReference,
    /// In which workspace; in the whole organization without one.
    pub workspace: Option<Reference>,
    /// In which project of it; in the whole workspace without one.
    pub project: Option<Reference>,
}

/// Which assignments a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct AssignmentQuery {
    /// Those of this account, person or team themselves.
    pub holder: Option<HolderReference>,
    /// Those of this role.
    pub role: Option<Reference>,
    /// Those in this workspace and its projects.
    pub workspace: Option<Reference>,
    /// Those in this project of it.
    pub project: Option<Reference>,
}

/// A place, and what is there.
#[derive(Clone, Debug)]
pub(in crate::service) struct Spot {
    pub(in crate::service) place: Place,
    pub(in crate::service) workspace: Option<Workspace>,
    pub(in crate::service) project: Option<Project>,
}

impl Spot {
    pub(in crate::service) const PLATFORM: Self = Self { place: Place::Platform, workspace: None, project: None };
    pub(in crate::service) const ORGANIZATION: Self = Self { place: Place::Organization, workspace: None, project: None };

    pub(in crate::service) fn workspace(workspace: Workspace) -> Self {
        Self { place: Place::Workspace(workspace.id), workspace: Some(workspace), project: None }
    }
}

/// Someone who can be given something, found.
#[derive(Clone, Debug)]
pub(in crate::service) struct FoundHolder {
    pub(in crate::service) holder: Holder,
    pub(in crate::service) target: Target,
}

impl FoundHolder {
    fn locks(&self) -> Vec<Member> {
        match self.holder {
            Holder::ServiceAccount(id) => vec![Member::ServiceAccount(id)],
            Holder::User(id) => vec![Member::User(id)],
            Holder::Team(_) => Vec::new(),
        }
    }
}

impl Management {
    /// Gives someone a role, or permissions, where the caller may and holds as much.
    ///
    /// # Errors
    /// Where the caller may not or holds less, something named does not exist, the role is of another level than the place, or it was given already.
    pub async fn assign(&self, caller: &Caller, wanted: NewAssignment, origin: Origin) -> Result<Uncommitted<StoredAssignment>, ManagementError> {
        let organization = caller.organization().id;
        let holder = self.find_holder(organization, &wanted.holder).await?;
        let mut spot = self.find_spot(organization, wanted.workspace.as_ref(), wanted.project.as_ref()).await?;
        if let (NewGiven::Role(reference), Place::Organization) = (&wanted.given, spot.place)
            && self.find_role_of(organization, reference).await?.level == Level::Platform
        {
            spot = Spot::PLATFORM;
        }
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, spot.place, &holder.locks()).await?;
        // All of it was there before the lock, and may be gone since.
        let holder = find_again(&mut tx, organization, &holder, &wanted.holder).await?;
        let spot = spot_again(&mut tx, organization, spot).await?;
        let given = self.find_given(&mut tx, &caller, spot.place, &wanted.given).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        let held = tx.list_assignments(holder.holder).await?;
        if own(holder.holder, &held).any(|it| it.given == given && it.place == spot.place) {
            return Err(ManagementError::InUse(format!("{} holds that there already", holder.target.name)));
        }
        let id = self.insert_assignment(&mut tx, organization, &holder, &given, &spot, caller.actor(), origin).await?;
        let made = tx.find_assignment(organization, id).await?.ok_or_else(|| no("role assignment", &Reference::Id(id.0)))?;
        Ok(Uncommitted::new(tx, claim, made))
    }

    /// Finds what is to be given, where the caller holds as much there.
    pub(super) async fn find_given(&self, tx: &mut Tx, caller: &Caller, place: Place, wanted: &NewGiven) -> Result<Given, ManagementError> {
        let organization = caller.organization().id;
        let given = match wanted {
            NewGiven::Role(reference) => Given::Role(self.find_role_in(tx, organization, reference).await?),
            NewGiven::Permissions(permissions) => {
                self.check_permissions(tx, organization, place.level(), permissions).await?;
                Given::Permissions(permissions.clone())
            }
        };
        if let Given::Role(role) = &given
            && role.level != place.level()
        {
            let how = match role.level {
                Level::Platform | Level::Organization => "name neither workspace nor project",
                Level::Workspace => "name the workspace, and no project",
                Level::Project => "name the workspace and the project",
            };
            return Err(ManagementError::OutOfRange("role", Invalid(format!("{} is given in a whole {}: {how}", role.name, role.level))));
        }
        if !caller.access.covers_at(place, &given.grant()) {
            let what = match &given {
                Given::Role(role) => format!("role {}", role.name),
                Given::Permissions(_) => "that".to_owned(),
            };
            return Err(ManagementError::Escalation(format!("{what} is more than you hold there")));
        }
        Ok(given)
    }

    /// Takes something back.
    ///
    /// # Errors
    /// Where the caller may not, there is no such assignment, or nobody would be left to administer the organization.
    pub async fn unassign(&self, caller: &Caller, id: RoleAssignmentId, origin: Origin) -> Result<(), ManagementError> {
        let organization = caller.organization().id;
        let found = self.find_assignment(caller, id).await?;
        let place = found.assignment.place;
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, place, &[]).await?;
        let found = tx.find_assignment(organization, id).await?.ok_or_else(|| no("role assignment", &Reference::Id(id.0)))?;
        let administrators = tx.count_administrators(organization).await?;
        tx.delete_assignment(organization, id).await?;
        self.keep_administrator(&mut tx, organization, administrators).await?;
        let (kind, holder_id) = match found.holder {
            Holder::ServiceAccount(id) => ("service_account", id.0),
            Holder::User(id) => ("user", id.0),
            Holder::Team(id) => ("team", id.0),
        };
        let details = details(&found.assignment.given, place, found.workspace.as_deref(), found.project.as_deref());
        self.finish(tx, &caller, Action::RoleUnassign, Target::new(kind, holder_id, found.holder_name), origin, details).await
    }

    /// Finds an assignment that the caller may see.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn get_assignment(&self, caller: &Caller, id: RoleAssignmentId) -> Result<StoredAssignment, ManagementError> {
        let found = self.find_assignment(caller, id).await?;
        if !caller.access.holds(&Permission::ROLES_READ, found.assignment.place) {
            // Who may see all that is given in the organization may see who of it manages the platform.
            require(caller, &Permission::ROLES_READ, Place::Organization)?;
        }
        Ok(found)
    }

    async fn find_assignment(&self, caller: &Caller, id: RoleAssignmentId) -> Result<StoredAssignment, ManagementError> {
        let found = self.store.find_assignment(caller.organization().id, id).await?;
        found.ok_or_else(|| no("role assignment", &Reference::Id(id.0)))
    }

    /// Lists what was given: in the whole organization, or in the workspace or project that is asked for.
    ///
    /// # Errors
    /// Where the caller may not, or something named does not exist.
    pub async fn list_given(&self, caller: &Caller, query: &AssignmentQuery, page: Page) -> Result<Vec<StoredAssignment>, ManagementError> {
        let organization = caller.organization().id;
        let spot = self.find_spot(organization, query.workspace.as_ref(), query.project.as_ref()).await?;
        require(caller, &Permission::ROLES_READ, spot.place)?;
        let mut filter = AssignmentFilter { workspace: spot.place.workspace(), project: spot.place.project(), ..AssignmentFilter::default() };
        if let Some(reference) = &query.holder {
            filter.holder = Some(match self.find_holder(organization, reference).await?.holder {
                Holder::ServiceAccount(id) => id.0,
                Holder::User(id) => id.0,
                Holder::Team(id) => id.0,
            });
        }
        if let Some(reference) = &query.role {
            filter.role = Some(self.find_role_of(organization, reference).await?.id);
        }
        Ok(self.store.list_given(organization, &filter, page.after, page.limit.into()).await?)
    }

    /// Refuses what took away the last of the `before` people who administered the organization.
    pub(super) async fn keep_administrator(&self, tx: &mut Tx, organization: OrganizationId, before: i64) -> Result<(), ManagementError> {
        if before > 0 && tx.count_administrators(organization).await? == 0 { Err(ManagementError::LastAdministrator) } else { Ok(()) }
    }

    /// Gives something on behalf of `actor`, who was checked before.
    #[expect(clippy::too_many_arguments, reason = "who gives what to whom where are all independent")]
    pub(in crate::service) async fn insert_assignment(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        holder: &FoundHolder,
        given: &Given,
        spot: &Spot,
        actor: Actor,
        origin: Origin,
    ) -> Result<RoleAssignmentId, StoreError> {
        let now = self.sources.now();
        let id = RoleAssignmentId::generate(now, self.sources.random());
        tx.insert_assignment(id, organization, holder.holder, given, spot.place, now).await?;
        let (workspace, project) = (spot.workspace.as_ref().map(|it| it.slug.as_str()), spot.project.as_ref().map(|it| it.slug.as_str()));
        let details = details(given, spot.place, workspace, project);
        tx.insert_event(&self.event(now, Some(organization), actor, Action::RoleAssign, holder.target.clone(), origin, details)).await?;
        Ok(id)
    }

    pub(in crate::service) async fn find_holder(
        &self,
        organization: OrganizationId,
        reference: &HolderReference,
    ) -> Result<FoundHolder, ManagementError> {
        match reference {
            HolderReference::ServiceAccount(reference) => {
                let account = self.store.find_service_account(organization, reference).await?.ok_or_else(|| no("service account", reference))?;
                Ok(FoundHolder { holder: Holder::ServiceAccount(account.id), target: Target::from(&account) })
            }
            HolderReference::User(reference) => {
                let user = self.find_user_of(organization, reference).await?;
                Ok(FoundHolder { holder: Holder::User(user.id), target: Target::from(&user) })
            }
            HolderReference::Team(reference) => {
                let team = self.find_team_of(organization, reference).await?;
                Ok(FoundHolder { holder: Holder::Team(team.id), target: Target::from(&team) })
            }
        }
    }

    pub(super) async fn find_spot(
        &self,
        organization: OrganizationId,
        workspace: Option<&Reference>,
        project: Option<&Reference>,
    ) -> Result<Spot, ManagementError> {
        let Some(reference) = workspace else {
            return match project {
                Some(_) => Err(ManagementError::OutOfRange("project", Invalid("is in a workspace; name the workspace, too".to_owned()))),
                None => Ok(Spot::ORGANIZATION),
            };
        };
        let workspace = self.store.find_workspace(organization, reference).await?.ok_or_else(|| no("workspace", reference))?;
        let Some(reference) = project else { return Ok(Spot::workspace(workspace)) };
        let project = self.find_project_of(&workspace, reference).await?;
        Ok(Spot { place: Place::Project(workspace.id, project.id), workspace: Some(workspace), project: Some(project) })
    }
}

pub(super) fn details(given: &Given, place: Place, workspace: Option<&str>, project: Option<&str>) -> Value {
    let (role, permissions) = match given {
        Given::Role(role) => (Some(&role.name), None),
        Given::Permissions(permissions) => (None, Some(permissions)),
    };
    json!({ "role": role, "permissions": permissions, "level": place.level(), "workspace": workspace, "project": project })
}

pub(super) async fn find_again(
    tx: &mut Tx,
    organization: OrganizationId,
    found: &FoundHolder,
    reference: &HolderReference,
) -> Result<FoundHolder, ManagementError> {
    let target = match found.holder {
        Holder::ServiceAccount(id) => tx.find_service_account_by_id(organization, id.0).await?.as_ref().map(Target::from),
        Holder::User(id) => tx.find_user_by_id(organization, id.0).await?.as_ref().map(Target::from),
        Holder::Team(id) => tx.find_team_by_id(organization, id.0).await?.as_ref().map(Target::from),
    };
    let gone = || match reference {
        HolderReference::ServiceAccount(reference) => no("service account", reference),
        HolderReference::User(reference) => no("user", reference),
        HolderReference::Team(reference) => no("team", reference),
    };
    Ok(FoundHolder { holder: found.holder, target: target.ok_or_else(gone)? })
}

async fn spot_again(tx: &mut Tx, organization: OrganizationId, spot: Spot) -> Result<Spot, ManagementError> {
    let gone = |kind: &'static str, id: Uuid| no(kind, &Reference::Id(id));
    let Some(workspace) = &spot.workspace else { return Ok(spot) };
    let workspace = tx.find_workspace_by_id(organization, workspace.id.0).await?.ok_or_else(|| gone("workspace", workspace.id.0))?;
    let project = match &spot.project {
        Some(project) => Some(tx.find_project_by_id(workspace.id, project.id.0).await?.ok_or_else(|| gone("project", project.id.0))?),
        None => None,
    };
    Ok(Spot { place: spot.place, workspace: Some(workspace), project })
}
