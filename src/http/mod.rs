//! The HTTP interface: routes, and what they have in common. A handler parses, calls one use case, and renders.
//!
//! May not know: SQL, keys, the rules of who may do what.

mod api;
mod body;
mod credential;
mod error;
mod health;
mod login;
mod me;
mod middleware;
mod well_known;

use std::time::Duration;

use actix_web::web::{self, ServiceConfig};

use crate::service::{Authenticator, Lifecycle, Login, Signing, Sources};
use crate::store::Store;
use std::sync::Arc;

pub use error::CODES;
pub use middleware::every_request;

/// What the handlers need.
#[derive(Debug)]
pub struct State {
    /// The exchange.
    pub login: Login,
    /// Who is calling.
    pub authenticator: Authenticator,
    /// Service accounts and keys.
    pub lifecycle: Lifecycle,
    /// The published keys.
    pub signing: Arc<Signing>,
    /// The database, for its health.
    pub store: Store,
    /// Time and randomness, for request ids.
    pub sources: Sources,
    /// The public URL.
    pub issuer: String,
    /// Bounds on requests.
    pub limits: Limits,
}

/// Bounds on requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The greatest size of a body, in bytes.
    pub body_limit: usize,
    /// The longest time for a body to arrive.
    pub body_timeout: Duration,
    /// The longest time for an answer.
    pub request_timeout: Duration,
}

/// Every route.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/auth/login").post(login::auth_login))
        .service(web::resource("/api/v1/login").post(login::workspace_login))
        .service(web::resource("/workspaces/{workspace}/api/v1/login").post(login::workspace_login_by_path))
        .service(web::resource("/users/me").get(me::me))
        .service(web::resource("/.well-known/jwks.json").get(well_known::jwks))
        .service(web::resource("/.well-known/oauth-authorization-server").get(well_known::authorization_server))
        .service(web::resource("/.well-known/openid-configuration").get(well_known::openid_configuration))
        .service(web::resource("/healthz").get(health::live))
        .service(web::resource("/readyz").get(health::ready))
        .service(web::resource("/api/v1/service_accounts").get(api::service_accounts::list).post(api::service_accounts::create))
        .service(web::resource("/api/v1/service_accounts/{account}").get(api::service_accounts::get))
        .service(web::resource("/api/v1/service_accounts/{account}/api_keys").get(api::api_keys::list).post(api::api_keys::create));
}
