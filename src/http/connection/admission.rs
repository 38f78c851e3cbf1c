//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::ConnectionSettings;
use crate::domain::audit::network;

const REFUSED: &str = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
/// How often the log says that connections are refused.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// What all answers that wait for slow readers may hold, in bytes. Beyond it, those whose readers are slow are given up.
const MAX_HELD: usize = 64 << 20;

/// Which limit refused a connection.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Total,
    Address,
}

/// Why a connection was ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expired {
    /// Its head took longer than `server.head_timeout`.
    Head,
    /// Its body took longer than `server.body_timeout`.
    Body,
    /// Its answer stood still.
    Answer,
    /// Its peer did not read the answer within `server.write_timeout`.
    Write,
    /// It was idle for `server.idle_timeout`.
    Idle,
    /// Its peer reads slowly, and too much is held for such peers.
    Memory,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLimit {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Counts of connections.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    refused: Family<ByLimit, Counter>,
    expired: Family<ByReason, Counter>,
}

impl ConnectionMetrics {
    /// Publishes the counts.
    pub(in crate::http) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections that are open", self.open.clone());
        registry.register("connections_refused", "Connections refused, by the limit that was reached", self.refused.clone());
        registry.register("connections_expired", "Connections closed because they took too long, by what did", self.expired.clone());
    }

    pub(super) fn expired(&self, reason: Expired) {
        let reason = match reason {
            Expired::Head => "head",
            Expired::Body => "body",
            Expired::Answer => "answer",
            Expired::Write => "write",
            Expired::Idle => "idle",
            Expired::Memory => "memory",
        };
        self.expired.get_or_create(&ByReason { reason }).inc();
    }
}

/// Admits connections up to the limits.
pub(super) struct Admission {
    max_connections: usize,
    max_per_address: Option<usize>,
    exempt: Vec<IpNet>,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    held: AtomicUsize,
    metrics: ConnectionMetrics,
    log: Mutex<Log>,
}

/// Refusals that the log has not told yet.
#[derive(Default)]
struct Log {
    told_at: Option<Instant>,
    untold: u64,
}

impl Admission {
    pub(super) fn new(settings: &ConnectionSettings, metrics: ConnectionMetrics) -> Self {
        Self {
            max_connections: settings.max_connections,
            max_per_address: settings.max_per_address,
            exempt: settings.exempt.clone(),
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            held: AtomicUsize::new(0),
            metrics,
            log: Mutex::default(),
        }
    }

    /// Admits a connection from `address`, or returns the answer that refuses it.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, &'static str> {
        let mut admitted = Admitted { admission: Arc::clone(self), address: None };
        self.metrics.open.inc();
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max_connections {
            return Err(self.refuse(Limit::Total, address));
        }
        let address = address.map(|address| address.to_canonical());
        let counted = address.filter(|address| !self.exempt.iter().any(|exempt| exempt.contains(address))).map(network);
        if let (Some(most), Some(counted)) = (self.max_per_address, counted) {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let open = by_address.entry(counted).or_default();
            if *open >= most {
                drop(by_address);
                return Err(self.refuse(Limit::Address, address));
            }
            *open += 1;
            admitted.address = Some(counted);
        }
        Ok(admitted)
    }

    fn refuse(&self, limit: Limit, address: Option<IpAddr>) -> &'static str {
        let (limit, setting) = match limit {
            Limit::Total => ("total", "server.max_connections"),
            Limit::Address => ("address", "server.max_connections_per_address"),
        };
        self.metrics.refused.get_or_create(&ByLimit { limit }).inc();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.untold += 1;
        if log.told_at.is_none_or(|told| told.elapsed() >= LOG_INTERVAL) {
            let refused = std::mem::take(&mut log.untold);
            log.told_at = Some(Instant::now());
            drop(log);
            tracing::warn!(refused, ?address, "connections are refused because {setting} is reached; the address is that of the last one");
        }
        REFUSED
    }
}

/// A connection that is counted until this is dropped.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    /// The address that it counts for, unless that is exempt.
    address: Option<IpAddr>,
}

impl Admitted {
    /// Whether more than seven eighths of all connections are open.
    pub(super) fn is_crowded(&self) -> bool {
        let most = self.admission.max_connections;
        self.admission.open.load(Ordering::Relaxed) > most - most / 8
    }

    /// Changes what this connection's answer holds in memory.
    pub(super) fn hold(&self, before: usize, now: usize) {
        if before < now {
            self.admission.held.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            self.admission.held.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Whether all answers together hold too much.
    pub(super) fn is_too_much_held(&self) -> bool {
        self.admission.held.load(Ordering::Relaxed) > MAX_HELD
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        self.admission.metrics.open.dec();
        let Some(address) = self.address else { return };
        let mut by_address = self.admission.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}
