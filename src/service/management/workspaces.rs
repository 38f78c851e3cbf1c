//! Workspaces: what tokens are for.

use std::time::Duration;

use serde_json::json;

use super::{Changes, Management, ManagementError, Page, no, require};
use crate::domain::access::Place;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::audit::{Action, Actor, Origin, Target};
use crate::domain::document::is_own_address;
use crate::domain::entity::{Organization, Workspace};
use crate::domain::id::{Reference, WorkspaceId};
use crate::domain::name::{Audience, Invalid, Name, Slug, WorkspaceUrl};
use crate::domain::permission::Permission;
use crate::domain::signing::{PUBLISHED_BEFORE, RETIRED_AFTER, SigningAlgorithm};
use crate::service::idempotency::Uncommitted;
use crate::service::{Caller, RotatedBy, Signing};
use crate::store::{StoreError, Tx, WorkspaceFilter};

/// What a new workspace is to be.
#[derive(Clone, Debug)]
pub struct NewWorkspace {
    /// Its short name.
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
    /// What it is found by.
    pub labels: Labels,
    /// What its tokens say besides.
    pub claims: CustomClaims,
}

/// What is to change of a workspace; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceChange {
    /// Its name.
    pub name: Option<Name>,
    /// Where it is reached; nowhere, or there.
    pub url: Option<Option<WorkspaceUrl>>,
    /// The `aud` of its tokens.
    pub audience: Option<Audience>,
    /// What its tokens are signed with.
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// How long its tokens live, in seconds: 1 minute to 1 hour.
    pub token_lifetime_seconds: Option<i64>,
    /// What it is found by: all of it.
    pub labels: Option<Labels>,
    /// What its tokens say besides: all of it.
    pub claims: Option<CustomClaims>,
}

impl Management {
    /// Makes a workspace in the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not, or the slug, host or audience is taken.
    pub async fn create_workspace(
        &self,
        caller: &Caller,
        signing: &Signing,
        wanted: NewWorkspace,
        origin: Origin,
    ) -> Result<Uncommitted<Workspace>, ManagementError> {
        require(caller, &Permission::WORKSPACES_MANAGE, Place::Organization)?;
        let algorithm = wanted.signing_algorithm;
        let key = signing.prepare_to_introduce(algorithm).await?;
        let (mut tx, caller) = self.begin_access(caller, &Permission::WORKSPACES_MANAGE, Place::Organization, &[]).await?;
        let claim = self.claim(&mut tx, &caller).await?;
        signing.introduce_in(&mut tx, algorithm, key, &RotatedBy::system()).await?;
        let workspace = self.insert_workspace(&mut tx, caller.organization(), wanted, caller.actor(), origin).await?;
        Ok(Uncommitted::new(tx, claim, workspace))
    }

    /// Lists the workspaces of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn list_workspaces(&self, caller: &Caller, filter: &WorkspaceFilter, page: Page) -> Result<Vec<Workspace>, ManagementError> {
        require(caller, &Permission::WORKSPACES_READ, Place::Organization)?;
        Ok(self.store.list_workspaces(caller.organization().id, filter, page.after, page.limit.into()).await?)
    }

    /// Finds a workspace.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_workspace(&self, caller: &Caller, reference: &Reference) -> Result<Workspace, ManagementError> {
        let workspace = self.workspace_of(caller, reference).await?;
        require(caller, &Permission::WORKSPACES_READ, Place::Workspace(workspace.id))?;
        Ok(workspace)
    }

    /// Changes a workspace: for tokens that are issued from now on. Its URL and audience, only who manages all workspaces may change.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or the host or audience is taken.
    pub async fn update_workspace(
        &self,
        caller: &Caller,
        signing: &Signing,
        reference: &Reference,
        change: WorkspaceChange,
        origin: Origin,
    ) -> Result<Workspace, ManagementError> {
        let id = self.workspace_of(caller, reference).await?.id;
        require(caller, &Permission::WORKSPACES_MANAGE, Place::Workspace(id))?;
        let key = match change.signing_algorithm {
            Some(algorithm) => signing.prepare_to_introduce(algorithm).await?,
            None => None,
        };
        let keys = signing.keys().await?;
        let (mut tx, caller) = self.begin_access(caller, &Permission::WORKSPACES_MANAGE, Place::Workspace(id), &[]).await?;
        let found = tx.find_workspace_by_id(caller.organization().id, id.0).await?;
        let mut workspace = found.ok_or_else(|| no("workspace", reference))?;
        let (before, before_that) = (workspace.signing_algorithm, workspace.previous_signing_algorithm);
        let mut changes = Changes::default();
        changes.set("name", &mut workspace.name, change.name);
        changes.set("url", &mut workspace.url, change.url);
        changes.set("audience", &mut workspace.audience, change.audience);
        changes.set("signing_algorithm", &mut workspace.signing_algorithm, change.signing_algorithm);
        changes.set("token_lifetime_seconds", &mut workspace.token_lifetime_seconds, change.token_lifetime_seconds);
        changes.set("labels", &mut workspace.labels, change.labels);
        changes.set("claims", &mut workspace.claims, change.claims);
        if changes.is_empty() {
            return Ok(workspace);
        }
        // Whom tokens are for concerns the other workspaces, too.
        if changes.has("audience") || changes.has("url") {
            require(&caller, &Permission::WORKSPACES_MANAGE, Place::Organization)?;
            self.check_receiver(caller.organization(), &workspace)?;
        }
        if changes.has("signing_algorithm") {
            let now = self.sources.now();
            // Until validators know the first key of the new algorithm, tokens are signed as before.
            let signed_before = if keys.current(before, now).is_some() { Some(before) } else { before_that };
            workspace.previous_signing_algorithm = signed_before;
            let until = now.plus(PUBLISHED_BEFORE).plus(RETIRED_AFTER);
            for algorithm in [Some(before), signed_before].into_iter().flatten() {
                tx.publish_signing_keys_until(algorithm, until).await?;
            }
            signing.introduce_in(&mut tx, workspace.signing_algorithm, key, &RotatedBy::system()).await?;
        }
        tx.update_workspace(&workspace).await.map_err(|error| workspace_taken(error, &workspace))?;
        self.finish(tx, &caller, Action::WorkspaceUpdate, Target::from(&workspace), origin, changes.into_details()).await?;
        Ok(workspace)
    }

    /// Deletes a workspace without projects and in which nothing is given.
    ///
    /// # Errors
    /// Where the caller may not, there is none, it has projects, or something is given in it.
    pub async fn delete_workspace(&self, caller: &Caller, reference: &Reference, origin: Origin) -> Result<(), ManagementError> {
        let id = self.workspace_of(caller, reference).await?.id;
        let (mut tx, caller) = self.begin_access(caller, &Permission::WORKSPACES_MANAGE, Place::Organization, &[]).await?;
        let found = tx.find_workspace_by_id(caller.organization().id, id.0).await?;
        let workspace = found.ok_or_else(|| no("workspace", reference))?;
        let (projects, given) = (tx.count_projects(id).await?, tx.count_assignments_in(id, None).await?);
        if projects + given > 0 {
            return Err(ManagementError::InUse(format!(
                "workspace {0} has {projects} projects, and {given} roles or permissions are given in it; delete them first \
                 (GET /api/v1/workspaces/{0}/projects and /api/v1/role_assignments?workspace={0})",
                workspace.slug
            )));
        }
        tx.delete_workspace(workspace.organization_id, id, self.sources.now()).await?;
        tx.publish_signing_keys_until(workspace.signing_algorithm, self.sources.now().plus(RETIRED_AFTER)).await?;
        let details = json!({ "slug": workspace.slug, "audience": workspace.audience });
        self.finish(tx, &caller, Action::WorkspaceDelete, Target::from(&workspace), origin, details).await
    }

    /// Makes a workspace on behalf of `actor`, who was checked before.
    pub(in crate::service) async fn insert_workspace(
        &self,
        tx: &mut Tx,
        organization: &Organization,
        wanted: NewWorkspace,
        actor: Actor,
        origin: Origin,
    ) -> Result<Workspace, ManagementError> {
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
            previous_signing_algorithm: None,
            labels: wanted.labels,
            claims: wanted.claims,
            created_at: now,
        };
        self.check_receiver(organization, &workspace)?;
        // It is taken together with the audience that is made of it, and each engine would name another first.
        if tx.find_workspace_by_slug(organization.id, workspace.slug.as_str()).await?.is_some() {
            return Err(ManagementError::Taken(format!("the slug {}", workspace.slug)));
        }
        tx.insert_workspace(&workspace).await.map_err(|error| workspace_taken(error, &workspace))?;
        let details = json!({
            "slug": workspace.slug, "name": workspace.name, "url": workspace.url, "audience": workspace.audience,
            "token_lifetime_seconds": workspace.token_lifetime_seconds, "signing_algorithm": workspace.signing_algorithm,
            "labels": workspace.labels, "claims": workspace.claims,
        });
        let target = Target::from(&workspace);
        tx.insert_event(&self.event(now, Some(organization.id), actor, Action::WorkspaceCreate, target, origin, details)).await?;
        Ok(workspace)
    }

    /// A token for a workspace that had our own audience would look like one for Hourpass itself, and one that had our own address would take its logins. What
    /// Hourpass signs for itself names an address below its own as audience, so that no receiver may have such an audience. The
    /// audiences that Hourpass makes up are each that of one workspace.
    fn check_receiver(&self, organization: &Organization, workspace: &Workspace) -> Result<(), ManagementError> {
        let refuse = |field: &'static str, why: String| Err(ManagementError::OutOfRange(field, Invalid(why)));
        let audience = workspace.audience.as_str().to_ascii_lowercase();
        let own = format!("urn:hourpass:{}:{}", organization.slug, workspace.slug);
        if audience.starts_with("urn:hourpass:") && workspace.audience.as_str() != own {
            return refuse("audience", format!("is that of another workspace; in urn:hourpass: this one has {own}"));
        }
        let Some(issuer) = self.rules.issuer.as_deref() else { return Ok(()) };
        if workspace.url.as_ref().is_some_and(|url| url.as_str() == issuer) {
            return refuse("url", "is where Hourpass itself is reached; leave it out, or name where the workspace is reached".to_owned());
        }
        if is_own_address(issuer, &audience) {
            return refuse("audience", "is Hourpass's own, or below its address; a workspace needs one of its own".to_owned());
        }
        Ok(())
    }

    pub(super) async fn workspace_of(&self, caller: &Caller, reference: &Reference) -> Result<Workspace, ManagementError> {
        let found = self.store.find_workspace(caller.organization().id, reference).await?;
        found.ok_or_else(|| no("workspace", reference))
    }
}

fn workspace_taken(error: StoreError, workspace: &Workspace) -> ManagementError {
    match error {
        StoreError::Conflict(what) if what.contains("audience") => ManagementError::Taken(format!("the audience {}", workspace.audience)),
        StoreError::Conflict(what) if what.contains("host") => ManagementError::Taken("the host of the URL".to_owned()),
        StoreError::Conflict(_) => ManagementError::Taken(format!("the slug {}", workspace.slug)),
        other => other.into(),
    }
}
