//! `/api/v1/roles`.

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::super::openapi::role_permissions;
use super::created;
use super::fields::Fields;
use super::page::{Asked, Items};
use crate::domain::access::Level;
use crate::domain::id::{OrganizationId, Reference, RoleId};
use crate::domain::name::{Invalid, Name, parse_description};
use crate::domain::permission::Permission;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;
use crate::service::{NewRole, RoleChange};

/// A role to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRole, example = json!({"name": "Releaser", "level": "workspace", "permissions": ["pipelines.read", "pipelines.deploy"]}))]
pub(crate) struct CreateBody {
    /// What people call it; unique in the organization.
    #[schema(value_type = Name)]
    name: String,
    /// For people: at most 1,000 characters.
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
    /// Where it is given: `organization`, `workspace` or `project`.
    level: String,
    /// What it gives.
    #[schema(value_type = Vec<Permission>)]
    permissions: Vec<String>,
}

/// What to change of a role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RoleChange, example = json!({"permissions": ["pipelines.read", "pipelines.deploy"]}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// For people: at most 1,000 characters.
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// All that it is to give.
    #[schema(value_type = Option<Vec<Permission>>)]
    permissions: Option<Vec<String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RolesQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
pub(crate) struct RoleBody {
    id: RoleId,
    /// Whose it is; null for built-in ones.
    organization_id: Option<OrganizationId>,
    name: Name,
    /// For people.
    #[schema(example = "Deploys and looks.")]
    description: String,
    /// Where it is given.
    level: Level,
    /// `*` is everything, `*.read` all that only looks; only built-in roles have these.
    #[schema(schema_with = role_permissions)]
    permissions: Vec<String>,
    /// Whether it is part of the program.
    #[schema(example = false)]
    built_in: bool,
    /// When it was made; null for built-in ones.
    created_at: Option<Timestamp>,
}

impl From<Role> for RoleBody {
    fn from(role: Role) -> Self {
        let permissions = role.grant.names().map(str::to_owned).collect();
        let Role { id, organization_id, name, description, level, created_at, .. } = role;
        Self { id, organization_id, name, description, level, permissions, built_in: organization_id.is_none(), created_at }
    }
}

/// A level at which an organization makes roles.
pub(crate) fn level(text: &str) -> Result<Level, Invalid> {
    let level = text.parse()?;
    if level == Level::Platform { Err(Invalid("must be organization, workspace or project".to_owned())) } else { Ok(level) }
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let name = fields.check("name", Name::parse(&sent.name));
    let description = fields.check("description", parse_description(&sent.description));
    let level = fields.check("level", level(&sent.level));
    let permissions = fields.permissions("permissions", Some(&sent.permissions)).unwrap_or_default();
    let wanted = name.zip(description).zip(level).map(|((name, description), level)| NewRole { name, description, level, permissions });
    let made = call.state.management.create_role(&call.caller, fields.finish_with(wanted)?, call.origin.clone()).await;
    let render = |role: Role| {
        let location = format!("/api/v1/roles/{}", role.id);
        created(&RoleBody::from(role), &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<RoleBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let found = call.state.management.list_roles(&call.caller, asked.page()).await?;
    Ok(Json(asked.answer(found, |role| role.id.0, RoleBody::from)))
}

pub(crate) async fn get(call: Call, role: Path<String>) -> Result<Json<RoleBody>, ApiError> {
    Ok(Json(call.state.management.find_role(&call.caller, &Reference::from(role.as_str())).await?.into()))
}

pub(crate) async fn change(mut call: Call, role: Path<String>) -> Result<HttpResponse, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = RoleChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        description: fields.optional("description", sent.description.as_deref(), parse_description),
        permissions: fields.permissions("permissions", sent.permissions.as_deref()),
    };
    fields.finish()?;
    let changed = call.state.management.update_role(&call.caller, &Reference::from(role.as_str()), change, call.origin.clone()).await?;
    Ok(call.confirmed(RoleBody::from(changed)).await)
}

pub(crate) async fn delete(call: Call, role: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_role(&call.caller, &Reference::from(role.as_str()), call.origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
