//! What validators and OAuth libraries read first: the keys (RFC 7517) and the metadata (RFC 8414, OpenID Connect Discovery 1.0).

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use actix_web::web::Data;
use serde_json::{Value, json};

use super::State;
use crate::domain::permission::{CATALOGUE, HOURPASS};

/// How long an answer may be kept, by anyone.
const PUBLIC: &str = "public, max-age=60";

fn public(value: impl serde::Serialize) -> HttpResponse {
    // A validator may run in a browser.
    HttpResponse::Ok().insert_header((CACHE_CONTROL, PUBLIC)).insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*")).json(value)
}

pub(super) async fn jwks(state: Data<State>) -> HttpResponse {
    public(state.signing.published().await.jwks())
}

fn metadata(issuer: &str) -> Value {
    // Catalogues are their organizations' own business; these are what each begins with.
    let scopes: BTreeSet<_> = HOURPASS.iter().map(|it| it.permission.as_str()).chain(CATALOGUE.map(|(name, _)| name)).collect();
    json!({
        "issuer": issuer,
        // Takes the password grant (RFC 6749, section 4.3), with the API key as password and no username.
        "token_endpoint": format!("{issuer}/auth/login"),
        "token_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": ["password"],
        "response_types_supported": [],
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "status_list_aggregation_endpoint": format!("{issuer}/status-lists"),
        "scopes_supported": scopes,
        "authorization_details_types_supported": ["project", "workspace"],
    })
}

pub(super) async fn authorization_server(state: Data<State>) -> HttpResponse {
    public(metadata(&state.issuer))
}

/// Hourpass issues no ID tokens, but many libraries find the keys by this address only.
pub(super) async fn openid_configuration(state: Data<State>) -> HttpResponse {
    let mut metadata = metadata(&state.issuer);
    if let Some(members) = metadata.as_object_mut() {
        let algorithms = state.signing.published().await.algorithms();
        members.insert("subject_types_supported".to_owned(), json!(["public"]));
        members.insert("id_token_signing_alg_values_supported".to_owned(), json!(algorithms));
    }
    public(metadata)
}
