//! Projects of workspaces.

use serde_json::json;

use super::{Changes, Management, ManagementError, Page, no, require, taken};
use crate::domain::access::Place;
use crate::domain::audit::{Action, Origin, Target};
use crate::domain::entity::{Project, Workspace};
use crate::domain::id::{ProjectId, Reference};
use crate::domain::name::{Name, Slug};
use crate::domain::permission::Permission;
use crate::service::Caller;
use crate::service::idempotency::Uncommitted;

/// What a new project is to be.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its short name.
    pub slug: Slug,
    /// Its name; without one, its slug.
    pub name: Option<Name>,
    /// What it is for.
    pub description: String,
}

/// What is to change of a project; nothing where it is to stay.
#[derive(Clone, Debug, Default)]
pub struct ProjectChange {
    /// Its name.
    pub name: Option<Name>,
    /// What it is for.
    pub description: Option<String>,
}

impl Management {
    /// Makes a project in a workspace.
    ///
    /// # Errors
    /// Where the caller may not, there is no such workspace, or the slug is taken.
    pub async fn create_project(
        &self,
        caller: &Caller,
        workspace: &Reference,
        wanted: NewProject,
        origin: Origin,
    ) -> Result<Uncommitted<Project>, ManagementError> {
        let workspace = self.workspace_of(caller, workspace).await?;
        let place = Place::Workspace(workspace.id);
        let (mut tx, caller) = self.begin_access(caller, &Permission::PROJECTS_MANAGE, place, &[]).await?;
        let found = tx.find_workspace_by_id(caller.organization().id, workspace.id.0).await?;
        let workspace = found.ok_or_else(|| no("workspace", &Reference::Id(workspace.id.0)))?;
        let claim = self.claim(&mut tx, &caller).await?;
        let now = self.sources.now();
        let project = Project {
            id: ProjectId::generate(now, self.sources.random()),
            organization_id: workspace.organization_id,
            workspace_id: workspace.id,
            name: wanted.name.unwrap_or_else(|| Name::from_stored(wanted.slug.to_string())),
            slug: wanted.slug,
            description: wanted.description,
            created_at: now,
        };
        tx.insert_project(&project).await.map_err(|error| taken(error, &format!("the slug {}", project.slug)))?;
        let details = json!({ "slug": project.slug, "name": project.name, "description": project.description, "workspace": workspace.slug });
        self.finish_making(tx, claim, &caller, Action::ProjectCreate, Target::from(&project), origin, details, project).await
    }

    /// Lists the projects of a workspace.
    ///
    /// # Errors
    /// Where the caller may not, or there is no such workspace.
    pub async fn list_projects(&self, caller: &Caller, workspace: &Reference, page: Page) -> Result<Vec<Project>, ManagementError> {
        let workspace = self.find_workspace(caller, workspace).await?;
        Ok(self.store.list_projects(workspace.id, page.after, page.limit.into()).await?)
    }

    /// Finds a project of a workspace.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn find_project(&self, caller: &Caller, workspace: &Reference, project: &Reference) -> Result<Project, ManagementError> {
        let workspace = self.workspace_of(caller, workspace).await?;
        let project = self.find_project_of(&workspace, project).await?;
        require(caller, &Permission::WORKSPACES_READ, Place::Project(workspace.id, project.id))?;
        Ok(project)
    }

    /// Changes a project.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn update_project(
        &self,
        caller: &Caller,
        workspace: &Reference,
        project: &Reference,
        change: ProjectChange,
        origin: Origin,
    ) -> Result<Project, ManagementError> {
        let workspace = self.workspace_of(caller, workspace).await?;
        let id = self.find_project_of(&workspace, project).await?.id;
        let (mut tx, caller) = self.begin_access(caller, &Permission::PROJECTS_MANAGE, Place::Project(workspace.id, id), &[]).await?;
        let mut project = tx.find_project_by_id(workspace.id, id.0).await?.ok_or_else(|| no("project", project))?;
        let mut changes = Changes::default();
        changes.set("name", &mut project.name, change.name);
        changes.set("description", &mut project.description, change.description);
        if changes.is_empty() {
            return Ok(project);
        }
        tx.update_project(&project).await?;
        self.finish(tx, &caller, Action::ProjectUpdate, Target::from(&project), origin, changes.into_details()).await?;
        Ok(project)
    }

    /// Deletes a project in which nothing is given.
    ///
    /// # Errors
    /// Where the caller may not, there is none, or something is given in it.
    pub async fn delete_project(&self, caller: &Caller, workspace: &Reference, project: &Reference, origin: Origin) -> Result<(), ManagementError> {
        let workspace = self.workspace_of(caller, workspace).await?;
        let id = self.find_project_of(&workspace, project).await?.id;
        let (mut tx, caller) = self.begin_access(caller, &Permission::PROJECTS_MANAGE, Place::Workspace(workspace.id), &[]).await?;
        let project = tx.find_project_by_id(workspace.id, id.0).await?.ok_or_else(|| no("project", project))?;
        let given = tx.count_assignments_in(workspace.id, Some(id)).await?;
        if given > 0 {
            let list = format!("GET /api/v1/role_assignments?workspace={}&project={}", workspace.slug, project.slug);
            return Err(ManagementError::InUse(format!(
                "{given} roles or permissions are given in project {}; take them back first ({list})",
                project.slug
            )));
        }
        tx.delete_project(workspace.organization_id, id).await?;
        let details = json!({ "slug": project.slug, "workspace": workspace.slug });
        self.finish(tx, &caller, Action::ProjectDelete, Target::from(&project), origin, details).await
    }

    pub(super) async fn find_project_of(&self, workspace: &Workspace, reference: &Reference) -> Result<Project, ManagementError> {
        let found = match reference {
            Reference::Id(id) => self.store.find_project_by_id(workspace.id, *id).await?,
            Reference::Name(slug) => self.store.find_project_by_slug(workspace.id, slug).await?,
        };
        found.ok_or_else(|| no("project", reference))
    }
}
