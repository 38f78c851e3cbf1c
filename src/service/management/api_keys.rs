//! API keys.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::left_behind::Ended;
use super::{Changes, Management, ManagementError, Page, find_key, name_taken, require, require_cover};
use crate::domain::access::{Access, Place};
use crate::domain::api_key::{ApiKeyHash, RawApiKey};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::claims::PrincipalType;
use crate::domain::entity::{ApiKey, KeyDetails, KeyPolicy, KeyValue, ServiceAccount};
use crate::domain::id::{ApiKeyId, KeyValueId, Reference, ServiceAccountId, SessionId};
use crate::domain::name::{Invalid, Name};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::Caller;
use crate::service::idempotency::{Claim, Uncommitted};
use crate::service::makers::judge;
use crate::store::{Holder, KeyFilter, LeftBehind, Maker, Member, Root, StoreError, Tx};

const SECONDS_A_DAY: u64 = 86_400;
const SECONDS_A_MINUTE: u64 = 60;

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name.
    pub name: Name,
    /// After how many days it expires: nothing said (as the organization has it), never, or a number.
    pub expires_in_days: Option<Option<u16>>,
}

/// What is kept of a value.
#[derive(Clone, Debug)]
pub struct NewKeyValue {
    /// What it is found by.
    pub hash: ApiKeyHash,
    /// What people recognise it by.
    pub hint: String,
}

impl From<&RawApiKey> for NewKeyValue {
    fn from(raw: &RawApiKey) -> Self {
        Self { hash: raw.hash(), hint: raw.hint() }
    }
}

/// What is to change of a key; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// Its name.
    pub name: Option<Name>,
    /// Whether it may be used.
    pub active: Option<bool>,
    /// After how many days from now it expires: never, or a number.
    pub expires_in_days: Option<Option<u16>>,
    /// For how many minutes from now the old value still works; 0 ends it now.
    pub retain_minutes: Option<u32>,
    /// With deactivation: whether what was made with it for others goes on working, and the caller becomes its maker.
    pub keep_credentials: bool,
}

/// How a key is to be rotated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// For how many minutes the old value still works.
    pub retain_minutes: u32,
    /// After how many days the new value expires: nothing said (as long as the old one had from its beginning), never, or a number.
    pub expires_in_days: Option<Option<u16>>,
    /// The value that is to be replaced; whichever there is, without one.
    pub of: Option<KeyValueId>,
}

impl Management {
    /// Makes an API key. The raw key is returned this once.
    ///
    /// # Errors
    /// Where the caller may not, the account may do more than the caller, is missing or deactivated, or the name is taken.
    pub async fn create_key(
        &self,
        caller: &Caller,
        account: &Reference,
        wanted: NewKey,
        origin: Origin,
    ) -> Result<Uncommitted<(KeyDetails, RawApiKey)>, ManagementError> {
        let raw = self.generate_key();
        let (tx, claim, made) = self.add_key(caller, account, wanted, NewKeyValue::from(&raw), Action::ApiKeyCreate, origin).await?;
        let secret = raw.hash();
        Ok(Uncommitted::new(tx, claim, (made, raw)).showing(Some(secret)))
    }

    /// Makes a key of another system known by its SHA-256, so that its holders need not change anything. The raw key is never sent.
    ///
    /// # Errors
    /// As [`Management::create_key`], and where the hash is known already.
    pub async fn import_key(
        &self,
        caller: &Caller,
        account: &Reference,
        wanted: NewKey,
        value: NewKeyValue,
        origin: Origin,
    ) -> Result<Uncommitted<KeyDetails>, ManagementError> {
        let (tx, claim, made) = self.add_key(caller, account, wanted, value, Action::ApiKeyImport, origin).await?;
        Ok(Uncommitted::new(tx, claim, made))
    }

    async fn add_key(
        &self,
        caller: &Caller,
        account: &Reference,
        wanted: NewKey,
        value: NewKeyValue,
        action: Action,
        origin: Origin,
    ) -> Result<(Tx, Claim, KeyDetails), ManagementError> {
        let (mut tx, caller, account) = self.begin_with(caller, &Permission::API_KEYS_MANAGE, account).await?;
        require_cover(&mut tx, &caller, Holder::ServiceAccount(account.id), &account.name).await?;
        if !account.active {
            return Err(ManagementError::AccountInactive(account.name));
        }
        let claim = self.claim(&mut tx, &caller).await?;
        let policy = caller.organization().key_policy;
        let made = self.insert_key(&mut tx, &account, wanted, value, policy, action, Some(&caller.maker()), caller.actor(), origin).await?;
        Ok((tx, claim, made))
    }

    /// Lists the keys of an account.
    ///
    /// # Errors
    /// Where the caller may not, or there is no such account.
    pub async fn list_keys(&self, caller: &Caller, account: &Reference, filter: &KeyFilter, page: Page) -> Result<Vec<KeyDetails>, ManagementError> {
        let account = self.find_account(caller, account).await?;
        Ok(self.store.list_api_keys(account.id, filter, page.after, page.limit.into()).await?)
    }

    /// Finds a key of an account.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_key(&self, caller: &Caller, account: &Reference, key: &Reference) -> Result<KeyDetails, ManagementError> {
        let account = self.find_account(caller, account).await?;
        self.key_of(&account, key).await
    }

    /// Changes a key. Deactivating it stops it and its tokens at once; activating it again revives no token from before. What was made with it for others ends with deactivation, unless the
    /// caller keeps that. Whoever activates a key whose maker may not make it any more becomes its maker.
    ///
    /// # Errors
    /// Where the caller may not, there is none, the name is taken, the key is compromised, or a time is out of its range.
    pub async fn update_key(
        &self,
        caller: &Caller,
        account: &Reference,
        key: &Reference,
        change: KeyChange,
        origin: Origin,
    ) -> Result<KeyDetails, ManagementError> {
        let (mut tx, caller, account, mut details, left) = if change.active == Some(false) {
            self.begin_ending_key(caller, account, key, Root::deactivated).await?
        } else {
            let (tx, caller, account, details) = self.begin_with_key(caller, account, key).await?;
            (tx, caller, account, details, LeftBehind::default())
        };
        // These give the key more life, and whoever holds it with it.
        if change.active == Some(true) || change.expires_in_days.is_some() || change.retain_minutes.is_some_and(|minutes| minutes > 0) {
            require_cover(&mut tx, &caller, Holder::ServiceAccount(account.id), &account.name).await?;
        }
        let now = self.sources.now();
        let target = target(&details.key);
        let mut changes = Changes::default();
        let KeyDetails { key, current, retained, made_by } = &mut details;
        if change.active == Some(true) && key.compromised_at.is_some() {
            return Err(ManagementError::KeyCompromised(key.name.clone()));
        }
        changes.set("name", &mut key.name, change.name);
        changes.set("active", &mut key.active, change.active);
        let adopted = change.active == Some(true) && !self.could_make_again(&mut tx, &account, current).await?;
        if adopted {
            let maker = caller.maker();
            tx.insert_maker_of_value(current.id, key.id, account.id, &maker).await?;
            *made_by = made_by_other(&account, Some(&maker));
            changes.set("maker", &mut "somebody who may not make it any more", Some("whoever activated it"));
        }
        if changes.has("active") {
            for value in [Some(&mut *current), retained.as_mut()].into_iter().flatten() {
                value.grant = SessionId::generate(now, self.sources.random());
            }
        }
        if let Some(days) = change.expires_in_days {
            let policy = caller.organization().key_policy;
            let expires_at = after(now, lifetime(policy, Some(days))?);
            // Counted from the beginning of the value, as the maximum is: giving it another day each day is no way around it.
            if policy.max_days.is_some_and(|max| expires_at > after(current.created_at, Some(max))) {
                let why = Invalid("goes beyond what your organization allows, counted from when the key got its value; rotate it instead".to_owned());
                return Err(ManagementError::OutOfRange("expires_in_days", why));
            }
            // One that is over and gets more time is another credential: what it yielded before stays over.
            if current.expires_at.is_some_and(|expiry| expiry <= self.sources.latest()) {
                current.grant = SessionId::generate(now, self.sources.random());
            }
            changes.set("expires_at", &mut current.expires_at, Some(expires_at));
        }
        if let Some(minutes) = change.retain_minutes {
            let value = retained.as_mut().filter(|value| value.retained_until.is_some_and(|end| end > now));
            let value = value.ok_or_else(|| ManagementError::NothingRetained(key.name.clone()))?;
            // Counted from the rotation, which made the current value: moving it again and again is no way around the maximum.
            let until = now.plus(self.retention(minutes)?);
            if until > current.created_at.plus(self.rules.max_retention) {
                return Err(self.retention_too_long());
            }
            let until = value.expires_at.map_or(until, |expiry| expiry.min(until));
            changes.set("retained_until", &mut value.retained_until, Some(Some(until)));
        }
        if changes.is_empty() {
            return Ok(details);
        }
        tx.update_api_key(&details.key).await.map_err(|error| name_taken(error, &details.key.name))?;
        for value in [Some(&details.current), details.retained.as_ref()].into_iter().flatten() {
            tx.update_key_value(account.id, value, now).await?;
        }
        tx.set_next_key_expiry(account.id).await?;
        if changes.has("active") && !details.key.active {
            let (root, organization) = (Root::deactivated(details.key.id, account.id), account.organization_id);
            let ended = Ended { root, left, organization, target: target.clone(), actor: caller.actor(), origin: &origin };
            if change.keep_credentials {
                self.adopt_left_behind(&mut tx, &caller, ended).await?;
            } else {
                self.end_left_behind(&mut tx, ended).await?;
            }
        }
        let details_of_change = changes.into_details();
        let organization = Some(account.organization_id);
        tx.insert_event(&self.event(now, organization, caller.actor(), Action::ApiKeyUpdate, target, origin, details_of_change)).await?;
        tx.commit().await?;
        Ok(details)
    }

    /// Gives a key a new value, which is returned this once. The old one works for as long as the rotation says, and one before that ends now.
    ///
    /// # Errors
    /// Where the caller may not, the account may do more than the caller, account or key are missing or deactivated, a time is out of its range, or someone
    /// else rotated it at the same moment.
    pub async fn rotate_key(
        &self,
        caller: &Caller,
        account: &Reference,
        key: &Reference,
        rotation: Rotation,
        origin: Origin,
    ) -> Result<Uncommitted<(KeyDetails, RawApiKey)>, ManagementError> {
        require(caller, &Permission::API_KEYS_MANAGE, Place::Organization)?;
        let seen = self.key_of(&self.account_of(caller, account).await?, key).await?;
        let retention = self.retention(rotation.retain_minutes)?;
        let (mut tx, caller, account) = self.begin_with(caller, &Permission::API_KEYS_MANAGE, account).await?;
        require_cover(&mut tx, &caller, Holder::ServiceAccount(account.id), &account.name).await?;
        let details = find_key(&mut tx, &account, seen.key.id).await?;
        let key = details.key;
        if !account.active {
            return Err(ManagementError::AccountInactive(account.name));
        }
        if key.compromised_at.is_some() {
            return Err(ManagementError::KeyCompromised(key.name));
        }
        if !key.active {
            return Err(ManagementError::KeyInactive(key.name));
        }
        let claim = self.claim(&mut tx, &caller).await?;
        // Otherwise the value that the other one was just given would end unused.
        if details.current.id != rotation.of.unwrap_or(seen.current.id) {
            return Err(ManagementError::RotatedMeanwhile(key.name));
        }
        let now = self.sources.now();
        let policy = caller.organization().key_policy;
        let mut old = details.current;
        let expires_at = match (rotation.expires_in_days, old.expires_at) {
            // As long as before, but no longer than the organization allows by now.
            (None, Some(expiry)) => {
                let inherited = now.plus(expiry.since(old.created_at));
                Some(after(now, policy.max_days).map_or(inherited, |most| most.min(inherited)))
            }
            (asked, _) => after(now, lifetime(policy, asked)?),
        };
        let raw = self.generate_key();
        let current = self.new_value(&raw.hint(), expires_at, now);
        let until = now.plus(retention);
        old.retained_until = Some(old.expires_at.map_or(until, |expiry| expiry.min(until)));
        tx.delete_retained_value(key.id, now).await?;
        tx.update_key_value(account.id, &old, now).await?;
        // Whoever rotates it knows the new value; the old one is judged by its own maker.
        let maker = caller.maker();
        tx.insert_key_value(&key, &current, &raw.hash(), Some(&maker)).await?;
        tx.set_next_key_expiry(account.id).await?;
        let record =
            json!({ "hint": current.hint, "expires_at": current.expires_at, "retained_until": old.retained_until, "service_account": account.name });
        let organization = Some(account.organization_id);
        tx.insert_event(&self.event(now, organization, caller.actor(), Action::ApiKeyRotate, target(&key), origin, record)).await?;
        let (secret, made_by) = (raw.hash(), made_by_other(&account, Some(&maker)));
        Ok(Uncommitted::new(tx, claim, (KeyDetails { key, current, retained: Some(old), made_by }, raw)).showing(Some(secret)))
    }

    /// Deletes a key, for good.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn delete_key(&self, caller: &Caller, account: &Reference, key: &Reference, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller, account, KeyDetails { key, .. }) = self.begin_with_key(caller, account, key).await?;
        tx.delete_api_key(key.id, self.sources.now()).await?;
        tx.set_next_key_expiry(account.id).await?;
        let record = json!({ "name": key.name, "service_account": account.name });
        let organization = Some(account.organization_id);
        tx.insert_event(&self.event(self.sources.now(), organization, caller.actor(), Action::ApiKeyDelete, target(&key), origin, record)).await?;
        Ok(tx.commit().await?)
    }

    /// Ends all tokens that were obtained with a key. The key goes on working.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn revoke_key_tokens(
        &self,
        caller: &Caller,
        account: &Reference,
        key: &Reference,
        origin: Origin,
    ) -> Result<KeyDetails, ManagementError> {
        let (mut tx, caller, account, mut details) = self.begin_with_key(caller, account, key).await?;
        let now = self.sources.now();
        self.replace_grants(&mut tx, &mut details, now).await?;
        let record = json!({ "service_account": account.name });
        let organization = Some(account.organization_id);
        tx.insert_event(&self.event(now, organization, caller.actor(), Action::ApiKeyRevokeTokens, target(&details.key), origin, record)).await?;
        tx.commit().await?;
        Ok(details)
    }

    /// Deactivates a key that is in wrong hands, ends its tokens and its old value, and marks it so that it is never used again.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn compromise_key(&self, caller: &Caller, account: &Reference, key: &Reference, origin: Origin) -> Result<KeyDetails, ManagementError> {
        let (mut tx, caller, account, mut details, left) = self.begin_ending_key(caller, account, key, |key, _| Root::compromised(key)).await?;
        // Marked again, there is nothing to do and nothing to record.
        if details.key.compromised_at.is_none() {
            let (root, organization) = (Root::compromised(details.key.id), account.organization_id);
            let ended = Ended { root, left, organization, target: target(&details.key), actor: caller.actor(), origin: &origin };
            self.mark_compromised(&mut tx, &account, &mut details, ended, "reported_by_manager").await?;
            tx.commit().await?;
        }
        Ok(details)
    }

    /// Ends a leaked key that someone presents; no other right is needed. A current value ends the key, an old one only itself.
    ///
    /// # Errors
    /// Where it is no key of this server.
    pub async fn report_key(&self, raw: &RawApiKey, origin: Origin) -> Result<(), ManagementError> {
        let found = self.store.find_key_credential(&raw.hash()).await?.ok_or(ManagementError::UnknownKey)?;
        // A current value ends the key, whatever becomes of it meanwhile: what was made with any of its values is looked for.
        let whole = found.value.retained_until.is_none();
        let root = if whole { Root::compromised(found.key.id) } else { Root::compromised_value(found.value.id) };
        let (mut tx, left) = self.begin_ending_reported(&found.account, root).await?;
        let account = tx.find_service_account_by_id(found.account.organization_id, found.account.id.0).await?;
        let account = account.ok_or(ManagementError::UnknownKey)?;
        let mut details = find_key(&mut tx, &account, found.key.id).await?;
        if details.key.compromised_at.is_some() {
            return Ok(());
        }
        let (organization, target) = (account.organization_id, target(&details.key));
        let ended = Ended { root, left, organization, target, actor: Actor::from(&found), origin: &origin };
        match (whole, details.current.id == found.value.id) {
            (true, true) => self.mark_compromised(&mut tx, &account, &mut details, ended, "presented").await?,
            (false, false) => self.end_retained(&mut tx, &account, details, found.value.id, ended).await?,
            // It was rotated meanwhile, so that something else is to end.
            _ => return Err(StoreError::changed_meanwhile().into()),
        }
        Ok(tx.commit().await?)
    }

    async fn mark_compromised(
        &self,
        tx: &mut Tx,
        account: &ServiceAccount,
        details: &mut KeyDetails,
        ended: Ended<'_>,
        how: &'static str,
    ) -> Result<(), ManagementError> {
        let now = self.sources.now();
        details.key.active = false;
        details.key.compromised_at = Some(now);
        if let Some(retained) = &mut details.retained {
            retained.retained_until = retained.retained_until.map(|end| end.min(now));
        }
        self.replace_grants(tx, details, now).await?;
        tx.update_api_key(&details.key).await?;
        tx.set_next_key_expiry(account.id).await?;
        let (actor, origin) = (ended.actor.clone(), ended.origin.clone());
        self.end_left_behind(tx, ended).await?;
        let record = json!({ "how": how, "service_account": account.name });
        let organization = Some(account.organization_id);
        Ok(tx.insert_event(&self.event(now, organization, actor, Action::ApiKeyCompromise, target(&details.key), origin, record)).await?)
    }

    /// Ends an old value before its time, because it was reported.
    async fn end_retained(
        &self,
        tx: &mut Tx,
        account: &ServiceAccount,
        mut details: KeyDetails,
        reported: KeyValueId,
        ended: Ended<'_>,
    ) -> Result<(), ManagementError> {
        let now = self.sources.now();
        let (actor, origin) = (ended.actor.clone(), ended.origin.clone());
        // Also where the value is over by now: what was made with it is not.
        self.end_left_behind(tx, ended).await?;
        let live = |value: &&mut KeyValue| value.id == reported && value.retained_until.is_some_and(|end| end > now);
        let Some(value) = details.retained.as_mut().filter(live) else { return Ok(()) };
        value.retained_until = value.retained_until.map(|end| end.min(now));
        value.grant = SessionId::generate(now, self.sources.random());
        tx.update_key_value(account.id, value, now).await?;
        let record = json!({ "how": "presented", "ended": "the old value only", "service_account": account.name });
        let organization = Some(account.organization_id);
        Ok(tx.insert_event(&self.event(now, organization, actor, Action::ApiKeyCompromise, target(&details.key), origin, record)).await?)
    }

    /// Ends the tokens that a key yielded, and the links that were made with it.
    async fn replace_grants(&self, tx: &mut Tx, details: &mut KeyDetails, now: Timestamp) -> Result<(), StoreError> {
        tx.delete_invitations_of(details.key.id.0, now).await?;
        for value in [Some(&mut details.current), details.retained.as_mut()].into_iter().flatten() {
            value.grant = SessionId::generate(now, self.sources.random());
            tx.update_key_value(details.key.service_account_id, value, now).await?;
        }
        Ok(())
    }

    /// Makes a key on behalf of `actor`, who was checked before.
    #[expect(clippy::too_many_arguments, reason = "what is made, under which policy, and who does it are independent")]
    pub(in crate::service) async fn insert_key(
        &self,
        tx: &mut Tx,
        account: &ServiceAccount,
        wanted: NewKey,
        value: NewKeyValue,
        policy: KeyPolicy,
        action: Action,
        maker: Option<&Maker>,
        actor: Actor,
        origin: Origin,
    ) -> Result<KeyDetails, ManagementError> {
        let now = self.sources.now();
        let expires_at = after(now, lifetime(policy, wanted.expires_in_days)?);
        let id = ApiKeyId::generate(now, self.sources.random());
        let (name, account_id) = (wanted.name, account.id);
        let key = ApiKey { id, service_account_id: account_id, name, active: true, compromised_at: None, created_at: now, last_use: None };
        let current = self.new_value(&value.hint, expires_at, now);
        tx.insert_api_key(&key, &current, &value.hash, maker).await.map_err(|error| name_taken(error, &key.name))?;
        tx.set_next_key_expiry(account.id).await?;
        let record = json!({ "name": key.name, "hint": current.hint, "expires_at": current.expires_at, "service_account": account.name });
        tx.insert_event(&self.event(now, Some(account.organization_id), actor, action, target(&key), origin, record)).await?;
        Ok(KeyDetails { key, current, retained: None, made_by: made_by_other(account, maker) })
    }

    /// Begins to end a key, and what was made with it.
    async fn begin_ending_key(
        &self,
        caller: &Caller,
        account: &Reference,
        key: &Reference,
        root: impl Fn(ApiKeyId, ServiceAccountId) -> Root,
    ) -> Result<(Tx, Caller, ServiceAccount, KeyDetails, LeftBehind), ManagementError> {
        require(caller, &Permission::API_KEYS_MANAGE, Place::Organization)?;
        let account = self.account_of(caller, account).await?;
        let key = self.key_of(&account, key).await?.key.id;
        let member = Member::ServiceAccount(account.id);
        let (mut tx, caller, left) = self.begin_ending(caller, &Permission::API_KEYS_MANAGE, member, root(key, account.id)).await?;
        let account = self.account_again(&mut tx, &account).await?;
        let details = find_key(&mut tx, &account, key).await?;
        Ok((tx, caller, account, details, left))
    }

    /// Whether those who made a value could make it again, so that it does all that its account may.
    async fn could_make_again(&self, tx: &mut Tx, account: &ServiceAccount, value: &KeyValue) -> Result<bool, StoreError> {
        let makers = tx.list_makers(value.id.0).await?;
        let owners = Access::of(&tx.list_assignments(Holder::ServiceAccount(account.id)).await?);
        let judged = judge(owners, &makers, async |holder| tx.list_assignments(holder).await).await?;
        Ok(judged.is_some_and(|judged| !judged.bounded))
    }

    /// The longest time that an old value of a key is kept.
    #[must_use]
    pub fn max_retention(&self) -> Duration {
        self.rules.max_retention
    }

    /// A new raw key, for what makes keys outside of this module.
    pub(in crate::service) fn generate_key(&self) -> RawApiKey {
        RawApiKey::generate(&self.rules.prefix, self.sources.random())
    }

    fn new_value(&self, hint: &str, expires_at: Option<Timestamp>, now: Timestamp) -> KeyValue {
        KeyValue {
            id: KeyValueId::generate(now, self.sources.random()),
            hint: hint.to_owned(),
            grant: SessionId::generate(now, self.sources.random()),
            created_at: now,
            expires_at,
            retained_until: None,
            last_use: None,
        }
    }

    fn retention(&self, minutes: u32) -> Result<Duration, ManagementError> {
        let retention = Duration::from_secs(u64::from(minutes) * SECONDS_A_MINUTE);
        if retention <= self.rules.max_retention { Ok(retention) } else { Err(self.retention_too_long()) }
    }

    fn retention_too_long(&self) -> ManagementError {
        let most = self.rules.max_retention.as_secs() / SECONDS_A_MINUTE;
        ManagementError::OutOfRange("retain_minutes", Invalid(format!("must end at most {most} minutes after the rotation")))
    }
}

/// Who made a value, where that is another than its account.
fn made_by_other(account: &ServiceAccount, maker: Option<&Maker>) -> Option<(PrincipalType, Uuid)> {
    maker.map(|maker| maker.principal).filter(|maker| *maker != Member::ServiceAccount(account.id)).map(|maker| match maker {
        Member::ServiceAccount(id) => (PrincipalType::ServiceAccount, id.0),
        Member::User(id) => (PrincipalType::User, id.0),
    })
}

fn target(key: &ApiKey) -> Target {
    Target::new("api_key", key.id.0, &key.name)
}

fn lifetime(policy: KeyPolicy, asked: Option<Option<u16>>) -> Result<Option<u16>, ManagementError> {
    policy.lifetime(asked).map_err(|why| ManagementError::OutOfRange("expires_in_days", why))
}

/// So many days after `now`; never, without a number.
fn after(now: Timestamp, days: Option<u16>) -> Option<Timestamp> {
    days.map(|days| now.plus(Duration::from_secs(u64::from(days) * SECONDS_A_DAY)))
}
