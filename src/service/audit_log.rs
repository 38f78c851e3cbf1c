//! Reading the audit trail. Nothing here changes it.

use std::time::Duration;

use uuid::Uuid;

use super::Sources;
use super::authentication::Caller;
use super::management::{ManagementError, require};
use crate::domain::access::Place;
use crate::domain::audit::Action;
use crate::domain::id::{AuditEventId, OrganizationId, Reference};
use crate::domain::name::Invalid;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::store::{EventFilter, Store, StoredEvent};

/// How many events an export reads at once.
const EXPORT_BATCH: u16 = 500;

/// What is asked of the audit trail.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Done by whom: id, or name as it was then.
    pub actor: Option<Reference>,
    /// Done to what: id, or name as it was then.
    pub target: Option<Reference>,
    /// What was done: `resource.verb`, or `resource` for all verbs.
    pub action: Option<ActionFilter>,
    /// `granted` or `denied`.
    pub outcome: Option<&'static str>,
    /// Not before then.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// Which actions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionFilter {
    /// All of a resource.
    Resource(&'static str),
    /// This one.
    Exactly(Action),
}

impl ActionFilter {
    /// Reads `resource.verb`, or `resource` with or without the dot.
    ///
    /// # Errors
    /// A sentence that names those that there are.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(action) = Action::ALL.into_iter().find(|action| action.as_str() == text) {
            return Ok(Self::Exactly(action));
        }
        let resource = Action::ALL.iter().map(|action| action.resource()).find(|resource| *resource == text.trim_end_matches('.'));
        resource.map(Self::Resource).ok_or_else(|| {
            let all: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
            Invalid(format!("must be one of {}, or the part before the dot", all.join(", ")))
        })
    }
}

/// What a list or an export reads: whose events, which, and between which ids.
#[derive(Clone, Debug)]
pub struct Selection {
    organization: OrganizationId,
    filter: EventFilter,
    from: Uuid,
    before: Uuid,
}

/// Reads the audit trail.
#[derive(Clone, Debug)]
pub struct AuditLog {
    store: Store,
    sources: Sources,
}

impl AuditLog {
    /// Of this database.
    #[must_use]
    pub fn new(store: Store, sources: Sources) -> Self {
        Self { store, sources }
    }

    /// Refuses a caller who may not read the audit trail.
    ///
    /// # Errors
    /// Where the caller may not.
    pub fn require_read(&self, caller: &Caller) -> Result<(), ManagementError> {
        require(caller, &Permission::AUDIT_READ, Place::Organization)
    }

    /// Makes a selection of the events of the caller's organization.
    ///
    /// # Errors
    /// Where the caller may not.
    pub fn select(&self, caller: &Caller, query: EventQuery) -> Result<Selection, ManagementError> {
        self.require_read(caller)?;
        let organization = caller.organization().id;
        let mut filter = EventFilter { outcome: query.outcome, ..EventFilter::default() };
        match query.action {
            Some(ActionFilter::Exactly(action)) => (filter.resource, filter.action) = (Some(action.resource()), Some(action.as_str())),
            Some(ActionFilter::Resource(resource)) => filter.resource = Some(resource),
            None => {}
        }
        (filter.actor_id, filter.actor_name) = by(query.actor);
        (filter.target_id, filter.target_name) = by(query.target);
        let from = query.since.map_or(Uuid::nil(), |since| AuditEventId::earliest(since).0);
        let before = query.until.map_or(Uuid::max(), |until| AuditEventId::earliest(until).0);
        Ok(Selection { organization, filter, from, before })
    }

    /// The newest `limit` events of a selection, of those before the event `cursor` where it is given.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn page(&self, selection: &Selection, cursor: Option<Uuid>, limit: u16) -> Result<Vec<StoredEvent>, ManagementError> {
        let before = cursor.map_or(selection.before, |cursor| cursor.min(selection.before));
        Ok(self.store.list_events(selection.organization, &selection.filter, (selection.from, before), limit).await?)
    }

    /// A selection for an export: what happens while it runs is left out, so that it comes to an end.
    #[must_use]
    pub fn until_now(&self, mut selection: Selection) -> Selection {
        // What was just done is part of it.
        let now = AuditEventId::earliest(self.sources.now().plus(Duration::from_micros(1))).0;
        selection.before = selection.before.min(now);
        selection
    }

    /// The next events of an export, newest first, and what is left to read; no events at the end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn export(&self, mut rest: Selection) -> Result<(Vec<StoredEvent>, Selection), ManagementError> {
        let events = self.store.list_events(rest.organization, &rest.filter, (rest.from, rest.before), EXPORT_BATCH).await?;
        if let Some(last) = events.last() {
            rest.before = last.id;
        }
        Ok((events, rest))
    }
}

/// An id, or else a name as it was then: names come and go, and an event keeps the one of its day.
fn by(reference: Option<Reference>) -> (Option<Uuid>, Option<String>) {
    match reference {
        None => (None, None),
        Some(Reference::Id(id)) => (Some(id), None),
        Some(Reference::Name(name)) => (None, Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_asked_for_by_name_or_resource() {
        assert_eq!(ActionFilter::parse("api_key.rotate"), Ok(ActionFilter::Exactly(Action::ApiKeyRotate)));
        assert_eq!(ActionFilter::parse("api_key"), Ok(ActionFilter::Resource("api_key")));
        assert_eq!(ActionFilter::parse("api_key."), Ok(ActionFilter::Resource("api_key")));
        assert!(ActionFilter::parse("api").is_err_and(|why| why.0.contains("token.issue")));
    }
}
