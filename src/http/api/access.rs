//! `/api/v1/access` and `/api/v1/explain`: who may do what and why, and why a credential works or does not.

use std::collections::BTreeSet;

use actix_web::web::Json;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::fields::Fields;
use crate::domain::access::{Assignment, Given, Level};
use crate::domain::id::{ApiKeyId, ProjectId, Reference, RoleAssignmentId, WorkspaceId};
use crate::domain::name::Name;
use crate::domain::permission::Permission;
use crate::service::{AccessQuery, CredentialAnswer, CredentialKind, CredentialQuery, EffectivePermission, ReceiverKind};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    principal: String,
    workspace: Option<String>,
    project: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainBody {
    credential: String,
    workspace: Option<String>,
    project: Option<String>,
    permission: Option<String>,
}

/// Where a permission comes from.
#[derive(Serialize)]
struct Source {
    role_assignment_id: RoleAssignmentId,
    role: Option<Name>,
    permissions: Option<BTreeSet<Permission>>,
    team: Option<Name>,
    level: Level,
    workspace_id: Option<WorkspaceId>,
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

#[derive(Serialize)]
struct Effective {
    permission: Permission,
    receiver: ReceiverKind,
    sources: Vec<Source>,
}

impl From<EffectivePermission> for Effective {
    fn from(effective: EffectivePermission) -> Self {
        let EffectivePermission { permission, receiver, sources } = effective;
        Self { permission, receiver, sources: sources.into_iter().map(Source::from).collect() }
    }
}

/// What someone may do at a place.
#[derive(Serialize)]
pub(crate) struct AccessBody {
    principal_type: &'static str,
    principal_id: Option<Uuid>,
    principal: String,
    level: Level,
    permissions: Vec<Effective>,
}

/// Whether a credential works.
#[derive(Serialize)]
pub(crate) struct ExplainAnswer {
    works: bool,
    code: &'static str,
    detail: String,
    kind: CredentialKind,
    principal_type: Option<&'static str>,
    principal_id: Option<Uuid>,
    principal: Option<String>,
    api_key_id: Option<ApiKeyId>,
    audience: Option<String>,
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
    let answer = call.state.management.explain(&call.caller, &keys, issuer, query).await?;
    let CredentialAnswer { works, code, detail, kind, principal, api_key_id, audience, sources } = answer;
    let (principal_type, principal_id, principal) = principal.map_or((None, None, None), |it| (Some(it.kind), it.id, Some(it.name)));
    let sources = sources.into_iter().map(Source::from).collect();
    Ok(Json(ExplainAnswer { works, code, detail, kind, principal_type, principal_id, principal, api_key_id, audience, sources }))
}
