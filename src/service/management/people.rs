//! People: invited or made, changed, deactivated, deleted; and their passwords.

use secrecy::SecretString;
use serde_json::json;

use super::left_behind::Ended;
use super::{Changes, Management, ManagementError, OLD_PASSWORDS_A_MINUTE, Page, no, record_of_own, require, require_cover, taken};
use crate::domain::access::Place;
use crate::domain::api_key::{KeyPrefix, RawApiKey};
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::entity::User;
use crate::domain::id::{OrganizationId, Reference, UserId};
use crate::domain::name::Email;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::authentication::AuthenticationError;
use crate::service::idempotency::Uncommitted;
use crate::service::passwords::PasswordError;
use crate::service::rate_limit::Quota;
use crate::service::{Caller, Principal};
use crate::store::{Holder, LeftBehind, Maker, Member, Root, SessionHolder, StoreError, StoredInvitation, Tx, UserFilter};

/// Someone who is to be made known.
#[derive(Debug)]
pub struct NewUser {
    /// How they sign in.
    pub email: Email,
    /// How they are called; may be empty.
    pub name: String,
    /// What they sign in with; without one, they are invited to set one.
    pub password: Option<SecretString>,
}

/// What is to change of a person; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// How they sign in.
    pub email: Option<Email>,
    /// How they are called.
    pub name: Option<String>,
    /// Whether they may sign in.
    pub active: Option<bool>,
    /// With deactivation: whether what they made for others goes on working, and the caller becomes its maker.
    pub keep_credentials: bool,
}

/// A link with which a person sets a password, once. Shown this once. It counts as long as whoever made it could make it again.
#[derive(Debug)]
pub struct Invitation {
    /// The secret of the link.
    pub secret: RawApiKey,
    /// From when on it counts no more.
    pub expires_at: Timestamp,
}

impl Management {
    /// Makes a person known, who holds nothing yet: with a password, or invited to set one.
    ///
    /// # Errors
    /// Where the caller may not, or the address is taken.
    pub async fn create_user(
        &self,
        caller: &Caller,
        wanted: NewUser,
        origin: Origin,
    ) -> Result<Uncommitted<(User, Option<Invitation>)>, ManagementError> {
        require(caller, &Permission::USERS_MANAGE, Place::Organization)?;
        let hash = match &wanted.password {
            Some(password) => Some(self.passwords.hash_chosen(password).await?),
            None => None,
        };
        let (mut tx, caller) = self.begin_access(caller, &Permission::USERS_MANAGE, Place::Organization, &[]).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        let mut user = self.insert_user(&mut tx, caller.organization().id, wanted, caller.actor(), origin.clone()).await?;
        let invitation = match &hash {
            Some(hash) => {
                tx.set_password_hash(user.id, hash).await?;
                tx.insert_maker_of_password(user.id, &caller.maker()).await?;
                (user.has_password, user.password_by_other) = (true, true);
                None
            }
            None => Some(self.insert_invitation(&mut tx, &user, caller.maker(), caller.actor(), origin).await?),
        };
        let secret = invitation.as_ref().map(|invitation| invitation.secret.hash());
        Ok(Uncommitted::new(tx, claim, (user, invitation)).showing(secret))
    }

    /// Lists the people of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_users(&self, caller: &Caller, filter: &UserFilter, page: Page) -> Result<Vec<User>, ManagementError> {
        require(caller, &Permission::USERS_READ, Place::Organization)?;
        Ok(self.store.list_users(caller.organization().id, filter, page.after, page.limit.into()).await?)
    }

    /// Finds a person of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_user(&self, caller: &Caller, reference: &Reference) -> Result<User, ManagementError> {
        require(caller, &Permission::USERS_READ, Place::Organization)?;
        self.find_user_of(caller.organization().id, reference).await
    }

    /// Changes a person. Deactivating ends their sign-ins and their tokens, and what they made for others, unless the caller keeps that.
    ///
    /// # Errors
    /// Where the caller may not, there is none, they may do more than the caller (who would gain by another address or by activating them), the address is
    /// taken, or nobody would be left to administer the organization.
    pub async fn update_user(&self, caller: &Caller, reference: &Reference, change: UserChange, origin: Origin) -> Result<User, ManagementError> {
        let (mut tx, caller, mut user, left) = if change.active == Some(false) {
            self.begin_ending_user(caller, reference).await?
        } else {
            let (tx, caller, user) = self.begin_with_user(caller, reference).await?;
            (tx, caller, user, LeftBehind::default())
        };
        let administrators = tx.count_administrators(user.organization_id).await?;
        let before = Target::from(&user);
        let known_as = user.email.clone();
        let mut changes = Changes::default();
        changes.set("email", &mut user.email, change.email);
        changes.set("name", &mut user.name, change.name);
        changes.set("active", &mut user.active, change.active);
        if changes.is_empty() {
            return Ok(user);
        }
        if changes.has("email") || changes.has("active") && user.active {
            require_cover(&mut tx, &caller, Holder::User(user.id), known_as).await?;
        }
        tx.update_user(&user, self.sources.now()).await.map_err(|error| address_taken(error, &user.email))?;
        if changes.has("active") {
            tx.delete_sessions(user.id, self.sources.now()).await?;
        }
        // A link that went to another address, or was made before they were deactivated, does not come back.
        if changes.has("active") || changes.has("email") {
            tx.delete_invitation(user.id).await?;
        }
        if changes.has("active") && !user.active {
            self.leave_behind(&mut tx, &caller, &user, left, change.keep_credentials, &origin).await?;
        }
        self.keep_administrator(&mut tx, user.organization_id, administrators).await?;
        self.finish(tx, &caller, Action::UserUpdate, before, origin, changes.into_details()).await?;
        Ok(user)
    }

    /// Deletes a person with all that they were given, for good, and with what they made for others; with `keep_credentials`, that goes on working, and the caller becomes its maker.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or nobody would be left to administer the organization.
    pub async fn delete_user(&self, caller: &Caller, reference: &Reference, keep_credentials: bool, origin: Origin) -> Result<(), ManagementError> {
        let (mut tx, caller, user, left) = self.begin_ending_user(caller, reference).await?;
        let administrators = tx.count_administrators(user.organization_id).await?;
        let held = record_of_own(&mut tx, Holder::User(user.id)).await?;
        self.leave_behind(&mut tx, &caller, &user, left, keep_credentials, &origin).await?;
        tx.delete_user(user.id, self.sources.now()).await?;
        self.keep_administrator(&mut tx, user.organization_id, administrators).await?;
        self.finish(tx, &caller, Action::UserDelete, Target::from(&user), origin, json!({ "email": user.email, "held": held })).await
    }

    /// Makes a link with which a person sets a password: they were invited and lost it, or have forgotten theirs, which goes on working until then. An earlier link
    /// counts no more.
    ///
    /// # Errors
    /// Where the caller may not, there is none, they are deactivated, or may do more than the caller.
    pub async fn invite_user(
        &self,
        caller: &Caller,
        reference: &Reference,
        origin: Origin,
    ) -> Result<Uncommitted<(User, Invitation)>, ManagementError> {
        let (mut tx, caller, user) = self.begin_with_user(caller, reference).await?;
        require_cover(&mut tx, &caller, Holder::User(user.id), &user.email).await?;
        if !user.active {
            return Err(ManagementError::InUse(format!("{} is deactivated; activate them first", user.email)));
        }
        let claim = self.claim(&mut tx, &caller).await?;
        let invitation = self.insert_invitation(&mut tx, &user, caller.maker(), caller.actor(), origin).await?;
        let secret = invitation.secret.hash();
        Ok(Uncommitted::new(tx, claim, (user, invitation)).showing(Some(secret)))
    }

    /// Sets the password of whoever's link this is, and ends their sign-ins. The link counts no more.
    ///
    /// # Errors
    /// Where the link is unknown, was used, or is over, or the person is deactivated.
    pub async fn accept_invitation(&self, secret: &RawApiKey, password: &SecretString, origin: Origin) -> Result<User, ManagementError> {
        let hash = secret.hash();
        let sound =
            |found: Option<StoredInvitation>, now: Timestamp| found.filter(|it| it.expires_at > now).ok_or(ManagementError::InvalidInvitation);
        // First of all: a guess is not to cost a hash of a password.
        let found = sound(self.store.find_invitation(&hash).await?, self.sources.latest())?;
        let id = found.user;
        let password_hash = self.passwords.hash_chosen(password).await?;
        let (mut tx, organization) = self.begin_accepting(&found).await?;
        let now = self.sources.now();
        let invitation = sound(tx.find_invitation(&hash).await?, self.sources.latest())?;
        let credential = tx.find_user_credential(id).await?.ok_or(ManagementError::InvalidInvitation)?;
        credential.check().map_err(AuthenticationError::Refused)?;
        // Whoever made the link has a copy of it. The person may have been given more since, or the maker less.
        if let Some(maker) = &invitation.maker
            && !self.could_invite_again(&mut tx, maker, organization, id).await?
        {
            return Err(ManagementError::InvalidInvitation);
        }
        tx.set_password_hash(id, &password_hash).await?;
        tx.delete_sessions(id, now).await?;
        let (actor, target) = (Actor::from(&credential), Target::from(&credential.user));
        let details = json!({ "password": "set", "sessions": "ended" });
        let event = self.event(now, Some(credential.organization.id), actor, Action::UserSetPassword, target, origin, details);
        tx.insert_event(&event).await?;
        tx.commit().await?;
        Ok(User { has_password: true, password_by_other: false, ..credential.user })
    }

    /// Replaces the caller's own password and ends their other sign-ins, and one in a browser as well.
    ///
    /// # Errors
    /// Where the caller is no person, or the old password is wrong.
    pub async fn change_password(&self, caller: &Caller, old: &SecretString, new: &SecretString, origin: Origin) -> Result<(), ManagementError> {
        let Principal::User(credential) = &caller.principal else { return Err(ManagementError::NotAPerson) };
        let user = &credential.holder.user;
        if self.old_passwords.check(&user.id, Quota::per_minute(OLD_PASSWORDS_A_MINUTE), self.sources.now()).is_err() {
            return Err(PasswordError::Busy.into());
        }
        let stored = self.store.find_password(&user.email).await?.filter(|stored| stored.holder.user.id == user.id);
        if !self.passwords.matches(old, stored.as_ref().map(|stored| &stored.hash)).await? {
            let error = ManagementError::WrongPassword;
            let (now, organization) = (self.sources.now(), Some(caller.organization().id));
            let event = self.event(now, organization, caller.actor(), Action::UserChangePassword, Target::from(user), origin, json!({}));
            let mut tx = self.store.begin().await?;
            tx.insert_event(&Event { outcome: Outcome::Denied(error.code()), ..event }).await?;
            tx.commit().await?;
            return Err(error);
        }
        let Some(stored) = stored else { return Err(ManagementError::WrongPassword) };
        let hash = self.passwords.hash_chosen(new).await?;
        let mut tx = self.store.begin().await?;
        self.lock_members(&mut tx, caller, &[]).await?;
        let caller = caller.again(&mut tx, self.sources.latest()).await?;
        if tx.find_password_version(user.id).await? != Some(stored.version) {
            return Err(ManagementError::WrongPassword);
        }
        tx.set_password_hash(user.id, &hash).await?;
        // A browser is to sign in anew: whoever has its cookie may have been the reason for another password.
        let kept = Some(credential.session).filter(|session| session.renewable_until.is_none()).map(|session| session.id);
        tx.delete_other_sessions(SessionHolder::User(user.id), kept, self.sources.now()).await?;
        let ended = if kept.is_some() { "other sessions" } else { "sessions" };
        let details = json!({ "password": "replaced", ended: "ended" });
        self.finish(tx, &caller, Action::UserChangePassword, Target::from(user), origin, details).await
    }

    /// Begins a change of a person.
    async fn begin_with_user(&self, caller: &Caller, reference: &Reference) -> Result<(Tx, Caller, User), ManagementError> {
        require(caller, &Permission::USERS_MANAGE, Place::Organization)?;
        let organization = caller.organization().id;
        let id = self.find_user_of(organization, reference).await?.id;
        let (mut tx, caller) = self.begin_access(caller, &Permission::USERS_MANAGE, Place::Organization, &[Member::User(id)]).await?;
        let user = tx.find_user_by_id(organization, id.0).await?.ok_or_else(|| no("user", reference))?;
        Ok((tx, caller, user))
    }

    /// Begins to deactivate or delete a person.
    async fn begin_ending_user(&self, caller: &Caller, reference: &Reference) -> Result<(Tx, Caller, User, LeftBehind), ManagementError> {
        require(caller, &Permission::USERS_MANAGE, Place::Organization)?;
        let organization = caller.organization().id;
        let member = Member::User(self.find_user_of(organization, reference).await?.id);
        let (mut tx, caller, left) = self.begin_ending(caller, &Permission::USERS_MANAGE, member, Root::principal(member)).await?;
        let user = tx.find_user_by_id(organization, member.id()).await?.ok_or_else(|| no("user", reference))?;
        Ok((tx, caller, user, left))
    }

    /// Ends what a person leaves behind, or has the caller keep it.
    async fn leave_behind(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        user: &User,
        left: LeftBehind,
        keep: bool,
        origin: &Origin,
    ) -> Result<(), ManagementError> {
        let (root, organization) = (Root::principal(Member::User(user.id)), user.organization_id);
        let ended = Ended { root, left, organization, target: Target::from(user), actor: caller.actor(), origin };
        if keep { self.adopt_left_behind(tx, caller, ended).await } else { self.end_left_behind(tx, ended).await }
    }

    pub(super) async fn find_user_of(&self, organization: OrganizationId, reference: &Reference) -> Result<User, ManagementError> {
        let found = match reference {
            Reference::Id(id) => self.store.find_user_by_id(organization, *id).await?,
            Reference::Name(email) => self.store.find_user_by_email(organization, &email.to_lowercase()).await?,
        };
        found.ok_or_else(|| no("user", reference))
    }

    /// Makes a person known, without a password, on behalf of `actor`, who was checked before.
    pub(in crate::service) async fn insert_user(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        wanted: NewUser,
        actor: Actor,
        origin: Origin,
    ) -> Result<User, ManagementError> {
        let now = self.sources.now();
        let NewUser { email, name, password } = wanted;
        let id = UserId::generate(now, self.sources.random());
        let user = User { id, organization_id, email, name, active: true, has_password: false, password_by_other: false, created_at: now };
        tx.insert_user(&user).await.map_err(|error| address_taken(error, &user.email))?;
        let by_maker = password.is_some().then_some("set by who made the user");
        let (details, target) = (json!({ "email": user.email, "name": user.name, "password": by_maker }), Target::from(&user));
        tx.insert_event(&self.event(now, Some(organization_id), actor, Action::UserCreate, target, origin, details)).await?;
        Ok(user)
    }

    /// Makes a link on behalf of `actor`, who was checked before.
    pub(super) async fn insert_invitation(
        &self,
        tx: &mut Tx,
        user: &User,
        maker: Maker,
        actor: Actor,
        origin: Origin,
    ) -> Result<Invitation, ManagementError> {
        let now = self.sources.now();
        let secret = RawApiKey::generate(&KeyPrefix::invitation(), self.sources.random());
        let expires_at = now.plus(self.rules.invitation_lifetime);
        tx.replace_invitation(&StoredInvitation { user: user.id, maker: Some(maker), expires_at }, &secret.hash(), now).await?;
        let (details, target) = (json!({ "expires_at": expires_at }), Target::from(user));
        tx.insert_event(&self.event(now, Some(user.organization_id), actor, Action::UserInvite, target, origin, details)).await?;
        Ok(Invitation { secret, expires_at })
    }
}

fn address_taken(error: StoreError, email: &Email) -> ManagementError {
    taken(error, &format!("the email address {email}"))
}
