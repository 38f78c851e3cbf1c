//! The master key, under which private signing keys are kept.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::domain::random::Random;

const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;

/// A sealed text that does not open: it was altered, or sealed with another master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not open with this master key")]
pub struct UnsealError;

/// AES-256-GCM under a key that never reaches the database, and what other keys are derived from.
pub struct MasterKey {
    seal: RandomizedNonceKey,
    bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MasterKey([redacted])")
    }
}

impl MasterKey {
    /// Reads 32 bytes in base64 (RFC 4648, section 4). White space at the ends is dropped.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it, without the text itself.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let bytes = Zeroizing::new(STANDARD.decode(text.expose_secret().trim()).map_err(|_| "is not base64".to_owned())?);
        if bytes.len() != KEY_LENGTH {
            return Err(format!("holds {} bytes instead of {KEY_LENGTH}", bytes.len()));
        }
        let seal = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| "cannot be used as a key".to_owned())?;
        Ok(Self { seal, bytes })
    }

    /// Begins the derivation of other keys (HKDF-Extract, RFC 5869, section 2.2). Each purpose has keys of its own.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Prk {
        Salt::new(HKDF_SHA256, purpose.as_bytes()).extract(&self.bytes)
    }

    /// A new one, as [`MasterKey::parse`] reads it.
    #[must_use]
    pub fn generate(random: &dyn Random) -> SecretString {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        random.fill(bytes.as_mut());
        STANDARD.encode(bytes.as_ref()).into()
    }

    /// Encrypts `plain`: nonce, ciphertext, tag. It opens only together with the same `context`.
    ///
    /// # Errors
    /// Where the cipher fails, which it has no reason to.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, UnsealError> {
        let mut text = plain.to_vec();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(context), &mut text).map_err(|_| UnsealError)?;
        Ok([nonce.as_ref().as_slice(), &text].concat())
    }

    /// Checks that it opens all of these, each given with its context.
    ///
    /// # Errors
    /// The context of the first that does not open.
    pub fn opens(&self, sealed: &[(String, Vec<u8>)]) -> Result<(), String> {
        sealed.iter().try_for_each(|(context, sealed)| self.unseal(context, sealed).map(drop).map_err(|_| context.clone()))
    }

    /// Decrypts what [`MasterKey::seal`] made.
    ///
    /// # Errors
    /// Where it was altered, or sealed with another key or context.
    pub fn unseal(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LENGTH).ok_or(UnsealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.seal.open_in_place(nonce, Aad::from(context), &mut text).map_err(|_| UnsealError)?.len();
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Fixed;

    fn key(byte: u8) -> MasterKey {
        MasterKey::parse(&MasterKey::generate(&Fixed(byte))).unwrap()
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let sealed = key(1).seal("kid", b"private").unwrap();
        assert_eq!(key(1).unseal("kid", &sealed).unwrap().as_slice(), b"private");
        assert!(key(2).unseal("kid", &sealed).is_err());
        assert!(key(1).unseal("other kid", &sealed).is_err());
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(key(1).unseal("kid", &altered).is_err(), "byte {position}");
        }
        assert!(key(1).unseal("kid", &sealed[..5]).is_err());
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        assert_ne!(key(1).seal("kid", b"private"), key(1).seal("kid", b"private"));
    }

    #[test]
    fn damage_is_described_without_the_key() {
        for (text, why) in [("", "holds 0 bytes instead of 32"), ("c2hvcnQ=", "holds 5 bytes instead of 32"), ("not base64!", "is not base64")] {
            assert_eq!(MasterKey::parse(&text.into()).unwrap_err(), why);
        }
    }
}
