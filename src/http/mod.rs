//! The HTTP interface: routes, and what they have in common. A handler parses, calls one use case, and renders.
//!
//! May not know: SQL, keys, the rules of who may do what.

mod api;
mod body;
mod cached;
mod connection;
mod cookie;
mod credential;
mod dashboard;
mod docs;
mod error;
mod health;
mod kept;
mod login;
mod me;
mod metrics;
mod middleware;
mod openapi;
mod routes;
mod status_lists;
mod well_known;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use middleware::every_request;

use crate::keys::AnswerKeys;
use crate::service::{
    AuditLog, Authenticator, Follower, Login, Management, Memory, RateLimiter, Sessions, Signing, Sources, StatusPublisher, Traffic,
};
use crate::store::Store;

pub use connection::{ConnectionMetrics, ConnectionSettings, SEND_BUFFER, Stopping, serve};
pub use dashboard::{PAGES, PageSpec, pages};
pub use error::CODES;
pub use metrics::Metrics;
pub use openapi::document as openapi_document;
pub use routes::{Needs, ROUTES, RouteSpec, routes};

/// What the handlers need.
#[derive(Debug)]
pub struct State {
    /// The exchange.
    pub login: Login,
    /// Who is calling.
    pub authenticator: Authenticator,
    /// The sign-ins of callers.
    pub sessions: Sessions,
    /// What organizations have, and who may do what.
    pub management: Management,
    /// The audit trail.
    pub audit_log: AuditLog,
    /// How many exchanges there were.
    pub traffic: Traffic,
    /// How many reports of leaked keys an address may send a minute; without this, reports are switched off.
    pub reports: Option<(NonZeroU32, RateLimiter<IpAddr>)>,
    /// Those whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The published keys.
    pub signing: Arc<Signing>,
    /// The status lists.
    pub status: StatusPublisher,
    /// What is held in memory.
    pub memory: Memory,
    /// The other nodes.
    pub follower: Follower,
    /// The database, for its health.
    pub store: Store,
    /// Time and randomness, for request ids.
    pub sources: Sources,
    /// The public URL.
    pub issuer: String,
    /// The keys of the answers that are kept for repeated requests.
    pub answers: AnswerKeys,
    /// What is counted.
    pub metrics: Metrics,
    /// Bounds on requests.
    pub limits: Limits,
}

impl State {
    /// Whether browsers reach this server by https.
    fn is_secure(&self) -> bool {
        self.issuer.starts_with("https:")
    }
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
