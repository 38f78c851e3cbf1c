//! Audit events. They are only ever added.

use super::{StoreError, Tx};
use crate::domain::audit::{Event, Outcome};

statements! {
    INSERT = "INSERT INTO audit_events (id, organization_id, occurred_at, actor_kind, actor_id, actor_name, api_key_id, session_id, action, target_kind, \
              target_id, target_name, outcome, reason, address, user_agent, request_id, details) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
}

impl Tx {
    /// Adds an event.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_event(&mut self, event: &Event) -> Result<(), StoreError> {
        let (outcome, reason) = match event.outcome {
            Outcome::Granted => ("granted", None),
            Outcome::Denied(reason) => ("denied", Some(reason)),
        };
        on!(Self, self, |tx| sqlx::query(INSERT)
            .bind(event.id.0)
            .bind(event.organization_id.map(|id| id.0))
            .bind(event.occurred_at.as_micros())
            .bind(event.actor.kind)
            .bind(event.actor.id)
            .bind(&event.actor.name)
            .bind(event.actor.api_key_id.map(|id| id.0))
            .bind(event.actor.session_id.map(|id| id.0))
            .bind(event.action.as_str())
            .bind(event.target.kind)
            .bind(event.target.id)
            .bind(&event.target.name)
            .bind(outcome)
            .bind(reason)
            .bind(event.origin.address.map(|address| address.to_string()))
            .bind(event.origin.user_agent.as_deref())
            .bind(event.origin.request_id.map(|id| id.0))
            .bind(event.details.as_ref().map(ToString::to_string))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }
}
