//! `/api/v1/access` and `/api/v1/explain`: who may do what and why, and why a credential works or does not.

use std::collections::BTreeSet;

use actix_web::web::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::super::openapi::holder_kind;
use super::fields::Fields;
use crate::domain::access::{Assignment, Given, Level};
use crate::domain::claims::PrincipalType;
use crate::domain::id::{ApiKeyId, ProjectId, Reference, RoleAssignmentId, WorkspaceId};
use crate::domain::name::Name;
use crate::domain::permission::Permission;
use crate::service::{AccessQuery, CredentialAnswer, CredentialKind, CredentialQuery, EffectivePermission, ReceiverKind};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessQuery)]
pub(crate) struct Query {
    /// Id or name of the service account, person or team.
    #[schema(example = "deployer")]
    principal: String,
    /// Id or slug of the workspace; the whole organization without.
    workspace: Option<String>,
    /// Id or slug of the project of the workspace.
    project: Option<String>,
}

/// A credential, and what it is used for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CredentialQuestion, example = json!({"credential": "hp_live_...", "workspace": "production", "permission": "pipelines.deploy"}))]
pub(crate) struct ExplainBody {
    /// The API key or access token.
    credential: String,
    /// Id or slug of the workspace at which it is used; at Hourpass itself without.
    workspace: Option<String>,
    /// Id or slug of the project of the workspace.
    project: Option<String>,
    /// What it is used for.
    #[schema(value_type = Option<Permission>)]
    permission: Option<String>,
}

/// Where a permission comes from.
#[derive(Serialize, ToSchema)]
struct Source {
    /// What was given.
    role_assignment_id: RoleAssignmentId,
    /// The role that was given; null where permissions were given without one.
    role: Option<Name>,
    /// What was given without a role.
    #[schema(value_type = Option<Vec<Permission>>)]
    permissions: Option<BTreeSet<Permission>>,
    /// Through this team; null where it was given to them alone.
    team: Option<Name>,
    /// How far it reaches.
    level: Level,
    /// In this workspace only.
    workspace_id: Option<WorkspaceId>,
    /// In this project only.
    project_id: Option<ProjectId>,
}

impl From<Assignment> for Source {
    fn from(assignment: Assignment) -> Self {
        let Assignment { id, given, place, team } = assignment;
        let (role, permissions) = match given {
            Given::Role(role) => (Some(role.name), None),
            Given::Permissions(permissions) => (None, Some(permissions)),
        };
        Self {
            role_assignment_id: id,
            role,
            permissions,
            team: team.map(|(_, name)| name),
            level: place.level(),
            workspace_id: place.workspace(),
            project_id: place.project(),
        }
    }
}

/// A permission that someone holds.
#[derive(Serialize, ToSchema)]
#[schema(as = EffectivePermission)]
struct Effective {
    permission: Permission,
    receiver: ReceiverKind,
    /// All that gives it.
    sources: Vec<Source>,
}

impl From<EffectivePermission> for Effective {
    fn from(effective: EffectivePermission) -> Self {
        let EffectivePermission { permission, receiver, sources } = effective;
        Self { permission, receiver, sources: sources.into_iter().map(Source::from).collect() }
    }
}

/// What someone may do at a place.
#[derive(Serialize, ToSchema)]
#[schema(as = Access)]
pub(crate) struct AccessBody {
    /// What they are.
    #[schema(schema_with = holder_kind)]
    principal_type: &'static str,
    /// Their id.
    principal_id: Option<Uuid>,
    /// Their name or email address.
    #[schema(example = "deployer")]
    principal: String,
    /// How far the place reaches that was asked about.
    level: Level,
    /// What they hold there.
    permissions: Vec<Effective>,
}

/// Whether a credential works.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialAnswer)]
pub(crate) struct ExplainAnswer {
    /// Whether it works right now.
    works: bool,
    /// `ok`, or the rule that refuses it.
    #[schema(example = "ok")]
    code: &'static str,
    /// The same for people.
    #[schema(example = "it works")]
    detail: String,
    kind: CredentialKind,
    /// Whose it is.
    #[schema(value_type = Option<PrincipalType>)]
    principal_type: Option<&'static str>,
    /// Their id.
    principal_id: Option<Uuid>,
    /// Their name or email address.
    #[schema(example = "deployer")]
    principal: Option<String>,
    /// The key, or the key that the token was obtained with.
    api_key_id: Option<ApiKeyId>,
    /// Whom the token is for.
    audience: Option<String>,
    /// All that gives the permission that was asked about.
    sources: Vec<Source>,
}

fn reference(text: Option<&str>) -> Option<Reference> {
    text.map(Reference::from)
}

pub(crate) async fn get(call: Call) -> Result<Json<AccessBody>, ApiError> {
    let query: Query = call.query().await?;
    let principal = Reference::from(query.principal.as_str());
    let wanted = AccessQuery { principal, workspace: reference(query.workspace.as_deref()), project: reference(query.project.as_deref()) };
    let answer = call.state.management.access(&call.caller, &wanted).await?;
    Ok(Json(AccessBody {
        principal_type: answer.principal.kind,
        principal_id: answer.principal.id,
        principal: answer.principal.name,
        level: answer.level,
        permissions: answer.permissions.into_iter().map(Effective::from).collect(),
    }))
}

pub(crate) async fn explain(mut call: Call) -> Result<Json<ExplainAnswer>, ApiError> {
    let sent: ExplainBody = call.json().await?;
    let credential = Zeroizing::new(sent.credential);
    let mut fields = Fields::default();
    let permission = fields.optional("permission", sent.permission.as_deref(), Permission::parse);
    fields.finish()?;
    let (workspace, project) = (reference(sent.workspace.as_deref()), reference(sent.project.as_deref()));
    let query = CredentialQuery { credential, workspace, project, permission };
    let (keys, issuer) = (call.state.signing.keys().await?, call.state.issuer.as_str());
    let answer = call.state.management.explain(&call.caller, &keys, issuer, call.state.login.exchange_limit(), query).await?;
    let CredentialAnswer { works, code, detail, kind, principal, api_key_id, audience, sources } = answer;
    let (principal_type, principal_id, principal) = principal.map_or((None, None, None), |it| (Some(it.kind), it.id, Some(it.name)));
    let sources = sources.into_iter().map(Source::from).collect();
    Ok(Json(ExplainAnswer { works, code, detail, kind, principal_type, principal_id, principal, api_key_id, audience, sources }))
}
