//! The catalogue: what can be done at an organization's workspaces.

use std::time::Duration;

use serde_json::json;

use super::{Changes, Management, ManagementError, Page, no, require_somewhere, taken};
use crate::domain::access::Place;
use crate::domain::audit::{Action, Origin, Target};
use crate::domain::id::{OrganizationId, PermissionId, Reference};
use crate::domain::permission::{CATALOGUE, CatalogueEntry, Permission};
use crate::domain::time::Timestamp;
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;
use crate::store::{StoreError, Tx};

/// The greatest number of permissions in a catalogue: all of them may have to fit into one token.
const MOST: i64 = 200;

/// What a new entry is to be.
#[derive(Clone, Debug)]
pub struct NewPermission {
    /// Its name.
    pub name: Permission,
    /// What it allows.
    pub description: String,
}

impl Management {
    /// Adds a permission to the catalogue.
    ///
    /// # Errors
    /// Where the caller may not, the name is taken, or the catalogue is full.
    pub async fn create_permission(
        &self,
        caller: &Caller,
        wanted: NewPermission,
        origin: Origin,
    ) -> Result<Uncommitted<CatalogueEntry>, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, Place::Organization, &[]).await?;
        let reserved = wanted.name.built_in().is_some() && !CATALOGUE.iter().any(|(name, _)| *name == wanted.name.as_str());
        if reserved {
            return Err(ManagementError::Taken(format!("the permission {}, which is one of Hourpass's own,", wanted.name)));
        }
        let claim = self.claim(&mut tx, &caller).await?;
        let organization = caller.organization().id;
        if tx.count_catalogue(organization).await? >= MOST {
            return Err(ManagementError::InUse(format!(
                "the catalogue has {MOST} permissions, and no room for more; delete those that nobody needs"
            )));
        }
        let entry = self
            .insert_permission(&mut tx, organization, wanted, self.sources.now())
            .await
            .map_err(|(error, name)| taken(error, &format!("the permission {name}")))?;
        let details = json!({ "name": entry.name, "description": entry.description });
        self.finish_making(tx, claim, &caller, Action::PermissionCreate, target(&entry), origin, details, entry).await
    }

    /// Lists the catalogue of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_permissions(&self, caller: &Caller, page: Page) -> Result<Vec<CatalogueEntry>, ManagementError> {
        require_somewhere(caller, &Permission::ROLES_READ)?;
        Ok(self.store.list_permissions(caller.organization().id, page.after, page.limit.into()).await?)
    }

    /// Finds an entry of the catalogue.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_permission(&self, caller: &Caller, reference: &Reference) -> Result<CatalogueEntry, ManagementError> {
        require_somewhere(caller, &Permission::ROLES_READ)?;
        let organization = caller.organization().id;
        let found = match reference {
            Reference::Id(id) => self.store.find_permission_by_id(organization, *id).await?,
            Reference::Name(name) => self.store.find_permission_by_name(organization, name).await?,
        };
        found.ok_or_else(|| no("permission", reference))
    }

    /// Describes an entry anew.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn update_permission(
        &self,
        caller: &Caller,
        reference: &Reference,
        description: Option<String>,
        origin: Origin,
    ) -> Result<CatalogueEntry, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, Place::Organization, &[]).await?;
        let mut entry = find_in(&mut tx, caller.organization().id, reference).await?;
        let mut changes = Changes::default();
        changes.set("description", &mut entry.description, description);
        if changes.is_empty() {
            return Ok(entry);
        }
        tx.update_permission(&entry).await?;
        self.finish(tx, &caller, Action::PermissionUpdate, target(&entry), origin, changes.into_details()).await?;
        Ok(entry)
    }

    /// Takes an entry out of the catalogue.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or it is in a role or was given.
    pub async fn delete_permission(&self, caller: &Caller, reference: &Reference, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::ROLES_MANAGE, Place::Organization, &[]).await?;
        let organization = caller.organization().id;
        let entry = find_in(&mut tx, organization, reference).await?;
        if let Some(role) = tx.find_role_with(organization, &entry.name).await? {
            return Err(ManagementError::InUse(format!("the role {role} holds {}; take it out of the role first", entry.name)));
        }
        let given = tx.count_assignments_with(organization, &entry.name).await?;
        if given > 0 {
            return Err(ManagementError::InUse(format!("{} is given {given} times without a role; take it back first", entry.name)));
        }
        tx.delete_permission(organization, entry.id).await?;
        self.finish(tx, &caller, Action::PermissionDelete, target(&entry), origin, json!({ "name": entry.name })).await
    }

    /// The catalogue that a new organization starts with.
    pub(in crate::service) async fn insert_catalogue(&self, tx: &mut Tx, organization: OrganizationId) -> Result<(), StoreError> {
        let mut now = self.sources.now();
        for (name, description) in CATALOGUE {
            let wanted = NewPermission { name: Permission::from_stored(name.to_owned()), description: description.to_owned() };
            // A microsecond apart, so that they are listed in this order.
            self.insert_permission(tx, organization, wanted, now).await.map_err(|(error, _)| error)?;
            now = now.plus(Duration::from_micros(1));
        }
        Ok(())
    }

    async fn insert_permission(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        wanted: NewPermission,
        now: Timestamp,
    ) -> Result<CatalogueEntry, (StoreError, Permission)> {
        let id = PermissionId::generate(now, self.sources.random());
        let entry = CatalogueEntry { id, organization_id, name: wanted.name, description: wanted.description, created_at: now };
        tx.insert_permission(&entry).await.map_err(|error| (error, entry.name.clone()))?;
        Ok(entry)
    }
}

async fn find_in(tx: &mut Tx, organization: OrganizationId, reference: &Reference) -> Result<CatalogueEntry, ManagementError> {
    let found = match reference {
        Reference::Id(id) => tx.find_permission_by_id(organization, *id).await?,
        Reference::Name(name) => tx.find_permission_by_name(organization, name).await?,
    };
    found.ok_or_else(|| no("permission", reference))
}

fn target(entry: &CatalogueEntry) -> Target {
    Target::new("permission", entry.id.0, &entry.name)
}
