//! Organizations: the caller's own, and, for who manages the platform, all.

use serde_json::json;

use super::assignments::{FoundHolder, Spot};
use super::{Changes, Invitation, Management, ManagementError, NewUser, Page, no, require};
use crate::domain::access::{Given, Place};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::entity::{KeyPolicy, Organization};
use crate::domain::id::{OrganizationId, Reference};
use crate::domain::name::{Email, Name, Slug};
use crate::domain::permission::Permission;
use crate::domain::role::built_in;
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;
use crate::store::{Holder, StoreError, Tx};

/// What a new organization is to be.
#[derive(Clone, Debug)]
pub struct NewOrganization {
    /// Its short name.
    pub slug: Slug,
    /// Its name; without one, its slug.
    pub name: Option<Name>,
    /// Whom to invite as its Organization Admin.
    pub admin_email: Option<Email>,
}

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

impl Management {
    /// Makes an organization with its catalogue of permissions, and invites its first administrator where one is named.
    ///
    /// # Errors
    /// Where the caller does not manage the platform, or the slug or the address is taken.
    pub async fn create_organization(
        &self,
        caller: &Caller,
        wanted: NewOrganization,
        origin: Origin,
    ) -> Result<Uncommitted<(Organization, Option<Invitation>)>, ManagementError> {
        let (mut tx, caller) = self.begin(caller, &Permission::PLATFORM_MANAGE, Place::Platform, &[]).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        let organization = self.new_organization(wanted.slug, wanted.name);
        if !tx.insert_organization(&organization).await? {
            return Err(ManagementError::Taken(format!("the slug {}", organization.slug)));
        }
        self.furnish(&mut tx, &organization, caller.actor(), origin.clone()).await?;
        // Who manages the platform does not see the trail of the new one.
        let (details, target) = (json!({ "slug": organization.slug, "name": organization.name }), Target::from(&organization));
        let (now, own) = (self.sources.now(), caller.organization().id);
        tx.insert_event(&self.event(now, Some(own), caller.actor(), Action::OrganizationCreate, target, origin.clone(), details)).await?;
        let invitation = match wanted.admin_email {
            Some(email) => {
                let wanted = NewUser { email, name: String::new(), password: None };
                let user = self.insert_user(&mut tx, organization.id, wanted, caller.actor(), origin.clone()).await?;
                let invitation = self.insert_invitation(&mut tx, &user, caller.maker(), caller.actor(), origin.clone()).await?;
                if let Some(role) = built_in("Organization Admin") {
                    let holder = FoundHolder { holder: Holder::User(user.id), target: Target::from(&user) };
                    let given = Given::Role(role.clone());
                    self.insert_assignment(&mut tx, organization.id, &holder, &given, &Spot::ORGANIZATION, caller.actor(), origin).await?;
                }
                Some(invitation)
            }
            None => None,
        };
        let secret = invitation.as_ref().map(|invitation| invitation.secret.hash());
        Ok(Uncommitted::new(tx, claim, (organization, invitation)).showing(secret))
    }

    /// Lists the organizations that the caller may see: their own, or, for who manages the platform, all.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_organizations(&self, caller: &Caller, page: Page) -> Result<Vec<Organization>, ManagementError> {
        if caller.access.holds(&Permission::PLATFORM_MANAGE, Place::Platform) {
            return Ok(self.store.list_organizations(page.after, page.limit.into()).await?);
        }
        let own = caller.organization();
        Ok((own.id.0 > page.after).then(|| own.clone()).into_iter().collect())
    }

    /// Finds an organization that the caller may see.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn find_organization(&self, caller: &Caller, reference: &Reference) -> Result<Organization, ManagementError> {
        let own = caller.organization();
        let same = match reference {
            Reference::Id(id) => *id == own.id.0,
            Reference::Name(slug) => slug == own.slug.as_str(),
        };
        if same {
            return Ok(own.clone());
        }
        if !caller.access.holds(&Permission::PLATFORM_MANAGE, Place::Platform) {
            return Err(no("organization", reference));
        }
        let found = match reference {
            Reference::Id(id) => self.store.find_organization_by_id(*id).await?,
            Reference::Name(slug) => self.store.find_organization(slug).await?,
        };
        found.ok_or_else(|| no("organization", reference))
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
    ) -> Result<Organization, ManagementError> {
        let id = self.find_organization(caller, reference).await?.id;
        if id != caller.organization().id {
            return Err(ManagementError::Forbidden(Permission::ORGANIZATIONS_MANAGE, "in that organization, as one of its own"));
        }
        let (mut tx, caller) = self.begin_access(caller, &Permission::ORGANIZATIONS_MANAGE, Place::Organization, &[]).await?;
        // As it is now: two who change different parts of it are not to undo each other's.
        let mut organization = tx.lock_organization(id).await?.ok_or_else(|| no("organization", reference))?;
        let mut changes = Changes::default();
        changes.set("name", &mut organization.name, change.name);
        changes.set("api_key_max_days", &mut organization.key_policy.max_days, change.api_key_max_days);
        changes.set("api_key_default_days", &mut organization.key_policy.default_days, change.api_key_default_days);
        if changes.is_empty() {
            return Ok(organization);
        }
        organization.key_policy.lifetime(None).map_err(|why| ManagementError::OutOfRange("api_key_default_days", why))?;
        tx.update_organization(&organization).await?;
        self.finish(tx, &caller, Action::OrganizationUpdate, Target::from(&organization), origin, changes.into_details()).await?;
        Ok(organization)
    }

    /// Deletes an organization without workspaces and service accounts, with its people, teams, roles and catalogue. Its audit events stay.
    ///
    /// # Errors
    /// Where the caller does not manage the platform, there is none, it is their own, or it has workspaces or service accounts.
    pub async fn delete_organization(&self, caller: &Caller, reference: &Reference, origin: Origin) -> Result<(), ManagementError> {
        require(caller, &Permission::PLATFORM_MANAGE, Place::Platform)?;
        let id = self.find_organization(caller, reference).await?.id;
        if id == caller.organization().id {
            return Err(ManagementError::InUse("this is your own organization; only someone of another one can delete it".to_owned()));
        }
        let (mut tx, caller) = self.begin(caller, &Permission::PLATFORM_MANAGE, Place::Platform, &[]).await?;
        // First its people, as whoever changes something in it does.
        tx.lock_users(id).await?;
        let organization = tx.lock_organization(id).await?.ok_or_else(|| no("organization", reference))?;
        let (workspaces, accounts) = (tx.count_workspaces(id).await?, tx.count_service_accounts(id).await?);
        if workspaces + accounts > 0 {
            let has = format!("organization {} has {workspaces} workspaces and {accounts} service accounts", organization.slug);
            return Err(ManagementError::InUse(format!("{has}; one of its administrators has to delete them first")));
        }
        tx.delete_organization(id, self.sources.now()).await?;
        let (now, details) = (self.sources.now(), json!({ "slug": organization.slug, "name": organization.name }));
        // Nobody of the organization is left to read it there.
        for owner in [id, caller.organization().id] {
            let (actor, target) = (caller.actor(), Target::from(&organization));
            let event = self.event(now, Some(owner), actor, Action::OrganizationDelete, target, origin.clone(), details.clone());
            tx.insert_event(&event).await?;
        }
        Ok(tx.commit().await?)
    }

    pub(in crate::service) fn new_organization(&self, slug: Slug, name: Option<Name>) -> Organization {
        let now = self.sources.now();
        let name = name.unwrap_or_else(|| Name::from_stored(slug.to_string()));
        Organization { id: OrganizationId::generate(now, self.sources.random()), slug, name, key_policy: KeyPolicy::default(), created_at: now }
    }

    /// Puts into a new organization what each begins with, and the making of it on record.
    pub(in crate::service) async fn furnish(&self, tx: &mut Tx, made: &Organization, actor: Actor, origin: Origin) -> Result<(), StoreError> {
        self.insert_catalogue(tx, made.id).await?;
        let (details, target) = (json!({ "slug": made.slug, "name": made.name }), Target::from(made));
        tx.insert_event(&self.event(made.created_at, Some(made.id), actor, Action::OrganizationCreate, target, origin, details)).await
    }
}
