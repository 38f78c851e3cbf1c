//! Typed identifiers: `UUIDv7` (RFC 9562, section 5.7), so that the order of ids is the order of creation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::random::Random;
use super::time::Timestamp;

fn uuid_v7(now: Timestamp, random: &dyn Random) -> Uuid {
    let mut bytes = [0; 10];
    random.fill(&mut bytes);
    uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &bytes).into_uuid()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id of the moment `now`.
            #[must_use]
            pub fn generate(now: Timestamp, random: &dyn Random) -> Self {
                Self(uuid_v7(now, random))
            }

            /// The least id of the millisecond of `time`: everything since then has a greater one.
            #[must_use]
            pub fn earliest(time: Timestamp) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(time.as_millis(), &[0; 10]).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// Names an organization.
    OrganizationId
    /// Names a workspace.
    WorkspaceId
    /// Names a service account.
    ServiceAccountId
    /// Names an API key.
    ApiKeyId
    /// Names one of the values that an API key has had.
    KeyValueId
    /// Names a user.
    UserId
    /// Names what a token was obtained with, in its `sid` claim: a person's sign-in, or a value of an API key. Without it, the token is over.
    SessionId
    /// Names an assignment of a role.
    RoleAssignmentId
    /// Names an access token: its `jti` claim.
    TokenId
    /// Names an audit event.
    AuditEventId
    /// Names one HTTP request, in logs, audit events and error bodies.
    RequestId
}

/// How a path or a form names something: by its id, or else by its name or slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A text in the form of a UUID is always an id.
    Id(Uuid),
    /// Any other text is a name or slug.
    Name(String),
}

impl From<&str> for Reference {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}
