//! `/api/v1/workspaces`.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::super::kept::Kept;
use super::created;
use super::fields::{Fields, nullable};
use super::page::{Asked, Items};
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::Workspace;
use crate::domain::id::{OrganizationId, Reference, WorkspaceId};
use crate::domain::name::{Audience, Invalid, Name, Slug, WorkspaceUrl};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;
use crate::keys::KeySet;
use crate::service::{NewWorkspace, WorkspaceChange};
use crate::store::WorkspaceFilter;

/// A workspace to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWorkspace, example = json!({"slug": "production", "name": "Production", "url": "https://workspace.example.com"}))]
pub(crate) struct CreateBody {
    /// Its name in URLs; it stays as it is.
    #[schema(value_type = Slug)]
    slug: String,
    /// What people call it; the slug where it is left out.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// Scheme, host and port; a login that asks this host is for it.
    #[schema(value_type = Option<WorkspaceUrl>)]
    url: Option<String>,
    /// Whom its tokens are for; by default the URL, or `urn:hourpass:<organization>:<slug>`.
    #[schema(value_type = Option<Audience>)]
    audience: Option<String>,
    /// How long its tokens live; an hour where it is left out.
    #[schema(minimum = 60, maximum = 3600, example = 3600)]
    token_lifetime_seconds: Option<i64>,
    /// How its tokens are signed: ES256 where it is left out; upper or lower case.
    #[schema(example = "ES256")]
    signing_algorithm: Option<String>,
    #[schema(value_type = Option<Labels>)]
    labels: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<CustomClaims>)]
    claims: Option<BTreeMap<String, Value>>,
}

/// What to change of a workspace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkspaceChange, example = json!({"name": "Production", "token_lifetime_seconds": 900}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// Scheme, host and port; null for none.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<WorkspaceUrl>)]
    url: Option<Option<String>>,
    /// Whom its tokens are for, from then on.
    #[schema(value_type = Option<Audience>)]
    audience: Option<String>,
    /// How long its tokens live, from then on.
    #[schema(minimum = 60, maximum = 3600, example = 900)]
    token_lifetime_seconds: Option<i64>,
    /// How its tokens are signed, from then on: `ES256`, `EdDSA` or `RS256`.
    #[schema(example = "ES256")]
    signing_algorithm: Option<String>,
    /// All labels that it is to have.
    #[schema(value_type = Option<Labels>)]
    labels: Option<BTreeMap<String, String>>,
    /// All claims that it is to have.
    #[schema(value_type = Option<CustomClaims>)]
    claims: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkspacesQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only the one of this slug.
    slug: Option<String>,
    /// Only those with this label: `name=value`.
    label: Option<String>,
}

/// A workspace.
#[derive(Serialize, ToSchema)]
#[schema(as = Workspace)]
pub(crate) struct WorkspaceBody {
    id: WorkspaceId,
    organization_id: OrganizationId,
    slug: Slug,
    name: Name,
    /// Scheme, host and port; a login that asks this host is for it.
    url: Option<WorkspaceUrl>,
    audience: Audience,
    /// How long its tokens live.
    #[schema(example = 3600)]
    token_lifetime_seconds: i64,
    signing_algorithm: SigningAlgorithm,
    /// From when on its tokens are signed so, if that is to come: the first key of an algorithm is published before it signs. Until then, they are signed as they
    /// were before a change, and none are issued for a new workspace (`signing_key_not_yet_published`).
    signing_algorithm_effective_at: Option<Timestamp>,
    labels: Labels,
    claims: CustomClaims,
    /// When it was made.
    created_at: Timestamp,
}

impl WorkspaceBody {
    fn of(workspace: Workspace, keys: &KeySet, now: Timestamp) -> Self {
        let Workspace {
            id, organization_id, slug, name, url, audience, token_lifetime_seconds, signing_algorithm, labels, claims, created_at, ..
        } = workspace;
        let signing_algorithm_effective_at = keys.awaited(signing_algorithm, now);
        Self {
            id,
            organization_id,
            slug,
            name,
            url,
            audience,
            token_lifetime_seconds,
            signing_algorithm,
            signing_algorithm_effective_at,
            labels,
            claims,
            created_at,
        }
    }
}

/// A workspace as the API tells of it.
async fn body(call: &Call, workspace: Workspace) -> Result<WorkspaceBody, ApiError> {
    let keys = call.state.signing.keys().await?;
    Ok(WorkspaceBody::of(workspace, &keys, call.state.sources.now()))
}

/// From a minute to an hour, in seconds.
pub(crate) fn lifetime(fields: &mut Fields, sent: Option<i64>) -> Option<i64> {
    let wrong = || Invalid("must be a number of seconds from 60 to 3600".to_owned());
    sent.and_then(|seconds| fields.check("token_lifetime_seconds", Some(seconds).filter(|it| (60..=3_600).contains(it)).ok_or_else(wrong)))
}

/// What tokens are signed with.
pub(crate) fn algorithm(fields: &mut Fields, sent: Option<&str>) -> Option<SigningAlgorithm> {
    fields.optional("signing_algorithm", sent, |text| text.parse().map_err(|_| Invalid("must be ES256, EdDSA or RS256".to_owned())))
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let slug = fields.check("slug", Slug::parse(&sent.slug));
    let name = fields.optional("name", sent.name.as_deref(), Name::parse);
    let url = fields.optional("url", sent.url.as_deref(), WorkspaceUrl::parse);
    let audience = fields.optional("audience", sent.audience.as_deref(), Audience::parse);
    let token_lifetime = lifetime(&mut fields, sent.token_lifetime_seconds).unwrap_or(3_600);
    let token_lifetime = Duration::from_secs(token_lifetime.unsigned_abs());
    let signing_algorithm = algorithm(&mut fields, sent.signing_algorithm.as_deref()).unwrap_or(SigningAlgorithm::Es256);
    let (labels, claims) = (fields.labels(sent.labels).unwrap_or_default(), fields.claims(sent.claims).unwrap_or_default());
    let wanted = slug.map(|slug| NewWorkspace { slug, name, url, audience, signing_algorithm, token_lifetime, labels, claims });
    let (state, keys, now) = (&call.state, call.state.signing.known(), call.state.sources.now());
    let made = state.management.create_workspace(&call.caller, &state.signing, fields.finish_with(wanted)?, call.origin.clone()).await;
    let render = |workspace: Workspace| {
        let location = format!("/api/v1/workspaces/{}", workspace.id);
        created(&WorkspaceBody::of(workspace, &keys, now), &location)
    };
    let kept = Kept::commit(made, render).await?;
    // The first key of an algorithm is only known when it is committed.
    let effective_at = state.signing.keys().await?.awaited(signing_algorithm, now);
    Ok(kept.set("signing_algorithm_effective_at", json!(effective_at))?.answer())
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<WorkspaceBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut fields = Fields::default();
    let filter = WorkspaceFilter { slug: query.slug, label: fields.label(query.label.as_deref()) };
    fields.finish()?;
    let found = call.state.management.list_workspaces(&call.caller, &filter, asked.page()).await?;
    let (keys, now) = (call.state.signing.keys().await?, call.state.sources.now());
    Ok(Json(asked.answer(found, |workspace| workspace.id.0, |workspace| WorkspaceBody::of(workspace, &keys, now))))
}

pub(crate) async fn get(call: Call, workspace: Path<String>) -> Result<Json<WorkspaceBody>, ApiError> {
    let workspace = call.state.management.find_workspace(&call.caller, &Reference::from(workspace.as_str())).await?;
    Ok(Json(body(&call, workspace).await?))
}

pub(crate) async fn change(mut call: Call, workspace: Path<String>) -> Result<Json<WorkspaceBody>, ApiError> {
    let mut sent: ChangeBody = call.json().await?;
    let workspace = Reference::from(workspace.as_str());
    if sent.audience.as_deref().is_some_and(|audience| Audience::parse(audience).is_err()) {
        // One that could be set once may be sent again, and stays.
        let found = call.state.management.find_workspace(&call.caller, &workspace).await.ok();
        sent.audience.take_if(|audience| found.is_some_and(|found| found.audience.as_str() == audience));
    }
    let mut fields = Fields::default();
    let change = WorkspaceChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        url: fields.check("url", sent.url.map(|url| url.as_deref().map(WorkspaceUrl::parse).transpose()).transpose()).flatten(),
        audience: fields.optional("audience", sent.audience.as_deref(), Audience::parse),
        token_lifetime_seconds: lifetime(&mut fields, sent.token_lifetime_seconds),
        signing_algorithm: algorithm(&mut fields, sent.signing_algorithm.as_deref()),
        labels: fields.labels(sent.labels),
        claims: fields.claims(sent.claims),
    };
    fields.finish()?;
    let state = &call.state;
    let workspace = state.management.update_workspace(&call.caller, &state.signing, &workspace, change, call.origin.clone()).await?;
    Ok(Json(body(&call, workspace).await?))
}

pub(crate) async fn delete(call: Call, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_workspace(&call.caller, &Reference::from(workspace.as_str()), call.origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
