//! Roles: the built-in ones, and those that an organization makes.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Changes, Management, ManagementError, Page, name_taken, no, require_somewhere};
use crate::domain::access::{Grant, Level, Place};
use crate::domain::audit::{Action, Origin, Target};
use crate::domain::id::{OrganizationId, Reference, RoleId};
use crate::domain::name::{Invalid, Name};
use crate::domain::permission::Permission;
use crate::domain::role::{self, BUILT_IN, Role};
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;
use crate::store::Tx;

/// What a new role is to be.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: String,
    /// Where it can be given.
    pub level: Level,
    /// What its holder may do there: at least one.
    pub permissions: BTreeSet<Permission>,
}

/// What is to change of a role; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct RoleChange {
    /// Its name.
    pub name: Option<Name>,
    /// What it is for.
    pub description: Option<String>,
    /// What its holders may do.
    pub permissions: Option<BTreeSet<Permission>>,
}

impl Management {
    /// Makes a role, of permissions that the caller holds in the whole organization.
    ///
    /// # Errors
    /// Where the caller may not or holds less, a permission does not exist or does not fit the level, or the name is taken.
    pub async fn create_role(&self, caller: &Caller, wanted: NewRole, origin: Origin) -> Result<Uncommitted<Role>, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, Place::Organization, &[]).await?;
        let organization = caller.organization().id;
        let NewRole { name, description, level, permissions } = wanted;
        self.check_permissions(&mut tx, organization, level, &permissions).await?;
        require_all(&caller, &permissions)?;
        let claim = self.claim(&mut tx, &caller).await?;
        free(&name)?;
        let now = self.sources.now();
        let id = RoleId::generate(now, self.sources.random());
        let grant = Grant::these(permissions);
        let role = Role { id, organization_id: Some(organization), name, description, level, grant, created_at: Some(now) };
        tx.insert_role(organization, &role, now).await.map_err(|error| name_taken(error, &role.name))?;
        let details = json!({ "name": role.name, "description": role.description, "level": role.level, "permissions": role.grant.named });
        self.finish_making(tx, claim, &caller, Action::RoleCreate, Target::from(&role), origin, details, role).await
    }

    /// Lists the roles that can be given in the caller's organization, the built-in ones first.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_roles(&self, caller: &Caller, page: Page) -> Result<Vec<Role>, ManagementError> {
        require_somewhere(caller, &Permission::ROLES_READ)?;
        let mut roles: Vec<_> = BUILT_IN.iter().filter(|role| role.id.0 > page.after).take(page.limit.into()).cloned().collect();
        let rest = usize::from(page.limit).saturating_sub(roles.len());
        roles.extend(self.store.list_roles(caller.organization().id, page.after, i64::try_from(rest).unwrap_or(0)).await?);
        Ok(roles)
    }

    /// Finds a role.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_role(&self, caller: &Caller, reference: &Reference) -> Result<Role, ManagementError> {
        require_somewhere(caller, &Permission::ROLES_READ)?;
        self.find_role_of(caller.organization().id, reference).await
    }

    /// Changes a role, for all who hold it. What it gains, the caller has to hold in the whole organization.
    ///
    /// # Errors
    /// Where the caller may not or holds less, there is none, it is built in, a permission does not exist or does not fit the level, or the name is taken.
    pub async fn update_role(&self, caller: &Caller, reference: &Reference, change: RoleChange, origin: Origin) -> Result<Role, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, Place::Organization, &[]).await?;
        let organization = caller.organization().id;
        let mut role = self.find_own_role(&mut tx, organization, reference).await?;
        if let Some(permissions) = &change.permissions {
            self.check_permissions(&mut tx, organization, role.level, permissions).await?;
            require_all(&caller, permissions.difference(&role.grant.named))?;
        }
        if let Some(name) = &change.name {
            free(name)?;
        }
        let before = Target::from(&role);
        let mut changes = Changes::default();
        changes.set("name", &mut role.name, change.name);
        changes.set("description", &mut role.description, change.description);
        changes.set("permissions", &mut role.grant.named, change.permissions);
        if changes.is_empty() {
            return Ok(role);
        }
        tx.update_role(organization, &role).await.map_err(|error| name_taken(error, &role.name))?;
        self.finish(tx, &caller, Action::RoleUpdate, before, origin, changes.into_details()).await?;
        Ok(role)
    }

    /// Deletes a role that nobody holds.
    ///
    /// # Errors
    /// Where the caller may not, there is none, it is built in, or somebody holds it.
    pub async fn delete_role(&self, caller: &Caller, reference: &Reference, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, Place::Organization, &[]).await?;
        let role = self.find_own_role(&mut tx, caller.organization().id, reference).await?;
        let given = tx.count_assignments_of_role(role.id).await?;
        if given > 0 {
            let why = format!("role {} is given {given} times; take it back first (GET /api/v1/role_assignments?role={})", role.name, role.id);
            return Err(ManagementError::InUse(why));
        }
        tx.delete_role(role.id).await?;
        self.finish(tx, &caller, Action::RoleDelete, Target::from(&role), origin, json!({ "name": role.name })).await
    }

    /// Refuses permissions that do not exist in the organization or cannot be held at this level, and none at all.
    pub(super) async fn check_permissions(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        level: Level,
        permissions: &BTreeSet<Permission>,
    ) -> Result<(), ManagementError> {
        let refuse = |why: Invalid| Err(ManagementError::OutOfRange("permissions", why));
        if permissions.is_empty() {
            return refuse(Invalid("must name at least one permission".to_owned()));
        }
        let catalogue = tx.list_catalogue(organization).await?;
        for permission in permissions {
            if permission.built_in().is_none() && !catalogue.contains(permission) {
                let why = format!(
                    "holds {permission}, which is neither in your organization's catalogue (GET /api/v1/permissions) nor one of Hourpass's own"
                );
                return refuse(Invalid(why));
            }
            // Below the whole organization, the workspace's own permission of this name is meant.
            let workspace_s = catalogue.contains(permission) && level > Level::Organization;
            if let (false, Err(why)) = (workspace_s, level.admits(permission)) {
                return refuse(Invalid(format!("cannot be given: {why}")));
            }
        }
        Ok(())
    }

    pub(in crate::service) async fn find_role_of(&self, organization: OrganizationId, reference: &Reference) -> Result<Role, ManagementError> {
        let found = match reference {
            Reference::Id(id) => self.store.find_role_by_id(organization, *id).await?,
            Reference::Name(name) => self.store.find_role_by_name(organization, name).await?,
        };
        found.or_else(|| built_in(reference)).ok_or_else(|| no("role", reference))
    }

    pub(in crate::service) async fn find_role_in(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        reference: &Reference,
    ) -> Result<Role, ManagementError> {
        let found = match reference {
            Reference::Id(id) => tx.find_role_by_id(organization, *id).await?,
            Reference::Name(name) => tx.find_role_by_name(organization, name).await?,
        };
        found.or_else(|| built_in(reference)).ok_or_else(|| no("role", reference))
    }

    async fn find_own_role(&self, tx: &mut Tx, organization: OrganizationId, reference: &Reference) -> Result<Role, ManagementError> {
        let role = self.find_role_in(tx, organization, reference).await?;
        if role.organization_id.is_none() { Err(ManagementError::BuiltIn(role.name)) } else { Ok(role) }
    }
}

fn built_in(reference: &Reference) -> Option<Role> {
    match reference {
        Reference::Id(id) => BUILT_IN.iter().find(|role| role.id.0 == *id).cloned(),
        Reference::Name(name) => role::built_in(name).cloned(),
    }
}

/// Refuses the names of built-in roles.
fn free(name: &Name) -> Result<(), ManagementError> {
    if role::built_in(name.as_str()).is_some() { Err(ManagementError::Taken(format!("the name {name}"))) } else { Ok(()) }
}

/// Refuses a caller who does not hold all of these in the whole organization.
fn require_all<'a>(caller: &Caller, permissions: impl IntoIterator<Item = &'a Permission>) -> Result<(), ManagementError> {
    match permissions.into_iter().find(|permission| !caller.access.holds(permission, Place::at_hourpass(permission))) {
        Some(beyond) => Err(ManagementError::Escalation(format!("you do not hold {beyond} in the whole organization"))),
        None => Ok(()),
    }
}
