//! Whether the process lives, and whether it can do its work.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::State;
use super::error::ApiError;

/// It answers, so it lives.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// The database answers, too, and what the others changed was seen within the bound.
pub(super) async fn ready(state: Data<State>) -> Result<HttpResponse, ApiError> {
    state.memory.believe()?;
    state.store.ping().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}
