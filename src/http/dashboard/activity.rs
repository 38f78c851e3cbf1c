//! What someone did last, and what was done to them.

use std::cmp::Reverse;

use super::super::error::ApiError;
use super::moment::Moment;
use super::visit::Visit;
use super::words;
use crate::domain::id::Reference;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::EventQuery;
use crate::store::StoredEvent;

/// How many events are shown.
const SHOWN: u16 = 10;

/// An event, in a line.
pub(super) struct ActivityRow {
    pub(super) at: Moment,
    pub(super) actor: String,
    pub(super) bot: bool,
    /// In words, before what it was done to.
    pub(super) action: String,
    pub(super) target: String,
    pub(super) denied: bool,
    pub(super) address: String,
}

/// The last events that someone caused, or that were about them, the newest first; nothing where the visitor may not see that.
pub(super) async fn about(visit: &Visit, id: uuid::Uuid) -> Result<Option<Vec<ActivityRow>>, ApiError> {
    if !visit.may(&Permission::AUDIT_READ) {
        return Ok(None);
    }
    let log = &visit.call.state.audit_log;
    let by = EventQuery { actor: Some(Reference::Id(id)), ..EventQuery::default() };
    let on = EventQuery { target: Some(Reference::Id(id)), ..EventQuery::default() };
    let mut events = Vec::new();
    for query in [by, on] {
        events.extend(log.page(&log.select(&visit.call.caller, query)?, None, SHOWN).await?);
    }
    events.sort_by_key(|event| Reverse(event.id));
    events.dedup_by_key(|event| event.id);
    events.truncate(SHOWN.into());
    Ok(Some(events.into_iter().map(|event| row(visit, event)).collect()))
}

fn row(visit: &Visit, event: StoredEvent) -> ActivityRow {
    ActivityRow {
        at: visit.moment(Timestamp::from_micros(event.occurred_at)),
        bot: event.actor_kind == "service_account",
        actor: event.actor_name,
        action: words::action(&event.action).to_owned(),
        target: event.target_name,
        denied: event.outcome == "denied",
        address: event.address.unwrap_or_default(),
    }
}
