//! `/api/v1/organizations`: the caller's own.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path, Payload};
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::body;
use super::super::credential::{Authenticated, origin};
use super::super::error::ApiError;
use super::fields::{Fields, nullable};
use crate::domain::entity::Organization;
use crate::domain::id::{OrganizationId, Reference};
use crate::domain::name::{Name, Slug};
use crate::domain::time::Timestamp;
use crate::service::{Lifecycle, OrganizationChange};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    api_key_max_days: Option<Option<i64>>,
    #[serde(default, deserialize_with = "nullable")]
    api_key_default_days: Option<Option<i64>>,
}

/// An organization.
#[derive(Serialize)]
pub(crate) struct OrganizationBody {
    id: OrganizationId,
    slug: Slug,
    name: Name,
    api_key_max_days: Option<u16>,
    api_key_default_days: Option<u16>,
    created_at: Timestamp,
}

impl From<Organization> for OrganizationBody {
    fn from(organization: Organization) -> Self {
        let Organization { id, slug, name, key_policy, created_at } = organization;
        Self { id, slug, name, api_key_max_days: key_policy.max_days, api_key_default_days: key_policy.default_days, created_at }
    }
}

pub(crate) async fn get(Authenticated(caller): Authenticated, organization: Path<String>) -> Result<Json<OrganizationBody>, ApiError> {
    Ok(Json(Lifecycle::find_organization(&caller, &Reference::from(organization.as_str()))?.into()))
}

pub(crate) async fn change(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    organization: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<OrganizationBody>, ApiError> {
    let sent: ChangeBody = body::json(&request, payload, state.limits).await?;
    let mut fields = Fields::default();
    let change = OrganizationChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        api_key_max_days: fields.days("api_key_max_days", sent.api_key_max_days),
        api_key_default_days: fields.days("api_key_default_days", sent.api_key_default_days),
    };
    fields.finish()?;
    let organization = Reference::from(organization.as_str());
    Ok(Json(state.lifecycle.update_organization(&caller, &organization, change, origin(&state, &request)).await?.into()))
}
