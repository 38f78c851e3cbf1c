//! `/api/v1/signing_keys`.

use actix_web::HttpResponse;
use actix_web::web::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::credential::Call;
use super::super::error::ApiError;
use super::super::kept::Kept;
use super::fields::Fields;
use super::page::Items;
use crate::domain::signing::{KeyState, SigningAlgorithm};
use crate::domain::time::Timestamp;
use crate::service::{KeyInfo, Rotated};

/// How to rotate a signing key.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SigningKeyRotation, example = json!({"algorithm": "ES256"}))]
pub(crate) struct RotateBody {
    /// ES256 where it is left out.
    algorithm: Option<String>,
    /// Whether it signs at once, and the others of its algorithm are withdrawn.
    #[serde(default)]
    now: bool,
}

/// A signing key. Its private half never leaves the server.
#[derive(Serialize, ToSchema)]
#[schema(as = SigningKey)]
pub(crate) struct SigningKeyBody {
    /// Its id, as in the JWKS and in the header of tokens.
    #[schema(example = "2dN9mB3gG2d3V0rUqF5Xl0")]
    kid: String,
    algorithm: SigningAlgorithm,
    state: KeyState,
    /// When it was made.
    created_at: Timestamp,
    /// From when on it signs.
    active_from: Timestamp,
    /// When the next one takes over; null where nobody knows yet.
    active_until: Option<Timestamp>,
    /// When it was withdrawn or retired.
    retired_at: Option<Timestamp>,
}

impl From<KeyInfo> for SigningKeyBody {
    fn from(info: KeyInfo) -> Self {
        let KeyInfo { kid, algorithm, state, created_at, active_from, active_until, retired_at } = info;
        Self { kid, algorithm, state, created_at, active_from, active_until, retired_at }
    }
}

/// What a rotation did.
#[derive(Serialize, ToSchema)]
#[schema(as = SigningKeyRotated)]
pub(crate) struct RotatedBody {
    /// The id of the new key.
    #[schema(example = "2dN9mB3gG2d3V0rUqF5Xl0")]
    kid: String,
    algorithm: SigningAlgorithm,
    /// From when on it signs.
    active_from: Timestamp,
    /// The keys that count no more from now on.
    #[schema(example = json!([]))]
    withdrawn: Vec<String>,
    /// How many tokens, at most, were ended by that; null where nobody had the time to count.
    #[schema(example = 0)]
    tokens_ended_at_most: Option<i64>,
}

pub(crate) async fn list(call: Call) -> Result<Json<Items<SigningKeyBody>>, ApiError> {
    let keys = call.state.management.list_signing_keys(&call.caller, &call.state.signing).await?;
    Ok(Json(Items::all(keys.into_iter().map(SigningKeyBody::from))))
}

pub(crate) async fn rotate(mut call: Call) -> Result<HttpResponse, ApiError> {
    let sent: RotateBody = call.optional_json().await?;
    let mut fields = Fields::default();
    let algorithm = fields.optional("algorithm", sent.algorithm.as_deref(), str::parse::<SigningAlgorithm>);
    fields.finish()?;
    let algorithm = algorithm.unwrap_or(SigningAlgorithm::Es256);
    let origin = call.origin.clone();
    let made = call.state.management.rotate_signing_key(&call.caller, &call.state.signing, algorithm, sent.now, origin).await;
    let render = |Rotated { kid, active_from, withdrawn, .. }: Rotated| {
        Ok(HttpResponse::Ok().json(RotatedBody { kid, algorithm, active_from, withdrawn, tokens_ended_at_most: None }))
    };
    let kept = Kept::commit(made, render).await?;
    // Only now is it certain that the old keys sign no more.
    let ended = kept.json()?.get("withdrawn").and_then(Value::as_array).is_some_and(|withdrawn| !withdrawn.is_empty());
    let ended = if ended { call.state.signing.count_outstanding().await } else { Some(0) };
    call.confirm(kept.set("tokens_ended_at_most", ended.into())?).await
}
