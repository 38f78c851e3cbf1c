//! `POST /auth/login` and `POST /api/v1/login`: the exchange; `POST /auth/logout`.

use actix_web::http::header::HOST;
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::body::Form;
use super::cookie;
use super::credential::{Call, origin};
use super::error::ApiError;
use super::openapi::null;
use crate::domain::api_key::RawApiKey;
use crate::domain::claims::AuthorizationDetail;
use crate::domain::id::Reference;
use crate::service::{Issued, LoginRequest, Presented, Receiver};

/// The answer of `/auth/login`. The two device fields are always null; clients of ZenML Pro expect them.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessToken)]
pub(super) struct AuthLoginAnswer {
    /// The token: an RFC 9068 JWT.
    #[schema(example = "eyJ...")]
    access_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// For how many seconds it counts.
    #[schema(example = 3600)]
    expires_in: i64,
    /// Always null.
    #[schema(schema_with = null)]
    device_id: Option<()>,
    /// Always null.
    #[schema(schema_with = null)]
    device_metadata: Option<()>,
}

/// The answer of `/api/v1/login`.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkspaceAccessToken)]
pub(super) struct WorkspaceLoginAnswer {
    /// The token: an RFC 9068 JWT.
    #[schema(example = "eyJ...")]
    access_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// For how many seconds it counts.
    #[schema(example = 3600)]
    expires_in: i64,
    /// Always null.
    #[schema(schema_with = null)]
    refresh_token: Option<()>,
    /// The permissions held in the whole workspace, with spaces between them.
    #[schema(example = "pipelines.deploy pipelines.read")]
    scope: Option<String>,
    /// What of it is held in single projects only (RFC 9396, section 7); missing where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    authorization_details: Vec<AuthorizationDetail>,
}

/// The form of an exchange. Other fields do not count.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read field by field")]
#[schema(example = json!({"password": "hp_live_...", "workspace": "production"}))]
pub(super) struct LoginForm {
    /// The API key; or, with `username`, a person's password.
    password: String,
    /// A person's email address; empty or left out for an API key.
    #[schema(nullable = false)]
    username: Option<String>,
    /// Id or slug of the workspace that the token is for; for Hourpass itself without a receiver.
    #[schema(nullable = false)]
    workspace: Option<String>,
    /// Instead of `workspace`: the receiver's audience.
    #[schema(nullable = false)]
    audience: Option<String>,
    /// The same as `audience` (RFC 8707).
    #[schema(nullable = false)]
    resource: Option<String>,
    /// Permissions with spaces between them, to get fewer than are held.
    #[schema(nullable = false)]
    scope: Option<String>,
    /// Does not count; OAuth clients send `password`.
    #[schema(nullable = false)]
    grant_type: Option<String>,
    /// Does not count.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// Does not count.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// For Hourpass itself, or for the workspace that the form names.
pub(super) async fn auth_login(state: Data<State>, request: HttpRequest, payload: Payload) -> Result<Json<AuthLoginAnswer>, ApiError> {
    // Called by a page of ours, the browser is signed in.
    let browser = cookie::same_origin(&state, &request);
    let issued = exchange(&state, &request, payload, browser, |named| Ok(named.unwrap_or(Receiver::Hourpass))).await.map_err(ApiError::at_login)?;
    let Issued { access_token, expires_in, cookie, .. } = issued;
    if let Some(cookie) = cookie {
        cookie::replace(&state, &request, &cookie).await;
    }
    Ok(Json(AuthLoginAnswer { access_token, token_type: "bearer", expires_in, device_id: None, device_metadata: None }))
}

/// For the workspace that the form names, or that is reached at the host that was asked.
pub(super) async fn workspace_login(state: Data<State>, request: HttpRequest, payload: Payload) -> Result<Json<WorkspaceLoginAnswer>, ApiError> {
    let host = request.uri().host().is_none().then(|| request.headers().get(HOST)).flatten();
    // A client may write the port of the scheme, which a workspace's URL leaves out.
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).map(str::to_owned).unwrap_or(host);
    let issued = exchange(&state, &request, payload, false, |named| Ok(named.unwrap_or(Receiver::Host(host)))).await;
    issued.map(workspace_answer).map_err(ApiError::at_login)
}

/// For the workspace in the path.
pub(super) async fn workspace_login_by_path(
    state: Data<State>,
    workspace: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<WorkspaceLoginAnswer>, ApiError> {
    let issued = exchange(&state, &request, payload, false, |named| match named {
        Some(Receiver::Workspace(reference)) if reference != Reference::from(workspace.as_str()) => {
            Err(ApiError::invalid_request(format!("the form names the workspace {reference}, and the path another; name one")))
        }
        Some(Receiver::Audience(_)) => Err(ApiError::invalid_request("the path names the workspace; leave audience and resource out")),
        _ => Ok(Receiver::Workspace(Reference::from(workspace.as_str()))),
    });
    issued.await.map(workspace_answer).map_err(ApiError::at_login)
}

/// Signs the browser in, for the dashboard.
pub(super) async fn sign_in(state: &State, request: &HttpRequest, form: &mut Form) -> Result<(), ApiError> {
    let presented = presented(form)?;
    let wish = LoginRequest { presented, receiver: Receiver::Hourpass, scope: None, browser: true, origin: origin(state, request) };
    if let Some(cookie) = state.login.login(wish).await?.cookie {
        cookie::replace(state, request, &cookie).await;
    }
    Ok(())
}

/// Ends the session whose cookie or token this is. Asked with a key, or with a key's token, there is nothing to end, and that is no error.
pub(super) async fn logout(call: Call) -> Result<HttpResponse, ApiError> {
    call.state.sessions.sign_out(&call.caller, call.origin.clone()).await?;
    call.end_cookie().await?;
    Ok(call.done().await)
}

fn workspace_answer(Issued { access_token, expires_in, scope, authorization_details, .. }: Issued) -> Json<WorkspaceLoginAnswer> {
    Json(WorkspaceLoginAnswer { access_token, token_type: "bearer", expires_in, refresh_token: None, scope, authorization_details })
}

/// `receiver` decides whom the token is for, from what the form names.
async fn exchange(
    state: &State,
    request: &HttpRequest,
    payload: Payload,
    browser: bool,
    receiver: impl FnOnce(Option<Receiver>) -> Result<Receiver, ApiError>,
) -> Result<Issued, ApiError> {
    let mut form = Form::read_credentials(request, payload, state.limits).await?;
    let presented = presented(&mut form)?;
    let receiver = receiver(named_receiver(&mut form)?)?;
    let wish = LoginRequest { presented, receiver, scope: form.take("scope")?, browser, origin: origin(state, request) };
    Ok(state.login.login(wish).await?)
}

/// What a form presents: an API key as the password, or a person's address and password.
fn presented(form: &mut Form) -> Result<Presented, ApiError> {
    // An Authorization header does not count here, nor do grant_type, client_id and client_secret: client libraries send all of them.
    let password = form.take("password")?;
    let password = password.ok_or_else(|| ApiError::invalid_request("the field password is missing or empty; send your API key in it"))?;
    Ok(match form.take("username")? {
        Some(email) => Presented::Password { email, password: password.into() },
        None => Presented::ApiKey(RawApiKey::from_presented(password)),
    })
}

/// The receiver that the form names: `workspace`, or a URI in `audience` or `resource` (RFC 8707).
fn named_receiver(form: &mut Form) -> Result<Option<Receiver>, ApiError> {
    let uri = match (form.take("audience")?, form.take("resource")?) {
        (Some(audience), Some(resource)) if audience != resource => {
            return Err(ApiError::invalid_request("audience and resource name two receivers; a token is for one"));
        }
        (audience, resource) => audience.or(resource),
    };
    match (form.take("workspace")?, uri) {
        (Some(_), Some(_)) => Err(ApiError::invalid_request("name the receiver once: by workspace, or by audience or resource")),
        (Some(workspace), None) => Ok(Some(Receiver::Workspace(Reference::from(workspace.as_str())))),
        (None, uri) => Ok(uri.map(Receiver::Audience)),
    }
}
