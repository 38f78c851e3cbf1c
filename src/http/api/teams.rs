//! `/api/v1/teams` and their members.

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::created;
use super::fields::Fields;
use super::page::{Asked, Items};
use super::role_assignments::holder;
use crate::domain::claims::PrincipalType;
use crate::domain::entity::Team;
use crate::domain::id::{OrganizationId, Reference, TeamId};
use crate::domain::name::{Name, parse_description};
use crate::domain::time::Timestamp;
use crate::service::{NewTeam, TeamChange};
use crate::store::TeamMember;

/// A team to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTeam, example = json!({"name": "data", "description": "Who looks after the pipelines"}))]
pub(crate) struct CreateBody {
    /// What people call it; unique in the organization.
    #[schema(value_type = Name)]
    name: String,
    /// For people: at most 1,000 characters.
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
}

/// What to change of a team.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TeamChange, example = json!({"description": "Who looks after the pipelines"}))]
pub(crate) struct ChangeBody {
    /// Its new name.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    /// For people: at most 1,000 characters.
    #[schema(max_length = 1000)]
    description: Option<String>,
}

/// Whom to add: a service account or a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTeamMember, example = json!({"service_account": "deployer"}))]
pub(crate) struct MemberRequest {
    /// Id or name of a service account; or else a person.
    service_account: Option<String>,
    /// Id or email address of a person.
    user: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TeamsQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those that this service account is in.
    service_account: Option<String>,
    /// Only those that this person is in.
    user: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TeamMembersQuery)]
pub(crate) struct MembersQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A team.
#[derive(Serialize, ToSchema)]
#[schema(as = Team)]
pub(crate) struct TeamBody {
    id: TeamId,
    organization_id: OrganizationId,
    name: Name,
    /// For people.
    #[schema(example = "Who looks after the pipelines")]
    description: String,
    /// When it was made.
    created_at: Timestamp,
}

impl From<Team> for TeamBody {
    fn from(team: Team) -> Self {
        let Team { id, organization_id, name, description, created_at } = team;
        Self { id, organization_id, name, description, created_at }
    }
}

/// A member of a team: `id` is that of the account or person.
#[derive(Serialize, ToSchema)]
#[schema(as = TeamMember)]
pub(crate) struct MemberBody {
    /// The id of the service account or person.
    id: Uuid,
    /// What the member is.
    #[schema(value_type = PrincipalType)]
    principal_type: &'static str,
    /// The name or email address of the member.
    #[schema(example = "deployer")]
    name: String,
    /// When they came in.
    created_at: Timestamp,
}

impl From<TeamMember> for MemberBody {
    fn from(member: TeamMember) -> Self {
        Self { id: member.member.id(), principal_type: member.member.kind(), name: member.name, created_at: member.created_at }
    }
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let name = fields.check("name", Name::parse(&sent.name));
    let description = fields.check("description", parse_description(&sent.description));
    let wanted = fields.finish_with(name.zip(description).map(|(name, description)| NewTeam { name, description }))?;
    let made = call.state.management.create_team(&call.caller, wanted, call.origin.clone()).await;
    let render = |team: Team| {
        let location = format!("/api/v1/teams/{}", team.id);
        created(&TeamBody::from(team), &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<TeamBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let member = holder(query.service_account, query.user, None)?;
    let found = call.state.management.list_teams(&call.caller, member.as_ref(), asked.page()).await?;
    Ok(Json(asked.answer(found, |team| team.id.0, TeamBody::from)))
}

pub(crate) async fn get(call: Call, team: Path<String>) -> Result<Json<TeamBody>, ApiError> {
    Ok(Json(call.state.management.find_team(&call.caller, &Reference::from(team.as_str())).await?.into()))
}

pub(crate) async fn change(mut call: Call, team: Path<String>) -> Result<Json<TeamBody>, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = TeamChange {
        name: fields.optional("name", sent.name.as_deref(), Name::parse),
        description: fields.optional("description", sent.description.as_deref(), parse_description),
    };
    fields.finish()?;
    Ok(Json(call.state.management.update_team(&call.caller, &Reference::from(team.as_str()), change, call.origin).await?.into()))
}

pub(crate) async fn delete(call: Call, team: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_team(&call.caller, &Reference::from(team.as_str()), call.origin.clone()).await?;
    Ok(call.done().await)
}

pub(crate) async fn list_members(call: Call, team: Path<String>) -> Result<Json<Items<MemberBody>>, ApiError> {
    let query: MembersQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let found = call.state.management.list_team_members(&call.caller, &Reference::from(team.as_str()), asked.page()).await?;
    Ok(Json(asked.answer(found, |member| member.member.id(), MemberBody::from)))
}

pub(crate) async fn add_member(mut call: Call, team: Path<String>) -> Result<HttpResponse, ApiError> {
    let sent: MemberRequest = call.json().await?;
    let member = holder(sent.service_account, sent.user, None)?;
    let member = member.ok_or_else(|| ApiError::invalid_request("name the new member: service_account or user"))?;
    let team = Reference::from(team.as_str());
    let made = call.state.management.add_team_member(&call.caller, &team, &member, call.origin.clone()).await;
    let render = |(team, member): (Team, TeamMember)| {
        let location = format!("/api/v1/teams/{}/members/{}", team.id, member.member.id());
        created(&MemberBody::from(member), &location)
    };
    call.commit(made, render).await
}

pub(crate) async fn remove_member(call: Call, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (team, member) = path.into_inner();
    let member = member.parse().map_err(|_| ApiError::new("not_found", "there is no member of this id; it has to be an id"))?;
    call.state.management.remove_team_member(&call.caller, &Reference::from(team.as_str()), member, call.origin.clone()).await?;
    Ok(call.done().await)
}
