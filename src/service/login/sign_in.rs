//! The sign-in that a token belongs to: of a person, or in a browser of a service account.

use std::num::NonZeroU32;

use serde_json::json;
use uuid::Uuid;

use super::{Login, LoginError, Subject};
use crate::domain::audit::{Action, Event, Outcome};
use crate::domain::credential::KeyCredential;
use crate::domain::id::AuditEventId;
use crate::domain::status::StatusIndex;
use crate::domain::time::Timestamp;
use crate::service::rate_limit::Quota;
use crate::store::{NewSession, SessionHolder, Tx};

/// How many sessions in a browser someone may begin a minute, and have at once: each takes a place in the status lists for a day.
const SESSIONS_A_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();
const MOST_SESSIONS: i64 = 100;

impl Login {
    /// Refuses who begins too many sessions.
    pub(super) fn check_beginner(&self, id: Uuid, now: Timestamp) -> Result<(), LoginError> {
        self.beginners.check(&id, Quota::per_minute(SESSIONS_A_MINUTE), now).map_err(|_| LoginError::TooManySessions)
    }

    /// Writes a sign-in, and a stronger hash of a person's password, to be committed with the record of the token.
    pub(super) async fn begin_sign_in(&self, new: &NewSession<'_>, subject: &Subject) -> Result<(Tx, StatusIndex), LoginError> {
        let mut tx = self.context.store.begin().await?;
        let (status, holder) = match subject {
            Subject::Key(known) => {
                let KeyCredential { organization, account, value, .. } = &known.credential;
                tx.lock_service_account(organization.id, account.id).await?;
                let found = tx.find_key_credential_by_grant(value.grant).await?.ok_or(LoginError::UnknownKey)?;
                found.check(self.context.sources.latest())?;
                (tx.insert_key_session(new, value.grant, found.value.ends_at()).await?, SessionHolder::ServiceAccount(account.id))
            }
            Subject::User { stored, rehashed } => {
                let user = stored.holder.user.id;
                let status = tx.insert_session(new, user, stored.version).await?.ok_or(LoginError::WrongPassword)?;
                if let Some(hash) = rehashed {
                    tx.replace_password_hash(user, stored.version, hash).await?;
                }
                (status, SessionHolder::User(user))
            }
        };
        let now = self.context.sources.now();
        let ended =
            if new.cookie.is_some() { tx.delete_oldest_sessions(holder, MOST_SESSIONS, self.context.sources.latest()).await? } else { Vec::new() };
        if !ended.is_empty() {
            let event = Event {
                id: AuditEventId::generate(now, self.context.sources.random()),
                organization_id: Some(subject.organization()),
                occurred_at: now,
                actor: subject.actor(),
                action: Action::SessionEnd,
                target: subject.target(),
                outcome: Outcome::Granted,
                origin: new.origin.clone(),
                token_expires_at: None,
                details: Some(json!({ "sessions": "the oldest, because there were too many", "session_ids": ended })),
            };
            tx.insert_event(&event).await?;
        }
        Ok((tx, status))
    }
}
