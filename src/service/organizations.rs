//! The caller's own organization.

use super::authentication::Caller;
use super::lifecycle::{Changes, Lifecycle, LifecycleError};
use crate::domain::audit::{Action, Origin, Target};
use crate::domain::entity::Organization;
use crate::domain::id::Reference;
use crate::domain::name::Name;
use crate::domain::permission::Permission;

/// What is to change of an organization; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct OrganizationChange {
    /// Its name.
    pub name: Option<Name>,
    /// At most how many days API keys live; for ever, or a number.
    pub api_key_max_days: Option<Option<u16>>,
    /// How many days they live where nothing is asked for; as long as they may, or a number.
    pub api_key_default_days: Option<Option<u16>>,
}

impl Lifecycle {
    /// The organization of this id or slug: the caller's own, or none.
    ///
    /// # Errors
    /// Where it is another's, or there is none: one never sees another.
    pub fn find_organization(caller: &Caller, reference: &Reference) -> Result<Organization, LifecycleError> {
        let own = caller.organization();
        let same = match reference {
            Reference::Id(id) => *id == own.id.0,
            Reference::Name(slug) => slug == own.slug.as_str(),
        };
        if same { Ok(own.clone()) } else { Err(LifecycleError::NoSuchOrganization(reference.clone())) }
    }

    /// Changes the caller's organization. A shorter maximum concerns new keys and values; those that there are keep their expiry.
    ///
    /// # Errors
    /// Where the caller may not, it is another's, or the default is more than the maximum.
    pub async fn update_organization(
        &self,
        caller: &Caller,
        reference: &Reference,
        change: OrganizationChange,
        origin: Origin,
    ) -> Result<Organization, LifecycleError> {
        let id = Self::find_organization(caller, reference)?.id;
        let (mut tx, caller) = self.begin(caller, Permission::ORGANIZATIONS_MANAGE, &[]).await?;
        // As it is now: two who change different parts of it are not to undo each other's.
        let found = tx.lock_organization(id).await?;
        let mut organization = found.ok_or_else(|| LifecycleError::NoSuchOrganization(reference.clone()))?;
        let mut changes = Changes::default();
        changes.set("name", &mut organization.name, change.name);
        changes.set("api_key_max_days", &mut organization.key_policy.max_days, change.api_key_max_days);
        changes.set("api_key_default_days", &mut organization.key_policy.default_days, change.api_key_default_days);
        if changes.is_empty() {
            return Ok(organization);
        }
        organization.key_policy.lifetime(None).map_err(|why| LifecycleError::OutOfRange("api_key_default_days", why))?;
        tx.update_organization(&organization).await?;
        let (now, target) = (self.sources.now(), Target::from(&organization));
        let event = self.event(now, Some(organization.id), caller.actor(), Action::OrganizationUpdate, target, origin, changes.into_details());
        tx.insert_event(&event).await?;
        tx.commit().await?;
        Ok(organization)
    }
}
