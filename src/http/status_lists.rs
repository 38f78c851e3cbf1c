//! `GET /status-lists/{list}` and `GET /status-lists`: which credentials' tokens count no more (draft-ietf-oauth-status-list-21, sections 8 and 9).

use std::time::Duration;

use actix_web::http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, VARY,
};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::ApiError;
use crate::domain::signing::KEPT_FOR;
use crate::service::StatusLists;

/// Where all status lists are (draft-ietf-oauth-status-list-21, section 9.3).
#[derive(Serialize, ToSchema)]
#[schema(as = StatusLists)]
pub(super) struct AggregationBody {
    /// The URIs of the lists.
    #[schema(example = json!(["https://hourpass.example.com/status-lists/0"]))]
    status_lists: Vec<String>,
}

const TYPE: &str = "application/statuslist+jwt";

pub(super) async fn get(state: Data<State>, number: Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if request.query_string().split('&').any(|parameter| parameter == "time" || parameter.starts_with("time=")) {
        return Err(ApiError::new("not_implemented", "lists of the past are not kept; leave time out"));
    }
    if !accepts(&request) {
        return Err(ApiError::new("not_acceptable", format!("a status list is an {TYPE}; let Accept have it, or leave Accept out")));
    }
    let lists = state.status.lists().await?;
    // As it stands in the URI, and in no other way: the list names it.
    let list = number.parse::<i64>().ok().filter(|parsed| parsed.to_string() == *number).and_then(|number| lists.get(number));
    let list = list.ok_or_else(|| ApiError::new("not_found", format!("there is no status list {number}")))?;
    let tag = format!("W/\"{}\"", list.tag);
    // Compared weakly (RFC 9110, section 8.8.3.2).
    if names(&request, &IF_NONE_MATCH, |named| named == "*" || named.trim_start_matches("W/") == tag.trim_start_matches("W/")) {
        return Ok(public(HttpResponse::NotModified(), &state, &lists, Duration::MAX).insert_header((ETAG, tag)).finish());
    }
    let mut answer = public(HttpResponse::Ok(), &state, &lists, Duration::MAX);
    answer.insert_header((CONTENT_TYPE, TYPE)).insert_header((ETAG, tag));
    let zipped = names(&request, &ACCEPT_ENCODING, |coding| wants(coding, &["gzip"]));
    Ok(if zipped { answer.insert_header((CONTENT_ENCODING, "gzip")).body(list.gzip.clone()) } else { answer.body(list.token.clone()) })
}

/// All lists (section 9.3).
pub(super) async fn aggregation(state: Data<State>) -> Result<HttpResponse, ApiError> {
    let lists = state.status.lists().await?;
    let status_lists = lists.numbers().map(|number| state.status.uri(number)).collect();
    // A list fills in more than a minute, however many sign in, so that the next one is known before a token names it.
    Ok(public(HttpResponse::Ok(), &state, &lists, KEPT_FOR).json(AggregationBody { status_lists }))
}

/// To be kept by anyone until the list is `ttl` old, and no longer than `at_most`; a validator may run in a browser.
fn public(mut answer: HttpResponseBuilder, state: &State, lists: &StatusLists, at_most: Duration) -> HttpResponseBuilder {
    let left = state.status.rules().ttl.saturating_sub(state.sources.now().since(lists.read_at)).min(at_most).as_secs();
    answer
        .insert_header((CACHE_CONTROL, format!("public, max-age={left}")))
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((ACCESS_CONTROL_EXPOSE_HEADERS, "ETag"))
        .insert_header((VARY, "Accept-Encoding"));
    answer
}

fn accepts(request: &HttpRequest) -> bool {
    !request.headers().contains_key(ACCEPT) || names(request, &ACCEPT, |range| wants(range, &["*/*", "application/*", TYPE]))
}

/// Whether an entry of `Accept` or `Accept-Encoding` is one of these, and is wanted: its weight is not 0 (RFC 9110, section 12.4.2).
pub(super) fn wants(entry: &str, known: &[&str]) -> bool {
    let mut parts = entry.split(';').map(str::trim);
    let named = parts.next().is_some_and(|name| known.iter().any(|known| known.eq_ignore_ascii_case(name)));
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).map(str::parse::<f32>);
    named && !matches!(weight, Some(Ok(weight)) if weight <= 0.0)
}

/// Whether a header with a list of values has one that `wanted` takes.
pub(super) fn names(request: &HttpRequest, header: &HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    let values = request.headers().get_all(header).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| wanted(value.trim()))
}
