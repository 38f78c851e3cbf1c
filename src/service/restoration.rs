//! What is done when the database turns out to be a copy from before: everything that was handed out stops counting, because the database may not know that it was revoked.

use serde_json::json;

use super::{Sources, signing::Signing, signing::SigningError};
use crate::domain::audit::{Action, Actor, Event, Origin, Outcome, Target};
use crate::domain::id::{AuditEventId, OrganizationId};
use crate::domain::time::Timestamp;
use crate::store::{Epoch, HighWater, Store, StoreError};

/// That a database was restored, as somebody says or as its marks tell.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Who says so.
    pub by: Actor,
    /// How it is known.
    pub evidence: String,
    /// From when on changes are missing, if that is known: the time of the back-up.
    pub lost_since: Option<Timestamp>,
    /// From when on nothing that was made is to be trusted.
    pub revoke_since: Option<Timestamp>,
    /// What is known to have been given out.
    pub given_out: Option<HighWater>,
    /// Whether nothing else tells of a restore, so that nothing is to be done if the database knows of all that was given out.
    pub only_by_mark: bool,
}

/// What was done about it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The epoch that was begun.
    pub epoch: Epoch,
    /// When the last event of the audit trail happened.
    pub last_event_at: Option<Timestamp>,
    /// The API keys that were deactivated, by name.
    pub deactivated_keys: Vec<String>,
    /// How many invitations were deleted.
    pub deleted_invitations: u64,
}

impl Restored {
    /// Tells the log, when it is done.
    pub fn tell(&self, evidence: &str) {
        let Self { epoch, last_event_at, deactivated_keys, deleted_invitations } = self;
        let known = last_event_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        tracing::error!(
            evidence,
            epoch = epoch.number,
            deactivated_keys = deactivated_keys.len(),
            deleted_invitations,
            "THE DATABASE IS OLDER THAN WHAT IT GAVE OUT: it was restored. Every token and session from before is revoked; API keys and passwords go on working. Its last \
             event is of {known}: what was deactivated, deleted, rotated or withdrawn after that is as it was before, so do it again. If a signing key was withdrawn since: \
             hourpass admin rotate-signing-key --now",
        );
    }
}

/// Begins epochs.
#[derive(Clone, Debug)]
pub struct Restoration {
    store: Store,
    sources: Sources,
}

impl Restoration {
    /// Of this database.
    #[must_use]
    pub fn new(store: Store, sources: Sources) -> Self {
        Self { store, sources }
    }

    /// Revokes every token family, ends every session and begins new status lists, in one transaction with its audit event. With `revoke_since`, also deactivates
    /// the API keys that were made or rotated since, and deletes the invitations from since. `None`: another node did so at the same moment.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn declare(&self, declaration: &Declaration) -> Result<Option<Restored>, StoreError> {
        let now = self.sources.now();
        let (present, last_event_at) = (self.store.find_epoch().await?, self.store.last_event_at().await?);
        let index = declaration.given_out.map_or(0, |said| said.index);
        let mut tx = self.store.begin().await?;
        let Some(epoch) = tx.begin_epoch(present, index, declaration.given_out.filter(|_| declaration.only_by_mark), now).await? else {
            return Ok(None);
        };
        let first = tx.find_first_organization().await?;
        let (mut deactivated_keys, mut deleted_invitations) = (Vec::new(), 0);
        if let Some(since) = declaration.revoke_since {
            for key in tx.list_keys_since(since).await? {
                tx.deactivate_key(&key, now).await?;
                let details = json!({ "active": false, "revoke_since": since });
                let target = Target::new("api_key", key.id, &key.name);
                tx.insert_event(&self.event(declaration, Some(key.organization()), Action::ApiKeyUpdate, target, details, now)).await?;
                deactivated_keys.push(key.name);
            }
            deleted_invitations = tx.delete_invitations_since(since).await?;
        }
        let details = json!({
            "evidence": declaration.evidence,
            "epoch": epoch.number,
            "last_event_at": last_event_at,
            "lost_since": declaration.lost_since,
            "revoke_since": declaration.revoke_since,
            "deactivated_keys": deactivated_keys.len(),
            "deleted_invitations": deleted_invitations,
        });
        let target = Target { kind: "database", id: None, name: epoch.database_id.to_string() };
        tx.insert_event(&self.event(declaration, first, Action::DatabaseRestore, target, details, now)).await?;
        tx.commit().await?;
        Ok(Some(Restored { epoch, last_event_at, deactivated_keys, deleted_invitations }))
    }

    /// Looks whether the database has gone back while this node was running, as after a failover to a stand-by that was behind, and begins a new epoch if so.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn watch(&self) -> Result<(), StoreError> {
        if let Some(found) = self.store.find_evidence_again().await? {
            let (evidence, given_out) = (found.to_string(), found.given_out());
            let declaration = Declaration { by: Actor::system(), evidence, lost_since: None, revoke_since: None, given_out, only_by_mark: true };
            if let Some(restored) = self.declare(&declaration).await? {
                restored.tell(&declaration.evidence);
            }
            self.store.sync_marks().await?;
        }
        Ok(())
    }

    /// Replaces every signing key that is in use, and withdraws it. Returns the names of the withdrawn ones.
    ///
    /// # Errors
    /// If the database fails, or if somebody else rotates keys at the same moment.
    pub async fn withdraw_signing_keys(&self, signing: &Signing) -> Result<Vec<String>, SigningError> {
        let mut withdrawn = Vec::new();
        for algorithm in signing.reload().await?.algorithms() {
            withdrawn.extend(signing.rotate_by_operator(algorithm, true).await?.withdrawn);
        }
        signing.reload().await?;
        Ok(withdrawn)
    }

    fn event(
        &self,
        declaration: &Declaration,
        organization_id: Option<OrganizationId>,
        action: Action,
        target: Target,
        details: serde_json::Value,
        now: Timestamp,
    ) -> Event {
        Event {
            id: AuditEventId::generate(now, self.sources.random()),
            organization_id,
            occurred_at: now,
            actor: declaration.by.clone(),
            action,
            target,
            outcome: Outcome::Granted,
            origin: Origin::default(),
            token_expires_at: None,
            details: Some(details),
        }
    }
}
