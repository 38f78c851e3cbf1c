//! `/api/v1/service_accounts/{account}/api_keys`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Payload, Query};
use actix_web::{HttpRequest, Responder};
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::body;
use super::super::credential::{Authenticated, origin};
use super::super::error::{ApiError, FieldError};
use super::page::{Asked, Items};
use crate::domain::entity::ApiKey;
use crate::domain::id::{ApiKeyId, Reference, ServiceAccountId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;
use crate::service::KeyRequest;

/// Ten years.
const MAX_DAYS: i64 = 3_650;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    name: String,
    expires_in_days: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// An API key, without the key.
#[derive(Serialize)]
pub(crate) struct ApiKeyBody {
    id: ApiKeyId,
    service_account_id: ServiceAccountId,
    name: Name,
    hint: String,
    active: bool,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, service_account_id, name, hint, active, expires_at, created_at } = key;
        Self { id, service_account_id, name, hint, active, expires_at, created_at }
    }
}

/// A new API key, with the key: this once.
#[derive(Serialize)]
struct NewApiKeyBody<'a> {
    #[serde(flatten)]
    api_key: ApiKeyBody,
    key: &'a str,
}

pub(crate) async fn create(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    account: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<impl Responder, ApiError> {
    let sent: CreateBody = body::json(&request, payload, state.limits).await?;
    let mut errors = Vec::new();
    let name = Name::parse(&sent.name).map_err(|why| errors.push(FieldError { field: "name", detail: why.to_string() }));
    let expires_in_days = match sent.expires_in_days {
        None => None,
        Some(days) => u16::try_from(days).ok().filter(|_| (1..=MAX_DAYS).contains(&days)).or_else(|| {
            let detail = format!("must be a number from 1 to {MAX_DAYS}; leave it out for a key that never expires");
            errors.push(FieldError { field: "expires_in_days", detail });
            None
        }),
    };
    let (Ok(name), true) = (name, errors.is_empty()) else { return Err(ApiError::invalid_fields(errors)) };
    let account = Reference::from(account.as_str());
    let (api_key, raw) = state.lifecycle.create_key(&caller, &account, KeyRequest { name, expires_in_days }, origin(&request)).await?;
    let answer = serde_json::to_value(NewApiKeyBody { api_key: api_key.into(), key: raw.expose() });
    let answer = answer.map_err(|_| ApiError::new("internal_error", "the answer cannot be written"))?;
    Ok((Json(answer), StatusCode::CREATED))
}

pub(crate) async fn list(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    account: Path<String>,
    query: Result<Query<ListQuery>, actix_web::Error>,
) -> Result<Json<Items<ApiKeyBody>>, ApiError> {
    let query = query.map_err(|error| ApiError::invalid_request(format!("the query cannot be read: {error}")))?.into_inner();
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let found = state.lifecycle.list_keys(&caller, &Reference::from(account.as_str()), asked.page()).await?;
    Ok(Json(asked.answer(found, |key| key.id.0, ApiKeyBody::from)))
}
