//! Service accounts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde_json::json;

use super::api_keys::{NewKey, NewKeyValue};
use super::assignments::{FoundHolder, NewGiven, Spot};
use super::left_behind::Ended;
use super::{Changes, Management, ManagementError, Page, name_taken, no, record_of_own, require, require_cover};
use crate::domain::access::{Access, Place};
use crate::domain::api_key::RawApiKey;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::{OrganizationId, Reference, ServiceAccountId, SessionId};
use crate::domain::name::{Name, Slug};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;
use crate::store::{AccountFilter, Holder, LeftBehind, Member, Root, Tx};

/// What a new account is to be.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: String,
    /// What it is found by.
    pub labels: Labels,
    /// What its tokens say besides.
    pub claims: CustomClaims,
    /// How many exchanges it may make a minute on each node; as the server's setting has it without this.
    pub exchanges_per_minute: Option<NonZeroU32>,
}

/// What a new account is to hold, in one place and nowhere else.
#[derive(Clone, Debug)]
pub struct FirstAccess {
    /// What.
    pub given: NewGiven,
    /// In which workspace; in the whole organization without one.
    pub workspace: Option<Reference>,
}

/// Where an account holds something, itself or through teams.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// In the whole organization, and so in all workspaces.
    pub organization: bool,
    /// In these workspaces, or in projects of them.
    pub workspaces: BTreeSet<Slug>,
}

/// What is to change of an account; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// Its name.
    pub name: Option<Name>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it may be used.
    pub active: Option<bool>,
    /// What it is found by: all of it.
    pub labels: Option<Labels>,
    /// What its tokens say besides: all of it.
    pub claims: Option<CustomClaims>,
    /// With deactivation: whether what it made for others goes on working, and the caller becomes its maker.
    pub keep_credentials: bool,
    /// How many exchanges it may make a minute on each node, or as the server's setting has it.
    pub exchanges_per_minute: Option<Option<NonZeroU32>>,
}

impl Management {
    /// Makes a service account in the caller's organization. It holds nothing yet, or, with `access`, what that says. With `default_key` it also
    /// gets a key of the name "default", which is returned this once.
    ///
    /// # Errors
    /// Where the caller may not or holds less, something named does not exist, or the name is taken.
    pub async fn create_account(
        &self,
        caller: &Caller,
        wanted: NewAccount,
        access: Option<FirstAccess>,
        default_key: Option<NewKey>,
        origin: Origin,
    ) -> Result<Uncommitted<(ServiceAccount, Option<(KeyDetails, RawApiKey)>)>, ManagementError> {
        let (mut tx, caller) = self.begin_access(caller, &Permission::SERVICE_ACCOUNTS_MANAGE, Place::Organization, &[]).await?;
        if default_key.is_some() {
            require(&caller, &Permission::API_KEYS_MANAGE, Place::Organization)?;
        }
        require_for_claims(&caller, &wanted.claims)?;
        let (organization, policy) = (caller.organization().id, caller.organization().key_policy);
        let access = if let Some(FirstAccess { given, workspace }) = access {
            let spot = match &workspace {
                Some(reference) => {
                    let found = match reference {
                        Reference::Id(id) => tx.find_workspace_by_id(organization, *id).await?,
                        Reference::Name(slug) => tx.find_workspace_by_slug(organization, slug).await?,
                    };
                    Spot::workspace(found.ok_or_else(|| no("workspace", reference))?)
                }
                None => Spot::ORGANIZATION,
            };
            require(&caller, &Permission::ROLES_MANAGE, spot.place)?;
            Some((self.find_given(&mut tx, &caller, spot.place, &given).await?, spot))
        } else {
            None
        };
        let claim = self.claim(&mut tx, &caller).await?;
        let account = self.insert_account(&mut tx, organization, wanted, caller.actor(), origin.clone()).await?;
        if let Some((given, spot)) = access {
            let holder = FoundHolder { holder: Holder::ServiceAccount(account.id), target: Target::from(&account) };
            self.insert_assignment(&mut tx, organization, &holder, &given, &spot, caller.actor(), origin.clone()).await?;
        }
        let key = match default_key {
            Some(wanted) => {
                let raw = self.generate_key();
                let (value, maker) = (NewKeyValue::from(&raw), caller.maker());
                let key =
                    self.insert_key(&mut tx, &account, wanted, value, policy, Action::ApiKeyCreate, Some(&maker), caller.actor(), origin).await?;
                Some((key, raw))
            }
            None => None,
        };
        let secret = key.as_ref().map(|(_, raw)| raw.hash());
        Ok(Uncommitted::new(tx, claim, (account, key)).showing(secret))
    }

    /// Lists the service accounts of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_accounts(&self, caller: &Caller, filter: &AccountFilter, page: Page) -> Result<Vec<ServiceAccount>, ManagementError> {
        require(caller, &Permission::SERVICE_ACCOUNTS_READ, Place::Organization)?;
        Ok(self.store.list_service_accounts(caller.organization().id, filter, page.after, page.limit.into()).await?)
    }

    /// Where each of these accounts, which the caller was shown, holds something.
    ///
    /// # Errors
    /// Where the caller may not see what others hold.
    pub async fn list_reach(&self, caller: &Caller, accounts: &[ServiceAccount]) -> Result<Vec<Reach>, ManagementError> {
        require(caller, &Permission::ROLES_READ, Place::Organization)?;
        let mut reach = Vec::with_capacity(accounts.len());
        let mut slugs = BTreeMap::new();
        for account in accounts {
            let mut of_account = Reach::default();
            for assignment in self.store.list_assignments(Holder::ServiceAccount(account.id)).await? {
                match assignment.place.workspace() {
                    Some(id) => {
                        if let Entry::Vacant(entry) = slugs.entry(id) {
                            entry.insert(self.store.find_workspace_by_id(account.organization_id, id.0).await?.map(|workspace| workspace.slug));
                        }
                        of_account.workspaces.extend(slugs.get(&id).cloned().flatten());
                    }
                    None => of_account.organization = true,
                }
            }
            reach.push(of_account);
        }
        Ok(reach)
    }

    /// When the next key of each of these accounts expires, which the caller was shown; where none does any more, when the first has expired.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_next_expiries(&self, accounts: &[ServiceAccount]) -> Result<Vec<Option<Timestamp>>, ManagementError> {
        let now = self.sources.now();
        let mut expiries = Vec::with_capacity(accounts.len());
        for account in accounts {
            let first = account.next_key_expires_at;
            // What was noted is right until it is over.
            let next = if first.is_some_and(|at| at <= now) { self.store.find_next_key_expiry(account.id, now).await? } else { None };
            expiries.push(next.or(first));
        }
        Ok(expiries)
    }

    /// Whether the caller may do all that this account, person or team may, which they were shown: who may less makes no keys or password for them, does not
    /// wake them, and makes nobody one of them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn covers(&self, caller: &Caller, holder: Holder) -> Result<bool, ManagementError> {
        Ok(caller.access.covers(&Access::of(&self.store.list_assignments(holder).await?)))
    }

    /// Finds a service account of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_account(&self, caller: &Caller, reference: &Reference) -> Result<ServiceAccount, ManagementError> {
        require(caller, &Permission::SERVICE_ACCOUNTS_READ, Place::Organization)?;
        self.account_of(caller, reference).await
    }

    /// Changes an account. Deactivating it stops all its keys and tokens at once; activating it again revives its keys, but no token from before. What it made for others ends with
    /// deactivation, unless the caller keeps that.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or the name is taken.
    pub async fn update_account(
        &self,
        caller: &Caller,
        account: &Reference,
        change: AccountChange,
        origin: Origin,
    ) -> Result<ServiceAccount, ManagementError> {
        let (mut tx, caller, mut account, left) = if change.active == Some(false) {
            self.begin_ending_account(caller, account).await?
        } else {
            let (tx, caller, account) = self.begin_with(caller, &Permission::SERVICE_ACCOUNTS_MANAGE, account).await?;
            (tx, caller, account, LeftBehind::default())
        };
        if let Some(claims) = change.claims.as_ref().filter(|claims| **claims != account.claims) {
            require_for_claims(&caller, claims)?;
        }
        if change.active == Some(true) || change.claims.as_ref().is_some_and(|claims| *claims != account.claims) {
            require_cover(&mut tx, &caller, Holder::ServiceAccount(account.id), &account.name).await?;
        }
        let before = Target::from(&account);
        let mut changes = Changes::default();
        changes.set("name", &mut account.name, change.name);
        changes.set("description", &mut account.description, change.description);
        changes.set("active", &mut account.active, change.active);
        changes.set("labels", &mut account.labels, change.labels);
        changes.set("claims", &mut account.claims, change.claims);
        changes.set("exchanges_per_minute", &mut account.exchanges_per_minute, change.exchanges_per_minute);
        if changes.is_empty() {
            return Ok(account);
        }
        let now = self.sources.now();
        tx.update_service_account(&account, now).await.map_err(|error| name_taken(error, &account.name))?;
        if changes.has("active") {
            tx.replace_grants(account.id, now, || SessionId::generate(now, self.sources.random())).await?;
            if !account.active {
                self.leave_behind_account(&mut tx, &caller, &account, left, change.keep_credentials, &origin).await?;
            }
        }
        let organization = Some(account.organization_id);
        let event = self.event(now, organization, caller.actor(), Action::ServiceAccountUpdate, before, origin, changes.into_details());
        tx.insert_event(&event).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Deletes an account with its keys and roles, for good, and with what it made for others; with `keep_credentials`, that goes on working, and the caller becomes its maker.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn delete_account(&self, caller: &Caller, account: &Reference, keep_credentials: bool, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller, account, left) = self.begin_ending_account(caller, account).await?;
        let held = record_of_own(&mut tx, Holder::ServiceAccount(account.id)).await?;
        self.leave_behind_account(&mut tx, &caller, &account, left, keep_credentials, &origin).await?;
        tx.delete_service_account(account.id, self.sources.now()).await?;
        let (organization, target) = (Some(account.organization_id), Target::from(&account));
        let details = json!({ "name": account.name, "held": held });
        tx.insert_event(&self.event(self.sources.now(), organization, caller.actor(), Action::ServiceAccountDelete, target, origin, details)).await?;
        Ok(tx.commit().await?)
    }

    /// Ends all tokens that were obtained with the account's keys. The keys go on working.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn revoke_account_tokens(&self, caller: &Caller, account: &Reference, origin: Origin) -> Result<ServiceAccount, ManagementError> {
        let (mut tx, caller, account) = self.begin_with(caller, &Permission::SERVICE_ACCOUNTS_MANAGE, account).await?;
        let now = self.sources.now();
        tx.replace_grants(account.id, now, || SessionId::generate(now, self.sources.random())).await?;
        let (organization, target) = (Some(account.organization_id), Target::from(&account));
        let event = self.event(now, organization, caller.actor(), Action::ServiceAccountRevokeTokens, target, origin, json!({}));
        tx.insert_event(&event).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Begins to deactivate or delete an account.
    async fn begin_ending_account(&self, caller: &Caller, account: &Reference) -> Result<(Tx, Caller, ServiceAccount, LeftBehind), ManagementError> {
        require(caller, &Permission::SERVICE_ACCOUNTS_MANAGE, Place::Organization)?;
        let account = self.account_of(caller, account).await?;
        let member = Member::ServiceAccount(account.id);
        let (mut tx, caller, left) = self.begin_ending(caller, &Permission::SERVICE_ACCOUNTS_MANAGE, member, Root::principal(member)).await?;
        let account = self.account_again(&mut tx, &account).await?;
        Ok((tx, caller, account, left))
    }

    /// Ends what an account leaves behind, or has the caller keep it.
    async fn leave_behind_account(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        account: &ServiceAccount,
        left: LeftBehind,
        keep: bool,
        origin: &Origin,
    ) -> Result<(), ManagementError> {
        let (root, organization) = (Root::principal(Member::ServiceAccount(account.id)), account.organization_id);
        let ended = Ended { root, left, organization, target: Target::from(account), actor: caller.actor(), origin };
        if keep { self.adopt_left_behind(tx, caller, ended).await } else { self.end_left_behind(tx, ended).await }
    }

    /// Makes an account on behalf of `actor`, who was checked before.
    pub(in crate::service) async fn insert_account(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        wanted: NewAccount,
        actor: Actor,
        origin: Origin,
    ) -> Result<ServiceAccount, ManagementError> {
        let now = self.sources.now();
        let account = ServiceAccount {
            id: ServiceAccountId::generate(now, self.sources.random()),
            organization_id,
            name: wanted.name,
            description: wanted.description,
            active: true,
            labels: wanted.labels,
            claims: wanted.claims,
            created_at: now,
            last_use: None,
            next_key_expires_at: None,
            exchanges_per_minute: wanted.exchanges_per_minute,
        };
        tx.insert_service_account(&account).await.map_err(|error| name_taken(error, &account.name))?;
        let details = json!({
            "name": account.name, "description": account.description, "labels": account.labels, "claims": account.claims,
            "exchanges_per_minute": account.exchanges_per_minute,
        });
        tx.insert_event(&self.event(now, Some(organization_id), actor, Action::ServiceAccountCreate, Target::from(&account), origin, details))
            .await?;
        Ok(account)
    }
}

/// Receivers may decide by claims as they do by permissions, so setting them asks for as much as giving permissions does.
fn require_for_claims(caller: &Caller, claims: &CustomClaims) -> Result<(), ManagementError> {
    if *claims == CustomClaims::default() { Ok(()) } else { require(caller, &Permission::ROLES_MANAGE, Place::Organization) }
}
