//! Ends what a maker leaves behind: API keys made for other accounts, passwords set for other users, and invitations. It ends
//! with the maker, and with the credential that it was made with, unless a caller with at least the same rights adopts it.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Management, ManagementError, no, require, require_cover};
use crate::domain::access::{Access, Place};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::{OrganizationId, Reference, UserId};
use crate::domain::permission::Permission;
use crate::service::Caller;
use crate::service::makers::judge;
use crate::store::{Holder, LeftBehind, LeftKey, Maker, Member, Root, StoreError, StoredInvitation, Tx};

/// How often a change begins again, because more was left behind since it was looked for.
const TRIES: usize = 5;
/// As many ids as a record names.
const NAMED: usize = 50;

/// How much would end with a maker or with a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftBehindCount {
    /// API keys of others, and old values of such keys that still work.
    pub api_keys: usize,
    /// Passwords of others.
    pub passwords: usize,
}

impl From<&LeftBehind> for LeftBehindCount {
    fn from(left: &LeftBehind) -> Self {
        Self { api_keys: left.keys.len(), passwords: left.users.len() }
    }
}

/// Whether a key does all that its account may, in view of those who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody else made it, or they may do as much.
    Full,
    /// It does less: whoever made it may do less.
    Bounded,
    /// It is refused: whoever made it may not make it any more.
    Refused,
}

/// A maker, or a credential, that ends, and what was made with it.
pub(super) struct Ended<'a> {
    pub(super) root: Root,
    pub(super) left: LeftBehind,
    /// Whose organization it is.
    pub(super) organization: OrganizationId,
    /// The maker, or the credential.
    pub(super) target: Target,
    /// Who ends it.
    pub(super) actor: Actor,
    pub(super) origin: &'a Origin,
}

impl Management {
    /// How much a user leaves behind who is deactivated or deleted.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn left_by_user(&self, caller: &Caller, reference: &Reference) -> Result<LeftBehindCount, ManagementError> {
        let user = self.find_user(caller, reference).await?;
        self.count_left_behind(Root::principal(Member::User(user.id))).await
    }

    /// How each of these keys of an account stands, which the caller was shown.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_standings(&self, account: &ServiceAccount, keys: &[KeyDetails]) -> Result<Vec<Standing>, ManagementError> {
        let mut standings = Vec::with_capacity(keys.len());
        for details in keys {
            let makers = self.store.list_makers(details.current.id.0).await?;
            if makers.is_empty() {
                standings.push(Standing::Full);
                continue;
            }
            let owners = Access::of(&self.store.list_assignments(Holder::ServiceAccount(account.id)).await?);
            let judged = judge(owners, &makers, async |holder| self.store.list_assignments(holder).await).await?;
            standings.push(match judged {
                Some(judged) if judged.bounded => Standing::Bounded,
                Some(_) => Standing::Full,
                None => Standing::Refused,
            });
        }
        Ok(standings)
    }

    /// How much an account leaves behind that is deactivated or deleted, or one of its keys that is deactivated or, with `compromised`, reported.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn left_by_account(
        &self,
        caller: &Caller,
        account: &Reference,
        key: Option<&Reference>,
        compromised: bool,
    ) -> Result<LeftBehindCount, ManagementError> {
        let account = self.find_account(caller, account).await?;
        let Some(key) = key else { return self.count_left_behind(Root::principal(Member::ServiceAccount(account.id))).await };
        let key = self.key_of(&account, key).await?.key.id;
        self.count_left_behind(if compromised { Root::compromised(key) } else { Root::deactivated(key, account.id) }).await
    }

    pub(super) async fn count_left_behind(&self, root: Root) -> Result<LeftBehindCount, ManagementError> {
        Ok((&self.find_left_behind(root).await?).into())
    }

    async fn find_left_behind(&self, root: Root) -> Result<LeftBehind, StoreError> {
        Ok(LeftBehind { keys: self.store.list_left_keys(root, self.sources.now()).await?, users: self.store.list_left_users(root).await? })
    }

    /// Begins a change that ends what `root` leaves behind. Besides the caller and `target`, its owners are locked, in the order in which all are: so nobody makes anything with it, or signs in
    /// with it, until the change is done.
    pub(super) async fn begin_ending(
        &self,
        caller: &Caller,
        permission: &Permission,
        target: Member,
        root: Root,
    ) -> Result<(Tx, Caller, LeftBehind), ManagementError> {
        require(caller, permission, Place::Organization)?;
        for _ in 0..TRIES {
            let locked: BTreeSet<_> = self.find_left_behind(root).await?.owners().into_iter().chain([target]).collect();
            let all: Vec<_> = locked.iter().copied().collect();
            // Users are changed beside nothing else, because of the last administrator.
            let (mut tx, caller) = match target {
                Member::User(_) => self.begin_access(caller, permission, Place::Organization, &all).await?,
                Member::ServiceAccount(_) => self.begin(caller, permission, Place::Organization, &all).await?,
            };
            let left = tx.list_left_behind(root, self.sources.now()).await?;
            if left.owners().is_subset(&locked) {
                return Ok((tx, caller, left));
            }
        }
        Err(StoreError::changed_meanwhile().into())
    }

    /// The same on behalf of nobody, for an account whose key was reported.
    pub(super) async fn begin_ending_reported(&self, account: &ServiceAccount, root: Root) -> Result<(Tx, LeftBehind), ManagementError> {
        for _ in 0..TRIES {
            let target = Member::ServiceAccount(account.id);
            let locked: BTreeSet<_> = self.find_left_behind(root).await?.owners().into_iter().chain([target]).collect();
            let mut tx = self.store.begin().await?;
            lock(&mut tx, account.organization_id, &locked).await?;
            let left = tx.list_left_behind(root, self.sources.now()).await?;
            if left.owners().is_subset(&locked) {
                return Ok((tx, left));
            }
        }
        Err(StoreError::changed_meanwhile().into())
    }

    /// Ends what is left behind, and puts it on record.
    pub(super) async fn end_left_behind(&self, tx: &mut Tx, ended: Ended<'_>) -> Result<(), ManagementError> {
        let now = self.sources.now();
        let invitations = tx.end_left_behind(ended.root, &ended.left, now).await?;
        if ended.left.is_empty() && invitations == 0 {
            return Ok(());
        }
        self.record_left_behind(tx, Action::CredentialEnd, ended, invitations).await
    }

    /// Makes the caller the maker of what is left behind, so that it goes on working. The links end all the same: others are made in a moment.
    pub(super) async fn adopt_left_behind(&self, tx: &mut Tx, caller: &Caller, ended: Ended<'_>) -> Result<(), ManagementError> {
        let maker = caller.maker();
        let key = maker.made_with_key.map(|key| key.0);
        if ended.left.includes(&maker) || maker.principal.id() == ended.root.id() || key == Some(ended.root.id()) {
            let why = "what you called with depends itself on what is to end, so that you cannot keep what was made with it";
            return Err(ManagementError::Escalation(why.to_owned()));
        }
        for owner in ended.left.owners() {
            let permission = match owner {
                Member::ServiceAccount(_) => Permission::API_KEYS_MANAGE,
                Member::User(_) => Permission::USERS_MANAGE,
            };
            require(caller, &permission, Place::Organization)?;
            require_cover(tx, caller, owner.holder(), owner.id()).await?;
        }
        tx.delete_invitations_of(ended.root.id(), self.sources.now()).await?;
        tx.adopt(ended.root, &ended.left, &maker).await?;
        if ended.left.is_empty() {
            return Ok(());
        }
        self.record_left_behind(tx, Action::CredentialAdopt, ended, 0).await
    }

    async fn record_left_behind(&self, tx: &mut Tx, action: Action, ended: Ended<'_>, invitations: u64) -> Result<(), ManagementError> {
        let Ended { left, organization, target, actor, origin, .. } = ended;
        let (whole, old): (Vec<&LeftKey>, Vec<&LeftKey>) = left.keys.iter().partition(|key| key.whole);
        let details = json!({
            "api_keys": whole.len(),
            "api_key_ids": whole.iter().take(NAMED).map(|key| key.key()).collect::<Vec<_>>(),
            "old_values": old.len(),
            "old_value_api_key_ids": old.iter().take(NAMED).map(|key| key.key()).collect::<Vec<_>>(),
            "passwords": left.users.len(),
            "user_ids": left.users.iter().take(NAMED).collect::<Vec<_>>(),
            "invitations": invitations,
        });
        let event = self.event(self.sources.now(), Some(organization), actor, action, target, origin.clone(), details);
        Ok(tx.insert_event(&event).await?)
    }

    /// Whether the maker of a link could make it again: they are there, the key that they made it with is, too, and they may do all that the user may. Whoever manages the platform may invite
    /// people into other organizations.
    pub(super) async fn could_invite_again(
        &self,
        tx: &mut Tx,
        maker: &Maker,
        organization: OrganizationId,
        user: UserId,
    ) -> Result<bool, ManagementError> {
        let Some((makers_organization, true)) = tx.find_principal(maker.principal.id()).await? else { return Ok(false) };
        if let Some(key) = maker.made_with_key
            && !tx.is_key_active(key).await?
        {
            return Ok(false);
        }
        let theirs = Access::of(&tx.list_assignments(maker.principal.holder()).await?);
        let depends_on = tx.list_makers(maker.made_with).await?;
        let Some(judged) = judge(theirs, &depends_on, async |holder| tx.list_assignments(holder).await).await? else { return Ok(false) };
        if makers_organization != organization {
            return Ok(judged.access.holds(&Permission::PLATFORM_MANAGE, Place::Platform));
        }
        let users = Access::of(&tx.list_assignments(Holder::User(user)).await?);
        Ok(judged.access.holds(&Permission::USERS_MANAGE, Place::Organization) && judged.access.covers(&users))
    }

    /// Begins to accept a link: keeps others from changing its user and its maker, and what they hold.
    pub(super) async fn begin_accepting(&self, invitation: &StoredInvitation) -> Result<(Tx, OrganizationId), ManagementError> {
        let user = self.store.find_user_credential(invitation.user).await?.ok_or(ManagementError::InvalidInvitation)?;
        let organization = user.organization.id;
        let mut locked = BTreeSet::from([Member::User(invitation.user)]);
        let mut makers_organization = organization;
        if let Some(maker) = invitation.maker {
            locked.insert(maker.principal);
            let found = self.store.find_principal(maker.principal.id()).await?;
            makers_organization = found.ok_or(ManagementError::InvalidInvitation)?.0;
        }
        let mut tx = self.store.begin().await?;
        lock(&mut tx, makers_organization, &locked).await?;
        tx.lock_organization(organization).await?;
        if makers_organization != organization {
            tx.share_organization(makers_organization).await?;
        }
        Ok((tx, organization))
    }

    /// The account that a key belongs to, after it was locked.
    pub(super) async fn account_again(&self, tx: &mut Tx, account: &ServiceAccount) -> Result<ServiceAccount, ManagementError> {
        let found = tx.find_service_account_by_id(account.organization_id, account.id.0).await?;
        found.ok_or_else(|| no("service account", &Reference::Id(account.id.0)))
    }
}

/// Locks these in their order.
async fn lock(tx: &mut Tx, organization: OrganizationId, members: &BTreeSet<Member>) -> Result<(), StoreError> {
    for member in members {
        match *member {
            Member::ServiceAccount(id) => drop(tx.lock_service_account(organization, id).await?),
            Member::User(id) => tx.lock_user(id).await?,
        }
    }
    Ok(())
}
