//! `/users/me/sessions`: the caller's own sign-ins.

use actix_web::HttpResponse;
use actix_web::web::{Json, Path};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::page::Items;
use crate::domain::entity::SessionDetails;
use crate::domain::id::SessionId;
use crate::domain::time::Timestamp;

/// A sign-in.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionBody {
    /// Its id.
    id: SessionId,
    /// Whether it is the one that asks.
    current: bool,
    /// Whether it is one in a browser, with a cookie.
    browser: bool,
    /// When it began.
    created_at: Timestamp,
    /// From when on it is over, unless it is renewed.
    expires_at: Timestamp,
    /// Until when its use renews it; null where it is not renewed.
    renewable_until: Option<Timestamp>,
    /// From where it began.
    address: Option<String>,
    /// With what it began.
    user_agent: Option<String>,
}

/// Whoever was given a token for something else only is to end nobody's sign-ins.
fn refuse_narrowed(call: &Call) -> Result<(), ApiError> {
    if call.caller.is_narrowed() {
        return Err(ApiError::new("access_denied", "this token was issued for a scope only, and sign-ins are not in it; use one without a scope"));
    }
    Ok(())
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<SessionBody>>, ApiError> {
    refuse_narrowed(&call)?;
    let current = call.caller.session().map(|session| session.id);
    let found = call.state.sessions.list(&call.caller).await?;
    Ok(Json(Items::all(found.into_iter().map(|SessionDetails { session, address, user_agent }| SessionBody {
        id: session.id,
        current: current == Some(session.id),
        browser: session.renewable_until.is_some(),
        created_at: session.created_at,
        expires_at: session.expires_at,
        renewable_until: session.renewable_until,
        address,
        user_agent,
    }))))
}

pub(crate) async fn end(call: Call, session: Path<String>) -> Result<HttpResponse, ApiError> {
    refuse_narrowed(&call)?;
    let found = match session.parse::<SessionId>() {
        Ok(id) => call.state.sessions.end(&call.caller, id, call.origin.clone()).await?,
        Err(_) => false,
    };
    if call.caller.session().is_some_and(|current| current.id.to_string() == *session) {
        call.end_cookie().await?;
    }
    if found { Ok(call.done().await) } else { Err(ApiError::new("not_found", format!("there is no sign-in {session} of yours; it may be over"))) }
}

pub(crate) async fn end_others(call: Call) -> Result<HttpResponse, ApiError> {
    refuse_narrowed(&call)?;
    call.state.sessions.end_others(&call.caller, call.origin.clone()).await?;
    Ok(call.done().await)
}
