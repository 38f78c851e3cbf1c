//! `/api/v1/service_accounts`.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::body;
use super::super::credential::{Authenticated, origin};
use super::super::error::ApiError;
use super::fields::{Fields, nullable};
use super::impact::ImpactBody;
use super::last_use::LastUseBody;
use super::page::{Asked, Items};
use super::{created, query};
use crate::domain::api_key::RawApiKey;
use crate::domain::entity::ServiceAccount;
use crate::domain::id::{ApiKeyId, OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::{Name, parse_description};
use crate::domain::time::Timestamp;
use crate::service::{AccountChange, NewAccount, NewKey};
use crate::store::AccountFilter;

/// The name of the key that is made together with its account.
const DEFAULT_KEY: &str = "default";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    default_key: bool,
    #[serde(default, deserialize_with = "nullable")]
    expires_in_days: Option<Option<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    name: Option<String>,
    description: Option<String>,
    active: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    name: Option<String>,
    active: Option<String>,
    never_used: Option<String>,
    unused_since: Option<String>,
    expiring_before: Option<String>,
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
    #[serde(flatten)]
    last_use: LastUseBody,
}

impl From<ServiceAccount> for ServiceAccountBody {
    fn from(account: ServiceAccount) -> Self {
        let ServiceAccount { id, organization_id, name, description, active, created_at, last_use } = account;
        Self { id, organization_id, name, description, active, created_at, last_use: last_use.into() }
    }
}

/// A new service account, with its default key where one was asked for: this once.
#[derive(Serialize)]
struct CreatedBody<'a> {
    #[serde(flatten)]
    account: ServiceAccountBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<ApiKeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

pub(crate) async fn create(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = body::json(&request, payload, state.limits).await?;
    let mut fields = Fields::default();
    let name = fields.check("name", Name::parse(&sent.name));
    let description = fields.check("description", parse_description(&sent.description));
    let expires_in_days = fields.days("expires_in_days", sent.expires_in_days);
    if sent.expires_in_days.is_some() && !sent.default_key {
        return Err(ApiError::invalid_request("expires_in_days is for the default key; send default_key: true with it"));
    }
    let wanted = fields.finish_with(name.zip(description).map(|(name, description)| NewAccount { name, description }))?;
    let default_key = sent.default_key.then(|| NewKey { name: Name::from_stored(DEFAULT_KEY.to_owned()), expires_in_days });
    let (account, key) = state.lifecycle.create_account(&caller, wanted, default_key, origin(&state, &request)).await?;
    let location = format!("/api/v1/service_accounts/{}", account.id);
    let (details, raw) = key.unzip();
    let body = CreatedBody { account: account.into(), api_key_id: details.map(|details| details.key.id), key: raw.as_ref().map(RawApiKey::expose) };
    Ok(created(&body, &location))
}

pub(crate) async fn list(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    request: HttpRequest,
) -> Result<Json<Items<ServiceAccountBody>>, ApiError> {
    let query: ListQuery = query(&request).await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut fields = Fields::default();
    let filter = AccountFilter {
        name: query.name,
        active: fields.boolean("active", query.active.as_deref()),
        never_used: fields.boolean("never_used", query.never_used.as_deref()).unwrap_or(false),
        unused_since: fields.time("unused_since", query.unused_since.as_deref()),
        expiring_before: fields.time("expiring_before", query.expiring_before.as_deref()),
    };
    fields.finish()?;
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

pub(crate) async fn change(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    account: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<ServiceAccountBody>, ApiError> {
    let sent: ChangeBody = body::json(&request, payload, state.limits).await?;
    let mut fields = Fields::default();
    let change = AccountChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        description: fields.optional("description", sent.description.as_deref(), parse_description),
        active: sent.active,
    };
    fields.finish()?;
    let account = Reference::from(account.as_str());
    let account = state.lifecycle.update_account(&caller, &account, change, origin(&state, &request)).await?;
    Ok(Json(account.into()))
}

pub(crate) async fn delete(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    account: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    state.lifecycle.delete_account(&caller, &Reference::from(account.as_str()), origin(&state, &request)).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn revoke_tokens(
    state: Data<State>,
    Authenticated(caller): Authenticated,
    account: Path<String>,
    request: HttpRequest,
) -> Result<Json<ServiceAccountBody>, ApiError> {
    let account = Reference::from(account.as_str());
    let account = state.lifecycle.revoke_account_tokens(&caller, &account, origin(&state, &request)).await?;
    Ok(Json(account.into()))
}

pub(crate) async fn impact(state: Data<State>, Authenticated(caller): Authenticated, account: Path<String>) -> Result<Json<ImpactBody>, ApiError> {
    let impact = state.lifecycle.impact(&caller, &Reference::from(account.as_str()), None).await?;
    Ok(Json(impact.into()))
}
