//! `GET /metrics`: what was answered, and how quickly, in the text format of Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::State;
use super::connection::ConnectionMetrics;
use super::error::ApiError;

/// Upper bounds of the durations counted, in seconds: from an answer out of memory to one at `server.request_timeout`.
const BUCKETS: [f64; 12] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What an answer is counted by. The route is the pattern and not the path, so that nobody can make up new ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
    /// The code of the error; empty where there is none.
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfNode {
    node: String,
    url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// Counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Route, Histogram>,
    /// Connections.
    pub(super) connections: ConnectionMetrics,
    view_age: Gauge<f64, AtomicU64>,
    lags: Family<OfNode, Gauge>,
    replacements: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let mut registry = Registry::with_prefix("hourpass");
        registry.register("build", "The version that is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_duration_seconds", "How long answers took", durations.clone());
        let connections = ConnectionMetrics::default();
        connections.register(&mut registry);
        let (view_age, lags) = (Gauge::default(), Family::default());
        registry.register("view_age_seconds", "How old this node's view is of what the others changed", view_age.clone());
        registry.register("node_lag_changes", "By how many changes each live node was behind when it was last seen", lags.clone());
        let replacements = Gauge::default();
        let help = "How often all connections to the database were replaced, because they failed or another server took over";
        registry.register("database_connection_replacements", help, replacements.clone());
        Self { registry, requests, durations, connections, view_age, lags, replacements }
    }
}

impl Metrics {
    /// Counts an answer.
    pub(super) fn answered(&self, method: &str, route: Option<String>, status: u16, code: Option<&'static str>, took: Duration) {
        // What matches no route could have any path, and a method any name.
        let route = route.unwrap_or_default();
        let method = if matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") { method } else { "other" }.to_owned();
        self.durations.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status, code: code.unwrap_or_default() }).inc();
    }
}

pub(super) async fn metrics(state: Data<State>) -> Result<HttpResponse, ApiError> {
    state.metrics.view_age.set(state.follower.view_age().as_secs_f64());
    state.metrics.replacements.set(i64::try_from(state.store.replacements()).unwrap_or(i64::MAX));
    let nodes = state.follower.nodes().await;
    state.metrics.lags.clear();
    for (node, lag) in nodes {
        state.metrics.lags.get_or_create(&OfNode { node: node.id.to_string(), url: node.url }).set(lag);
    }
    let mut text = String::new();
    encode(&mut text, &state.metrics.registry).map_err(|error| ApiError::from_internal(&error))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")).body(text))
}
