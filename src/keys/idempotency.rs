//! Keys for the answers that are kept for repeated requests.
//!
//! An answer may hold what is shown once, so it is sealed under a key that is derived (HKDF, RFC 5869) from the master key and from the Idempotency-Key: neither the database with the
//! master key nor the Idempotency-Key alone opens it. The Idempotency-Key itself is kept nowhere.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::MasterKey;
use super::UnsealError;

const LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;

/// Derives the keys of answers from the master key.
pub struct AnswerKeys(Prk);

/// The keys for the answer to one Idempotency-Key of one principal.
pub struct AnswerKey {
    id: [u8; LENGTH],
    fingerprint: hmac::Key,
    seal: RandomizedNonceKey,
}

impl std::fmt::Debug for AnswerKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AnswerKeys([redacted])")
    }
}

impl std::fmt::Debug for AnswerKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AnswerKey([redacted])")
    }
}

impl AnswerKeys {
    /// Of this master key.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self(master.derive("hourpass idempotency"))
    }

    /// The keys for an Idempotency-Key. `scope`: whose it is; the same text of another principal has other keys.
    ///
    /// # Errors
    /// If the cryptographic library refuses, which it has no reason to.
    pub fn of(&self, scope: &[u8; 16], idempotency_key: &str) -> Result<AnswerKey, UnsealError> {
        let derive = |purpose: &str| {
            let mut key = Zeroizing::new([0; LENGTH]);
            // The scope has a fixed length, so that no two triples are written alike.
            let info = [purpose.as_bytes(), &[0], scope, idempotency_key.as_bytes()];
            let derived = self.0.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(key.as_mut()));
            derived.map(|()| key).map_err(|_| UnsealError)
        };
        Ok(AnswerKey {
            id: *derive("look-up")?,
            fingerprint: hmac::Key::new(hmac::HMAC_SHA256, derive("fingerprint")?.as_ref()),
            seal: RandomizedNonceKey::new(&AES_256_GCM, derive("seal")?.as_ref()).map_err(|_| UnsealError)?,
        })
    }
}

impl AnswerKey {
    /// What the answer is found by.
    #[must_use]
    pub fn id(&self) -> &[u8; LENGTH] {
        &self.id
    }

    /// Says whether two requests are the same, without giving away what they hold, such as a password.
    #[must_use]
    pub fn fingerprint(&self, request: &[&[u8]]) -> [u8; LENGTH] {
        let mut context = hmac::Context::with_key(&self.fingerprint);
        for part in request {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; LENGTH];
        for (byte, of_tag) in fingerprint.iter_mut().zip(context.sign().as_ref()) {
            *byte = *of_tag;
        }
        fingerprint
    }

    /// Encrypts an answer (AES-256-GCM): nonce, ciphertext, tag.
    ///
    /// # Errors
    /// If the cipher fails, which it has no reason to.
    pub fn seal(&self, answer: &[u8]) -> Result<Vec<u8>, UnsealError> {
        let mut text = answer.to_vec();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(self.id), &mut text).map_err(|_| UnsealError)?;
        Ok([nonce.as_ref().as_slice(), &text].concat())
    }

    /// Decrypts what [`AnswerKey::seal`] made.
    ///
    /// # Errors
    /// If it was altered, or sealed under another master key.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LENGTH).ok_or(UnsealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.seal.open_in_place(nonce, Aad::from(self.id), &mut text).map_err(|_| UnsealError)?.len();
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Fixed;

    fn keys(master: u8, scope: u8, key: &str) -> AnswerKey {
        AnswerKeys::new(&MasterKey::parse(&MasterKey::generate(&Fixed(master))).unwrap()).of(&[scope; 16], key).unwrap()
    }

    #[test]
    fn answer_opens_only_with_master_key_and_idempotency_key_of_the_same_principal() {
        let sealed = keys(1, 1, "a").seal(b"secret").unwrap();
        assert_eq!(keys(1, 1, "a").open(&sealed).unwrap().as_slice(), b"secret");
        for other in [keys(2, 1, "a"), keys(1, 2, "a"), keys(1, 1, "b")] {
            assert!(other.open(&sealed).is_err());
            assert_ne!(other.id(), keys(1, 1, "a").id());
        }
    }

    #[test]
    fn fingerprint_tells_requests_apart_whose_parts_join_to_the_same_text() {
        let key = keys(1, 1, "a");
        assert_eq!(key.fingerprint(&[b"ab", b"c"]), key.fingerprint(&[b"ab", b"c"]));
        assert_ne!(key.fingerprint(&[b"ab", b"c"]), key.fingerprint(&[b"a", b"bc"]));
        assert_ne!(key.fingerprint(&[b"ab"]), keys(1, 1, "b").fingerprint(&[b"ab"]));
    }
}
