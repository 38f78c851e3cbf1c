//! What validators and OAuth libraries read first: the keys (RFC 7517) and the metadata (RFC 8414, OpenID Connect Discovery 1.0).

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use crate::domain::permission::{CATALOGUE, HOURPASS};
use crate::domain::signing::{KEPT_FOR, SigningAlgorithm};
use crate::service::Published;

/// An answer that anyone may keep as long as keys are published before they sign.
fn public(value: impl Serialize) -> HttpResponse {
    answer(value, format!("public, max-age={}", KEPT_FOR.as_secs()))
}

/// An answer made of the published keys. If this node cannot know whether there are others by now, nobody may keep it.
fn of_keys(published: &Published, value: impl Serialize) -> HttpResponse {
    if published.is_fresh { public(value) } else { answer(value, "no-cache".to_owned()) }
}

fn answer(value: impl Serialize, cache_control: String) -> HttpResponse {
    // A validator may run in a browser.
    HttpResponse::Ok().insert_header((CACHE_CONTROL, cache_control)).insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*")).json(value)
}

pub(super) async fn jwks(state: Data<State>) -> HttpResponse {
    let published = state.signing.published().await;
    of_keys(&published, published.keys.jwks())
}

/// The public keys (RFC 7517). Private keys never leave the server.
#[derive(ToSchema)]
#[expect(dead_code, reason = "jsonwebtoken writes them")]
#[schema(as = JwkSet)]
pub(super) struct JwkSetBody {
    /// The keys.
    keys: Vec<Jwk>,
}

/// A public key. Which members it has depends on its type.
#[derive(ToSchema)]
#[expect(dead_code, reason = "jsonwebtoken writes them")]
struct Jwk {
    /// `EC`, `OKP` or `RSA`.
    #[schema(example = "EC")]
    kty: String,
    /// What it is for: signatures.
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    purpose: String,
    /// How it signs.
    alg: SigningAlgorithm,
    /// Its id, as in the header of tokens.
    #[schema(example = "2dN9mB3gG2d3V0rUqF5Xl0")]
    kid: String,
    /// The curve.
    #[schema(nullable = false, example = "P-256")]
    crv: Option<String>,
    /// The x coordinate, or the key.
    #[schema(nullable = false, example = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")]
    x: Option<String>,
    /// The y coordinate.
    #[schema(nullable = false, example = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")]
    y: Option<String>,
    /// The modulus.
    #[schema(nullable = false, example = "0vx7...")]
    n: Option<String>,
    /// The exponent.
    #[schema(nullable = false, example = "AQAB")]
    e: Option<String>,
    /// Whether every ES256 signature of this key has an s of at most half of the order of the curve. If so, the other text of a token, (r, n - s), is none of ours.
    #[schema(nullable = false, example = true)]
    hourpass_low_s: Option<bool>,
}

/// What OAuth libraries read first (RFC 8414).
#[derive(Serialize, ToSchema)]
#[schema(as = ServerMetadata)]
pub(super) struct Metadata {
    /// The public URL of this Hourpass: `iss` of its tokens.
    #[schema(example = "https://hourpass.example.com")]
    issuer: String,
    /// Takes the password grant (RFC 6749, section 4.3), with the API key as password and no username.
    #[schema(example = "https://hourpass.example.com/auth/login")]
    token_endpoint: String,
    /// Clients do not say who they are.
    #[schema(example = json!(["none"]))]
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// The grant.
    #[schema(example = json!(["password"]))]
    grant_types_supported: [&'static str; 1],
    /// Nothing: there is no authorization endpoint.
    #[schema(example = json!([]))]
    response_types_supported: [&'static str; 0],
    /// Where the keys are.
    #[schema(example = "https://hourpass.example.com/.well-known/jwks.json")]
    jwks_uri: String,
    /// Where it says where the status lists are.
    #[schema(example = "https://hourpass.example.com/status-lists")]
    status_list_aggregation_endpoint: String,
    /// Permissions. Catalogues are their organizations' own business; these are what each begins with.
    #[schema(value_type = Vec<String>, example = json!(["pipelines.deploy"]))]
    scopes_supported: BTreeSet<&'static str>,
    /// The types of authorization details (RFC 9396).
    #[schema(example = json!(["project", "workspace"]))]
    authorization_details_types_supported: [&'static str; 2],
    /// For OpenID Connect clients: ids are the same for all receivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = json!(["public"]))]
    subject_types_supported: Option<[&'static str; 1]>,
    /// For OpenID Connect clients: how tokens are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id_token_signing_alg_values_supported: Option<Vec<SigningAlgorithm>>,
}

fn metadata(issuer: &str) -> Metadata {
    Metadata {
        issuer: issuer.to_owned(),
        token_endpoint: format!("{issuer}/auth/login"),
        token_endpoint_auth_methods_supported: ["none"],
        grant_types_supported: ["password"],
        response_types_supported: [],
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        status_list_aggregation_endpoint: format!("{issuer}/status-lists"),
        scopes_supported: HOURPASS.iter().map(|it| it.permission.as_str()).chain(CATALOGUE.map(|(name, _)| name)).collect(),
        authorization_details_types_supported: ["project", "workspace"],
        subject_types_supported: None,
        id_token_signing_alg_values_supported: None,
    }
}

pub(super) async fn authorization_server(state: Data<State>) -> HttpResponse {
    public(metadata(&state.issuer))
}

/// Hourpass issues no ID tokens, but many libraries find the keys by this address only.
pub(super) async fn openid_configuration(state: Data<State>) -> HttpResponse {
    let published = state.signing.published().await;
    let algorithms = published.keys.algorithms();
    of_keys(
        &published,
        Metadata {
            subject_types_supported: Some(["public"]),
            id_token_signing_alg_values_supported: Some(algorithms.into_iter().collect()),
            ..metadata(&state.issuer)
        },
    )
}
