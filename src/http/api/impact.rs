//! `…/impact`: what would stop.

use serde::Serialize;
use utoipa::ToSchema;

use super::last_use::LastUseBody;
use crate::service::{Impact, LeftBehindCount};

/// Who uses an account or key.
#[derive(Serialize, ToSchema)]
#[schema(as = Impact)]
pub(crate) struct ImpactBody {
    /// Tokens obtained in the last 24 hours.
    #[schema(example = 42)]
    exchanges_24h: i64,
    /// Addresses that they were obtained from.
    #[schema(example = 3)]
    distinct_addresses_24h: i64,
    /// Whom they were for.
    receivers_24h: Vec<Receiver>,
    /// Tokens that count now.
    #[schema(example = 2)]
    outstanding_tokens: i64,
    #[serde(flatten)]
    last_use: LastUseBody,
    #[serde(flatten)]
    left_behind: LeftBehindBody,
}

/// What would end with it, because it was made for others with it.
#[derive(Serialize, ToSchema)]
#[schema(as = LeftBehind)]
pub(crate) struct LeftBehindBody {
    /// API keys of other service accounts.
    #[schema(example = 0)]
    api_keys_made_for_others: usize,
    /// Passwords of users, who need a link for another.
    #[schema(example = 0)]
    passwords_set_for_others: usize,
}

impl From<LeftBehindCount> for LeftBehindBody {
    fn from(count: LeftBehindCount) -> Self {
        Self { api_keys_made_for_others: count.api_keys, passwords_set_for_others: count.passwords }
    }
}

/// Whom tokens were obtained for.
#[derive(Serialize, ToSchema)]
struct Receiver {
    /// `workspace` or `hourpass`.
    #[schema(example = "workspace")]
    kind: String,
    /// Its slug.
    #[schema(example = "production")]
    name: String,
    /// Tokens obtained for it.
    #[schema(example = 42)]
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
            left_behind: impact.left_behind.into(),
        }
    }
}
