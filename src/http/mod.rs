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
mod metrics;
mod middleware;
mod well_known;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{Route, guard};
use governor::DefaultKeyedRateLimiter;
use ipnet::IpNet;

use crate::service::{AuditLog, Authenticator, Lifecycle, Login, Signing, Sources};
use crate::store::Store;

pub use error::CODES;
pub use metrics::Metrics;
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
    /// The audit trail.
    pub audit_log: AuditLog,
    /// How many reports of leaked keys an address may send; without this, reports are switched off.
    pub reports: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// Those whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The published keys.
    pub signing: Arc<Signing>,
    /// The database, for its health.
    pub store: Store,
    /// Time and randomness, for request ids.
    pub sources: Sources,
    /// The public URL.
    pub issuer: String,
    /// What is counted.
    pub metrics: Metrics,
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

/// Reads, so `HEAD` is answered, too (RFC 9110, section 9.3.2).
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Every route.
pub fn routes(config: &mut ServiceConfig) {
    use api::{api_keys, audit_events, organizations, service_accounts};
    const ACCOUNTS: &str = "/api/v1/service_accounts";
    let account = |rest: &str| web::resource(format!("{ACCOUNTS}/{{account}}{rest}"));
    let key = |rest: &str| web::resource(format!("{ACCOUNTS}/{{account}}/api_keys/{{key}}{rest}"));
    config
        .service(web::resource("/auth/login").post(login::auth_login))
        .service(web::resource("/auth/logout").post(login::logout))
        .service(web::resource("/api/v1/login").post(login::workspace_login))
        .service(web::resource("/workspaces/{workspace}/api/v1/login").post(login::workspace_login_by_path))
        .service(web::resource("/users/me").route(get().to(me::me)))
        .service(web::resource("/.well-known/jwks.json").route(get().to(well_known::jwks)))
        .service(web::resource("/.well-known/oauth-authorization-server").route(get().to(well_known::authorization_server)))
        .service(web::resource("/.well-known/openid-configuration").route(get().to(well_known::openid_configuration)))
        .service(web::resource("/healthz").route(get().to(health::live)))
        .service(web::resource("/readyz").route(get().to(health::ready)))
        .service(web::resource("/metrics").route(get().to(metrics::metrics)))
        .service(web::resource("/api/v1/organizations/{organization}").route(get().to(organizations::get)).patch(organizations::change))
        .service(web::resource(ACCOUNTS).route(get().to(service_accounts::list)).post(service_accounts::create))
        .service(account("").route(get().to(service_accounts::get)).patch(service_accounts::change).delete(service_accounts::delete))
        .service(account("/impact").route(get().to(service_accounts::impact)))
        .service(account("/revoke_tokens").post(service_accounts::revoke_tokens))
        .service(account("/api_keys").route(get().to(api_keys::list)).post(api_keys::create))
        .service(key("").route(get().to(api_keys::get)).patch(api_keys::change).delete(api_keys::delete))
        .service(key("/impact").route(get().to(api_keys::impact)))
        .service(key("/rotate").post(api_keys::rotate))
        .service(key("/revoke_tokens").post(api_keys::revoke_tokens))
        .service(key("/compromised").post(api_keys::compromise))
        .service(web::resource("/api/v1/api_keys/report").post(api_keys::report))
        .service(web::resource("/api/v1/audit_events").route(get().to(audit_events::list)))
        .service(web::resource("/api/v1/audit_events/export").route(get().to(audit_events::export)));
}
