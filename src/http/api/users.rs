//! `/api/v1/users`: people, and their passwords.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::State;
use super::super::body;
use super::super::credential::{Call, origin};
use super::super::error::ApiError;
use super::created;
use super::fields::Fields;
pub(crate) use super::impact::LeftBehindBody;
use super::page::{Asked, Items};
use super::service_accounts::DeletionQuery;
use crate::domain::api_key::RawApiKey;
use crate::domain::entity::User;
use crate::domain::id::{OrganizationId, Reference, UserId};
use crate::domain::name::{Email, Invalid, Name, check_password};
use crate::domain::time::Timestamp;
use crate::service::{Invitation, NewUser, UserChange};
use crate::store::UserFilter;

/// A person to be added, or invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser, example = json!({"email": "ada@example.com", "name": "Ada"}))]
pub(crate) struct CreateBody {
    /// Their email address: one person's on the whole server.
    #[schema(value_type = Email)]
    email: String,
    /// What they are called.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// Left out, they are invited.
    #[schema(min_length = 12, max_length = 1000)]
    password: Option<String>,
}

/// What to change of a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange, example = json!({"name": "Ada", "active": false}))]
pub(crate) struct ChangeBody {
    /// Their new email address.
    #[schema(value_type = Option<Email>)]
    email: Option<String>,
    /// What they are called.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// false ends their sign-ins and tokens, and what they made for others.
    active: Option<bool>,
    /// With `active: false`: the API keys and passwords that were made for others go on working, and you become their maker.
    #[serde(default)]
    keep_credentials: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UsersQuery)]
pub(crate) struct ListQuery {
    /// At most so many items.
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only the one of this address.
    email: Option<String>,
    /// Only those who are active, or are not.
    #[schema(value_type = Option<bool>)]
    active: Option<String>,
    /// Only those without a password yet, or with one.
    #[schema(value_type = Option<bool>)]
    invited: Option<String>,
}

/// A new password for oneself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPassword)]
pub(crate) struct PasswordBody {
    /// The password up to now.
    #[schema(example = "correct horse battery staple")]
    old_password: String,
    /// The new one.
    #[schema(min_length = 12, max_length = 1000, example = "twelve purple monkeys dishwasher")]
    password: String,
}

/// The password of someone who was invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcceptedInvitation)]
pub(crate) struct AcceptBody {
    /// The secret of the invitation.
    #[schema(example = "hp_invite_...")]
    invitation: String,
    /// The password that they choose.
    #[schema(min_length = 12, max_length = 1000, example = "twelve purple monkeys dishwasher")]
    password: String,
}

/// A person.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserBody {
    id: UserId,
    organization_id: OrganizationId,
    email: Email,
    /// What they are called; may be empty.
    #[schema(example = "Ada")]
    name: String,
    /// Whether they may sign in.
    active: bool,
    /// Without a password yet.
    #[schema(example = false)]
    invited: bool,
    /// When they were added.
    created_at: Timestamp,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        let User { id, organization_id, email, name, active, has_password, created_at, .. } = user;
        Self { id, organization_id, email, name, active, invited: !has_password, created_at }
    }
}

/// The secret of a link with which someone sets a password: this once.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct InvitationBody {
    /// The secret of the invitation, where there is one: shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "hp_invite_...")]
    invitation: Option<String>,
    /// Until when it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    invitation_expires_at: Option<Timestamp>,
}

impl From<Option<Invitation>> for InvitationBody {
    fn from(invitation: Option<Invitation>) -> Self {
        invitation
            .map_or_else(Self::default, |it| Self { invitation: Some(it.secret.expose().to_owned()), invitation_expires_at: Some(it.expires_at) })
    }
}

/// A person, with an invitation where one was made.
#[derive(Serialize, ToSchema)]
#[schema(as = UserWithInvitation)]
pub(crate) struct InvitedBody {
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
    let made = call.state.management.create_user(&call.caller, wanted, call.origin.clone()).await;
    let render = |(user, invitation): (User, Option<Invitation>)| {
        let location = format!("/api/v1/users/{}", user.id);
        created(&InvitedBody { user: user.into(), invitation: invitation.into() }, &location)
    };
    call.commit(made, render).await
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
        keep_credentials: sent.keep_credentials,
    };
    fields.finish()?;
    let changed = call.state.management.update_user(&call.caller, &Reference::from(user.as_str()), change, call.origin.clone()).await?;
    Ok(call.confirmed(UserBody::from(changed)).await)
}

pub(crate) async fn delete(call: Call, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let keep = call.query::<DeletionQuery>().await?.keep()?;
    call.state.management.delete_user(&call.caller, &Reference::from(user.as_str()), keep, call.origin.clone()).await?;
    Ok(call.done().await)
}

pub(crate) async fn impact(call: Call, user: Path<String>) -> Result<Json<LeftBehindBody>, ApiError> {
    Ok(Json(call.state.management.left_by_user(&call.caller, &Reference::from(user.as_str())).await?.into()))
}

pub(crate) async fn invite(call: Call, user: Path<String>) -> Result<HttpResponse, ApiError> {
    let made = call.state.management.invite_user(&call.caller, &Reference::from(user.as_str()), call.origin.clone()).await;
    let render =
        |(user, invitation): (User, Invitation)| Ok(HttpResponse::Ok().json(InvitedBody { user: user.into(), invitation: Some(invitation).into() }));
    call.commit(made, render).await
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
