//! What someone with the database at hand can do: `hourpass admin`. Nobody's permissions are asked, and everything is on record.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;

use super::Sources;
use super::lifecycle::{Lifecycle, LifecycleError, NewAccount, NewKey, NewKeyValue};
use super::passwords::{PasswordError, Passwords};
use crate::domain::access::Assignment;
use crate::domain::api_key::RawApiKey;
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::entity::{KeyPolicy, Organization, ServiceAccount, User, Workspace};
use crate::domain::id::{OrganizationId, Reference, RoleAssignmentId, UserId, WorkspaceId};
use crate::domain::name::{Audience, Email, Name, Slug, WorkspaceUrl};
use crate::domain::role::{Level, Role};
use crate::domain::signing::SigningAlgorithm;
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
    /// A role of one level at a place of the other.
    #[error("{0} is a role {1}")]
    WrongLevel(Role, &'static str),
    /// A workspace where no role is given in it.
    #[error(
        "--workspace is where workspace roles are given, and no such role is named; add --role workspace-viewer or the like, or leave --workspace out"
    )]
    UselessWorkspace,
    /// Something unique is taken.
    #[error("{0} is taken")]
    Taken(String),
    /// An account or key was not made.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
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
    pub roles: Vec<Role>,
    /// Where workspace roles are given.
    pub workspace: Option<Reference>,
    /// After how many days the key expires; without this, never.
    pub expires_in_days: Option<u16>,
}

/// A wish for a workspace.
#[derive(Clone, Debug)]
pub struct NewWorkspace {
    /// Slug of the organization.
    pub organization: String,
    /// Its own slug.
    pub slug: Slug,
    /// Its name; without one, its slug.
    pub name: Option<Name>,
    /// Where it is reached.
    pub url: Option<WorkspaceUrl>,
    /// The `aud` of its tokens; without one, its URL, and without that a URN.
    pub audience: Option<Audience>,
    /// What its tokens are signed with.
    pub signing_algorithm: SigningAlgorithm,
    /// How long its tokens live: 1 minute to 1 hour.
    pub token_lifetime: Duration,
}

/// Works on the database directly.
#[derive(Debug)]
pub struct Administration {
    pub(super) store: Store,
    pub(super) sources: Sources,
    pub(super) passwords: Passwords,
    pub(super) lifecycle: Lifecycle,
}

impl Administration {
    /// With everything that it works on.
    #[must_use]
    pub fn new(store: Store, sources: Sources, passwords: Passwords, lifecycle: Lifecycle) -> Self {
        Self { store, sources, passwords, lifecycle }
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
        if workspace.is_some() && !wanted.roles.iter().any(|role| role.level() == Level::Workspace) {
            return Err(AdministrationError::UselessWorkspace);
        }
        let mut assignments = Vec::new();
        for role in wanted.roles {
            let assignment = place(role, workspace.as_ref())?;
            if !assignments.contains(&assignment) {
                assignments.push(assignment);
            }
        }
        let name = wanted.key_name.unwrap_or_else(|| Name::from_stored(format!("issued {}", self.sources.now())));

        let account = self.find_or_make_account(organization.id, wanted.service_account).await?;
        let holder = Holder::ServiceAccount(account.id);
        let held = self.store.list_assignments(holder).await?;
        let mut tx = self.store.begin().await?;
        let locked = tx.lock_service_account(organization.id, account.id).await?;
        let account = locked.ok_or_else(|| LifecycleError::NoSuchAccount(Reference::Id(account.id.0)))?;
        if !account.active {
            return Err(LifecycleError::AccountInactive(account.name).into());
        }
        for assignment in assignments.into_iter().filter(|assignment| !held.contains(assignment)) {
            self.assign(&mut tx, organization.id, holder, Target::from(&account), assignment, workspace.as_ref(), Actor::operator()).await?;
        }
        let raw = self.lifecycle.generate_key();
        let (key, value) = (NewKey { name, expires_in_days: wanted.expires_in_days.map(Some) }, NewKeyValue::from(&raw));
        let policy = organization.key_policy;
        self.lifecycle.insert_key(&mut tx, &account, key, value, policy, Action::ApiKeyCreate, Actor::operator(), Origin::default()).await?;
        tx.commit().await?;
        Ok(raw)
    }

    /// Of several who do so at once, one makes the account and the others find it.
    async fn find_or_make_account(&self, organization: OrganizationId, name: Name) -> Result<ServiceAccount, AdministrationError> {
        let reference = Reference::Name(name.to_string());
        if let Some(account) = self.store.find_service_account(organization, &reference).await? {
            return Ok(account);
        }
        let wanted = NewAccount { name, description: "made by hourpass admin issue-key".to_owned() };
        let mut tx = self.store.begin().await?;
        match self.lifecycle.insert_account(&mut tx, organization, wanted, Actor::operator(), Origin::default()).await {
            Ok(account) => {
                tx.commit().await?;
                Ok(account)
            }
            Err(LifecycleError::NameTaken(_)) => {
                drop(tx);
                let found = self.store.find_service_account(organization, &reference).await?;
                Ok(found.ok_or(LifecycleError::NoSuchAccount(reference))?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an organization, which has nothing in it yet.
    ///
    /// # Errors
    /// Where the slug is taken.
    pub async fn create_organization(&self, slug: Slug, name: Option<Name>) -> Result<Organization, AdministrationError> {
        let name = name.unwrap_or_else(|| Name::from_stored(slug.to_string()));
        let organization = self.new_organization(slug, name);
        let mut tx = self.store.begin().await?;
        if !tx.insert_organization(&organization).await? {
            return Err(AdministrationError::Taken(format!("the slug {}", organization.slug)));
        }
        self.record_organization(&mut tx, &organization, Actor::operator()).await?;
        tx.commit().await?;
        Ok(organization)
    }

    /// Makes a workspace.
    ///
    /// # Errors
    /// Where there is no such organization, or the slug, host or audience is taken.
    pub async fn create_workspace(&self, wanted: NewWorkspace) -> Result<Workspace, AdministrationError> {
        let organization = self.organization(&wanted.organization).await?;
        let mut tx = self.store.begin().await?;
        let workspace = self.insert_workspace(&mut tx, &organization, wanted, Actor::operator()).await?;
        tx.commit().await?;
        Ok(workspace)
    }

    /// Makes a person known, who signs in with `password`.
    ///
    /// # Errors
    /// Where there is no such organization, or the address is taken.
    pub async fn create_user(&self, organization: &str, email: Email, roles: &[Role], password: &SecretString) -> Result<User, AdministrationError> {
        let organization = self.organization(organization).await?;
        let assignments = roles.iter().map(|role| place(*role, None)).collect::<Result<Vec<_>, _>>()?;
        let hash = self.passwords.hash(password).await?;
        let mut tx = self.store.begin().await?;
        let user = self.insert_user(&mut tx, organization.id, email, &hash, Actor::operator()).await?;
        for assignment in assignments {
            self.assign(&mut tx, organization.id, Holder::User(user.id), Target::from(&user), assignment, None, Actor::operator()).await?;
        }
        tx.commit().await?;
        Ok(user)
    }

    /// Replaces a person's password, and ends their sign-ins and the tokens that those yielded.
    ///
    /// # Errors
    /// Where there is no such person.
    pub async fn reset_password(&self, email: &Email, password: &SecretString) -> Result<(), AdministrationError> {
        let found = self.store.find_password(email).await?.ok_or_else(|| AdministrationError::NoSuchUser(email.clone()))?;
        let user = found.holder.user;
        let hash = self.passwords.hash(password).await?;
        let now = self.sources.now();
        let mut tx = self.store.begin().await?;
        tx.reset_password(user.id, &hash).await?;
        let (organization, target) = (Some(user.organization_id), Target::from(&user));
        let details = json!({ "password": "replaced", "sessions": "ended" });
        tx.insert_event(&self.lifecycle.event(now, organization, Actor::operator(), Action::UserResetPassword, target, Origin::default(), details))
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

    pub(super) fn new_organization(&self, slug: Slug, name: Name) -> Organization {
        let now = self.sources.now();
        Organization { id: OrganizationId::generate(now, self.sources.random()), slug, name, key_policy: KeyPolicy::default(), created_at: now }
    }

    pub(super) async fn record_organization(&self, tx: &mut Tx, made: &Organization, actor: Actor) -> Result<(), StoreError> {
        let (details, target) = (json!({ "slug": made.slug, "name": made.name }), Target::from(made));
        let event = self.lifecycle.event(made.created_at, Some(made.id), actor, Action::OrganizationCreate, target, Origin::default(), details);
        tx.insert_event(&event).await
    }

    pub(super) async fn insert_workspace(
        &self,
        tx: &mut Tx,
        organization: &Organization,
        wanted: NewWorkspace,
        actor: Actor,
    ) -> Result<Workspace, AdministrationError> {
        let now = self.sources.now();
        let audience = wanted.audience.unwrap_or_else(|| {
            Audience::from_stored(match &wanted.url {
                Some(url) => url.to_string(),
                None => format!("urn:hourpass:{}:{}", organization.slug, wanted.slug),
            })
        });
        let workspace = Workspace {
            id: WorkspaceId::generate(now, self.sources.random()),
            organization_id: organization.id,
            name: wanted.name.unwrap_or_else(|| Name::from_stored(wanted.slug.to_string())),
            slug: wanted.slug,
            url: wanted.url,
            audience,
            token_lifetime_seconds: i64::try_from(wanted.token_lifetime.as_secs()).unwrap_or(i64::MAX),
            signing_algorithm: wanted.signing_algorithm,
            created_at: now,
        };
        tx.insert_workspace(&workspace).await.map_err(|error| match error {
            StoreError::Conflict(what) if what.contains("audience") => AdministrationError::Taken(format!("the audience {}", workspace.audience)),
            StoreError::Conflict(what) if what.contains("host") => AdministrationError::Taken("the host of the URL".to_owned()),
            StoreError::Conflict(_) => AdministrationError::Taken(format!("the slug {}", workspace.slug)),
            other => other.into(),
        })?;
        let details = json!({
            "slug": workspace.slug, "name": workspace.name, "url": workspace.url, "audience": workspace.audience,
            "token_lifetime_seconds": workspace.token_lifetime_seconds, "signing_algorithm": workspace.signing_algorithm,
        });
        let target = Target::from(&workspace);
        tx.insert_event(&self.lifecycle.event(now, Some(organization.id), actor, Action::WorkspaceCreate, target, Origin::default(), details))
            .await?;
        Ok(workspace)
    }

    pub(super) async fn insert_user(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        email: Email,
        hash: &SecretString,
        actor: Actor,
    ) -> Result<User, AdministrationError> {
        let now = self.sources.now();
        let user = User { id: UserId::generate(now, self.sources.random()), organization_id, email, active: true, created_at: now };
        tx.insert_user(&user, hash).await.map_err(|error| match error {
            StoreError::Conflict(_) => AdministrationError::Taken(format!("the email address {}", user.email)),
            other => other.into(),
        })?;
        let details = json!({ "email": user.email });
        let target = Target::from(&user);
        tx.insert_event(&self.lifecycle.event(now, Some(organization_id), actor, Action::UserCreate, target, Origin::default(), details)).await?;
        Ok(user)
    }

    #[expect(clippy::too_many_arguments, reason = "who gives what to whom where are all independent")]
    pub(super) async fn assign(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        holder: Holder,
        target: Target,
        assignment: Assignment,
        workspace: Option<&Workspace>,
        actor: Actor,
    ) -> Result<(), StoreError> {
        let now = self.sources.now();
        let id = RoleAssignmentId::generate(now, self.sources.random());
        tx.insert_assignment(id, organization, holder, assignment, now).await?;
        let details = json!({ "role": assignment.role.name(), "workspace": workspace.filter(|_| assignment.workspace.is_some()).map(|it| &it.slug) });
        tx.insert_event(&self.lifecycle.event(now, Some(organization), actor, Action::RoleAssign, target, Origin::default(), details)).await
    }
}

/// The role at the place that its level asks for.
fn place(role: Role, workspace: Option<&Workspace>) -> Result<Assignment, AdministrationError> {
    match (role.level(), workspace) {
        (Level::Organization, _) => Ok(Assignment { role, workspace: None }),
        (Level::Workspace, Some(workspace)) => Ok(Assignment { role, workspace: Some(workspace.id) }),
        (Level::Workspace, None) => Err(AdministrationError::WrongLevel(role, "in a workspace; name the workspace with --workspace")),
    }
}
