//! What happens to every request: an id, a deadline, one line in the log, errors in one form, and headers that keep answers safe.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use tracing::Instrument;

use super::State;
use super::cookie::SetCookie;
use super::dashboard::{error_page, is_page};
use super::error::ApiError;
use crate::domain::id::RequestId;
use crate::domain::secret_filter::masked;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps every request.
///
/// # Errors
/// Where the request ran out of time, or actix-web itself failed.
#[expect(clippy::disallowed_methods, reason = "how long an answer took is for the log, and no rule depends on it")]
pub(super) async fn every_request(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return Err(ApiError::new("internal_error", "the server was put together wrongly").into());
    };
    let started = Instant::now();
    let id = RequestId::generate(state.sources.now(), state.sources.random());
    request.extensions_mut().insert(id);
    let is_safe = request.method().is_safe();
    // Both are in the caller's hands: a method may be any word.
    let (method, path) = (masked(request.method().as_str()).into_owned(), masked(request.path()).into_owned());
    // Its errors are told in the words of OAuth, too, wherever they come from.
    let exchange = path == "/auth/login" || path.ends_with("/api/v1/login");
    let told = |error: ApiError| if exchange { error.at_login() } else { error };
    // No name holds the character NUL, and PostgreSQL cannot even be asked for one.
    let route = request.match_pattern();
    let page = is_page(request.path(), route.as_deref(), request.headers());
    let alone = |error: &ApiError| if page { error_page(None, error, id) } else { error.render(id) };
    if request.uri().path_and_query().is_some_and(|target| target.as_str().contains("%00")) {
        let response = finished(&state, alone(&told(ApiError::invalid_request("the path or query holds the character NUL"))), id);
        return Ok(request.into_response(response));
    }
    let span = tracing::info_span!("request", %id);

    let answer = tokio::time::timeout(state.limits.request_timeout, next.call(request).instrument(span.clone())).await;
    let _entered = span.enter();
    let response = match answer {
        Ok(Ok(response)) => response.map_into_boxed_body(),
        Ok(Err(error)) => {
            tracing::error!(method, path, error = %error, "not answered");
            return Err(error);
        }
        Err(_) => {
            // The request went down with its handler, so the answer is made by hand.
            let error = told(ApiError::timeout(!exchange && !is_safe));
            state.metrics.answered(&method, None, 503, Some(error.code()), started.elapsed());
            tracing::error!(method, path, internal = error.internal(), "not answered in time");
            let response = finished(&state, alone(&error), id);
            return Err(actix_web::error::InternalError::from_response(error, response).into());
        }
    };

    let (request, response) = response.into_parts();
    let of_the_router = match response.status() {
        StatusCode::NOT_FOUND => Some(ApiError::new("not_found", format!("there is nothing at {path}"))),
        StatusCode::METHOD_NOT_ALLOWED => Some(ApiError::new("method_not_allowed", format!("{path} does not take {method}"))),
        _ => None,
    };
    let error = response.error().and_then(|error| error.as_error::<ApiError>()).or(of_the_router.as_ref());
    let (code, internal) = (error.map(ApiError::code), error.and_then(ApiError::internal).map(str::to_owned));
    let rendered = error.map(|error| if page { error_page(Some(&request), error, id) } else { error.render(id) });
    // RFC 9110, section 15.5.6 asks for it.
    let allow = response.headers().get(ALLOW).cloned();
    let mut response = rendered.unwrap_or(response);
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    if let Some(SetCookie(cookie)) = request.extensions_mut().remove() {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    let status = response.status().as_u16();
    let took = started.elapsed();
    state.metrics.answered(&method, route, status, code, took);
    let milliseconds = took.as_secs_f64() * 1_000.0;
    if let Some(internal) = internal.as_ref().filter(|_| status == 503) {
        // An outage is told as an error once, by the store, and not with every request.
        tracing::info!(method, path, status, code, internal, milliseconds, "answered");
    } else if let Some(internal) = internal {
        tracing::error!(method, path, status, code, internal, milliseconds, "failed");
    } else {
        tracing::info!(method, path, status, code, milliseconds, "answered");
    }
    Ok(ServiceResponse::new(request, finished(&state, response, id)))
}

/// Headers of every answer.
fn finished(state: &State, mut response: HttpResponse, id: RequestId) -> HttpResponse {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if state.is_secure() {
        // Two years, as browsers ask for. Not for the hosts below this one, which are others' business.
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000"));
    }
    // Answers hold tokens, keys or the state of accounts. What may be kept says so itself. What is not a page shows nothing, wherever it is opened.
    for (name, value) in
        [(CACHE_CONTROL, "no-store"), (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"), (REFERRER_POLICY, "no-referrer")]
    {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
