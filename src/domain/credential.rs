//! What someone proves who they are with, and whether it still counts.

use super::entity::{ApiKey, KeyValue, Organization, ServiceAccount, Session, User};
use super::status::StatusIndex;
use super::time::Timestamp;

/// Why a credential that was proven to be held is refused all the same. Its holder is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key was deactivated.
    #[error("this API key is deactivated; activate it or use another")]
    ApiKeyInactive,
    /// The key's time is over.
    #[error("this API key has expired; make a new one")]
    ApiKeyExpired,
    /// The key has another value since, and the time for which this one was kept is over.
    #[error("this API key was rotated, and this old value no longer works; use the new one")]
    ApiKeyRotated,
    /// The maker of the key may not make keys for this account any more, or may do nothing of what is asked for.
    #[error(
        "whoever made this API key may not make it any more; an administrator who may do all that the account may can rotate the key, or activate it again"
    )]
    ApiKeyLeftBehind,
    /// The account was deactivated.
    #[error("this service account is deactivated; ask an administrator of the organization")]
    ServiceAccountInactive,
    /// The person was deactivated.
    #[error("this user is deactivated; ask an administrator of the organization")]
    UserInactive,
    /// Somebody else set the password, and may not do so any more.
    #[error("somebody else set this password, and may not set it any more; ask an administrator for a link to set one of your own")]
    PasswordLeftBehind,
}

impl Refusal {
    /// The stable code of the error body and the audit event.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ApiKeyInactive => "api_key_inactive",
            Self::ApiKeyExpired => "api_key_expired",
            Self::ApiKeyRotated => "api_key_rotated",
            Self::ApiKeyLeftBehind => "api_key_left_behind",
            Self::ServiceAccountInactive => "service_account_inactive",
            Self::UserInactive => "user_inactive",
            Self::PasswordLeftBehind => "password_left_behind",
        }
    }
}

/// An API key, with the account and the organization that it speaks for.
#[derive(Clone, Debug)]
pub struct KeyCredential {
    /// Whose account it is.
    pub organization: Organization,
    /// Whose key it is.
    pub account: ServiceAccount,
    /// The key.
    pub key: ApiKey,
    /// The value of it that was presented, or that the token was obtained with.
    pub value: KeyValue,
    /// Where the status lists speak of that value; nothing where it ended so long ago that they don't.
    pub status: Option<StatusIndex>,
    /// The sign-in in a browser that stands for it, where it is one; then `status` is that of the sign-in.
    pub session: Option<Session>,
    /// Whether somebody else made the value, or made what it was made with.
    pub made_by_other: bool,
    /// Whether those may not make it any more. Only [`crate::service`] finds that out.
    pub left_behind: bool,
}

impl KeyCredential {
    /// Whether it may be used at `now`.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if !self.account.active {
            Err(Refusal::ServiceAccountInactive)
        } else if !self.key.active {
            Err(Refusal::ApiKeyInactive)
        } else if self.value.retained_until.is_some_and(|end| end <= now) {
            Err(Refusal::ApiKeyRotated)
        } else if self.value.expires_at.is_some_and(|expiry| expiry <= now) {
            Err(Refusal::ApiKeyExpired)
        } else if self.left_behind {
            Err(Refusal::ApiKeyLeftBehind)
        } else {
            Ok(())
        }
    }
}

/// A person who proved who they are, and their organization.
#[derive(Clone, Debug)]
pub struct UserCredential {
    /// Whose member they are.
    pub organization: Organization,
    /// Who they are.
    pub user: User,
    /// Whether their password is one that somebody else set who may not do so any more. Only [`crate::service`] finds that out.
    pub left_behind: bool,
}

impl UserCredential {
    /// Whether they may sign in.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Refusal> {
        if !self.user.active {
            Err(Refusal::UserInactive)
        } else if self.left_behind {
            Err(Refusal::PasswordLeftBehind)
        } else {
            Ok(())
        }
    }
}

/// A person's sign-in, which a token refers to.
#[derive(Clone, Debug)]
pub struct SessionCredential {
    /// Whose it is.
    pub holder: UserCredential,
    /// The sign-in.
    pub session: Session,
}
