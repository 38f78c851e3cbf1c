//! What someone with the database at hand can do: `hourpass admin`. Nobody's permissions are asked, and everything is on record.

use secrecy::SecretString;
use serde_json::json;

use super::Sources;
use super::management::{FoundHolder, HolderReference, Management, ManagementError, NewAccount, NewKey, NewKeyValue, NewUser, NewWorkspace, Spot};
use super::passwords::{PasswordError, Passwords};
use super::signing::{RotatedBy, retire_unpublished};
use crate::domain::access::{Given, Level};
use crate::domain::api_key::RawApiKey;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::entity::{Organization, ServiceAccount, User, Workspace};
use crate::domain::id::{OrganizationId, Reference};
use crate::domain::name::{Email, Name, Slug};
use crate::domain::role::{BUILT_IN, Role};
use crate::store::{Holder, Store, StoreError, Tx};

/// Why something was not done: a line for the person at the shell.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// There is no such organization.
    #[error("there is no organization {0}; `hourpass admin create-organization` makes one, and the first `hourpass serve` makes \"default\"")]
    NoSuchOrganization(String),
    /// There is no such workspace.
    #[error("there is no workspace {0} in that organization; `hourpass admin create-workspace` makes one")]
    NoSuchWorkspace(Reference),
    /// There is no such person.
    #[error("there is no user {0}; `hourpass admin create-user` makes one")]
    NoSuchUser(Email),
    /// There is no such role.
    #[error("there is no role {0} in that organization; there are: {1}")]
    NoSuchRole(Reference, String),
    /// A role of one level at a place of another.
    #[error("{0} is a role {1}")]
    WrongLevel(Name, &'static str),
    /// A workspace where no role is given in it.
    #[error(
        "--workspace is where workspace roles are given, and another role, or none, is named; name workspace roles such as workspace-viewer, or leave --workspace out"
    )]
    UselessWorkspace,
    /// Something unique is taken.
    #[error("{0} is taken")]
    Taken(String),
    /// An account or key was not made.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// A password was not hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A wish for a key.
#[derive(Clone, Debug)]
pub struct IssueKey {
    /// Slug of the organization.
    pub organization: String,
    /// Name of the account, which is made where it is missing.
    pub service_account: Name,
    /// Name of the key; without one, it is named after the time.
    pub key_name: Option<Name>,
    /// Roles for the account; those that it holds already are left as they are.
    pub roles: Vec<Reference>,
    /// Where workspace roles are given.
    pub workspace: Option<Reference>,
    /// After how many days the key expires; without this, never.
    pub expires_in_days: Option<u16>,
}

/// Works on the database directly.
#[derive(Debug)]
pub struct Administration {
    pub(super) store: Store,
    pub(super) sources: Sources,
    pub(super) passwords: Passwords,
    pub(super) management: Management,
}

impl Administration {
    /// With everything that it works on.
    #[must_use]
    pub fn new(store: Store, sources: Sources, passwords: Passwords, management: Management) -> Self {
        Self { store, sources, passwords, management }
    }

    /// Makes a key, and the account and its roles where they are missing.
    ///
    /// # Errors
    /// Where something named does not exist, a role is of the wrong level, or the name of the key is taken.
    pub async fn issue_key(&self, wanted: IssueKey) -> Result<RawApiKey, AdministrationError> {
        let organization = self.organization(&wanted.organization).await?;
        let workspace = match &wanted.workspace {
            Some(reference) => Some(self.workspace(organization.id, reference).await?),
            None => None,
        };
        let roles = self.roles(organization.id, &wanted.roles).await?;
        if workspace.is_some() && !roles.iter().any(|role| role.level == Level::Workspace) {
            return Err(AdministrationError::UselessWorkspace);
        }
        let given = roles.into_iter().map(|role| place(role, workspace.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let name = wanted.key_name.unwrap_or_else(|| Name::from_stored(format!("issued {}", self.sources.now())));

        let account = self.find_or_make_account(organization.id, wanted.service_account).await?;
        let mut tx = self.store.begin().await?;
        let locked = tx.lock_service_account(organization.id, account.id).await?;
        let account = locked.ok_or_else(|| ManagementError::NotFound("service account", Reference::Id(account.id.0)))?;
        if !account.active {
            return Err(ManagementError::AccountInactive(account.name).into());
        }
        let holder = FoundHolder { holder: Holder::ServiceAccount(account.id), target: Target::from(&account) };
        self.assign(&mut tx, organization.id, &holder, given, Actor::operator()).await?;
        let raw = self.management.generate_key();
        let (key, value) = (NewKey { name, expires_in_days: wanted.expires_in_days.map(Some) }, NewKeyValue::from(&raw));
        let policy = organization.key_policy;
        self.management.insert_key(&mut tx, &account, key, value, policy, Action::ApiKeyCreate, None, Actor::operator(), Origin::default()).await?;
        tx.commit().await?;
        Ok(raw)
    }

    /// Of several who do so at once, one makes the account and the others find it.
    async fn find_or_make_account(&self, organization: OrganizationId, name: Name) -> Result<ServiceAccount, AdministrationError> {
        let reference = Reference::Name(name.to_string());
        if let Some(account) = self.store.find_service_account(organization, &reference).await? {
            return Ok(account);
        }
        let description = "made by hourpass admin issue-key".to_owned();
        let wanted = NewAccount { name, description, labels: Labels::default(), claims: CustomClaims::default(), exchanges_per_minute: None };
        let mut tx = self.store.begin().await?;
        match self.management.insert_account(&mut tx, organization, wanted, Actor::operator(), Origin::default()).await {
            Ok(account) => {
                tx.commit().await?;
                Ok(account)
            }
            Err(ManagementError::Taken(_)) => {
                drop(tx);
                let found = self.store.find_service_account(organization, &reference).await?;
                Ok(found.ok_or(ManagementError::NotFound("service account", reference))?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an organization, which has nothing in it yet.
    ///
    /// # Errors
    /// Where the slug is taken.
    pub async fn create_organization(&self, slug: Slug, name: Option<Name>) -> Result<Organization, AdministrationError> {
        let organization = self.management.new_organization(slug, name);
        let mut tx = self.store.begin().await?;
        if !tx.insert_organization(&organization).await? {
            return Err(AdministrationError::Taken(format!("the slug {}", organization.slug)));
        }
        self.management.furnish(&mut tx, &organization, Actor::operator(), Origin::default()).await?;
        tx.commit().await?;
        Ok(organization)
    }

    /// Makes a workspace.
    ///
    /// # Errors
    /// Where there is no such organization, or the slug, host or audience is taken.
    pub async fn create_workspace(&self, organization: &str, wanted: NewWorkspace) -> Result<Workspace, AdministrationError> {
        let organization = self.organization(organization).await?;
        let mut tx = self.store.begin().await?;
        // The server makes the key: it has the master key.
        retire_unpublished(&mut tx, &self.sources, wanted.signing_algorithm, &RotatedBy::operator()).await?;
        let workspace = self.management.insert_workspace(&mut tx, &organization, wanted, Actor::operator(), Origin::default()).await?;
        tx.commit().await?;
        Ok(workspace)
    }

    /// Makes a person known, who signs in with `password`.
    ///
    /// # Errors
    /// Where there is no such organization, or the address is taken.
    pub async fn create_user(
        &self,
        organization: &str,
        email: Email,
        roles: &[Reference],
        password: &SecretString,
    ) -> Result<User, AdministrationError> {
        let organization = self.organization(organization).await?;
        let roles = self.roles(organization.id, roles).await?;
        let given = roles.into_iter().map(|role| place(role, None)).collect::<Result<Vec<_>, _>>()?;
        let hash = self.passwords.hash_chosen(password).await?;
        let mut tx = self.store.begin().await?;
        let user = self.insert_user(&mut tx, organization.id, email, &hash, Actor::operator()).await?;
        let holder = FoundHolder { holder: Holder::User(user.id), target: Target::from(&user) };
        self.assign(&mut tx, organization.id, &holder, given, Actor::operator()).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Gives a service account or a person roles; those that they hold already are left as they are.
    ///
    /// # Errors
    /// Where something named does not exist, or a role is of another level than the place.
    pub async fn assign_roles(
        &self,
        organization: &str,
        holder: &HolderReference,
        roles: &[Reference],
        workspace: Option<&Reference>,
    ) -> Result<(), AdministrationError> {
        let organization = self.organization(organization).await?;
        let workspace = match workspace {
            Some(reference) => Some(self.workspace(organization.id, reference).await?),
            None => None,
        };
        let roles = self.roles(organization.id, roles).await?;
        if workspace.is_some() && !roles.iter().all(|role| role.level == Level::Workspace) {
            return Err(AdministrationError::UselessWorkspace);
        }
        let given = roles.into_iter().map(|role| place(role, workspace.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let holder = self.management.find_holder(organization.id, holder).await?;
        let mut tx = self.store.begin().await?;
        self.assign(&mut tx, organization.id, &holder, given, Actor::operator()).await?;
        Ok(tx.commit().await?)
    }

    /// Replaces a person's password, and ends their sign-ins and the tokens that those yielded.
    ///
    /// # Errors
    /// Where there is no such person.
    pub async fn reset_password(&self, email: &Email, password: &SecretString) -> Result<(), AdministrationError> {
        let found = self.store.find_password(email).await?.ok_or_else(|| AdministrationError::NoSuchUser(email.clone()))?;
        let user = found.holder.user;
        let hash = self.passwords.hash_chosen(password).await?;
        let now = self.sources.now();
        let mut tx = self.store.begin().await?;
        tx.set_password_hash(user.id, &hash).await?;
        tx.delete_sessions(user.id, self.sources.now()).await?;
        let (organization, target) = (Some(user.organization_id), Target::from(&user));
        let details = json!({ "password": "replaced", "sessions": "ended" });
        tx.insert_event(&self.management.event(now, organization, Actor::operator(), Action::UserResetPassword, target, Origin::default(), details))
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn organization(&self, slug: &str) -> Result<Organization, AdministrationError> {
        self.store.find_organization(slug).await?.ok_or_else(|| AdministrationError::NoSuchOrganization(slug.to_owned()))
    }

    async fn workspace(&self, organization: OrganizationId, reference: &Reference) -> Result<Workspace, AdministrationError> {
        self.store.find_workspace(organization, reference).await?.ok_or_else(|| AdministrationError::NoSuchWorkspace(reference.clone()))
    }

    /// The roles of these names: built-in ones, or the organization's own.
    async fn roles(&self, organization: OrganizationId, names: &[Reference]) -> Result<Vec<Role>, AdministrationError> {
        let mut roles = Vec::new();
        for name in names {
            match self.management.find_role_of(organization, name).await {
                Ok(role) => roles.push(role),
                Err(ManagementError::NotFound(..)) => {
                    let own = self.store.list_roles(organization, uuid::Uuid::nil(), 100).await?;
                    let all: Vec<_> = BUILT_IN.iter().chain(&own).map(|role| role.name.as_str()).collect();
                    return Err(AdministrationError::NoSuchRole(name.clone(), all.join(", ")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(roles)
    }

    /// Makes a person known who has a password.
    pub(super) async fn insert_user(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        email: Email,
        hash: &SecretString,
        actor: Actor,
    ) -> Result<User, AdministrationError> {
        let wanted = NewUser { email, name: String::new(), password: None };
        let user = self.management.insert_user(tx, organization, wanted, actor, Origin::default()).await?;
        tx.set_password_hash(user.id, hash).await?;
        Ok(user)
    }

    /// Gives someone what they do not hold already.
    pub(super) async fn assign(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        holder: &FoundHolder,
        given: Vec<(Role, Spot)>,
        actor: Actor,
    ) -> Result<(), StoreError> {
        tx.lock_organization(organization).await?;
        for (role, spot) in given {
            let given = Given::Role(role);
            let held = tx.list_assignments(holder.holder).await?;
            if held.iter().any(|it| it.given == given && it.place == spot.place && it.team.is_none()) {
                continue;
            }
            self.management.insert_assignment(tx, organization, holder, &given, &spot, actor.clone(), Origin::default()).await?;
        }
        Ok(())
    }
}

/// The role at the place that its level asks for.
fn place(role: Role, workspace: Option<&Workspace>) -> Result<(Role, Spot), AdministrationError> {
    match (role.level, workspace) {
        (Level::Platform, _) => Ok((role, Spot::PLATFORM)),
        (Level::Organization, _) => Ok((role, Spot::ORGANIZATION)),
        (Level::Workspace, Some(workspace)) => Ok((role, Spot::workspace(workspace.clone()))),
        (Level::Workspace, None) => {
            Err(AdministrationError::WrongLevel(role.name, "in a workspace; name the workspace with --workspace (of issue-key and assign-role)"))
        }
        (Level::Project, _) => Err(AdministrationError::WrongLevel(role.name, "in a project; give it with POST /api/v1/role_assignments")),
    }
}
