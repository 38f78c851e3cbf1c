//! API keys: how a raw key is built and recognised, and what is kept of it.
//!
//! `<prefix><43 base62 characters: 256 random bits><6 base62 characters: CRC-32 of all before>`. The checksum lets scanners and the server refuse junk
//! without a look-up; it is no secret and proves nothing.

use std::fmt;

use aws_lc_rs::digest;
use zeroize::{Zeroize, Zeroizing};

use super::name::Invalid;
use super::random::Random;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is the first power of 62 above 2^256.
pub(super) const SECRET_LENGTH: usize = 43;
/// 62^6 is the first power of 62 above 2^32.
pub(super) const CHECKSUM_LENGTH: usize = 6;
/// How much of the secret people are shown to recognise a key by: 24 of its 256 bits.
const HINT_LENGTH: usize = 4;

/// The text that every key of this server begins with, such as `hp_live_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The greatest length, in characters.
    pub const MAX: usize = 20;

    /// What the secret of an invitation begins with: it has the form of a key, so that it is recognised where it does not belong.
    #[must_use]
    pub fn invitation() -> Self {
        Self("hp_invite_".to_owned())
    }

    /// What the content of a session's cookie begins with, for the same reason.
    #[must_use]
    pub fn session() -> Self {
        Self("hp_session_".to_owned())
    }

    /// A letter, then letters, digits and `_`, the last of them `_`; at most [`KeyPrefix::MAX`] characters.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let sound = text.len() <= Self::MAX
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.ends_with('_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid(format!("must be a letter, then letters, digits and _, ending with _, at most {} characters, such as hp_live_", Self::MAX)))
        }
    }
}

/// A raw API key. It is shown once, to the person who makes it, and is wiped from memory when dropped.
pub struct RawApiKey(String);

impl RawApiKey {
    /// A new key.
    #[must_use]
    pub fn generate(prefix: &KeyPrefix, random: &dyn Random) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut());
        // As long as it will get: a string that grows leaves copies of the secret behind.
        let mut text = String::with_capacity(prefix.0.len() + SECRET_LENGTH + CHECKSUM_LENGTH);
        text.push_str(&prefix.0);
        push_base62(&mut text, secret, SECRET_LENGTH);
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// Takes what someone presents as a key. White space at the ends is dropped, because people paste.
    #[must_use]
    pub fn from_presented(mut text: String) -> Self {
        let trimmed = text.trim();
        if trimmed.len() != text.len() {
            let trimmed = trimmed.to_owned();
            text.zeroize();
            text = trimmed;
        }
        Self(text)
    }

    /// Whether it has the form of a key and its checksum holds. A key that fails was never issued.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let Some(split) = self.0.len().checked_sub(CHECKSUM_LENGTH) else { return false };
        let Some((body, presented)) = self.0.split_at_checked(split) else { return false };
        body.len() > SECRET_LENGTH && self.0.len() <= KeyPrefix::MAX + SECRET_LENGTH + CHECKSUM_LENGTH && checksum(body) == presented
    }

    /// Whether it is worth a look-up. A key of ours has a checksum that holds. An imported one has another form, of which only this is known: that it is some
    /// length of visible ASCII.
    #[must_use]
    pub fn may_exist(&self, prefix: &KeyPrefix) -> bool {
        let foreign = || (16..=500).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_graphic());
        self.is_well_formed() || (!self.0.starts_with(&prefix.0) && foreign())
    }

    /// What the key is found by.
    #[must_use]
    pub fn hash(&self) -> ApiKeyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        ApiKeyHash(hash)
    }

    /// The first characters, by which people recognise it.
    #[must_use]
    pub fn hint(&self) -> String {
        let visible = self.0.len().saturating_sub(SECRET_LENGTH + CHECKSUM_LENGTH) + HINT_LENGTH;
        self.0.chars().take(visible).collect()
    }

    /// The key itself: for the one answer that shows it, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for RawApiKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RawApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RawApiKey([redacted])")
    }
}

/// SHA-256 of a whole raw key: all that is stored of it, and what it is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiKeyHash(pub [u8; 32]);

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKeyHash([redacted])")
    }
}

/// Appends the number that `bytes` hold, most significant first, in exactly `length` base62 digits.
fn push_base62<const N: usize>(text: &mut String, mut bytes: Zeroizing<[u8; N]>, length: usize) {
    let mut digits = Zeroizing::new(Vec::with_capacity(length));
    for _ in 0..length {
        let mut remainder = 0_u16;
        for byte in bytes.iter_mut() {
            let value = remainder << 8 | u16::from(*byte);
            // The remainder is below 62, so the quotient of (61 * 256 + 255) / 62 is at most 255.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        digits.push(ALPHABET.get(usize::from(remainder)).copied().unwrap_or(b'0'));
    }
    text.extend(digits.iter().rev().map(|digit| char::from(*digit)));
}

pub(super) fn checksum(body: &str) -> String {
    let mut text = String::with_capacity(CHECKSUM_LENGTH);
    push_base62(&mut text, Zeroizing::new(crc32fast::hash(body.as_bytes()).to_be_bytes()), CHECKSUM_LENGTH);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Fixed;
    use proptest::prelude::*;

    fn key(byte: u8) -> RawApiKey {
        RawApiKey::generate(&KeyPrefix::parse("hp_live_").unwrap(), &Fixed(byte))
    }

    #[test]
    fn has_the_documented_form() {
        // The checksums were computed with another program's CRC-32, so that this test pins the format, not the code.
        assert_eq!(key(0).expose(), format!("hp_live_{}{}", "0".repeat(43), CHECKSUM_OF_ZEROS));
        let text = key(255).expose().to_owned();
        assert_eq!(text.len(), 8 + 43 + 6);
        assert!(text.starts_with(LARGEST), "{text}");
    }

    /// Python: `n = zlib.crc32(b"hp_live_" + b"0" * 43)`, written in base62 with the digits 0-9A-Za-z.
    const CHECKSUM_OF_ZEROS: &str = "33UjTy";
    /// Python: `2**256 - 1` in the same base62.
    const LARGEST: &str = "hp_live_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

    #[test]
    fn hint_shows_four_characters_of_the_secret() {
        assert_eq!(key(0).hint(), "hp_live_0000");
    }

    #[test]
    fn pasted_white_space_is_dropped() {
        let key = key(7);
        let pasted = RawApiKey::from_presented(format!(" {}\r\n", key.expose()));
        assert!(pasted.is_well_formed());
        assert_eq!(pasted.hash(), key.hash());
    }

    #[test]
    fn is_never_printed() {
        assert_eq!(format!("{:?} {:?}", key(1), key(1).hash()), "RawApiKey([redacted]) ApiKeyHash([redacted])");
    }

    #[test]
    fn junk_is_not_well_formed() {
        for junk in ["", "hp_live_", "éééééé", "a.b.c", &"x".repeat(57), &"x".repeat(1_000_000)] {
            assert!(!RawApiKey::from_presented(junk.to_owned()).is_well_formed(), "{junk:.20}");
        }
    }

    #[test]
    fn keys_of_other_systems_are_looked_up() {
        let prefix = KeyPrefix::parse("hp_live_").unwrap();
        let may_exist = |text: &str| RawApiKey::from_presented(text.to_owned()).may_exist(&prefix);
        assert!(may_exist("vf_live_0123456789abcdef0123456789abcdef0123456789abcdef"));
        assert!(may_exist(key(3).expose()));
        for junk in
            ["", "short", "hp_live_0123456789abcdef0123456789abcdef", "has a space in the middle", "é".repeat(20).as_str(), "x".repeat(501).as_str()]
        {
            assert!(!may_exist(junk), "{junk}");
        }
    }

    #[test]
    fn prefixes_are_plain() {
        assert!(KeyPrefix::parse("hp_test_").is_ok());
        for bad in ["", "_", "hp", "1_", "hp-live_", "hp live_", "a_very_long_prefix_of_ours_"] {
            assert!(KeyPrefix::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn one_altered_character_is_noticed(bytes in any::<[u8; 32]>(), position in 8_usize..57, other in 0_usize..62) {
            struct Bytes([u8; 32]);
            impl Random for Bytes {
                fn fill(&self, bytes: &mut [u8]) {
                    bytes.copy_from_slice(&self.0);
                }
            }
            let key = RawApiKey::generate(&KeyPrefix::parse("hp_live_").unwrap(), &Bytes(bytes));
            prop_assert!(key.is_well_formed());
            let mut altered = key.expose().as_bytes().to_vec();
            prop_assume!(altered[position] != ALPHABET[other]);
            altered[position] = ALPHABET[other];
            prop_assert!(!RawApiKey::from_presented(String::from_utf8(altered).unwrap()).is_well_formed());
        }
    }
}
