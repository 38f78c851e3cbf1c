//! Which credentials' tokens count no more: the bits of a Token Status List (draft-ietf-oauth-status-list-21).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::document::{DocumentAddress, DocumentKind};

/// How many credentials a list speaks of. Lists have this length from the beginning, whoever is in them, so that their length tells nobody how many there are; what is all
/// zeros compresses to next to nothing.
pub const LIST_LENGTH: u32 = 1 << 20;

/// For how long the lists say that something has ended: far longer than any token lives, so that clocks may differ by hours.
pub const SHOWN_FOR: Duration = Duration::from_hours(24);
/// After what time its index may be another's: when the last list that spoke of it is past its `exp` as well.
pub const REUSED_AFTER: Duration = Duration::from_hours(27);

/// Where the lists say whether something that tokens are obtained with still counts: a value of an API key, or a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusIndex(pub i64);

impl StatusIndex {
    /// The number of the list.
    #[must_use]
    pub fn list(self) -> i64 {
        self.0 / i64::from(LIST_LENGTH)
    }

    /// The place in it.
    #[must_use]
    pub fn position(self) -> u32 {
        u32::try_from(self.0 % i64::from(LIST_LENGTH)).unwrap_or_default()
    }

    /// What a token says of it.
    #[must_use]
    pub fn claim(self, issuer: &str) -> Status {
        Status { status_list: StatusReference { idx: self.position(), uri: list_address(issuer, self.list()).as_str().to_owned() } }
    }
}

/// The address of list number `list`.
#[must_use]
pub fn list_address(issuer: &str, list: i64) -> DocumentAddress {
    DocumentAddress::new(issuer, DocumentKind::StatusList, &list)
}

/// The claim `status` (section 6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// By which list.
    pub status_list: StatusReference,
}

/// A place in a list (section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The place, from 0 on.
    pub idx: u32,
    /// Where the list is.
    pub uri: String,
}

/// A list: a bit for each place, the least significant of a byte first (section 4.1); 0 is VALID, 1 is INVALID (section 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusBits(Vec<u8>);

impl Default for StatusBits {
    fn default() -> Self {
        Self(vec![0; (LIST_LENGTH / 8) as usize])
    }
}

impl StatusBits {
    /// Every bit set: every place is INVALID.
    #[must_use]
    pub fn all_set() -> Self {
        Self(vec![0xFF; (LIST_LENGTH / 8) as usize])
    }

    /// Sets the bit at this place; one beyond the end is left out.
    pub fn set(&mut self, position: u32) {
        if let Some(byte) = self.0.get_mut((position / 8) as usize) {
            *byte |= 1 << (position % 8);
        }
    }

    /// All of them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_least_significant() {
        // Section 4.1 of the draft: statuses 1 0 0 1 1 1 0 1, 1 1 0 0 0 1 0 1 are the bytes B9 A3.
        let mut bits = StatusBits::default();
        for (position, _) in "1001110111000101".char_indices().filter(|(_, bit)| *bit == '1') {
            bits.set(u32::try_from(position).unwrap());
        }
        bits.set(LIST_LENGTH);
        assert_eq!((&bits.as_bytes()[..3], bits.as_bytes().len()), (&[0xB9, 0xA3, 0][..], 131_072));
    }

    #[test]
    fn an_index_names_a_list_and_a_place() {
        let claim = StatusIndex(3 * i64::from(LIST_LENGTH) + 5).claim("https://hourpass.example.com");
        assert_eq!((claim.status_list.idx, claim.status_list.uri.as_str()), (5, "https://hourpass.example.com/status-lists/3"));
    }
}
