//! The credential of a request: an extractor for handlers that need to know who calls.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Once};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::State;
use super::body::{self, Form};
use super::error::ApiError;
use super::kept::{FORM_KEY, IDEMPOTENCY_KEY, Kept, parse_idempotency_key};
use super::routes::{Needs, needs, takes_idempotency_key};
use super::{cookie, dashboard};
use crate::domain::audit::Origin;
use crate::domain::id::RequestId;
use crate::domain::secret_filter::{holds_secret, masked};
use crate::service::{Attempt, Caller, ManagementError, Propagation, Uncommitted};

/// How many nodes there are, and how many answer by a change, where an answer has no body (RFC 9651, section 3.2).
const PROPAGATION: HeaderName = HeaderName::from_static("hourpass-propagation");

/// A request by someone who proved who they are, by `Authorization: Bearer` (RFC 6750, section 2.1) or by the cookie of their session, and who holds what the route needs: in the whole
/// organization, or in a part of it. Whether it is the right part, the use case decides. The body is not read yet.
pub(super) struct Call {
    pub(super) state: web::Data<State>,
    pub(super) caller: Caller,
    pub(super) origin: Origin,
    request: HttpRequest,
    payload: Option<web::Payload>,
    /// The Idempotency-Key that was sent, if the route takes one.
    idempotency_key: Option<String>,
}

/// How many nodes there are, and how many answer by a change.
#[derive(Serialize)]
struct PropagationBody {
    live_nodes: usize,
    confirmed: usize,
}

impl Call {
    /// Answers with this, after the other nodes have confirmed what was changed, and with how many of them did.
    pub(super) async fn confirmed(&self, body: impl Serialize) -> HttpResponse {
        #[derive(Serialize)]
        struct Confirmed<T> {
            #[serde(flatten)]
            body: T,
            propagation: PropagationBody,
        }
        HttpResponse::Ok().json(Confirmed { body, propagation: self.propagation().await })
    }

    /// Commits what a use case made, and answers with what `render` makes of it. A repeat is answered with what was answered before.
    pub(super) async fn commit<T>(
        &self,
        made: Result<Uncommitted<T>, ManagementError>,
        render: impl FnOnce(T) -> Result<HttpResponse, ApiError>,
    ) -> Result<HttpResponse, ApiError> {
        Ok(Kept::commit(made, render).await?.answer())
    }

    /// Answers with this, after the other nodes have confirmed what was changed, and with how many of them did.
    pub(super) async fn confirm(&self, kept: Kept) -> Result<HttpResponse, ApiError> {
        #[derive(Serialize)]
        struct Confirmed {
            propagation: PropagationBody,
        }
        Ok(kept.with(&Confirmed { propagation: self.propagation().await })?.answer())
    }

    async fn propagation(&self) -> PropagationBody {
        let Propagation { live_nodes, confirmed } = self.state.follower.confirm().await;
        PropagationBody { live_nodes, confirmed }
    }

    /// Notes what the request with the Idempotency-Key consists of: a repeat has to be the same.
    fn note_body(&mut self, body: &[u8]) -> Result<(), ApiError> {
        let Some(key) = &self.idempotency_key else { return Ok(()) };
        let key = self.state.answers.of(&self.caller.id(), key).map_err(|error| ApiError::from_internal(&error))?;
        let target = self.request.uri().path_and_query().map_or("", |target| target.as_str());
        self.caller.attempt = Some(Arc::new(Attempt::new(key, &[self.request.method().as_str().as_bytes(), target.as_bytes(), body])));
        Ok(())
    }

    /// Answers that it was done, after the other nodes have confirmed it. How many did stands in a header, because there is no body.
    pub(super) async fn done(&self) -> HttpResponse {
        let Propagation { live_nodes, confirmed } = self.state.follower.confirm().await;
        HttpResponse::NoContent().insert_header((PROPAGATION, format!("live_nodes={live_nodes}, confirmed={confirmed}"))).finish()
    }

    /// Ends the session of the browser that asks, where it has one: also one that it did not call with.
    pub(super) async fn end_cookie(&self) -> Result<(), ApiError> {
        cookie::end(&self.state, &self.request).await
    }

    /// Reads a JSON object. To be called once.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        let payload = self.payload.take().ok_or_else(|| ApiError::invalid_request("the body was read already"))?;
        let (read, bytes) = body::json_and_bytes(&self.request, payload, self.state.limits).await?;
        self.note_body(&bytes)?;
        Ok(read)
    }

    /// Reads a JSON object where a body was sent. To be called once.
    pub(super) async fn optional_json<T: DeserializeOwned + Default>(&mut self) -> Result<T, ApiError> {
        let payload = self.payload.take().ok_or_else(|| ApiError::invalid_request("the body was read already"))?;
        let (read, bytes) = body::optional_json(&self.request, payload, self.state.limits).await?;
        self.note_body(&bytes)?;
        Ok(read)
    }

    /// Reads a form. Its field [`FORM_KEY`], if there is one, is its Idempotency-Key. To be called once.
    pub(super) async fn form(&mut self) -> Result<Form, ApiError> {
        let payload = self.payload.take().ok_or_else(|| ApiError::invalid_request("the body was read already"))?;
        let (mut form, bytes) = Form::read(&self.request, payload, self.state.limits).await?;
        if let Some(key) = form.take(FORM_KEY)? {
            // All forms of a page have the same, and are sent to different paths.
            self.idempotency_key = Some(format!("{} {}", parse_idempotency_key(&key)?, self.request.path()));
            self.note_body(&bytes)?;
        }
        Ok(form)
    }

    /// Reads a form where a body was sent, only for its Idempotency-Key. To be called once.
    pub(super) async fn optional_form(&mut self) -> Result<(), ApiError> {
        if body::is_empty(&self.request) { Ok(()) } else { self.form().await.map(drop) }
    }

    /// Reads the parameters of the query. Unknown ones are refused by the types, so that a mistyped filter does not list everything.
    pub(super) async fn query<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        // Pages show what was looked for.
        body::refuse_secrets(
            form_urlencoded::parse(self.request.query_string().as_bytes())
                .filter(|(name, value)| holds_secret(name) || holds_secret(value))
                .map(|(name, _)| name),
        )?;
        let read = web::Query::<T>::extract(&self.request).await;
        read.map(web::Query::into_inner).map_err(|error| ApiError::invalid_request(format!("the query cannot be read: {error}")))
    }
}

impl FromRequest for Call {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload).into_inner().ok());
        Box::pin(async move {
            let wrong = || ApiError::new("internal_error", "the server was put together wrongly");
            let state = request.app_data::<web::Data<State>>().cloned().ok_or_else(wrong)?;
            let origin = origin(&state, &request);
            // A header wins over a cookie, which may be there without anybody's doing. One of another scheme is a proxy's business.
            let cookie = if has_bearer(&request) { None } else { cookie::presented(&state, &request) };
            let caller = match cookie {
                Some(cookie) => Box::pin(cookie::authenticate(&state, &request, cookie, &origin)).await?,
                None => state.authenticator.authenticate(&bearer(&request)?, &origin).await?,
            };
            dashboard::remember(&request, &caller);
            let path = request.match_pattern().ok_or_else(wrong)?;
            let needs = needs(request.method(), &path).ok_or_else(wrong)?;
            if let Needs::Permission(permission) = needs
                && !caller.access.holds_somewhere(permission)
            {
                return Err(ManagementError::Forbidden(permission.clone(), "there").into());
            }
            let idempotency_key = if takes_idempotency_key(request.method(), &path) { sent_idempotency_key(&request)? } else { None };
            let mut call = Self { state, caller, origin, request, payload, idempotency_key };
            // Until a body is read.
            call.note_body(&[])?;
            Ok(call)
        })
    }
}

/// The Idempotency-Key of a request.
fn sent_idempotency_key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut headers = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(ApiError::invalid_request("there is more than one Idempotency-Key header; send one"));
    }
    let key = parse_idempotency_key(header.to_str().unwrap_or_default())?;
    Ok(Some(key.to_owned()))
}

/// Whether there is a header for us, well-formed or not.
fn has_bearer(request: &HttpRequest) -> bool {
    let scheme = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b' ').next().map(<[u8]>::to_ascii_lowercase);
    request.headers().get_all(AUTHORIZATION).any(|value| scheme(value).as_deref() == Some(b"bearer"))
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
pub(super) fn origin(state: &State, request: &HttpRequest) -> Origin {
    const LONGEST: usize = 500;
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        address: request.peer_addr().map(|peer| client_address(&state.trusted_proxies, peer.ip().to_canonical(), request)),
        user_agent: user_agent.map(|text| masked(text).chars().take(LONGEST).collect()),
        request_id: request.extensions().get::<RequestId>().copied(),
    }
}

/// The address of the caller. Every proxy adds to `X-Forwarded-For` whom it was asked by, so it is read from its end, for as long as it was written by someone
/// who is believed; what a caller puts in front counts for nothing.
fn client_address(trusted: &[IpNet], peer: IpAddr, request: &HttpRequest) -> IpAddr {
    let believed = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let headers: Vec<&str> = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    if !headers.is_empty() && !believed(&peer) && is_near(peer) {
        TOLD.call_once(|| {
            tracing::warn!(%peer, "X-Forwarded-For is not believed, because it comes from outside of server.trusted_proxies; if that is a proxy of yours, name it there, or all who come through it have its address, on record and for limits");
        });
    }
    let mut address = peer;
    for text in headers.iter().rev().flat_map(|header| header.rsplit(',')) {
        if !believed(&address) {
            break;
        }
        let Some(next) = parse_address(text.trim()) else { break };
        address = next;
    }
    address
}

/// That a proxy may have been forgotten is said once.
static TOLD: Once = Once::new();

/// Whether an address is where one's own proxies are, so that nobody else has a warning written.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// An address, perhaps with a port, as proxies write it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let address = |peer: &str, forwarded: &[&str]| {
            let request = forwarded.iter().fold(TestRequest::default(), |request, value| request.append_header(("x-forwarded-for", *value)));
            client_address(&trusted, peer.parse().unwrap(), &request.to_http_request()).to_string()
        };
        assert_eq!(address("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(address("10.0.0.1", &["192.0.2.66, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(address("10.0.0.1", &["192.0.2.66", "198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(address("::1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &["198.51.100.1, junk"]), "10.0.0.1");
    }
}
