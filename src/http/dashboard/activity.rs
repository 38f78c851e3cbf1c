//! What someone did last, and what was done to them; with an account also what was done to its keys.

use std::cmp::Reverse;

use uuid::Uuid;

use super::super::error::ApiError;
use super::chart::grouped;
use super::link::link;
use super::moment::Moment;
use super::visit::Visit;
use super::words;
use crate::domain::entity::ServiceAccount;
use crate::domain::id::{ApiKeyId, Reference};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::EventQuery;
use crate::store::StoredEvent;

/// As many rows as are shown.
const ROWS: usize = 20;
/// As many events of the account itself as are read: most of them are exchanges, which are told together.
const READ: u16 = 200;
/// As many of its keys as are asked after, and events of each.
const KEYS: usize = 10;
const READ_OF_OTHERS: u16 = 10;

/// What happened, newest first.
pub(super) struct Activity {
    pub(super) rows: Vec<Row>,
    /// Where all of it is: what it did, and what was done to it.
    pub(super) did: String,
    pub(super) done_to: String,
}

/// Something that happened, once or several times in a row.
pub(super) struct Row {
    pub(super) at: Moment,
    pub(super) actor: String,
    pub(super) bot: bool,
    pub(super) action: String,
    pub(super) target: String,
    /// Why it was refused.
    pub(super) refused: Option<String>,
    pub(super) address: Option<String>,
    /// How many times, where it is more than once.
    pub(super) times: Option<String>,
}

/// Of an account, with those of its keys; nothing where the visitor may not see it.
pub(super) async fn of_account(visit: &Visit, account: &ServiceAccount, keys: &[ApiKeyId]) -> Result<Option<Activity>, ApiError> {
    let keys: Vec<_> = keys.iter().take(KEYS).map(|key| key.0).collect();
    about(visit, account.id.0, &keys).await
}

/// Of whoever has this id, and of what is theirs; nothing where the visitor may not see it.
pub(super) async fn about(visit: &Visit, id: Uuid, theirs: &[Uuid]) -> Result<Option<Activity>, ApiError> {
    if !visit.may(&Permission::AUDIT_READ) {
        return Ok(None);
    }
    let actor = EventQuery { actor: Some(Reference::Id(id)), ..EventQuery::default() };
    let mut events = read(visit, actor, READ).await?;
    // What is beyond the oldest that was read would be told without what they did meanwhile.
    let oldest = events.last().filter(|_| events.len() == usize::from(READ)).map(|event| event.id);
    events.extend(read(visit, done_to(id), READ_OF_OTHERS * 2).await?);
    for id in theirs {
        events.extend(read(visit, done_to(*id), READ_OF_OTHERS).await?);
    }
    events.retain(|event| oldest.is_none_or(|oldest| event.id >= oldest));
    events.sort_by_key(|event| Reverse(event.id));
    events.dedup_by_key(|event| event.id);
    let rows = events.chunk_by(alike).take(ROWS).filter_map(|same| row(visit, same)).collect();
    // By the id: what was done before a renaming is found, and nothing of whoever was called so before.
    let all = |name| link("/audit", &[(name, &id.to_string())]);
    Ok(Some(Activity { rows, did: all("actor"), done_to: all("target") }))
}

fn done_to(id: Uuid) -> EventQuery {
    EventQuery { target: Some(Reference::Id(id)), ..EventQuery::default() }
}

async fn read(visit: &Visit, query: EventQuery, limit: u16) -> Result<Vec<StoredEvent>, ApiError> {
    let log = &visit.call.state.audit_log;
    Ok(log.page(&log.select(&visit.call.caller, query)?, None, limit).await?)
}

fn alike(one: &StoredEvent, other: &StoredEvent) -> bool {
    let of = |event: &StoredEvent| (event.actor_id, event.target_id, event.address.clone(), event.reason.clone());
    one.action == "token.issue" && other.action == "token.issue" && of(one) == of(other)
}

/// The newest of them, and how many there are.
fn row(visit: &Visit, same: &[StoredEvent]) -> Option<Row> {
    let newest = same.first()?;
    let times = i64::try_from(same.len()).unwrap_or(i64::MAX);
    Some(Row {
        at: visit.moment(Timestamp::from_micros(newest.occurred_at)),
        actor: newest.actor_name.clone(),
        bot: newest.actor_kind == "service_account",
        action: words::action(&newest.action).to_owned(),
        target: newest.target_name.clone(),
        refused: (newest.outcome == "denied").then(|| words::reason(newest.reason.as_deref().unwrap_or_default()).to_owned()),
        address: newest.address.clone(),
        times: (times > 1).then(|| grouped(times)),
    })
}
