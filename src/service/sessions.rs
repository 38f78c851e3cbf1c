//! The sign-ins of a caller: renewed while they are used in a browser, listed, and ended.

use serde_json::{Value, json};

use super::Context;
use super::authentication::{AuthenticationError, Caller, Principal};
use crate::domain::audit::{Action, Event, Origin, Outcome, Target};
use crate::domain::entity::{Session, SessionDetails};
use crate::domain::id::{AuditEventId, SessionId};
use crate::domain::time::Timestamp;
use crate::store::{StoreError, Tx};

/// A list holds at most so many: nobody reads more, and "end all others" ends those that it leaves out, too.
const LISTED: i64 = 200;

/// Looks after sign-ins.
#[derive(Debug)]
pub struct Sessions {
    context: Context,
}

impl Sessions {
    /// Of this server.
    #[must_use]
    pub const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Has the sign-in in a browser that the caller called with last longer, where that is due. Returns until when it does now.
    ///
    /// # Errors
    /// Where it is over by now. Where the database fails, it lasts as long as before.
    pub async fn renew(&self, caller: &Caller, origin: &Origin) -> Result<Option<Timestamp>, AuthenticationError> {
        let now = self.context.sources.latest();
        if caller.session().and_then(|session| session.renewed(now)).is_none() {
            return Ok(None);
        }
        let (mut tx, caller) = self.begin(caller).await?;
        // Of several requests at once, one renews it.
        let Some((session, expires_at)) = caller.session().and_then(|session| Some((session, session.renewed(now)?))) else { return Ok(None) };
        // Its status ends with the key, where that ends before.
        let ends_at = match &caller.principal {
            Principal::ServiceAccount(credential) => credential.value.ends_at().map_or(expires_at, |end| end.min(expires_at)),
            Principal::User(_) => expires_at,
        };
        tx.renew_session(caller.session_holder(), session.id, expires_at, ends_at).await?;
        self.finish(tx, &caller, Action::SessionRenew, origin.clone(), Some(json!({ "expires_at": expires_at }))).await?;
        Ok(Some(expires_at))
    }

    /// The caller's sign-ins, the newest first. Those of a service account are its sign-ins in browsers.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<SessionDetails>, StoreError> {
        self.context.store.list_sessions(caller.session_holder(), self.context.sources.latest(), LISTED).await
    }

    /// Ends one of the caller's sign-ins, and the tokens that it yielded. Returns whether there was one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end(&self, caller: &Caller, id: SessionId, origin: Origin) -> Result<bool, AuthenticationError> {
        let (mut tx, caller) = self.begin(caller).await?;
        if !tx.is_session_of(caller.session_holder(), id).await? {
            return Ok(false);
        }
        let now = self.context.sources.now();
        tx.delete_session(caller.session_holder(), id, now).await?;
        // Whoever ends another sign-in than the one that they use does not trust it, nor the links that were made in it.
        if caller.session().is_none_or(|session| session.id != id) {
            tx.delete_invitations_of_session(id, now).await?;
        }
        self.finish(tx, &caller, Action::SessionEnd, origin, Some(json!({ "session_id": id }))).await?;
        Ok(true)
    }

    /// Ends all of the caller's sign-ins but the one that they called with, where that is one, and the tokens that those yielded.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_others(&self, caller: &Caller, origin: Origin) -> Result<(), AuthenticationError> {
        let kept = caller.session().map(|session| session.id);
        let (mut tx, caller) = self.begin(caller).await?;
        tx.delete_other_sessions(caller.session_holder(), kept, self.context.sources.now()).await?;
        self.finish(tx, &caller, Action::SessionEnd, origin, Some(json!({ "sessions": "all others" }))).await
    }

    /// Ends the sign-in that the caller called with, and the tokens that it yielded. Whoever called with a key, or with a key's token, has none to end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sign_out(&self, caller: &Caller, origin: Origin) -> Result<(), AuthenticationError> {
        let Some(Session { id, .. }) = caller.session() else { return Ok(()) };
        let mut tx = self.context.store.begin().await?;
        // Without looking at the caller again: whoever was deactivated meanwhile may end what they began, too.
        tx.lock_session_holder(caller.organization().id, caller.session_holder()).await?;
        tx.delete_session(caller.session_holder(), id, self.context.sources.now()).await?;
        self.finish(tx, caller, Action::UserSignOut, origin, None).await
    }

    /// Begins a change of the caller's sign-ins, and looks at the caller again.
    async fn begin(&self, caller: &Caller) -> Result<(Tx, Caller), AuthenticationError> {
        let mut tx = self.context.store.begin().await?;
        tx.lock_session_holder(caller.organization().id, caller.session_holder()).await?;
        let caller = caller.again(&mut tx, self.context.sources.latest()).await?;
        Ok((tx, caller))
    }

    async fn finish(&self, mut tx: Tx, caller: &Caller, action: Action, origin: Origin, details: Option<Value>) -> Result<(), AuthenticationError> {
        let now = self.context.sources.now();
        let event = Event {
            id: AuditEventId::generate(now, self.context.sources.random()),
            organization_id: Some(caller.organization().id),
            occurred_at: now,
            actor: caller.actor(),
            action,
            target: match &caller.principal {
                Principal::User(credential) => Target::from(&credential.holder.user),
                Principal::ServiceAccount(credential) => Target::from(&credential.account),
            },
            outcome: Outcome::Granted,
            origin,
            token_expires_at: None,
            details,
        };
        tx.insert_event(&event).await?;
        Ok(tx.commit().await?)
    }
}
