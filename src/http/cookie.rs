//! The session's cookie: read, set, renewed and cleared; and the proof that a request comes from a page of ours.
//!
//! A browser sends the cookie along with whatever a page of another origin makes it ask for, so that a request that may change something counts only with that proof
//! (`SameSite=Lax` keeps most of them away before that). Whoever sends an `Authorization` header proves it by that: no page can make another's browser send one.

use actix_web::http::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use actix_web::{HttpMessage, HttpRequest};

use super::State;
use super::credential::origin;
use super::error::ApiError;
use crate::domain::api_key::RawApiKey;
use crate::domain::audit::Origin;
use crate::service::{AuthenticationError, Caller, Cookie};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// To be sent with the answer.
pub(super) struct SetCookie(pub(super) HeaderValue);

/// The name of the cookie. Under https, no other host, not even one above or below this one, can set it (RFC 6265bis, section 4.1.3.2).
fn name(state: &State) -> &'static str {
    if state.is_secure() { "__Host-hourpass" } else { "hourpass" }
}

/// What the browser sent. Of several of that name the first counts.
pub(super) fn presented(state: &State, request: &HttpRequest) -> Option<RawApiKey> {
    // By bytes: what others have set for this host need not be text.
    let mut pairs = request.headers().get_all(COOKIE).flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    let ours = pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name(state).as_bytes())?.strip_prefix(b"="))?;
    str::from_utf8(ours).ok().map(|value| RawApiKey::from_presented(value.to_owned()))
}

/// Has the browser keep `cookie` until it is over.
fn set(state: &State, request: &HttpRequest, cookie: &Cookie) {
    let seconds = cookie.expires_at.as_seconds() - state.sources.latest().as_seconds();
    put(state, request, cookie.secret.expose(), seconds);
}

/// The same where one signs in: what the browser had before ends. Nobody is to find it signed in as somebody else again.
pub(super) async fn replace(state: &State, request: &HttpRequest, cookie: &Cookie) {
    if let Err(error) = end(state, request).await {
        tracing::warn!(%error, "the session that a browser had before was not ended");
    }
    set(state, request, cookie);
}

/// Ends the session of the browser that asks, where it has one and a page of ours asks, and has it forget the cookie.
pub(super) async fn end(state: &State, request: &HttpRequest) -> Result<(), ApiError> {
    let Some(cookie) = presented(state, request).filter(|_| same_origin(state, request)) else { return Ok(()) };
    match state.authenticator.authenticate_cookie(&cookie).await {
        Ok(caller) => state.sessions.sign_out(&caller, origin(state, request)).await?,
        Err(error) if counts_no_more(&error) => {}
        Err(error) => return Err(error.into()),
    }
    clear(state, request);
    Ok(())
}

/// Whether a session is over, and this is not a failure that passes.
fn counts_no_more(error: &AuthenticationError) -> bool {
    matches!(error, AuthenticationError::Invalid(_) | AuthenticationError::Refused(_))
}

fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Has the browser forget its cookie.
fn clear(state: &State, request: &HttpRequest) {
    put(state, request, "", 0);
}

fn put(state: &State, request: &HttpRequest, value: &str, max_age: i64) {
    let secure = if state.is_secure() { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}", name(state));
    if let Ok(mut header) = HeaderValue::from_str(&text) {
        header.set_sensitive(true);
        request.extensions_mut().insert(SetCookie(header));
    }
}

/// Finds out who signed in with the browser that asks. Has a session that is in use last longer, and a browser forget one that is over.
pub(super) async fn authenticate(state: &State, request: &HttpRequest, cookie: RawApiKey, origin: &Origin) -> Result<Caller, ApiError> {
    if !request.method().is_safe() && !same_origin(state, request) {
        return Err(cross_site());
    }
    let caller = match state.authenticator.authenticate_cookie(&cookie).await {
        Ok(caller) => caller,
        Err(error) => {
            if counts_no_more(&error) {
                clear(state, request);
            }
            return Err(error.into());
        }
    };
    // A page of another site may show one of ours, such as a picture. That is no use of it.
    if matches!(header(request, SEC_FETCH_SITE), None | Some("same-origin" | "none")) {
        match state.sessions.renew(&caller, origin).await {
            Ok(Some(expires_at)) => set(state, request, &Cookie { secret: cookie, expires_at }),
            Ok(None) => {}
            Err(error) if counts_no_more(&error) => {
                clear(state, request);
                return Err(error.into());
            }
            // It is still good; the next request tries again.
            Err(error) => tracing::warn!(%error, "a session was not renewed"),
        }
    }
    Ok(caller)
}

/// Why a request with a cookie does not count.
pub(super) fn cross_site() -> ApiError {
    let detail = "a browser sent this, and not from a page of this server; use its pages, or an Authorization header";
    ApiError::new("cross_site_request", detail)
}

/// Whether a browser sent this from a page of this server: it says so itself (`Sec-Fetch-Site`), or where it is too old for that, or the connection too unsafe, it names the
/// page's origin. No page can set either header.
pub(super) fn same_origin(state: &State, request: &HttpRequest) -> bool {
    match (header(request, SEC_FETCH_SITE), header(request, ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            // Without https nobody knows who asks, and the server may be reached by several names.
            let asked = || header(request, HOST).is_some_and(|host| !host.is_empty() && origin.strip_prefix("http://") == Some(host));
            origin == state.issuer || !state.is_secure() && asked()
        }
        (None, None) => false,
    }
}
