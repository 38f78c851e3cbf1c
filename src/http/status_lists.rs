//! `GET /status-lists/{list}` and `GET /status-lists`: which credentials' tokens count no more (draft-ietf-oauth-status-list-21, sections 8 and 9).

use actix_web::http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, VARY,
};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde_json::json;

use super::State;
use super::error::ApiError;
use crate::service::StatusLists;

const TYPE: &str = "application/statuslist+jwt";

pub(super) async fn get(state: Data<State>, number: Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if request.query_string().split('&').any(|parameter| parameter == "time" || parameter.starts_with("time=")) {
        return Err(ApiError::new("not_implemented", "lists of the past are not kept; leave time out"));
    }
    if !accepts(&request) {
        return Err(ApiError::new("not_acceptable", format!("a status list is an {TYPE}; let Accept have it, or leave Accept out")));
    }
    let lists = state.status.lists().await?;
    let list = number.parse().ok().and_then(|number| lists.get(number));
    let list = list.ok_or_else(|| ApiError::new("not_found", format!("there is no status list {number}")))?;
    let tag = format!("W/\"{}\"", list.tag);
    if names(&request, &IF_NONE_MATCH, |named| named == tag || named == "*") {
        return Ok(public(HttpResponse::NotModified(), &state, &lists).insert_header((ETAG, tag)).finish());
    }
    let mut answer = public(HttpResponse::Ok(), &state, &lists);
    answer.insert_header((CONTENT_TYPE, TYPE)).insert_header((ETAG, tag)).insert_header((VARY, "Accept-Encoding"));
    let zipped = names(&request, &ACCEPT_ENCODING, |coding| {
        coding.split_once(';').map_or(coding, |(coding, _)| coding).trim().eq_ignore_ascii_case("gzip") && !coding.replace(' ', "").ends_with(";q=0")
    });
    Ok(if zipped { answer.insert_header((CONTENT_ENCODING, "gzip")).body(list.gzip.clone()) } else { answer.body(list.token.clone()) })
}

/// All lists (section 9.3).
pub(super) async fn aggregation(state: Data<State>) -> Result<HttpResponse, ApiError> {
    let lists = state.status.lists().await?;
    let uris: Vec<_> = (0..lists.count()).map(|number| state.status.uri(number)).collect();
    Ok(public(HttpResponse::Ok(), &state, &lists).json(json!({ "status_lists": uris })))
}

/// To be kept by anyone until the list is `ttl` old; a validator may run in a browser.
fn public(mut answer: HttpResponseBuilder, state: &State, lists: &StatusLists) -> HttpResponseBuilder {
    let left = state.status.rules().ttl.saturating_sub(state.sources.now().since(lists.read_at)).as_secs();
    answer
        .insert_header((CACHE_CONTROL, format!("public, max-age={left}")))
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((ACCESS_CONTROL_EXPOSE_HEADERS, "ETag"));
    answer
}

fn accepts(request: &HttpRequest) -> bool {
    let named = |range: &str| {
        let range = range.split_once(';').map_or(range, |(range, _)| range).trim();
        ["*/*", "application/*", TYPE].iter().any(|known| known.eq_ignore_ascii_case(range))
    };
    !request.headers().contains_key(ACCEPT) || names(request, &ACCEPT, named)
}

/// Whether a header with a list of values has one that `wanted` takes.
fn names(request: &HttpRequest, header: &HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    let values = request.headers().get_all(header).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| wanted(value.trim()))
}
