//! Refusals and failures as pages.

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, HeaderMap, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::error::ApiError;
use super::PAGES;
use super::frame::Frame;
use super::mistakes::sentence;
use super::visit::{page, see_other};
use crate::domain::id::RequestId;
use crate::domain::secret_filter::holds_secret;
use crate::service::Caller;

#[derive(Template)]
#[template(path = "error.html")]
struct InFrame<'a> {
    frame: &'a Frame,
    error: Shown<'a>,
}

#[derive(Template)]
#[template(path = "error_alone.html")]
struct Alone<'a> {
    error: Shown<'a>,
}

struct Shown<'a> {
    status: u16,
    title: &'a str,
    detail: String,
    advice: &'static str,
    request_id: RequestId,
}

/// Whether this path is that of a page, or is nowhere and is beside pages or asked for by a browser. `pattern` is the route's that it is on, if any: a part of the
/// API may be below the path of a page, such as the login of a workspace.
pub(in crate::http) fn is_page(path: &str, pattern: Option<&str>, headers: &HeaderMap) -> bool {
    let prefers_html = || headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.starts_with("text/html"));
    match pattern {
        Some(pattern) => PAGES.iter().any(|page| page.path == pattern),
        None => PAGES.iter().any(|page| first(page.path) == first(path)) && !path.contains("/api/") || prefers_html(),
    }
}

/// The first part of a path.
fn first(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// Keeps what is around the page, for the case that it ends in an error.
pub(in crate::http) fn remember(request: &HttpRequest, caller: &Caller) {
    if is_page(request.path(), request.match_pattern().as_deref(), request.headers()) {
        let frame = Frame::new(request, caller);
        request.extensions_mut().insert(frame);
    }
}

/// The error as a page. Whoever is not signed in is sent there, and comes back.
pub(in crate::http) fn error_page(request: Option<&HttpRequest>, error: &ApiError, request_id: RequestId) -> HttpResponse {
    let status = error.status();
    if let (401, Some(request)) = (status.as_u16(), request) {
        return see_other(&format!("/sign-in?next={}", utf8_percent_encode(&back_to(request), NON_ALPHANUMERIC)));
    }
    let shown = Shown {
        status: status.as_u16(),
        title: error.title(),
        detail: sentence(error.detail()),
        advice: advice(status.as_u16(), error.code()),
        request_id,
    };
    let frame = request.and_then(|request| request.extensions().get::<Frame>().cloned());
    // What was done before is not what this page is about.
    let frame = frame.map(|frame| Frame { notice: None, ..frame });
    let plain = error.render(request_id);
    let shown = match &frame {
        Some(frame) => page(status, &InFrame { frame, error: shown }),
        None => page(status, &Alone { error: shown }),
    };
    let Ok(mut response) = shown else { return plain };
    if let Some(wait) = plain.headers().get(RETRY_AFTER) {
        response.headers_mut().insert(RETRY_AFTER, wait.clone());
    }
    response
}

/// Where to go on after signing in: the page itself, or that of the form that was sent.
fn back_to(request: &HttpRequest) -> String {
    let asks = [Method::GET, Method::HEAD].contains(request.method());
    let pattern = request.match_pattern().unwrap_or_default();
    let shown = PAGES.iter().any(|page| page.path == pattern && page.method == "GET");
    match request.uri().path_and_query() {
        // A key is not written into another address.
        Some(target) if holds_secret(target.as_str()) => "/".to_owned(),
        Some(target) if asks => target.as_str().to_owned(),
        _ if shown => request.path().to_owned(),
        _ => "/".to_owned(),
    }
}

fn advice(status: u16, code: &str) -> &'static str {
    match status {
        403 if code == "cross_site_request" => "Open the page here, at this address, and do it there.",
        403 => "Ask an administrator of your organization for a role that includes it.",
        404 | 405 => "It may have been deleted or renamed. Go back, or look for it in its list.",
        429 => "Wait a little, then try again.",
        503 => "Reload the page in a few seconds. Tokens that were issued go on working meanwhile.",
        500..=599 => "Try again. If it happens again, give the request id to whoever runs this server.",
        _ => "Go back, and try it once more.",
    }
}
