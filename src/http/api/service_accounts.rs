//! `/api/v1/service_accounts`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Payload, Query};
use actix_web::{HttpRequest, Responder};
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::body;
use super::super::credential::{Authenticated, origin};
use super::super::error::{ApiError, FieldError};
use super::page::{Asked, Items};
use crate::domain::entity::ServiceAccount;
use crate::domain::id::{OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::{Name, parse_description};
use crate::domain::time::Timestamp;
use crate::service::AccountChange;
use crate::store::AccountFilter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    name: String,
    #[serde(default)]
    description: String,
}

/// Unknown parameters are refused, so that a mistyped filter does not list everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    name: Option<String>,
    active: Option<bool>,
}

/// A service account.
#[derive(Serialize)]
pub(crate) struct ServiceAccountBody {
    id: ServiceAccountId,
    organization_id: OrganizationId,
    name: Name,
    description: String,
    active: bool,
    created_at: Timestamp,
}

impl From<ServiceAccount> for ServiceAccountBody {
    fn from(account: ServiceAccount) -> Self {
        let ServiceAccount { id, organization_id, name, description, active, created_at } = account;
        Self { id, organization_id, name, description, active, created_at }
    }
}

pub(crate) async fn create(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    request: HttpRequest,
    payload: Payload,
) -> Result<impl Responder, ApiError> {
    let sent: CreateBody = body::json(&request, payload, state.limits).await?;
    let mut errors = Vec::new();
    let name = Name::parse(&sent.name).map_err(|why| errors.push(FieldError { field: "name", detail: why.to_string() }));
    let description = parse_description(&sent.description).map_err(|why| errors.push(FieldError { field: "description", detail: why.to_string() }));
    let (Ok(name), Ok(description)) = (name, description) else { return Err(ApiError::invalid_fields(errors)) };
    let account = state.lifecycle.create_account(&caller, AccountChange { name, description }, origin(&request)).await?;
    Ok((Json(ServiceAccountBody::from(account)), StatusCode::CREATED))
}

pub(crate) async fn list(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    query: Result<Query<ListQuery>, actix_web::Error>,
) -> Result<Json<Items<ServiceAccountBody>>, ApiError> {
    let query = query.map_err(|error| ApiError::invalid_request(format!("the query cannot be read: {error}")))?.into_inner();
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = AccountFilter { name: query.name, active: query.active };
    let found = state.lifecycle.list_accounts(&caller, &filter, asked.page()).await?;
    Ok(Json(asked.answer(found, |account| account.id.0, ServiceAccountBody::from)))
}

pub(crate) async fn get(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    account: Path<String>,
) -> Result<Json<ServiceAccountBody>, ApiError> {
    let account = state.lifecycle.find_account(&caller, &Reference::from(account.as_str())).await?;
    Ok(Json(account.into()))
}
