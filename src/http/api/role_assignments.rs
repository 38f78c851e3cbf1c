//! `/api/v1/role_assignments`: what was given to whom.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::super::openapi::holder_kind;
use super::created;
use super::fields::Fields;
use super::page::{Asked, Items};
use crate::domain::access::{Given, Level};
use crate::domain::id::{ProjectId, Reference, RoleAssignmentId, RoleId, WorkspaceId};
use crate::domain::name::Name;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::{AssignmentQuery, HolderReference, NewAssignment, NewGiven};
use crate::store::{Holder, StoredAssignment};

/// What to give, to whom, and where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRoleAssignment, example = json!({"role": "Workspace Developer", "service_account": "deployer", "workspace": "production"}))]
pub(crate) struct CreateBody {
    /// Id or name of the role that is given; or else name `permissions`.
    role: Option<String>,
    /// What is given without a role.
    #[schema(value_type = Option<Vec<Permission>>)]
    permissions: Option<Vec<String>>,
    /// Id or name of the service account that it is given to; or else a person or team.
    service_account: Option<String>,
    /// Id or email address of the person that it is given to.
    user: Option<String>,
    /// Id or name of the team that it is given to.
    team: Option<String>,
    /// Id or slug of the workspace in which it counts; the whole organization without.
    workspace: Option<String>,
    /// Id or slug of the project of the workspace in which it counts.
    project: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RoleAssignmentsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only what this service account was given.
    service_account: Option<String>,
    /// Only what this person was given.
    user: Option<String>,
    /// Only what this team was given.
    team: Option<String>,
    /// Only this role.
    role: Option<String>,
    /// Only what was given in this workspace.
    workspace: Option<String>,
    /// Only what was given in this project of the workspace.
    project: Option<String>,
}

/// Something that was given: a role, or permissions without one.
#[derive(Serialize, ToSchema)]
#[schema(as = RoleAssignment)]
pub(crate) struct AssignmentBody {
    id: RoleAssignmentId,
    /// The role; null where permissions were given without one.
    role_id: Option<RoleId>,
    /// The role's name.
    #[schema(example = "Workspace Developer")]
    role: Option<Name>,
    /// What was given without a role; null where there is one.
    #[schema(value_type = Option<Vec<Permission>>)]
    permissions: Option<BTreeSet<Permission>>,
    /// Who holds it.
    #[schema(schema_with = holder_kind)]
    principal_type: &'static str,
    /// The id of who holds it.
    principal_id: Uuid,
    /// The name or email address of who holds it.
    #[schema(example = "deployer")]
    principal: String,
    /// How far it reaches.
    level: Level,
    /// The workspace in which it counts; null in the whole organization.
    workspace_id: Option<WorkspaceId>,
    /// Its slug.
    #[schema(example = "production")]
    workspace: Option<String>,
    /// The project in which it counts; null in the whole workspace.
    project_id: Option<ProjectId>,
    /// Its slug.
    project: Option<String>,
    /// When it was given.
    created_at: Timestamp,
}

impl From<StoredAssignment> for AssignmentBody {
    fn from(stored: StoredAssignment) -> Self {
        let (principal_type, principal_id) = match stored.holder {
            Holder::ServiceAccount(id) => ("service_account", id.0),
            Holder::User(id) => ("user", id.0),
            Holder::Team(id) => ("team", id.0),
        };
        let place = stored.assignment.place;
        let (role, permissions) = match stored.assignment.given {
            Given::Role(role) => (Some(role), None),
            Given::Permissions(permissions) => (None, Some(permissions)),
        };
        let (role_id, role) = role.map(|role| (role.id, role.name)).unzip();
        Self {
            id: stored.assignment.id,
            role_id,
            role,
            permissions,
            principal_type,
            principal_id,
            principal: stored.holder_name,
            level: place.level(),
            workspace_id: place.workspace(),
            workspace: stored.workspace,
            project_id: place.project(),
            project: stored.project,
            created_at: stored.created_at,
        }
    }
}

/// The one that is named of an account, a person and a team.
pub(super) fn holder(account: Option<String>, user: Option<String>, team: Option<String>) -> Result<Option<HolderReference>, ApiError> {
    let reference = |text: String| Reference::from(text.as_str());
    match (account.map(reference), user.map(reference), team.map(reference)) {
        (Some(account), None, None) => Ok(Some(HolderReference::ServiceAccount(account))),
        (None, Some(user), None) => Ok(Some(HolderReference::User(user))),
        (None, None, Some(team)) => Ok(Some(HolderReference::Team(team))),
        (None, None, None) => Ok(None),
        _ => Err(ApiError::invalid_request("name one of service_account, user and team")),
    }
}

fn reference(text: Option<String>) -> Option<Reference> {
    text.map(|text| Reference::from(text.as_str()))
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let permissions = fields.permissions("permissions", sent.permissions.as_deref());
    fields.finish()?;
    let given = match (sent.role, permissions) {
        (Some(role), None) => NewGiven::Role(Reference::from(role.as_str())),
        (None, Some(permissions)) => NewGiven::Permissions(permissions),
        _ => return Err(ApiError::invalid_request("name what is given: either role or permissions")),
    };
    let holder = holder(sent.service_account, sent.user, sent.team)?;
    let holder = holder.ok_or_else(|| ApiError::invalid_request("name whom it is given to: one of service_account, user and team"))?;
    let wanted = NewAssignment { given, holder, workspace: reference(sent.workspace), project: reference(sent.project) };
    let made = call.state.management.assign(&call.caller, wanted, call.origin.clone()).await;
    let render = |made: StoredAssignment| {
        let location = format!("/api/v1/role_assignments/{}", made.assignment.id);
        created(&AssignmentBody::from(made), &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<AssignmentBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let wanted = AssignmentQuery {
        holder: holder(query.service_account, query.user, query.team)?,
        role: reference(query.role),
        workspace: reference(query.workspace),
        project: reference(query.project),
    };
    let found = call.state.management.list_given(&call.caller, &wanted, asked.page()).await?;
    Ok(Json(asked.answer(found, |stored| stored.assignment.id.0, AssignmentBody::from)))
}

/// An assignment has no name, so that what is no id is nowhere.
fn id(path: &str) -> Result<RoleAssignmentId, ApiError> {
    path.parse().map_err(|_| ApiError::new("not_found", "there is no role assignment of this id; it has to be an id"))
}

pub(crate) async fn get(call: Call, assignment: Path<String>) -> Result<Json<AssignmentBody>, ApiError> {
    Ok(Json(call.state.management.get_assignment(&call.caller, id(&assignment)?).await?.into()))
}

pub(crate) async fn delete(call: Call, assignment: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.unassign(&call.caller, id(&assignment)?, call.origin.clone()).await?;
    Ok(call.done().await)
}
