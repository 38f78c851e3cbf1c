//! `/api/v1/service_accounts`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::created;
use super::fields::{Fields, nullable};
use super::impact::ImpactBody;
use super::last_use::LastUseBody;
use super::page::{Asked, Items};
use crate::domain::api_key::RawApiKey;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::ServiceAccount;
use crate::domain::id::{ApiKeyId, OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::{Name, parse_description};
use crate::domain::time::Timestamp;
use crate::service::{AccountChange, FirstAccess, NewAccount, NewGiven, NewKey};
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
    labels: Option<BTreeMap<String, String>>,
    claims: Option<BTreeMap<String, Value>>,
    /// With `permissions`: what it may do in this workspace, and nowhere else.
    workspace: Option<String>,
    permissions: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    name: Option<String>,
    description: Option<String>,
    active: Option<bool>,
    labels: Option<BTreeMap<String, String>>,
    claims: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    name: Option<String>,
    search: Option<String>,
    label: Option<String>,
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
    labels: Labels,
    claims: CustomClaims,
    created_at: Timestamp,
    #[serde(flatten)]
    last_use: LastUseBody,
}

impl From<ServiceAccount> for ServiceAccountBody {
    fn from(account: ServiceAccount) -> Self {
        let ServiceAccount { id, organization_id, name, description, active, labels, claims, created_at, last_use, .. } = account;
        Self { id, organization_id, name, description, active, labels, claims, created_at, last_use: last_use.into() }
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

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let name = fields.check("name", Name::parse(&sent.name));
    let description = fields.check("description", parse_description(&sent.description));
    let expires_in_days = fields.days("expires_in_days", sent.expires_in_days);
    if sent.expires_in_days.is_some() && !sent.default_key {
        return Err(ApiError::invalid_request("expires_in_days is for the default key; send default_key: true with it"));
    }
    let (labels, claims) = (fields.labels(sent.labels).unwrap_or_default(), fields.claims(sent.claims).unwrap_or_default());
    let permissions = fields.permissions("permissions", sent.permissions.as_deref());
    let access = match (sent.workspace, sent.permissions.is_some()) {
        (Some(workspace), true) => {
            Some(FirstAccess { given: NewGiven::Permissions(permissions.unwrap_or_default()), workspace: Some(workspace.as_str().into()) })
        }
        (None, false) => None,
        _ => return Err(ApiError::invalid_request("workspace and permissions go together: what the account may do in that workspace")),
    };
    let wanted = fields.finish_with(name.zip(description).map(|(name, description)| NewAccount { name, description, labels, claims }))?;
    let default_key = sent.default_key.then(|| NewKey { name: Name::from_stored(DEFAULT_KEY.to_owned()), expires_in_days });
    let (account, key) = call.state.management.create_account(&call.caller, wanted, access, default_key, call.origin).await?;
    let location = format!("/api/v1/service_accounts/{}", account.id);
    let (details, raw) = key.unzip();
    let body = CreatedBody { account: account.into(), api_key_id: details.map(|details| details.key.id), key: raw.as_ref().map(RawApiKey::expose) };
    Ok(created(&body, &location))
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<ServiceAccountBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut fields = Fields::default();
    let filter = AccountFilter {
        name: query.name,
        search: query.search,
        label: fields.label(query.label.as_deref()),
        active: fields.boolean("active", query.active.as_deref()),
        never_used: fields.boolean("never_used", query.never_used.as_deref()).unwrap_or(false),
        unused_since: fields.time("unused_since", query.unused_since.as_deref()),
        expiring_before: fields.time("expiring_before", query.expiring_before.as_deref()),
    };
    fields.finish()?;
    let found = call.state.management.list_accounts(&call.caller, &filter, asked.page()).await?;
    Ok(Json(asked.answer(found, |account| account.id.0, ServiceAccountBody::from)))
}

pub(crate) async fn get(call: Call, account: Path<String>) -> Result<Json<ServiceAccountBody>, ApiError> {
    let account = call.state.management.find_account(&call.caller, &Reference::from(account.as_str())).await?;
    Ok(Json(account.into()))
}

pub(crate) async fn change(mut call: Call, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = AccountChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        description: fields.optional("description", sent.description.as_deref(), parse_description),
        active: sent.active,
        labels: fields.labels(sent.labels),
        claims: fields.claims(sent.claims),
    };
    fields.finish()?;
    let account = Reference::from(account.as_str());
    let account = call.state.management.update_account(&call.caller, &account, change, call.origin.clone()).await?;
    Ok(call.confirmed(ServiceAccountBody::from(account)).await)
}

pub(crate) async fn delete(call: Call, account: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_account(&call.caller, &Reference::from(account.as_str()), call.origin.clone()).await?;
    Ok(call.done().await)
}

pub(crate) async fn revoke_tokens(call: Call, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = Reference::from(account.as_str());
    let account = call.state.management.revoke_account_tokens(&call.caller, &account, call.origin.clone()).await?;
    Ok(call.confirmed(ServiceAccountBody::from(account)).await)
}

pub(crate) async fn impact(call: Call, account: Path<String>) -> Result<Json<ImpactBody>, ApiError> {
    let impact = call.state.management.impact(&call.caller, &Reference::from(account.as_str()), None).await?;
    Ok(Json(impact.into()))
}
