//! Why no token was issued.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::domain::credential::Refusal;
use crate::domain::signing::SigningAlgorithm;
use crate::keys::KeyError;
use crate::service::passwords::PasswordError;
use crate::service::recorder::RecordError;
use crate::service::signing::SigningError;
use crate::store::StoreError;

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Something that was never an API key of this server: its checksum does not hold.
    #[error("this is not an API key of this server, or not all of it; check that it was copied whole")]
    NoKey,
    /// An unknown API key.
    #[error("this API key is not known here; check that all of it was copied, and that it is a key of this server")]
    UnknownKey,
    /// An unknown address or a wrong password: which of them is not said.
    #[error("the email address or the password is wrong; to exchange an API key, send it as password and leave username out")]
    WrongPassword,
    /// The secret is right, and refused all the same.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many sign-ins at once.
    #[error("too many sign-ins at once; try again in a second")]
    Busy,
    /// Too many wrong passwords of one person from one address; until this time is over.
    #[error(
        "too many wrong passwords for this email address from where you are; try again in a minute, or set a new one with a link from an administrator"
    )]
    TooManyGuesses(Duration),
    /// Too many exchanges of one service account: how many it may make a minute, and how long until another is allowed.
    #[error(
        "this service account may make {0} exchanges a minute here, and has made them; a token counts for an hour, so keep it and use it again, or ask an administrator to raise exchanges_per_minute of the account"
    )]
    TooManyExchanges(NonZeroU32, Duration),
    /// Too many sessions were begun.
    #[error("you have begun many sessions in a browser within a minute; try again in a minute, or ask with a script, which needs none")]
    TooManySessions,
    /// No such workspace in the caller's organization.
    #[error("there is no workspace {0} in your organization; check the name, or leave it out for a token for Hourpass itself")]
    InvalidTarget(String),
    /// A login for a workspace that names none.
    #[error("say which workspace: send workspace=<slug>, or post to /workspaces/<slug>/api/v1/login, or to the workspace's own host")]
    NoTarget,
    /// The caller may do nothing there.
    #[error("you hold no permission in workspace {0}; ask an administrator for a role there")]
    AccessDenied(String),
    /// More permissions were asked for than are held.
    #[error("the scope {0} is more than you hold there; leave scope out to get all that you hold")]
    InvalidScope(String),
    /// The token would be too long.
    #[error(
        "you hold so much there that the token would have {0} bytes, more than servers take in a header; ask for what you need with scope, or for a role in the whole workspace instead of many projects"
    )]
    TokenTooLarge(usize),
    /// The database failed: the token is not issued.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record could not be written: the token is not issued.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no key to sign with.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Validators may not know the first key of this algorithm yet; they do after this time.
    #[error("the first {0} key was just published, and nothing is signed with it before everybody who checks tokens can know it: try again in {seconds} seconds", seconds = .1.as_secs() + 1)]
    NotYetPublished(SigningAlgorithm, Duration),
    /// A password cannot be compared.
    #[error("{0}")]
    Password(PasswordError),
}

impl LoginError {
    /// The stable code of the error body.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoKey | Self::UnknownKey | Self::WrongPassword => "invalid_credentials",
            Self::Refused(refusal) => refusal.code(),
            Self::Busy | Self::TooManyGuesses(_) | Self::TooManySessions => "too_many_requests",
            Self::TooManyExchanges(..) => "exchange_rate_limited",
            Self::InvalidTarget(_) | Self::NoTarget => "invalid_target",
            Self::AccessDenied(_) => "access_denied",
            Self::InvalidScope(_) => "invalid_scope",
            Self::TokenTooLarge(_) => "token_too_large",
            Self::NotYetPublished(..) => "signing_key_not_yet_published",
            // Nothing was handed out, so that whatever the outcome was, a repeat does no harm.
            Self::Store(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
            | Self::Signing(SigningError::Store(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)))
            | Self::Record(RecordError::Unavailable) => "unavailable",
            Self::Store(_) | Self::Record(_) | Self::Signing(_) | Self::Password(_) => "internal_error",
        }
    }
}

impl LoginError {
    /// Whether Hourpass failed, and did not refuse.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Record(_) | Self::Signing(_) | Self::NotYetPublished(..) | Self::Password(_))
    }

    /// Whether it is the refusal of someone who may be nobody at all.
    pub(super) fn is_of_a_stranger(&self) -> bool {
        matches!(self, Self::UnknownKey | Self::WrongPassword)
    }
}

impl From<KeyError> for LoginError {
    fn from(error: KeyError) -> Self {
        Self::Signing(error.into())
    }
}

impl From<PasswordError> for LoginError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Broken(_) | PasswordError::Common => Self::Password(error),
        }
    }
}
