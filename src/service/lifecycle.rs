//! Service accounts and their API keys.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Sources;
use super::authentication::Caller;
use crate::domain::access::Access;
use crate::domain::api_key::{KeyPrefix, RawApiKey};
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::entity::{ApiKey, ServiceAccount};
use crate::domain::id::{ApiKeyId, AuditEventId, OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::Name;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::store::{AccountFilter, Holder, Store, StoreError, Tx};

const SECONDS_A_DAY: u64 = 86_400;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The caller lacks this permission.
    #[error("this needs the permission {0}, which you do not hold; ask an administrator of the organization for a role that has it")]
    Forbidden(Permission),
    /// The account may do more than the caller.
    #[error("service account {0} may do more than you may, and a key of it would give you that; ask someone who holds as much")]
    Escalation(Name),
    /// There is no such account in the caller's organization.
    #[error("there is no service account {0} in your organization")]
    NoSuchAccount(Reference),
    /// The account is deactivated.
    #[error("service account {0} is deactivated; activate it before you make a key for it")]
    AccountInactive(Name),
    /// The name is taken.
    #[error("the name {0} is taken; choose another")]
    NameTaken(Name),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl LifecycleError {
    /// The stable code of the error body.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(_) | Self::Escalation(_) => "permission_denied",
            Self::NoSuchAccount(_) => "not_found",
            Self::AccountInactive(_) => "account_inactive",
            Self::NameTaken(_) => "name_taken",
            Self::Store(StoreError::Unavailable(_)) => "unavailable",
            Self::Store(_) => "internal_error",
        }
    }
}

impl From<StoreError> for LifecycleError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only what comes after the thing of this id.
    pub after: Uuid,
    /// At most so many.
    pub limit: u16,
}

/// What a new account is to be.
#[derive(Clone, Debug)]
pub struct AccountChange {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: String,
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// Its name.
    pub name: Name,
    /// After how many days it expires; without this, never.
    pub expires_in_days: Option<u16>,
}

/// Makes and lists service accounts and keys.
#[derive(Debug)]
pub struct Lifecycle {
    store: Store,
    sources: Sources,
    prefix: KeyPrefix,
}

impl Lifecycle {
    /// New keys begin with `prefix`.
    #[must_use]
    pub fn new(store: Store, sources: Sources, prefix: KeyPrefix) -> Self {
        Self { store, sources, prefix }
    }

    /// Makes a service account in the caller's organization. It holds no permission yet.
    ///
    /// # Errors
    /// Where the caller may not, or the name is taken.
    pub async fn create_account(&self, caller: &Caller, wanted: AccountChange, origin: Origin) -> Result<ServiceAccount, LifecycleError> {
        require(caller, Permission::SERVICE_ACCOUNTS_MANAGE)?;
        let mut tx = self.store.begin().await?;
        let account = self.insert_account(&mut tx, caller.organization().id, wanted, caller.actor(), origin).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Lists the service accounts of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_accounts(&self, caller: &Caller, filter: &AccountFilter, page: Page) -> Result<Vec<ServiceAccount>, LifecycleError> {
        require(caller, Permission::SERVICE_ACCOUNTS_READ)?;
        Ok(self.store.list_service_accounts(caller.organization().id, filter, page.after, page.limit.into()).await?)
    }

    /// Finds a service account of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_account(&self, caller: &Caller, reference: &Reference) -> Result<ServiceAccount, LifecycleError> {
        require(caller, Permission::SERVICE_ACCOUNTS_READ)?;
        self.account_of(caller, reference).await
    }

    /// Makes an API key. The raw key is returned this once.
    ///
    /// # Errors
    /// Where the caller may not, the account may do more than the caller, is missing or deactivated, or the name is taken.
    pub async fn create_key(
        &self,
        caller: &Caller,
        account: &Reference,
        wanted: KeyRequest,
        origin: Origin,
    ) -> Result<(ApiKey, RawApiKey), LifecycleError> {
        require(caller, Permission::API_KEYS_MANAGE)?;
        let account = self.account_of(caller, account).await?;
        let theirs = Access::of(&self.store.list_assignments(Holder::ServiceAccount(account.id)).await?);
        if !caller.access.covers(&theirs) {
            return Err(LifecycleError::Escalation(account.name));
        }
        if !account.active {
            return Err(LifecycleError::AccountInactive(account.name));
        }
        let mut tx = self.store.begin().await?;
        let made = self.insert_key(&mut tx, &account, wanted, caller.actor(), origin).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Lists the keys of an account.
    ///
    /// # Errors
    /// Where the caller may not, or there is no such account.
    pub async fn list_keys(&self, caller: &Caller, account: &Reference, page: Page) -> Result<Vec<ApiKey>, LifecycleError> {
        let account = self.find_account(caller, account).await?;
        Ok(self.store.list_api_keys(account.id, page.after, page.limit.into()).await?)
    }

    async fn account_of(&self, caller: &Caller, reference: &Reference) -> Result<ServiceAccount, LifecycleError> {
        let found = self.store.find_service_account(caller.organization().id, reference).await?;
        found.ok_or_else(|| LifecycleError::NoSuchAccount(reference.clone()))
    }

    /// Makes an account on behalf of `actor`, who was checked before.
    pub(super) async fn insert_account(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        wanted: AccountChange,
        actor: Actor,
        origin: Origin,
    ) -> Result<ServiceAccount, LifecycleError> {
        let now = self.sources.now();
        let account = ServiceAccount {
            id: ServiceAccountId::generate(now, self.sources.random()),
            organization_id,
            name: wanted.name,
            description: wanted.description,
            active: true,
            created_at: now,
        };
        tx.insert_service_account(&account).await.map_err(|error| taken(error, &account.name))?;
        let details = json!({ "name": account.name, "description": account.description });
        tx.insert_event(&self.event(now, Some(organization_id), actor, Action::ServiceAccountCreate, Target::from(&account), origin, details))
            .await?;
        Ok(account)
    }

    /// Makes a key on behalf of `actor`, who was checked before.
    pub(super) async fn insert_key(
        &self,
        tx: &mut Tx,
        account: &ServiceAccount,
        wanted: KeyRequest,
        actor: Actor,
        origin: Origin,
    ) -> Result<(ApiKey, RawApiKey), LifecycleError> {
        let now = self.sources.now();
        let raw = RawApiKey::generate(&self.prefix, self.sources.random());
        let key = ApiKey {
            id: ApiKeyId::generate(now, self.sources.random()),
            service_account_id: account.id,
            name: wanted.name,
            hint: raw.hint(),
            active: true,
            expires_at: wanted.expires_in_days.map(|days| now.plus(Duration::from_secs(u64::from(days) * SECONDS_A_DAY))),
            created_at: now,
        };
        tx.insert_api_key(&key, &raw.hash()).await.map_err(|error| taken(error, &key.name))?;
        let details = json!({ "name": key.name, "hint": key.hint, "expires_at": key.expires_at, "service_account": account.name });
        let target = Target::new("api_key", key.id.0, &key.name);
        tx.insert_event(&self.event(now, Some(account.organization_id), actor, Action::ApiKeyCreate, target, origin, details)).await?;
        Ok((key, raw))
    }

    /// The record of something done.
    #[expect(clippy::too_many_arguments, reason = "an event has that many independent parts")]
    pub(super) fn event(
        &self,
        now: Timestamp,
        organization_id: Option<OrganizationId>,
        actor: Actor,
        action: Action,
        target: Target,
        origin: Origin,
        details: Value,
    ) -> Event {
        let id = AuditEventId::generate(now, self.sources.random());
        Event { id, organization_id, occurred_at: now, actor, action, target, outcome: Outcome::Granted, origin, details: Some(details) }
    }
}

fn require(caller: &Caller, permission: Permission) -> Result<(), LifecycleError> {
    if caller.access.holds(&permission) { Ok(()) } else { Err(LifecycleError::Forbidden(permission)) }
}

fn taken(error: StoreError, name: &Name) -> LifecycleError {
    match error {
        StoreError::Conflict(_) => LifecycleError::NameTaken(name.clone()),
        other => other.into(),
    }
}
