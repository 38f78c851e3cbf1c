//! Management: `/api/v1/...`.

pub(super) mod api_keys;
pub(super) mod audit_events;
mod fields;
mod impact;
mod last_use;
pub(super) mod organizations;
mod page;
pub(super) mod service_accounts;

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The parameters of a query. Unknown ones are refused by the types, so that a mistyped filter does not list everything.
async fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, ApiError> {
    let read = web::Query::<T>::extract(request).await;
    read.map(web::Query::into_inner).map_err(|error| ApiError::invalid_request(format!("the query cannot be read: {error}")))
}

/// 201 with what was made, and where it is found. It may hold a key, so nobody is to keep it.
fn created(body: &impl Serialize, location: &str) -> HttpResponse {
    HttpResponse::Created().insert_header((LOCATION, location)).insert_header((CACHE_CONTROL, "no-store")).json(body)
}
