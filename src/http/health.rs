//! Whether the process lives, and whether it can do its work.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::ApiError;

/// That it is well.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthBody {
    /// `live` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// It answers, so it lives.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(HealthBody { status: "live" })
}

/// It can do its work: the database takes writes, and what the others changed was seen within the bound.
pub(super) async fn ready(state: Data<State>) -> Result<HttpResponse, ApiError> {
    state.memory.believe()?;
    state.follower.prove_writable().await?;
    Ok(HttpResponse::Ok().json(HealthBody { status: "ready" }))
}
