//! `/api/v1/service_accounts/{account}/api_keys`, and `/api/v1/api_keys/report`.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::State;
use super::super::body;
use super::super::credential::{Call, origin};
use super::super::error::ApiError;
use super::super::kept::Kept;
use super::created;
use super::fields::{Fields, nullable};
use super::impact::ImpactBody;
use super::last_use::LastUseBody;
use super::page::{Asked, Items};
use crate::domain::api_key::{ApiKeyHash, RawApiKey};
use crate::domain::entity::KeyDetails;
use crate::domain::id::{ApiKeyId, Reference, ServiceAccountId};
use crate::domain::name::{Invalid, Name};
use crate::domain::time::Timestamp;
use crate::service::{KeyChange, NewKey, NewKeyValue, Quota, Rotation};
use crate::store::KeyFilter;

/// The first characters of an imported key, by which people recognise it, may be so many: more would give the key away.
const LONGEST_HINT: usize = 12;

/// In place of them, where they are not known.
pub(in crate::http) const IMPORTED: &str = "(imported)";

/// An API key to be made; with `sha256`, one of another system to be imported.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApiKey, example = json!({"name": "ci", "expires_in_days": 90}))]
pub(crate) struct CreateBody {
    /// What people call it; unique in the account.
    #[schema(value_type = Name)]
    name: String,
    /// How long it lives; null for ever, and as the organization has it where it is left out.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3650)]
    expires_in_days: Option<Option<i64>>,
    /// SHA-256 of a key of another system, in hexadecimal: it is imported, and none is made.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, nullable = false, pattern = "^[0-9a-fA-F]{64}$")]
    sha256: Option<Option<String>>,
    /// The first characters of the imported key.
    #[schema(max_length = 12)]
    hint: Option<String>,
}

/// What to change of an API key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiKeyChange, example = json!({"active": false}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// false stops it and its tokens with the next request, and ends what was made with it for others. true of one whose maker may not make it any more makes you its maker.
    active: Option<bool>,
    /// With `active: false`: the API keys and passwords that were made for others go on working, and you become their maker.
    #[serde(default)]
    keep_credentials: bool,
    /// How long it lives from now on; null for ever.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3650)]
    expires_in_days: Option<Option<i64>>,
    /// Moves the end of the old value to so many minutes from now; 0 ends it.
    #[schema(minimum = 0)]
    retain_minutes: Option<i64>,
}

/// How to rotate an API key.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiKeyRotation, example = json!({"retain_minutes": 60}))]
pub(crate) struct RotateBody {
    /// How long the old value goes on working; 0 where it is left out.
    #[schema(minimum = 0)]
    retain_minutes: Option<i64>,
    /// How long the new value lives; null for ever, and as long as the old one did where it is left out.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3650)]
    expires_in_days: Option<Option<i64>>,
}

/// A key that leaked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeakedKey)]
pub(crate) struct ReportBody {
    /// The API key that leaked.
    #[schema(example = "hp_live_...")]
    key: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiKeysQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only the one of this name.
    name: Option<String>,
    /// Only those that are active, or are not.
    #[schema(value_type = Option<bool>)]
    active: Option<String>,
}

/// An API key, without the key.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct ApiKeyBody {
    id: ApiKeyId,
    service_account_id: ServiceAccountId,
    name: Name,
    /// Its first characters, by which people recognise it.
    #[schema(example = "hp_live_4fQx")]
    hint: String,
    /// Whether it is on.
    active: bool,
    /// When it was marked as compromised: it is off for good.
    compromised_at: Option<Timestamp>,
    /// When it expires; null where it never does.
    expires_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// `service_account` or `user`: who made its value, where that is another than the account itself and is known. The key does no more than they may do now.
    #[schema(example = "user")]
    made_by_kind: Option<&'static str>,
    /// Their id.
    made_by_id: Option<Uuid>,
    /// When it got its value; null where that is the first.
    rotated_at: Option<Timestamp>,
    #[serde(flatten)]
    last_use: LastUseBody,
    /// The first characters of the old value; null where there is none.
    retained_hint: Option<String>,
    /// Until when the old value works.
    retained_until: Option<Timestamp>,
    /// When the old value was last used.
    retained_last_used_at: Option<Timestamp>,
    /// From where.
    retained_last_used_address: Option<String>,
    /// With what.
    retained_last_used_user_agent: Option<String>,
}

impl From<KeyDetails> for ApiKeyBody {
    fn from(details: KeyDetails) -> Self {
        let KeyDetails { key, current, retained, made_by } = details;
        let (made_by_kind, made_by_id) = made_by.map(|(kind, id)| (kind.as_str(), id)).unzip();
        let (hint, until, last) = retained.map_or((None, None, None), |old| (Some(old.hint), old.retained_until, old.last_use));
        let (last_at, last_address, last_user_agent) = last.map_or((None, None, None), |last| (Some(last.at), last.address, last.user_agent));
        Self {
            id: key.id,
            service_account_id: key.service_account_id,
            name: key.name,
            hint: current.hint,
            active: key.active,
            compromised_at: key.compromised_at,
            expires_at: current.expires_at,
            created_at: key.created_at,
            made_by_kind,
            made_by_id,
            rotated_at: Some(current.created_at).filter(|at| *at != key.created_at),
            last_use: key.last_use.into(),
            retained_hint: hint,
            retained_until: until,
            retained_last_used_at: last_at,
            retained_last_used_address: last_address,
            retained_last_used_user_agent: last_user_agent,
        }
    }
}

/// An API key, with the raw key: this once.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyWithKey)]
pub(crate) struct WithKey<'a> {
    #[serde(flatten)]
    api_key: ApiKeyBody,
    /// The key itself: shown this once.
    #[schema(example = "hp_live_...")]
    key: &'a str,
}

/// A key that was made, with the raw key; or one that was imported, which the server does not know.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedApiKey)]
pub(crate) struct CreatedBody<'a> {
    #[serde(flatten)]
    api_key: ApiKeyBody,
    /// The key itself, shown this once; missing where it was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "hp_live_...")]
    key: Option<&'a str>,
}

/// That a leaked key was ended.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportedKey)]
pub(crate) struct ReportedBody {
    /// Always `ended`.
    #[schema(example = "ended")]
    status: &'static str,
}

fn location(details: &KeyDetails) -> String {
    format!("/api/v1/service_accounts/{}/api_keys/{}", details.key.service_account_id, details.key.id)
}

pub(crate) async fn create(mut call: Call, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let name = fields.check("name", Name::parse(&sent.name));
    let expires_in_days = fields.days("expires_in_days", sent.expires_in_days);
    // Null is the mistake of a script that meant to import, and is not to be answered with a new key.
    let hash = sent.sha256.as_ref().and_then(|sent| fields.check("sha256", parse_hash(sent.as_deref().unwrap_or_default())));
    let hint = fields.optional("hint", sent.hint.as_deref(), parse_hint);
    if sent.hint.is_some() && sent.sha256.is_none() {
        return Err(ApiError::invalid_request("hint goes with sha256, for a key that is imported"));
    }
    let wanted = fields.finish_with(name.map(|name| NewKey { name, expires_in_days }))?;
    let (account, origin) = (Reference::from(account.as_str()), call.origin.clone());
    if let Some(hash) = hash {
        let value = NewKeyValue { hash, hint: hint.unwrap_or_else(|| IMPORTED.to_owned()) };
        let made = call.state.management.import_key(&call.caller, &account, wanted, value, origin).await;
        let render = |details: KeyDetails| {
            let location = location(&details);
            created(&CreatedBody { api_key: details.into(), key: None }, &location)
        };
        return call.commit(made, render).await;
    }
    let made = call.state.management.create_key(&call.caller, &account, wanted, origin).await;
    let render = |(details, raw): (KeyDetails, RawApiKey)| {
        let location = location(&details);
        created(&CreatedBody { api_key: details.into(), key: Some(raw.expose()) }, &location)
    };
    call.commit(made, render).await
}

pub(in crate::http) fn parse_hash(text: &str) -> Result<ApiKeyHash, Invalid> {
    let wrong = || Invalid("must be the SHA-256 of the whole key, as 64 hexadecimal digits".to_owned());
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(ApiKeyHash(hash))
}

pub(in crate::http) fn parse_hint(text: &str) -> Result<String, Invalid> {
    let sound = !text.is_empty() && text.len() <= LONGEST_HINT && text.bytes().all(|byte| byte.is_ascii_graphic());
    let wrong = || Invalid(format!("must be the first characters of the key, at most {LONGEST_HINT}"));
    if sound { Ok(text.to_owned()) } else { Err(wrong()) }
}

pub(crate) async fn list(call: Call, account: Path<String>) -> Result<Json<Items<ApiKeyBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut fields = Fields::default();
    let filter = KeyFilter { name: query.name, active: fields.boolean("active", query.active.as_deref()) };
    fields.finish()?;
    let found = call.state.management.list_keys(&call.caller, &Reference::from(account.as_str()), &filter, asked.page()).await?;
    Ok(Json(asked.answer(found, |details| details.key.id.0, ApiKeyBody::from)))
}

/// The account and the key of a path.
fn references(path: &(String, String)) -> (Reference, Reference) {
    (Reference::from(path.0.as_str()), Reference::from(path.1.as_str()))
}

pub(crate) async fn get(call: Call, path: Path<(String, String)>) -> Result<Json<ApiKeyBody>, ApiError> {
    let (account, key) = references(&path);
    Ok(Json(call.state.management.find_key(&call.caller, &account, &key).await?.into()))
}

pub(crate) async fn change(mut call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = KeyChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        active: sent.active,
        expires_in_days: fields.days("expires_in_days", sent.expires_in_days),
        retain_minutes: fields.minutes("retain_minutes", sent.retain_minutes),
        keep_credentials: sent.keep_credentials,
    };
    fields.finish()?;
    let (account, key) = references(&path);
    let changed = call.state.management.update_key(&call.caller, &account, &key, change, call.origin.clone()).await?;
    Ok(call.confirmed(ApiKeyBody::from(changed)).await)
}

pub(crate) async fn rotate(mut call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let sent: RotateBody = call.optional_json().await?;
    let mut fields = Fields::default();
    let rotation = Rotation {
        retain_minutes: fields.minutes("retain_minutes", sent.retain_minutes).unwrap_or(0),
        expires_in_days: fields.days("expires_in_days", sent.expires_in_days),
        of: None,
    };
    fields.finish()?;
    let (account, key) = references(&path);
    let made = call.state.management.rotate_key(&call.caller, &account, &key, rotation, call.origin.clone()).await;
    let render = |(details, raw): (KeyDetails, RawApiKey)| Ok(HttpResponse::Ok().json(WithKey { api_key: details.into(), key: raw.expose() }));
    call.confirm(Kept::commit(made, render).await?).await
}

pub(crate) async fn delete(call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (account, key) = references(&path);
    call.state.management.delete_key(&call.caller, &account, &key, call.origin.clone()).await?;
    Ok(call.done().await)
}

pub(crate) async fn revoke_tokens(call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (account, key) = references(&path);
    let changed = call.state.management.revoke_key_tokens(&call.caller, &account, &key, call.origin.clone()).await?;
    Ok(call.confirmed(ApiKeyBody::from(changed)).await)
}

pub(crate) async fn compromise(call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (account, key) = references(&path);
    let changed = call.state.management.compromise_key(&call.caller, &account, &key, call.origin.clone()).await?;
    Ok(call.confirmed(ApiKeyBody::from(changed)).await)
}

pub(crate) async fn impact(call: Call, path: Path<(String, String)>) -> Result<Json<ImpactBody>, ApiError> {
    let (account, key) = references(&path);
    Ok(Json(call.state.management.impact(&call.caller, &account, Some(&key)).await?.into()))
}

/// Whoever holds a leaked key ends it by presenting it.
pub(crate) async fn report(state: Data<State>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let Some((most, reports)) = &state.reports else {
        return Err(ApiError::new("not_found", "this server does not take reports of leaked keys; tell its administrator"));
    };
    let origin = origin(&state, &request);
    if let Some(Err(wait)) = origin.network().map(|network| reports.check(&network, Quota::per_minute(*most), state.sources.now())) {
        return Err(ApiError::new("too_many_requests", "too many reports from your address; try again later").retry_after(wait));
    }
    let ReportBody { key } = body::json(&request, payload, state.limits).await?;
    state.management.report_key(&RawApiKey::from_presented(key), origin).await?;
    state.follower.confirm().await;
    Ok(HttpResponse::Ok().json(ReportedBody { status: "ended" }))
}
