//! `…/impact`: what would stop.

use serde::Serialize;

use super::last_use::LastUseBody;
use crate::service::Impact;

/// Who uses an account or key.
#[derive(Serialize)]
pub(crate) struct ImpactBody {
    exchanges_24h: i64,
    distinct_addresses_24h: i64,
    receivers_24h: Vec<Receiver>,
    outstanding_tokens: i64,
    #[serde(flatten)]
    last_use: LastUseBody,
}

#[derive(Serialize)]
struct Receiver {
    kind: String,
    name: String,
    exchanges: i64,
}

impl From<Impact> for ImpactBody {
    fn from(impact: Impact) -> Self {
        let receivers = impact.exchanges.receivers.into_iter();
        Self {
            exchanges_24h: impact.exchanges.count,
            distinct_addresses_24h: impact.exchanges.addresses,
            receivers_24h: receivers.map(|it| Receiver { kind: it.kind, name: it.name, exchanges: it.exchanges }).collect(),
            outstanding_tokens: impact.outstanding_tokens,
            last_use: impact.last_use.into(),
        }
    }
}
