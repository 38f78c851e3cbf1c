//! What tokens are signed with: algorithms, and keys that take turns.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::name::Invalid;
use super::time::Timestamp;

/// A JWS algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1). All are asymmetric: a resource service holds no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256: small, quick, and understood by every validator in use.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519: quicker still, but unknown to some validators.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits: for validators that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlgorithm {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The registered name, as in `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for SigningAlgorithm {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Invalid("must be ES256, EdDSA or RS256".to_owned()))
    }
}

/// How long a key stays published after the next one has taken over: until every token signed with it has expired, with time for clocks that differ.
pub const RETIRED_AFTER: Duration = Duration::from_mins(65);

/// How long anybody may keep the published keys and the metadata: `max-age`.
pub const KEPT_FOR: Duration = Duration::from_mins(1);
/// How long a key is published at least before anything is signed with it: [`KEPT_FOR`], a second until each node has read it, and time for clocks that differ.
pub const PUBLISHED_BEFORE: Duration = Duration::from_secs(75);
/// How far the clocks of nodes differ that work as they should.
pub const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

/// When signing keys take turns.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// How long a key signs; without this, until somebody says so.
    pub every: Option<Duration>,
    /// How long before it signs a key is published, if that is more than [`PUBLISHED_BEFORE`].
    pub publish_ahead: Duration,
}

impl Rotation {
    /// How long before it signs a key is published.
    #[must_use]
    pub fn ahead(self) -> Duration {
        self.publish_ahead.max(PUBLISHED_BEFORE)
    }

    /// From when on the key after the newest is to sign, where it is time to make it.
    #[must_use]
    pub fn next(self, newest_active_from: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let due = newest_active_from.plus(self.every?);
        // Published long enough also where nobody was there to do it in time.
        (now >= due.minus(self.ahead())).then(|| due.max(now.plus(self.ahead())))
    }
}

/// Where a signing key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, and will sign.
    Next,
    /// Signs.
    Current,
    /// Signs no more, and is published until what it signed has expired.
    Previous,
    /// Not published any more: nothing that it signed counts.
    Retired,
}

impl KeyState {
    /// Of a key that signs from `active_from` until `successor_active_from`.
    #[must_use]
    pub fn of(active_from: Timestamp, successor_active_from: Option<Timestamp>, retired: bool, now: Timestamp) -> Self {
        if retired {
            Self::Retired
        } else if active_from > now {
            Self::Next
        } else if successor_active_from.is_some_and(|from| from <= now) {
            Self::Previous
        } else {
            Self::Current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

    #[test]
    fn the_next_key_is_made_ahead_of_its_time() {
        let rotation = Rotation { every: Some(30 * DAY), publish_ahead: DAY };
        assert_eq!(rotation.next(START, START.plus(29 * DAY).minus(Duration::from_secs(1))), None);
        assert_eq!(rotation.next(START, START.plus(29 * DAY)), Some(START.plus(30 * DAY)));
        // Nobody was there for a year: it is published for a day all the same before it signs.
        assert_eq!(rotation.next(START, START.plus(365 * DAY)), Some(START.plus(366 * DAY)));
        assert_eq!(Rotation { every: None, publish_ahead: DAY }.next(START, START.plus(365 * DAY)), None);
        // Never for less time than anybody may keep the keys.
        let short = Rotation { every: Some(DAY), publish_ahead: Duration::from_mins(1) };
        assert_eq!(short.next(START, START.plus(2 * DAY)), Some(START.plus(2 * DAY).plus(PUBLISHED_BEFORE)));
        assert!(PUBLISHED_BEFORE > KEPT_FOR);
    }

    #[test]
    fn a_key_goes_through_its_states() {
        let (from, next) = (START, START.plus(30 * DAY));
        let state = |at: Timestamp, retired| KeyState::of(from, Some(next), retired, at);
        assert_eq!(state(from.minus(DAY), false), KeyState::Next);
        assert_eq!(state(from, false), KeyState::Current);
        assert_eq!(state(next, false), KeyState::Previous);
        assert_eq!(state(next, true), KeyState::Retired);
        assert_eq!(KeyState::of(from, None, false, START.plus(365 * DAY)), KeyState::Current);
    }
}
