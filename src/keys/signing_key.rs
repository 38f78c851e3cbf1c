//! Signing keys: made, read, prepared once, and published.

use std::collections::BTreeSet;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType, Jwk, OctetKeyPairParameters,
    OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Serialize;
use zeroize::Zeroizing;

use super::low_s;
use crate::domain::signing::{CLOCKS_DIFFER, SigningAlgorithm};
use crate::domain::time::Timestamp;

/// A key that cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The cryptographic library refused; it does not say why.
    #[error("the {0} key cannot be made or used")]
    Crypto(SigningAlgorithm),
    /// The JWK does not go with the private key.
    #[error("the public half of signing key {0} is damaged")]
    Public(String),
    /// A document that would pass for an access token at some receivers.
    #[error("a document of type {0} has claims that only an access token may have")]
    Document(&'static str),
}

/// A private key, parsed once: jsonwebtoken would parse it anew for every signature.
enum Prepared {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl Prepared {
    /// The public half (RFC 7518, section 6; RFC 8037, section 2).
    fn public(&self) -> Option<AlgorithmParameters> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Some(match self {
            Self::Es256(pair) => {
                // An uncompressed point: 4, then x and y.
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                let (x, y) = (text(x), text(y));
                AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                    key_type: EllipticCurveKeyType::EC,
                    curve: EllipticCurve::P256,
                    x,
                    y,
                })
            }
            Self::EdDsa(pair) => AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: text(pair.public_key().as_ref()),
            }),
            Self::Rs256(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let (n, e) = (text(n.big_endian_without_leading_zero()), text(e.big_endian_without_leading_zero()));
                AlgorithmParameters::RSA(RSAKeyParameters { key_type: RSAKeyType::RSA, n, e })
            }
        })
    }
}

/// One signing key, ready for use.
pub struct SigningKey {
    algorithm: SigningAlgorithm,
    kid: String,
    jwk: Jwk,
    prepared: Prepared,
    decoding: DecodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SigningKey({}, {})", self.algorithm, self.kid)
    }
}

impl SigningKey {
    /// Makes a new key. Returns it with its private half in PKCS #8 (RFC 5958), to be sealed.
    ///
    /// # Errors
    /// Where the cryptographic library refuses.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let refused = |_| KeyError::Crypto(algorithm);
        let random = SystemRandom::new();
        let pkcs8 = Zeroizing::new(match algorithm {
            SigningAlgorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(refused)?.as_ref().to_vec(),
            SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).map_err(refused)?.as_ref().to_vec(),
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(refused)?;
                AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(refused)?.as_ref().to_vec()
            }
        });
        Ok((Self::from_pkcs8(algorithm, &pkcs8)?, pkcs8))
    }

    /// Reads a private key in PKCS #8.
    ///
    /// # Errors
    /// Where it is not a key of that algorithm.
    pub fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Crypto(algorithm);
        let prepared = match algorithm {
            SigningAlgorithm::Es256 => Prepared::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(refused)?),
            SigningAlgorithm::EdDsa => Prepared::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(refused)?),
            SigningAlgorithm::Rs256 => Prepared::Rs256(RsaKeyPair::from_pkcs8(pkcs8).map_err(refused)?),
        };
        let refused = |_| KeyError::Crypto(algorithm);
        let mut jwk = Jwk { common: CommonParameters::default(), algorithm: prepared.public().ok_or(KeyError::Crypto(algorithm))? };
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(refused)?;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(jws(algorithm).into());
        jwk.common.key_id = Some(kid.clone());
        let decoding = DecodingKey::from_jwk(&jwk).map_err(refused)?;
        Ok(Self { algorithm, kid, jwk, prepared, decoding })
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Its name: the thumbprint of its public half (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public half as a JWK (RFC 7517) in JSON.
    ///
    /// # Errors
    /// Where it cannot be written, which it always can.
    pub fn public_jwk(&self) -> Result<String, KeyError> {
        serde_json::to_string(&self.jwk).map_err(|_| KeyError::Public(self.kid.clone()))
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let refused = |_| KeyError::Crypto(self.algorithm);
        match &self.prepared {
            Prepared::Es256(pair) => Ok(low_s::normalised(pair.sign(&SystemRandom::new(), message).map_err(refused)?.as_ref().to_vec())),
            Prepared::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Prepared::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
        }
    }
}

/// The name that jsonwebtoken has for an algorithm.
pub(super) const fn jws(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
    }
}

/// A key, and when it is its turn.
#[derive(Debug)]
pub struct PublishedKey {
    /// The key.
    pub key: SigningKey,
    /// The how manieth of its algorithm it is.
    pub generation: i64,
    /// From when on it signs, until the next one does.
    pub active_from: Timestamp,
    /// When it was published, if it was the first key of its algorithm then: until `active_from`, nothing is signed with that algorithm.
    pub introduced_at: Option<Timestamp>,
    /// Whether all its ES256 signatures have a low s, so that the other text of a token is a forgery.
    pub low_s: bool,
}

impl PublishedKey {
    /// Whether validators may not know the algorithm of this key yet.
    fn is_awaited(&self, now: Timestamp) -> bool {
        // A clock that is further behind was set back, and the key has long been known.
        now < self.active_from && self.introduced_at.is_some_and(|at| at.minus(CLOCKS_DIFFER) <= now)
    }

    /// Whether a signature is one that this key makes, as to its form.
    pub(super) fn has_form(&self, signature: &[u8]) -> bool {
        !(self.low_s && self.key.algorithm == SigningAlgorithm::Es256 && low_s::is_high(signature))
    }
}

/// The published keys: those that sign, will sign, or have signed tokens that still count; of each algorithm that something signs with.
#[derive(Debug, Default)]
pub struct KeySet(Vec<PublishedKey>);

impl KeySet {
    /// A set of these keys.
    #[must_use]
    pub fn new(mut keys: Vec<PublishedKey>) -> Self {
        // The one to sign with comes first.
        keys.sort_by_key(|published| (published.key.algorithm, -published.generation));
        Self(keys)
    }

    /// The keys, the newest of each algorithm first.
    pub fn iter(&self) -> impl Iterator<Item = &PublishedKey> {
        self.0.iter()
    }

    /// The key to sign with at `now`. `None` if the algorithm has none, or none that validators are sure to know: see [`KeySet::awaited`].
    #[must_use]
    pub fn current(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&SigningKey> {
        let mut of_algorithm = self.0.iter().filter(|published| published.key.algorithm == algorithm);
        // A clock that was set back has no key of its time, and the oldest is the nearest.
        let oldest = of_algorithm.clone().next_back().filter(|oldest| !oldest.is_awaited(now));
        of_algorithm.find(|published| published.active_from <= now).or(oldest).map(|published| &published.key)
    }

    /// When the first key of an algorithm begins to sign, if that is still to come.
    #[must_use]
    pub fn awaited(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.0.iter().rfind(|published| published.key.algorithm == algorithm)?;
        oldest.is_awaited(now).then_some(oldest.active_from)
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&PublishedKey> {
        self.0.iter().find(|published| published.key.kid == kid)
    }

    /// The algorithms that something signs with.
    #[must_use]
    pub fn algorithms(&self) -> BTreeSet<SigningAlgorithm> {
        self.0.iter().map(|published| published.key.algorithm).collect()
    }

    /// The public halves (RFC 7517, section 5).
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let keys = self.0.iter().map(|published| PublishedJwk {
            jwk: published.key.jwk.clone(),
            low_s: published.low_s && published.key.algorithm == SigningAlgorithm::Es256,
        });
        Jwks { keys: keys.collect() }
    }
}

impl IntoIterator for KeySet {
    type Item = PublishedKey;
    type IntoIter = std::vec::IntoIter<PublishedKey>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A JWK Set (RFC 7517, section 5).
#[derive(Debug, Serialize)]
pub struct Jwks {
    keys: Vec<PublishedJwk>,
}

#[derive(Debug, Serialize)]
struct PublishedJwk {
    #[serde(flatten)]
    jwk: Jwk,
    #[serde(rename = "hourpass_low_s", skip_serializing_if = "std::ops::Not::not")]
    low_s: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kid_is_the_rfc_7638_thumbprint() {
        for algorithm in SigningAlgorithm::ALL {
            let (key, pkcs8) = SigningKey::generate(algorithm).unwrap();
            let jwk: serde_json::Value = serde_json::from_str(&key.public_jwk().unwrap()).unwrap();
            // RFC 7638, section 3.2: the required members only, in lexicographic order.
            let required = match algorithm {
                SigningAlgorithm::Es256 => format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]),
                SigningAlgorithm::EdDsa => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{}}}"#, jwk["x"]),
                SigningAlgorithm::Rs256 => format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, jwk["e"], jwk["n"]),
            };
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, required.as_bytes());
            assert_eq!(key.kid(), URL_SAFE_NO_PAD.encode(digest));
            assert_eq!(jwk["kid"], key.kid());
            assert_eq!(jwk["use"], "sig");
            assert_eq!(jwk["alg"], algorithm.as_str());
            assert!(jwk.get("d").is_none());
            assert_eq!(SigningKey::from_pkcs8(algorithm, &pkcs8).unwrap().kid(), key.kid());
        }
    }

    #[test]
    fn a_key_of_another_algorithm_is_refused() {
        let (_, pkcs8) = SigningKey::generate(SigningAlgorithm::EdDsa).unwrap();
        assert!(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).is_err());
    }

    #[test]
    fn signature_always_has_a_low_s() {
        let (key, _) = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        for message in 0..64_u8 {
            assert!(!low_s::is_high(&key.sign(&[message]).unwrap()));
        }
    }

    fn published(generation: i64, active_from: i64, introduced_at: Option<i64>) -> PublishedKey {
        let (key, _) = SigningKey::generate(SigningAlgorithm::EdDsa).unwrap();
        let (active_from, introduced_at) = (Timestamp::from_seconds(active_from), introduced_at.map(Timestamp::from_seconds));
        PublishedKey { key, generation, active_from, introduced_at, low_s: true }
    }

    #[test]
    fn first_key_signs_only_from_its_time_on() {
        let keys = KeySet::new(vec![published(1, 100_075, Some(100_000))]);
        let (first, now) = (SigningAlgorithm::EdDsa, Timestamp::from_seconds);
        for early in [99_990, 100_000, 100_074] {
            assert!(keys.current(first, now(early)).is_none(), "{early}");
            assert_eq!(keys.awaited(first, now(early)), Some(now(100_075)));
        }
        assert!(keys.current(first, now(100_075)).is_some() && keys.awaited(first, now(100_075)).is_none());
        // A clock that was set back by a day.
        assert!(keys.current(first, now(13_600)).is_some());
        // A later key is no first one, and where an earlier one was retired, it is all there is.
        let later = KeySet::new(vec![published(2, 100_075, None)]);
        assert!(later.current(first, now(100_000)).is_some());
    }
}
