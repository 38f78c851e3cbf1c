//! `/api/v1/users`: people, and their passwords.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::body;
use super::super::credential::{Call, origin};
use super::super::error::ApiError;
use super::created;
use super::fields::Fields;
use super::page::{Asked, Items};
use crate::domain::api_key::RawApiKey;
use crate::domain::entity::User;
use crate::domain::id::{OrganizationId, Reference, UserId};
use crate::domain::name::{Email, Invalid, Name, check_password};
use crate::domain::time::Timestamp;
use crate::service::{Invitation, NewUser, UserChange};
use crate::store::UserFilter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    email: String,
    name: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    email: Option<String>,
    name: Option<String>,
    active: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    email: Option<String>,
    active: Option<String>,
    invited: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    old_password: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptBody {
    invitation: String,
    password: String,
}

/// A person.
#[derive(Serialize)]
pub(crate) struct UserBody {
    id: UserId,
    organization_id: OrganizationId,
    email: Email,
    name: String,
    active: bool,
    /// Without a password yet.
    invited: bool,
    created_at: Timestamp,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        let User { id, organization_id, email, name, active, has_password, created_at } = user;
        Self { id, organization_id, email, name, active, invited: !has_password, created_at }
    }
}

/// The secret of a link with which someone sets a password: this once.
#[derive(Default, Serialize)]
pub(crate) struct InvitationBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation_expires_at: Option<Timestamp>,
}

impl From<Option<Invitation>> for InvitationBody {
    fn from(invitation: Option<Invitation>) -> Self {
        invitation
            .map_or_else(Self::default, |it| Self { invitation: Some(it.secret.expose().to_owned()), invitation_expires_at: Some(it.expires_at) })
    }
}

#[derive(Serialize)]
struct InvitedBody {
    #[serde(flatten)]
    user: UserBody,
    #[serde(flatten)]
    invitation: InvitationBody,
}

/// What people are called may be empty.
pub(crate) fn name(text: &str) -> Result<String, Invalid> {
    if text.trim().is_empty() { Ok(String::new()) } else { Name::parse(text).map(|name| name.to_string()) }
}

/// A password that someone chooses.
pub(crate) fn password(text: String) -> Result<SecretString, Invalid> {
    let password = SecretString::from(text);
    check_password(&password).map(|()| password)
}

pub(crate) async fn create(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: CreateBody = call.json().await?;
    let mut fields = Fields::default();
    let email = fields.check("email", Email::parse(&sent.email));
    let name = fields.optional("name", sent.name.as_deref(), name).unwrap_or_default();
    let password = fields.check("password", sent.password.map(password).transpose()).flatten();
    let wanted = fields.finish_with(email.map(|email| NewUser { email, name, password }))?;
    let (user, invitation) = call.state.management.create_user(&call.caller, wanted, call.origin).await?;
    let location = format!("/api/v1/users/{}", user.id);
    Ok(created(&InvitedBody { user: user.into(), invitation: invitation.into() }, &location))
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<UserBody>>, ApiError> {
    let query: ListQuery = call.query().await?;
    let asked = Asked::parse(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut fields = Fields::default();
    let filter = UserFilter {
        email: query.email.map(|email| email.to_lowercase()),
        search: None,
        active: fields.boolean("active", query.active.as_deref()),
        invited: fields.boolean("invited", query.invited.as_deref()),
    };
    fields.finish()?;
    let found = call.state.management.list_users(&call.caller, &filter, asked.page()).await?;
    Ok(Json(asked.answer(found, |user| user.id.0, UserBody::from)))
}

pub(crate) async fn get(call: Call, user: Path<String>) -> Result<Json<UserBody>, ApiError> {
    Ok(Json(call.state.management.find_user(&call.caller, &Reference::from(user.as_str())).await?.into()))
}

pub(crate) async fn change(mut call: Call, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let sent: ChangeBody = call.json().await?;
    let mut fields = Fields::default();
    let change = UserChange {
        email: fields.optional("email", sent.email.as_deref(), Email::parse),
        name: fields.optional("name", sent.name.as_deref(), name),
        active: sent.active,
    };
    fields.finish()?;
    let changed = call.state.management.update_user(&call.caller, &Reference::from(user.as_str()), change, call.origin.clone()).await?;
    Ok(call.confirmed(UserBody::from(changed)).await)
}

pub(crate) async fn delete(call: Call, user: Path<String>) -> Result<HttpResponse, ApiError> {
    call.state.management.delete_user(&call.caller, &Reference::from(user.as_str()), call.origin.clone()).await?;
    Ok(call.done().await)
}

pub(crate) async fn invite(call: Call, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let (user, invitation) = call.state.management.invite_user(&call.caller, &Reference::from(user.as_str()), call.origin).await?;
    Ok(HttpResponse::Ok().json(InvitedBody { user: user.into(), invitation: Some(invitation).into() }))
}

/// Whoever holds the secret of an invitation sets the password: they have no other credential yet.
pub(crate) async fn accept(state: Data<State>, request: HttpRequest, payload: Payload) -> Result<Json<UserBody>, ApiError> {
    let sent: AcceptBody = body::json(&request, payload, state.limits).await?;
    let mut fields = Fields::default();
    let password = fields.check("password", password(sent.password));
    let password = fields.finish_with(password)?;
    let secret = RawApiKey::from_presented(sent.invitation);
    let user = state.management.accept_invitation(&secret, &password, origin(&state, &request)).await?;
    state.follower.confirm().await;
    Ok(Json(user.into()))
}

pub(crate) async fn change_password(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: PasswordBody = call.json().await?;
    let mut fields = Fields::default();
    let new = fields.check("password", password(sent.password));
    let (old, new) = (SecretString::from(sent.old_password), fields.finish_with(new)?);
    call.state.management.change_password(&call.caller, &old, &new, call.origin.clone()).await?;
    Ok(call.done().await)
}
