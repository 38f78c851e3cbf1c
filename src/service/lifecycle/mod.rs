//! Service accounts and their API keys: the whole life, on record.
//!
//! Whoever changes an account or one of its keys first locks the account's row, so that two who do so at once come one after the other on both engines.

mod accounts;
mod api_keys;
mod impact;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Sources;
use super::authentication::{AuthenticationError, Caller, Principal};
use crate::domain::access::Access;
use crate::domain::api_key::KeyPrefix;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::{ApiKeyId, AuditEventId, OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::{Invalid, Name};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::store::{Holder, Store, StoreError, Tx};

pub use accounts::{AccountChange, NewAccount};
pub use api_keys::{KeyChange, NewKey, NewKeyValue, Rotation};
pub use impact::Impact;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The caller lacks this permission.
    #[error("this needs the permission {0}, which you do not hold; ask an administrator of the organization for a role that has it")]
    Forbidden(Permission),
    /// The account may do more than the caller.
    #[error("service account {0} may do more than you may, and this would give you that; ask someone who holds as much")]
    Escalation(Name),
    /// There is no such organization that the caller may see.
    #[error("there is no organization {0} that you may see")]
    NoSuchOrganization(Reference),
    /// There is no such account in the caller's organization.
    #[error("there is no service account {0} in your organization")]
    NoSuchAccount(Reference),
    /// There is no such key of the account.
    #[error("there is no API key {0} of that service account")]
    NoSuchKey(Reference),
    /// The account is deactivated.
    #[error("service account {0} is deactivated; activate it first")]
    AccountInactive(Name),
    /// The key is deactivated.
    #[error("API key {0} is deactivated; activate it first")]
    KeyInactive(Name),
    /// The key is known to be in wrong hands.
    #[error("API key {0} is marked as compromised and cannot be used again; make a new key")]
    KeyCompromised(Name),
    /// Someone else rotated it since this request looked at it.
    #[error("API key {0} was rotated by someone else at the same moment, and nothing was done; look at it again before you rotate it")]
    RotatedMeanwhile(Name),
    /// There is no old value, or its time is over: it is never revived.
    #[error("API key {0} has no old value that still works; there is nothing to end or extend")]
    NothingRetained(Name),
    /// The name is taken.
    #[error("the name {0} is taken; choose another")]
    NameTaken(Name),
    /// The hash of an imported key is known already.
    #[error("a key with this hash is known already; each key is imported once")]
    HashTaken,
    /// A value is out of the range that the organization or the server allows.
    #[error("{0} {1}")]
    OutOfRange(&'static str, Invalid),
    /// A reported text is no key of this server.
    #[error("this is no API key of this server; nothing was done")]
    UnknownKey,
    /// The caller's credential counts no more.
    #[error(transparent)]
    Caller(#[from] AuthenticationError),
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
            Self::NoSuchOrganization(_) | Self::NoSuchAccount(_) | Self::NoSuchKey(_) => "not_found",
            Self::AccountInactive(_) => "account_inactive",
            Self::KeyInactive(_) => "key_inactive",
            Self::KeyCompromised(_) => "key_compromised",
            Self::RotatedMeanwhile(_) => "rotated_meanwhile",
            Self::NothingRetained(_) => "nothing_retained",
            Self::NameTaken(_) => "name_taken",
            Self::HashTaken => "hash_taken",
            Self::OutOfRange(..) => "validation_failed",
            Self::UnknownKey => "invalid_credentials",
            Self::Caller(error) => error.code(),
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

/// Makes, changes and ends service accounts and keys.
#[derive(Debug)]
pub struct Lifecycle {
    pub(super) store: Store,
    pub(super) sources: Sources,
    prefix: KeyPrefix,
    max_retention: Duration,
}

impl Lifecycle {
    /// New keys begin with `prefix`; an old value is kept for at most `max_retention`.
    #[must_use]
    pub fn new(store: Store, sources: Sources, prefix: KeyPrefix, max_retention: Duration) -> Self {
        Self { store, sources, prefix, max_retention }
    }

    async fn account_of(&self, caller: &Caller, reference: &Reference) -> Result<ServiceAccount, LifecycleError> {
        let found = self.store.find_service_account(caller.organization().id, reference).await?;
        found.ok_or_else(|| LifecycleError::NoSuchAccount(reference.clone()))
    }

    async fn key_of(&self, account: &ServiceAccount, reference: &Reference) -> Result<KeyDetails, LifecycleError> {
        let found = self.store.find_api_key(account.id, reference).await?;
        found.ok_or_else(|| LifecycleError::NoSuchKey(reference.clone()))
    }

    /// Begins a change by this caller, who has to hold this permission: now, and not only when the request began. Nobody can take their rights away, or change the
    /// accounts `locked`, before it ends.
    pub(super) async fn begin(&self, caller: &Caller, permission: Permission, locked: &[ServiceAccountId]) -> Result<(Tx, Caller), LifecycleError> {
        let mut tx = self.store.begin().await?;
        let own = match &caller.principal {
            Principal::ServiceAccount(credential) => Some(credential.account.id),
            Principal::User(_) => None,
        };
        // In the order of their ids, so that two who change each other's accounts never wait for each other.
        let accounts: BTreeSet<_> = locked.iter().copied().chain(own).collect();
        for account in accounts {
            tx.lock_service_account(caller.organization().id, account).await?;
        }
        let caller = caller.again(&mut tx, self.sources.now()).await?;
        require(&caller, permission)?;
        Ok((tx, caller))
    }

    /// Begins a change of an account.
    async fn begin_with(&self, caller: &Caller, permission: Permission, account: &Reference) -> Result<(Tx, Caller, ServiceAccount), LifecycleError> {
        require(caller, permission.clone())?;
        let account = self.account_of(caller, account).await?;
        let (mut tx, caller) = self.begin(caller, permission, &[account.id]).await?;
        let found = tx.lock_service_account(account.organization_id, account.id).await?;
        Ok((tx, caller, found.ok_or_else(|| LifecycleError::NoSuchAccount(Reference::Id(account.id.0)))?))
    }

    /// Begins a change of a key.
    async fn begin_with_key(
        &self,
        caller: &Caller,
        account: &Reference,
        key: &Reference,
    ) -> Result<(Tx, Caller, ServiceAccount, KeyDetails), LifecycleError> {
        require(caller, Permission::API_KEYS_MANAGE)?;
        let seen = self.key_of(&self.account_of(caller, account).await?, key).await?;
        let (mut tx, caller, account) = self.begin_with(caller, Permission::API_KEYS_MANAGE, account).await?;
        let details = find_key(&mut tx, &account, seen.key.id).await?;
        Ok((tx, caller, account, details))
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
        Event {
            id: AuditEventId::generate(now, self.sources.random()),
            organization_id,
            occurred_at: now,
            actor,
            action,
            target,
            outcome: Outcome::Granted,
            origin,
            token_expires_at: None,
            details: Some(details),
        }
    }
}

/// A key of an account that this transaction has locked.
async fn find_key(tx: &mut Tx, account: &ServiceAccount, id: ApiKeyId) -> Result<KeyDetails, LifecycleError> {
    tx.find_api_key(account.id, id).await?.ok_or_else(|| LifecycleError::NoSuchKey(Reference::Id(id.0)))
}

/// Refuses a caller who would come by more than they hold: a usable key of an account is all that the account may do.
async fn require_cover(tx: &mut Tx, caller: &Caller, account: &ServiceAccount) -> Result<(), LifecycleError> {
    let theirs = Access::of(&tx.list_assignments(Holder::ServiceAccount(account.id)).await?);
    if caller.access.covers(&theirs) { Ok(()) } else { Err(LifecycleError::Escalation(account.name.clone())) }
}

/// Refuses a caller without this permission.
pub(super) fn require(caller: &Caller, permission: Permission) -> Result<(), LifecycleError> {
    if caller.access.holds(&permission) { Ok(()) } else { Err(LifecycleError::Forbidden(permission)) }
}

fn taken(error: StoreError, name: &Name) -> LifecycleError {
    match error {
        StoreError::Conflict(what) if what.contains("hash") => LifecycleError::HashTaken,
        StoreError::Conflict(_) => LifecycleError::NameTaken(name.clone()),
        other => other.into(),
    }
}

/// Collects what a change changed, for its record.
#[derive(Default)]
pub(super) struct Changes(Map<String, Value>);

impl Changes {
    /// Replaces `field` by `to`, where it is given and another.
    pub(super) fn set<T: PartialEq + serde::Serialize>(&mut self, name: &str, field: &mut T, to: Option<T>) {
        if let Some(to) = to.filter(|to| to != field) {
            self.0.insert(name.to_owned(), json!({ "from": field, "to": to }));
            *field = to;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn into_details(self) -> Value {
        Value::Object(self.0)
    }
}
