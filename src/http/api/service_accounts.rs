//! `/api/v1/service_accounts`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::created;
use super::fields::{Fields, nullable};
pub(crate) use super::impact::ImpactBody;
use super::last_use::LastUseBody;
use super::page::{Asked, Items};
use crate::domain::api_key::RawApiKey;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::{KeyDetails, ServiceAccount};
use crate::domain::id::{ApiKeyId, OrganizationId, Reference, ServiceAccountId};
use crate::domain::name::{Name, parse_description};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::{AccountChange, FirstAccess, NewAccount, NewGiven, NewKey};
use crate::store::AccountFilter;

/// The name of the key that is made together with its account.
const DEFAULT_KEY: &str = "default";

/// A service account to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewServiceAccount, example = json!({"name": "deployer", "description": "Deploys from CI", "default_key": true, "expires_in_days": 90}))]
pub(crate) struct CreateBody {
    /// What people call it; unique in the organization.
    #[schema(value_type = Name)]
    name: String,
    /// For people: at most 1,000 characters.
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
    /// Whether to make a key for it, too: it is in `key` of the answer, this once.
    #[serde(default)]
    default_key: bool,
    /// How long that key lives; null for ever, and as the organization has it where it is left out.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3650)]
    expires_in_days: Option<Option<i64>>,
    #[schema(value_type = Option<Labels>)]
    labels: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<CustomClaims>)]
    claims: Option<BTreeMap<String, Value>>,
    /// How many exchanges it may make a minute on each node of the server; null or left out for the server's own limit.
    #[schema(minimum = 1, maximum = 1_000_000)]
    exchanges_per_minute: Option<i64>,
    /// With `permissions`: what it may do in this workspace, and nowhere else.
    workspace: Option<String>,
    /// With `workspace`: what it may do there.
    #[schema(value_type = Option<Vec<Permission>>)]
    permissions: Option<Vec<String>>,
}

/// What to change of a service account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceAccountChange, example = json!({"active": false}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// For people: at most 1,000 characters.
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// false stops all its keys and their tokens with the next request, and ends what it made for others.
    active: Option<bool>,
    /// With `active: false`: the API keys and passwords that were made for others go on working, and you become their maker.
    #[serde(default)]
    keep_credentials: bool,
    /// All labels that it is to have.
    #[schema(value_type = Option<Labels>)]
    labels: Option<BTreeMap<String, String>>,
    /// All claims that it is to have.
    #[schema(value_type = Option<CustomClaims>)]
    claims: Option<BTreeMap<String, Value>>,
    /// How many exchanges it may make a minute on each node of the server; null for the server's own limit.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000)]
    exchanges_per_minute: Option<Option<i64>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceAccountsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only the one of this name.
    name: Option<String>,
    /// Only those whose name contains this, in whatever case.
    search: Option<String>,
    /// Only those with this label: `name=value`.
    label: Option<String>,
    /// Only those that are active, or are not.
    #[schema(value_type = Option<bool>)]
    active: Option<String>,
    /// With true, only those that were never used.
    #[schema(value_type = Option<bool>)]
    never_used: Option<String>,
    /// Only those that were not used since then, or ever.
    #[schema(value_type = Option<Timestamp>)]
    unused_since: Option<String>,
    /// Only those with a key that expires before then.
    #[schema(value_type = Option<Timestamp>)]
    expiring_before: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeletionQuery)]
pub(crate) struct DeletionQuery {
    /// With true, the API keys and passwords that were made for others go on working, and you become their maker.
    #[schema(value_type = Option<bool>)]
    keep_credentials: Option<String>,
}

impl DeletionQuery {
    /// Whether the caller keeps what was made for others.
    pub(crate) fn keep(&self) -> Result<bool, ApiError> {
        let mut fields = Fields::default();
        let keep = fields.boolean("keep_credentials", self.keep_credentials.as_deref());
        fields.finish()?;
        Ok(keep.unwrap_or(false))
    }
}

/// A service account.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceAccount)]
pub(crate) struct ServiceAccountBody {
    id: ServiceAccountId,
    organization_id: OrganizationId,
    name: Name,
    /// For people.
    #[schema(example = "Deploys from CI")]
    description: String,
    /// Whether its keys and tokens count.
    active: bool,
    labels: Labels,
    claims: CustomClaims,
    /// How many exchanges it may make a minute on each node of the server; null for the server's own limit.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000, example = 600)]
    exchanges_per_minute: Option<NonZeroU32>,
    /// When it was made.
    created_at: Timestamp,
    #[serde(flatten)]
    last_use: LastUseBody,
}

impl From<ServiceAccount> for ServiceAccountBody {
    fn from(account: ServiceAccount) -> Self {
        let ServiceAccount { id, organization_id, name, description, active, labels, claims, exchanges_per_minute, created_at, last_use, .. } =
            account;
        Self { id, organization_id, name, description, active, labels, claims, exchanges_per_minute, created_at, last_use: last_use.into() }
    }
}

/// A new service account, with its default key where one was asked for: this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedServiceAccount)]
pub(crate) struct CreatedBody<'a> {
    #[serde(flatten)]
    account: ServiceAccountBody,
    /// The id of its default key, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    api_key_id: Option<ApiKeyId>,
    /// That key: shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "hp_live_...")]
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
    let exchanges_per_minute = fields.exchanges(sent.exchanges_per_minute.map(Some)).flatten();
    let permissions = fields.permissions("permissions", sent.permissions.as_deref());
    let access = match (sent.workspace, sent.permissions.is_some()) {
        (Some(workspace), true) => {
            Some(FirstAccess { given: NewGiven::Permissions(permissions.unwrap_or_default()), workspace: Some(workspace.as_str().into()) })
        }
        (None, false) => None,
        _ => return Err(ApiError::invalid_request("workspace and permissions go together: what the account may do in that workspace")),
    };
    let wanted = fields.finish_with(name.zip(description).map(|(name, description)| NewAccount {
        name,
        description,
        labels,
        claims,
        exchanges_per_minute,
    }))?;
    let default_key = sent.default_key.then(|| NewKey { name: Name::from_stored(DEFAULT_KEY.to_owned()), expires_in_days });
    let made = call.state.management.create_account(&call.caller, wanted, access, default_key, call.origin.clone()).await;
    let render = |(account, key): (ServiceAccount, Option<(KeyDetails, RawApiKey)>)| {
        let location = format!("/api/v1/service_accounts/{}", account.id);
        let (details, raw) = key.unzip();
        let api_key_id = details.map(|details| details.key.id);
        created(&CreatedBody { account: account.into(), api_key_id, key: raw.as_ref().map(RawApiKey::expose) }, &location)
    };
    call.commit(made, render).await
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
        ..AccountFilter::default()
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
        keep_credentials: sent.keep_credentials,
        exchanges_per_minute: fields.exchanges(sent.exchanges_per_minute),
    };
    fields.finish()?;
    let account = Reference::from(account.as_str());
    let account = call.state.management.update_account(&call.caller, &account, change, call.origin.clone()).await?;
    Ok(call.confirmed(ServiceAccountBody::from(account)).await)
}

pub(crate) async fn delete(call: Call, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let keep = call.query::<DeletionQuery>().await?.keep()?;
    call.state.management.delete_account(&call.caller, &Reference::from(account.as_str()), keep, call.origin.clone()).await?;
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
