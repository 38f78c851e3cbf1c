//! Projects.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine};
use crate::domain::entity::Project;
use crate::domain::id::{OrganizationId, ProjectId, WorkspaceId};
use crate::domain::name::{Name, Slug};
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO projects (id, organization_id, workspace_id, slug, name, description, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    UPDATE = "UPDATE projects SET name = $2, description = $3 WHERE id = $1";
    DELETE = "DELETE FROM projects WHERE id = $1";
    FIND_BY_ID = "SELECT id, organization_id, workspace_id, slug, name, description, created_at FROM projects WHERE workspace_id = $1 AND id = $2";
    FIND_BY_SLUG = "SELECT id, organization_id, workspace_id, slug, name, description, created_at FROM projects WHERE workspace_id = $1 AND slug = $2";
    LIST = "SELECT id, organization_id, workspace_id, slug, name, description, created_at FROM projects WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    COUNT = "SELECT count(*) FROM projects WHERE workspace_id = $1";
}

#[derive(FromRow)]
struct ProjectRow {
    id: Uuid,
    organization_id: Uuid,
    workspace_id: Uuid,
    slug: String,
    name: String,
    description: String,
    created_at: i64,
}

impl From<ProjectRow> for Project {
    fn from(row: ProjectRow) -> Self {
        Self {
            id: ProjectId(row.id),
            organization_id: OrganizationId(row.organization_id),
            workspace_id: WorkspaceId(row.workspace_id),
            slug: Slug::from_stored(row.slug),
            name: Name::from_stored(row.name),
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

reads! {
    /// Finds a project of a workspace by its id.
    fn find_project_by_id(workspace: WorkspaceId, id: Uuid) -> Option<Project> = |connection| {
        Ok(sqlx::query_as::<_, ProjectRow>(FIND_BY_ID).bind(workspace.0).bind(id).fetch_optional(connection).await?.map(Project::from))
    };
    /// Finds a project of a workspace by its slug.
    fn find_project_by_slug(workspace: WorkspaceId, slug: &str) -> Option<Project> = |connection| {
        Ok(sqlx::query_as::<_, ProjectRow>(FIND_BY_SLUG).bind(workspace.0).bind(slug).fetch_optional(connection).await?.map(Project::from))
    };
    /// Lists the projects of a workspace in the order of their ids: at most `limit` of those after `after`.
    fn list_projects(workspace: WorkspaceId, after: Uuid, limit: i64) -> Vec<Project> = |connection| {
        let rows = sqlx::query_as::<_, ProjectRow>(LIST).bind(workspace.0).bind(after).bind(limit).fetch_all(connection).await?;
        Ok(rows.into_iter().map(Project::from).collect())
    };
    /// How many projects a workspace has.
    fn count_projects(workspace: WorkspaceId) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT).bind(workspace.0).fetch_one(connection).await?)
    };
}

writes! {
    /// Makes a project.
    fn insert_project(project: &Project) = INSERT(
        project.id.0, project.organization_id.0, project.workspace_id.0, project.slug.as_str(), project.name.as_str(), &project.description,
        project.created_at.as_micros()
    );
    /// Replaces name and description of a project.
    fn update_project(project: &Project) = UPDATE(project.id.0, project.name.as_str(), &project.description);
    /// Deletes a project, in which nothing may be given.
    fn delete_project(organization: OrganizationId, id: ProjectId) [changes organization.0] = DELETE(id.0);
}
