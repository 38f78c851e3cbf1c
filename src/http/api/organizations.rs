//! `/api/v1/organizations`: the caller's own, and, for who manages the platform, all.

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::created;
use super::fields::{Fields, nullable};
use super::page::{Asked, Items};
use super::users::InvitationBody;
use crate::domain::entity::Organization;
use crate::domain::id::{OrganizationId, Reference};
use crate::domain::name::{Email, Name, Slug};
use crate::domain::time::Timestamp;
use crate::service::{Invitation, NewOrganization, OrganizationChange};

/// An organization to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrganization, example = json!({"slug": "acme", "name": "Acme", "admin_email": "ada@example.com"}))]
pub(crate) struct CreateBody {
    /// Its name in URLs; it stays as it is.
    #[schema(value_type = Slug)]
    slug: String,
    /// What people call it; the slug where it is left out.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// Whom to invite as its first administrator.
    #[schema(value_type = Option<Email>)]
    admin_email: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrganizationsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What to change of an organization.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrganizationChange, example = json!({"api_key_max_days": 90, "api_key_default_days": 30}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// No value of a key may live longer; null for no bound.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 3650, example = 90)]
    api_key_max_days: Option<Option<i64>>,
    /// How long a key lives where nothing is said; null for ever.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 3650, example = 30)]
    api_key_default_days: Option<Option<i64>>,
}

/// An organization.
#[derive(Serialize, ToSchema)]
#[schema(as = Organization)]
pub(crate) struct OrganizationBody {
    id: OrganizationId,
    slug: Slug,
    name: Name,
    /// No value of a key may live longer; null where there is no bound.
    #[schema(example = 90)]
    api_key_max_days: Option<u16>,
    /// How long a key lives where nothing is said; null for ever.
    #[schema(example = 30)]
    api_key_default_days: Option<u16>,
    /// When it was made.
    created_at: Timestamp,
}

impl From<Organization> for OrganizationBody {
    fn from(organization: Organization) -> Self {
        let Organization { id, slug, name, key_policy, created_at } = organization;
        Self { id, slug, name, api_key_max_days: key_policy.max_days, api_key_default_days: key_policy.default_days, created_at }
    }
}

/// A new organization, with the invitation of its first administrator where one was named: this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedOrganization)]
pub(crate) struct CreatedBody {
    #[serde(flatten)]
    organization: OrganizationBody,
    #[serde(flatten)]
    invitation: InvitationBody,
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let slug = fields.check("slug", Slug::parse(&sent.slug));
    let name = fields.optional("name", sent.name.as_deref(), Name::parse);
    let admin_email = fields.optional("admin_email", sent.admin_email.as_deref(), Email::parse);
    let wanted = fields.finish_with(slug.map(|slug| NewOrganization { slug, name, admin_email }))?;
    let made = call.state.management.create_organization(&call.caller, wanted, call.origin.clone()).await;
    let render = |(organization, invitation): (Organization, Option<Invitation>)| {
        let location = format!("/api/v1/organizations/{}", organization.id);
        created(&CreatedBody { organization: organization.into(), invitation: invitation.into() }, &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<OrganizationBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let found = call.state.management.list_organizations(&call.caller, asked.page()).await?;
    Ok(Json(asked.answer(found, |organization| organization.id.0, OrganizationBody::from)))
}

pub(crate) async fn delete(call: Call, organization: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_organization(&call.caller, &Reference::from(organization.as_str()), call.origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn get(call: Call, organization: Path<String>) -> Result<Json<OrganizationBody>, ApiError> {
    Ok(Json(call.state.management.find_organization(&call.caller, &Reference::from(organization.as_str())).await?.into()))
}

pub(crate) async fn change(mut call: Call, organization: Path<String>) -> Result<Json<OrganizationBody>, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = OrganizationChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        api_key_max_days: fields.days("api_key_max_days", sent.api_key_max_days),
        api_key_default_days: fields.days("api_key_default_days", sent.api_key_default_days),
    };
    fields.finish()?;
    let organization = Reference::from(organization.as_str());
    Ok(Json(call.state.management.update_organization(&call.caller, &organization, change, call.origin.clone()).await?.into()))
}
