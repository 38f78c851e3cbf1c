//! `/api/v1/workspaces/{workspace}/projects`.

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::created;
use super::fields::Fields;
use super::page::{Asked, Items};
use crate::domain::entity::Project;
use crate::domain::id::{OrganizationId, ProjectId, Reference, WorkspaceId};
use crate::domain::name::{Name, Slug, parse_description};
use crate::domain::time::Timestamp;
use crate::service::{NewProject, ProjectChange};

/// A project to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewProject, example = json!({"slug": "etl", "name": "Nightly loads"}))]
pub(crate) struct CreateBody {
    /// Its name in URLs and tokens; it stays as it is.
    #[schema(value_type = Slug)]
    slug: String,
    /// What people call it; the slug where it is left out.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// For people: at most 1,000 characters.
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
}

/// What to change of a project.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProjectChange, example = json!({"name": "Nightly loads"}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// For people: at most 1,000 characters.
    #[schema(max_length = 1000)]
    description: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProjectsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A project.
#[derive(Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectBody {
    id: ProjectId,
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    slug: Slug,
    name: Name,
    /// For people.
    #[schema(example = "Nightly loads")]
    description: String,
    /// When it was made.
    created_at: Timestamp,
}

impl From<Project> for ProjectBody {
    fn from(project: Project) -> Self {
        let Project { id, organization_id, workspace_id, slug, name, description, created_at } = project;
        Self { id, organization_id, workspace_id, slug, name, description, created_at }
    }
}

fn references(path: &(String, String)) -> (Reference, Reference) {
    (Reference::from(path.0.as_str()), Reference::from(path.1.as_str()))
}

pub(crate) async fn create(mut call: Call, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let slug = fields.check("slug", Slug::parse(&sent.slug));
    let name = fields.optional("name", sent.name.as_deref(), Name::parse);
    let description = fields.check("description", parse_description(&sent.description));
    let wanted = fields.finish_with(slug.zip(description).map(|(slug, description)| NewProject { slug, name, description }))?;
    let made = call.state.management.create_project(&call.caller, &Reference::from(workspace.as_str()), wanted, call.origin.clone()).await;
    let render = |project: Project| {
        let location = format!("/api/v1/workspaces/{}/projects/{}", project.workspace_id, project.id);
        created(&ProjectBody::from(project), &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn list(call: Call, workspace: Path<String>) -> Result<Json<Items<ProjectBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let found = call.state.management.list_projects(&call.caller, &Reference::from(workspace.as_str()), asked.page()).await?;
    Ok(Json(asked.answer(found, |project| project.id.0, ProjectBody::from)))
}

pub(crate) async fn get(call: Call, path: Path<(String, String)>) -> Result<Json<ProjectBody>, ApiError> {
    let (workspace, project) = references(&path);
    Ok(Json(call.state.management.find_project(&call.caller, &workspace, &project).await?.into()))
}

pub(crate) async fn change(mut call: Call, path: Path<(String, String)>) -> Result<Json<ProjectBody>, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = ProjectChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        description: fields.optional("description", sent.description.as_deref(), parse_description),
    };
    fields.finish()?;
    let (workspace, project) = references(&path);
    Ok(Json(call.state.management.update_project(&call.caller, &workspace, &project, change, call.origin).await?.into()))
}

pub(crate) async fn delete(call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (workspace, project) = references(&path);
    call.state.management.delete_project(&call.caller, &workspace, &project, call.origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
