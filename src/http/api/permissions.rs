//! `/api/v1/permissions`: the catalogue, and Hourpass's own.

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::created;
use super::fields::Fields;
use super::page::{Asked, Items};
use crate::domain::access::Level;
use crate::domain::id::{OrganizationId, PermissionId, Reference};
use crate::domain::name::parse_description;
use crate::domain::permission::{CatalogueEntry, HOURPASS, Permission};
use crate::domain::time::Timestamp;
use crate::service::NewPermission;

/// A permission for the organization's catalogue.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPermission)]
pub(crate) struct CreateBody {
    /// `resource.action`, in a-z, 0-9 and _.
    #[schema(value_type = Permission)]
    name: String,
    /// For people: at most 1,000 characters.
    #[serde(default)]
    #[schema(max_length = 1000, example = "Deploy pipelines.")]
    description: String,
}

/// What to change of a permission.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PermissionChange)]
pub(crate) struct ChangeBody {
    /// For people: at most 1,000 characters.
    #[schema(max_length = 1000, example = "Deploy pipelines.")]
    description: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PermissionsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// With true, Hourpass's own instead of the catalogue.
    #[schema(value_type = Option<bool>)]
    built_in: Option<String>,
}

/// A permission of the catalogue, or one of Hourpass's own, which have neither id nor organization.
#[derive(Serialize, ToSchema)]
#[schema(as = CatalogueEntry)]
pub(crate) struct PermissionBody {
    /// Its id.
    id: Option<PermissionId>,
    /// Whose it is.
    organization_id: Option<OrganizationId>,
    name: Permission,
    /// For people.
    #[schema(example = "Deploy pipelines.")]
    description: String,
    /// Whether it is one of Hourpass's own.
    #[schema(example = false)]
    built_in: bool,
    /// The narrowest place at which it can be given.
    narrowest_level: Level,
    /// When it was made.
    created_at: Option<Timestamp>,
}

impl From<CatalogueEntry> for PermissionBody {
    fn from(entry: CatalogueEntry) -> Self {
        let CatalogueEntry { id, organization_id, name, description, created_at } = entry;
        Self {
            id: Some(id),
            organization_id: Some(organization_id),
            name,
            description,
            built_in: false,
            narrowest_level: Level::Project,
            created_at: Some(created_at),
        }
    }
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let name = fields.check("name", Permission::parse(&sent.name));
    let description = fields.check("description", parse_description(&sent.description));
    let wanted = fields.finish_with(name.zip(description).map(|(name, description)| NewPermission { name, description }))?;
    let made = call.state.management.create_permission(&call.caller, wanted, call.origin.clone()).await;
    let render = |entry: CatalogueEntry| {
        let location = format!("/api/v1/permissions/{}", entry.id);
        created(&PermissionBody::from(entry), &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<PermissionBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut fields = Fields::default();
    let built_in = fields.boolean("built_in", query.built_in.as_deref());
    fields.finish()?;
    // Asked in any case: it decides whether the caller may.
    let found = call.state.management.list_permissions(&call.caller, asked.page()).await?;
    if built_in == Some(true) {
        let own = HOURPASS.iter().map(|it| PermissionBody {
            id: None,
            organization_id: None,
            name: it.permission.clone(),
            description: it.description.to_owned(),
            built_in: true,
            narrowest_level: it.narrowest,
            created_at: None,
        });
        return Ok(Json(Items::all(own)));
    }
    Ok(Json(asked.answer(found, |entry| entry.id.0, PermissionBody::from)))
}

pub(crate) async fn get(call: Call, permission: Path<String>) -> Result<Json<PermissionBody>, ApiError> {
    Ok(Json(call.state.management.find_permission(&call.caller, &Reference::from(permission.as_str())).await?.into()))
}

pub(crate) async fn change(mut call: Call, permission: Path<String>) -> Result<Json<PermissionBody>, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let description = fields.optional("description", sent.description.as_deref(), parse_description);
    fields.finish()?;
    let permission = Reference::from(permission.as_str());
    Ok(Json(call.state.management.update_permission(&call.caller, &permission, description, call.origin).await?.into()))
}

pub(crate) async fn delete(call: Call, permission: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_permission(&call.caller, &Reference::from(permission.as_str()), call.origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
