//! The credential of a request: an extractor for handlers that need to know who calls.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, USER_AGENT};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::State;
use super::error::ApiError;
use crate::domain::audit::Origin;
use crate::domain::id::RequestId;
use crate::service::Caller;

/// Who calls, by `Authorization: Bearer` (RFC 6750, section 2.1).
pub(super) struct Authenticated(pub(super) Caller);

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<web::Data<State>>().cloned();
        let credential = bearer(request);
        Box::pin(async move {
            let state = state.ok_or_else(|| ApiError::new("internal_error", "the server was put together wrongly"))?;
            Ok(Self(state.authenticator.authenticate(&credential?).await?))
        })
    }
}

fn bearer(request: &HttpRequest) -> Result<String, ApiError> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().ok_or_else(ApiError::missing_credentials)?;
    if headers.next().is_some() {
        return Err(ApiError::invalid_request("there is more than one Authorization header; send one"));
    }
    let malformed = || ApiError::new("invalid_credentials", "the Authorization header is not of the form \"Bearer <API key or access token>\"");
    let (scheme, credential) = header.to_str().map_err(|_| malformed())?.split_once(' ').ok_or_else(malformed)?;
    let credential = credential.trim();
    // The name of a scheme is without case (RFC 9110, section 11.1).
    if scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty() { Ok(credential.to_owned()) } else { Err(malformed()) }
}

/// Where a request came from.
pub(super) fn origin(request: &HttpRequest) -> Origin {
    const LONGEST: usize = 500;
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        address: request.peer_addr().map(|address| address.ip()),
        user_agent: user_agent.map(|text| text.chars().take(LONGEST).collect()),
        request_id: request.extensions().get::<RequestId>().copied(),
    }
}
