//! What an organization has, and who may do what there: the whole life of it, on record.
//!
//! Whoever changes an account or one of its keys first locks the account's row, and whoever changes who may do what the organization's, so that two who do so
//! at once come one after the other on both engines. What the caller may do is looked at under these locks.

mod accounts;
mod api_keys;
mod assignments;
mod explain;
mod impact;
mod left_behind;
mod organizations;
mod overview;
mod people;
mod permissions;
mod projects;
mod roles;
mod signing_keys;
mod teams;
mod workspaces;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Sources;
use super::authentication::{AuthenticationError, Caller};
use super::idempotency::{Claim, KeptAnswer, Uncommitted};
use super::passwords::{PasswordError, Passwords};
use super::rate_limit::RateLimiter;
use super::signing::SigningError;
use crate::domain::access::{Access, Assignment, Level, Place};
use crate::domain::api_key::KeyPrefix;
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::{ApiKeyId, AuditEventId, OrganizationId, Reference, UserId};
use crate::domain::name::{Invalid, Name};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::store::{Holder, Member, Store, StoreError, Tx};

pub use accounts::{AccountChange, FirstAccess, NewAccount, Reach};
pub use api_keys::{KeyChange, NewKey, NewKeyValue, Rotation};
pub use assignments::{AssignmentQuery, HolderReference, NewAssignment, NewGiven};
pub(super) use assignments::{FoundHolder, Spot};
pub use explain::{AccessAnswer, AccessQuery, CredentialAnswer, CredentialKind, CredentialQuery, EffectivePermission, ReceiverKind};
pub use impact::Impact;
pub use left_behind::{LeftBehindCount, Standing};
pub use organizations::{NewOrganization, OrganizationChange};
pub use overview::Overview;
pub use people::{Invitation, NewUser, UserChange};
pub use permissions::NewPermission;
pub use projects::{NewProject, ProjectChange};
pub use roles::{NewRole, RoleChange};
pub use teams::{NewTeam, TeamChange};
pub use workspaces::{NewWorkspace, WorkspaceChange};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// The caller lacks this permission.
    #[error(
        "this needs the permission {0} {1}, which you do not hold, or which the scope of your token leaves out; ask an administrator for a role that has it"
    )]
    Forbidden(Permission, &'static str),
    /// It would give more than the caller holds: what would.
    #[error("{0}, and nobody gives what they do not hold; ask someone who holds as much")]
    Escalation(String),
    /// There is no such thing that the caller may see.
    #[error("there is no {0} {1} that you may see")]
    NotFound(&'static str, Reference),
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
    /// Something unique is taken: which.
    #[error("{0} is taken; choose another")]
    Taken(String),
    /// The hash of an imported key is known already.
    #[error("a key with this hash is known already; each key is imported once")]
    HashTaken,
    /// Something depends on it: what, and what to do.
    #[error("{0}")]
    InUse(String),
    /// Nobody would be left to administer the organization.
    #[error("this would leave the organization without a person who is Organization Admin and can sign in; make another one first")]
    LastAdministrator,
    /// A role that is part of the program.
    #[error("role {0} is built in and stays as it is; make a role of your own")]
    BuiltIn(Name),
    /// A value is out of the range that the organization or the server allows.
    #[error("{0} {1}")]
    OutOfRange(&'static str, Invalid),
    /// A reported text is no key of this server.
    #[error("this is no API key of this server; nothing was done")]
    UnknownKey,
    /// A service account was asked for what only people have.
    #[error("only people have passwords; sign in with yours and try again")]
    NotAPerson,
    /// The old password is wrong.
    #[error("the old password is wrong, or was just changed; nothing was done")]
    WrongPassword,
    /// An invitation that is unknown, used or over.
    #[error("this invitation is unknown, was used, or is over; ask whoever invited you for another")]
    InvalidInvitation,
    /// The request was answered before, with this. Not an error: the answer is sent again.
    #[error("this was answered before")]
    Repeated(KeptAnswer),
    /// The Idempotency-Key was sent before with another request.
    #[error("this Idempotency-Key came before with another request; take a new one for each request, and the same one only to repeat it unchanged")]
    KeyReused,
    /// The request that came with the same Idempotency-Key is not done.
    #[error("a request with this Idempotency-Key is still being worked on; send it again in a moment")]
    InProgress,
    /// What the answer to a repeat would show works no more.
    #[error(
        "this was done before, and what was shown then works no more: it was used, rotated, replaced, deactivated or deleted since, or has expired; nothing was done now"
    )]
    Outdated,
    /// A password was not hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The caller's credential counts no more.
    #[error(transparent)]
    Caller(#[from] AuthenticationError),
    /// A signing key was not made or rotated.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl ManagementError {
    /// The stable code of the error body.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(..) | Self::Escalation(_) => "permission_denied",
            Self::NotFound(..) => "not_found",
            Self::AccountInactive(_) => "account_inactive",
            Self::KeyInactive(_) => "key_inactive",
            Self::KeyCompromised(_) => "key_compromised",
            Self::RotatedMeanwhile(_) | Self::Signing(SigningError::RotatedMeanwhile(_)) => "rotated_meanwhile",
            Self::NothingRetained(_) => "nothing_retained",
            Self::Taken(_) => "name_taken",
            Self::HashTaken => "hash_taken",
            Self::InUse(_) => "in_use",
            Self::LastAdministrator => "last_administrator",
            Self::BuiltIn(_) => "built_in",
            Self::OutOfRange(..) | Self::Password(PasswordError::Common) => "validation_failed",
            Self::UnknownKey => "invalid_credentials",
            Self::KeyReused => "idempotency_key_reused",
            Self::InProgress => "idempotency_in_progress",
            Self::Outdated => "idempotency_outdated",
            Self::NotAPerson => "not_a_person",
            Self::WrongPassword => "wrong_password",
            Self::InvalidInvitation => "invalid_invitation",
            Self::Password(PasswordError::Busy) => "too_many_requests",
            Self::Caller(error) => error.code(),
            Self::Store(error) | Self::Signing(SigningError::Store(error)) => error.code(),
            Self::Repeated(_) | Self::Signing(_) | Self::Password(PasswordError::Broken(_)) => "internal_error",
        }
    }
}

impl From<StoreError> for ManagementError {
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

/// Makes, changes and ends what an organization has, on behalf of callers who may.
#[derive(Debug)]
pub struct Management {
    pub(super) store: Store,
    pub(super) sources: Sources,
    passwords: Passwords,
    rules: Rules,
    /// Whoever has a person's token may not try out passwords with it.
    old_passwords: RateLimiter<UserId>,
}

/// How many times a minute a person may name their old password.
const OLD_PASSWORDS_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// What the settings say about keys and invitations.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What new keys begin with.
    pub prefix: KeyPrefix,
    /// The longest time that an old value of a key is kept.
    pub max_retention: Duration,
    /// How long an invitation counts.
    pub invitation_lifetime: Duration,
    /// The audience that no workspace may have: our own. The administration of a database does not know it; the login refuses such a workspace, too.
    pub issuer: Option<String>,
}

impl Management {
    /// By these rules.
    #[must_use]
    pub fn new(store: Store, sources: Sources, passwords: Passwords, rules: Rules) -> Self {
        Self { store, sources, passwords, rules, old_passwords: RateLimiter::default() }
    }

    async fn account_of(&self, caller: &Caller, reference: &Reference) -> Result<ServiceAccount, ManagementError> {
        let found = self.store.find_service_account(caller.organization().id, reference).await?;
        found.ok_or_else(|| no("service account", reference))
    }

    async fn key_of(&self, account: &ServiceAccount, reference: &Reference) -> Result<KeyDetails, ManagementError> {
        let found = self.store.find_api_key(account.id, reference).await?;
        found.ok_or_else(|| no("API key", reference))
    }

    /// Begins a change by this caller, who has to hold this permission there: now, and not only when the request began. Nobody can take their rights away, or
    /// change those `locked`, before it ends.
    async fn begin(&self, caller: &Caller, permission: &Permission, place: Place, locked: &[Member]) -> Result<(Tx, Caller), ManagementError> {
        require(caller, permission, place)?;
        let mut tx = self.store.begin().await?;
        self.lock_members(&mut tx, caller, locked).await?;
        tx.share_organization(caller.organization().id).await?;
        let caller = caller.again(&mut tx, self.sources.latest()).await?;
        require(&caller, permission, place)?;
        Ok((tx, caller))
    }

    /// Begins a change of who may do what, or of what that depends on. In one organization they come one after the other, and not beside any other change.
    async fn begin_access(&self, caller: &Caller, permission: &Permission, place: Place, locked: &[Member]) -> Result<(Tx, Caller), ManagementError> {
        require(caller, permission, place)?;
        let mut tx = self.store.begin().await?;
        self.lock_members(&mut tx, caller, locked).await?;
        tx.lock_organization(caller.organization().id).await?;
        let caller = caller.again(&mut tx, self.sources.latest()).await?;
        require(&caller, permission, place)?;
        Ok((tx, caller))
    }

    /// In one order, so that two who change each other never wait for each other: accounts, then people, then the organization.
    async fn lock_members(&self, tx: &mut Tx, caller: &Caller, locked: &[Member]) -> Result<(), StoreError> {
        let all: BTreeSet<_> = locked.iter().copied().chain([caller.principal.member()]).collect();
        for member in all {
            match member {
                Member::ServiceAccount(id) => drop(tx.lock_service_account(caller.organization().id, id).await?),
                Member::User(id) => tx.lock_user(id).await?,
            }
        }
        Ok(())
    }

    /// Begins a change of an account.
    async fn begin_with(
        &self,
        caller: &Caller,
        permission: &Permission,
        account: &Reference,
    ) -> Result<(Tx, Caller, ServiceAccount), ManagementError> {
        require(caller, permission, Place::Organization)?;
        let account = self.account_of(caller, account).await?;
        let (mut tx, caller) = self.begin(caller, permission, Place::Organization, &[Member::ServiceAccount(account.id)]).await?;
        let found = tx.find_service_account_by_id(account.organization_id, account.id.0).await?;
        Ok((tx, caller, found.ok_or_else(|| no("service account", &Reference::Id(account.id.0)))?))
    }

    /// Begins a change of a key.
    async fn begin_with_key(
        &self,
        caller: &Caller,
        account: &Reference,
        key: &Reference,
    ) -> Result<(Tx, Caller, ServiceAccount, KeyDetails), ManagementError> {
        require(caller, &Permission::API_KEYS_MANAGE, Place::Organization)?;
        let seen = self.key_of(&self.account_of(caller, account).await?, key).await?;
        let (mut tx, caller, account) = self.begin_with(caller, &Permission::API_KEYS_MANAGE, account).await?;
        let details = find_key(&mut tx, &account, seen.key.id).await?;
        Ok((tx, caller, account, details))
    }

    /// Ends a change of the caller's organization: puts it on record.
    async fn finish(
        &self,
        mut tx: Tx,
        caller: &Caller,
        action: Action,
        target: Target,
        origin: Origin,
        details: Value,
    ) -> Result<(), ManagementError> {
        let event = self.event(self.sources.now(), Some(caller.organization().id), caller.actor(), action, target, origin, details);
        tx.insert_event(&event).await?;
        Ok(tx.commit().await?)
    }

    /// Puts something made on record, and leaves it to be committed with the answer.
    #[expect(clippy::too_many_arguments, reason = "what was made, and the parts of its record, are independent")]
    async fn finish_making<T>(
        &self,
        mut tx: Tx,
        claim: Claim,
        caller: &Caller,
        action: Action,
        target: Target,
        origin: Origin,
        details: Value,
        made: T,
    ) -> Result<Uncommitted<T>, ManagementError> {
        let event = self.event(self.sources.now(), Some(caller.organization().id), caller.actor(), action, target, origin, details);
        tx.insert_event(&event).await?;
        Ok(Uncommitted::new(tx, claim, made))
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
async fn find_key(tx: &mut Tx, account: &ServiceAccount, id: ApiKeyId) -> Result<KeyDetails, ManagementError> {
    tx.find_api_key(account.id, id).await?.ok_or_else(|| no("API key", &Reference::Id(id.0)))
}

/// Refuses a caller who would come by more than they hold: a usable credential is all that its holder may do, and a member of a team is all that the team is.
pub(super) async fn require_cover(tx: &mut Tx, caller: &Caller, holder: Holder, name: impl Display) -> Result<(), ManagementError> {
    let theirs = Access::of(&tx.list_assignments(holder).await?);
    let kind = match holder {
        Holder::ServiceAccount(_) => "service account",
        Holder::User(_) => "user",
        Holder::Team(_) => "team",
    };
    if caller.access.covers(&theirs) { Ok(()) } else { Err(ManagementError::Escalation(format!("{kind} {name} may do more than you may"))) }
}

/// Refuses a caller without this permission at this place.
pub(super) fn require(caller: &Caller, permission: &Permission, place: Place) -> Result<(), ManagementError> {
    let there = match place.level() {
        Level::Platform => "on the whole platform",
        Level::Organization => "in the whole organization",
        Level::Workspace => "in that workspace",
        Level::Project => "in that project",
    };
    if caller.access.holds(permission, place) { Ok(()) } else { Err(ManagementError::Forbidden(permission.clone(), there)) }
}

/// Of what someone holds, what they were given themselves: what came through a team is the team's.
fn own(holder: Holder, held: &[Assignment]) -> impl Iterator<Item = &Assignment> {
    let team = matches!(holder, Holder::Team(_));
    held.iter().filter(move |it| team || it.team.is_none())
}

/// What someone was given themselves, for the record of its end.
async fn record_of_own(tx: &mut Tx, holder: Holder) -> Result<Value, StoreError> {
    let held = tx.list_assignments(holder).await?;
    Ok(own(holder, &held).map(|it| assignments::details(&it.given, it.place, None, None)).collect())
}

/// Refuses a caller who holds this permission nowhere in their organization.
fn require_somewhere(caller: &Caller, permission: &Permission) -> Result<(), ManagementError> {
    if caller.access.holds_inside(permission) { Ok(()) } else { Err(ManagementError::Forbidden(permission.clone(), "somewhere")) }
}

fn no(kind: &'static str, reference: &Reference) -> ManagementError {
    ManagementError::NotFound(kind, reference.clone())
}

fn taken(error: StoreError, what: &str) -> ManagementError {
    match error {
        StoreError::Conflict(constraint) if constraint.contains("hash") => ManagementError::HashTaken,
        StoreError::Conflict(_) => ManagementError::Taken(what.to_owned()),
        other => other.into(),
    }
}

fn name_taken(error: StoreError, name: &Name) -> ManagementError {
    taken(error, &format!("the name {name}"))
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
