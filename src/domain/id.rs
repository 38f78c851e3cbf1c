//! Typed identifiers: `UUIDv7` (RFC 9562, section 5.7), so that the order of ids is the order of creation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::random::Random;
use super::time::Timestamp;

/// An id of the moment `time` that ends in `tail`. The 12 bits after the millisecond hold the fraction of it (RFC 9562, section 6.2, method 3), so that
/// what is made one after the other is listed so.
fn uuid_v7(time: Timestamp, tail: [u8; 8]) -> Uuid {
    let fraction = u16::try_from(time.as_micros().rem_euclid(1_000) * 4_096 / 1_000).unwrap_or(0);
    let mut bytes = [0; 10];
    let (head, rest) = bytes.split_at_mut(2);
    head.copy_from_slice(&fraction.to_be_bytes());
    rest.copy_from_slice(&tail);
    uuid::Builder::from_unix_timestamp_millis(time.as_millis(), &bytes).into_uuid()
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
                let mut tail = [0; 8];
                random.fill(&mut tail);
                Self(uuid_v7(now, tail))
            }

            /// The least id of the moment `time`: everything since then has a greater one.
            #[must_use]
            pub fn earliest(time: Timestamp) -> Self {
                Self(uuid_v7(time, [0; 8]))
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
    /// Names a project of a workspace.
    ProjectId
    /// Names an entry of a catalogue of permissions.
    PermissionId
    /// Names a role.
    RoleId
    /// Names an assignment of a role.
    RoleAssignmentId
    /// Names a team.
    TeamId
    /// Names an access token: its `jti` claim.
    TokenId
    /// Names an audit event.
    AuditEventId
    /// Names a running server: another one with each start.
    NodeId
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Fixed;

    #[test]
    fn the_order_of_ids_is_the_order_of_creation_to_the_microsecond() {
        let at = Timestamp::from_micros;
        let times = [0, 1, 2, 998, 999, 1_000, 1_001, 1_767_225_600_123_456, 1_767_225_600_123_457];
        for pair in times.windows(2) {
            assert!(AuditEventId::generate(at(pair[0]), &Fixed(255)) < AuditEventId::generate(at(pair[1]), &Fixed(0)), "{pair:?}");
            assert!(AuditEventId::generate(at(pair[0]), &Fixed(255)) < AuditEventId::earliest(at(pair[1])), "{pair:?}");
        }
        let id = AuditEventId::generate(at(1_767_225_600_123_456), &Fixed(7));
        assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
    }

    #[test]
    fn a_text_in_the_form_of_a_uuid_is_an_id() {
        assert_eq!(Reference::from("ci"), Reference::Name("ci".to_owned()));
        assert_eq!(Reference::from("00000000-0000-7000-8000-000000000000").to_string(), "00000000-0000-7000-8000-000000000000");
        assert!(matches!(Reference::from("00000000-0000-7000-8000-000000000000"), Reference::Id(_)));
    }
}
