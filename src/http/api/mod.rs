//! Management: `/api/v1/...`.

pub(super) mod access;
pub(super) mod api_keys;
pub(super) mod audit_events;
pub(super) mod fields;
mod impact;
mod last_use;
pub(super) mod organizations;
pub(super) mod page;
pub(super) mod permissions;
pub(super) mod projects;
pub(super) mod role_assignments;
pub(super) mod roles;
pub(super) mod service_accounts;
pub(super) mod sessions;
pub(super) mod signing_keys;
pub(super) mod teams;
pub(super) mod users;
pub(super) mod workspaces;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use serde::Serialize;

use super::error::ApiError;

/// 201 with what was made, and where it is found. It may hold a key, so nobody is to keep it.
#[expect(clippy::unnecessary_wraps, reason = "what renders an answer may fail")]
fn created(body: &impl Serialize, location: &str) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).insert_header((CACHE_CONTROL, "no-store")).json(body))
}
