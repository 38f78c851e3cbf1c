//! Signing keys: made, read, prepared once, and published.

use std::collections::BTreeSet;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType, Jwk, JwkSet, OctetKeyPairParameters,
    OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use zeroize::Zeroizing;

use crate::domain::signing::SigningAlgorithm;
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
            Prepared::Es256(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(refused)?.as_ref().to_vec()),
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

    /// The key to sign with at `now`.
    #[must_use]
    pub fn current(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&SigningKey> {
        let mut of_algorithm = self.0.iter().filter(|published| published.key.algorithm == algorithm);
        let oldest = of_algorithm.clone().next_back();
        // A clock that was set back has no key of its time, and the oldest is the nearest.
        of_algorithm.find(|published| published.active_from <= now).or(oldest).map(|published| &published.key)
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.0.iter().map(|published| &published.key).find(|key| key.kid == kid)
    }

    /// The algorithms that something signs with.
    #[must_use]
    pub fn algorithms(&self) -> BTreeSet<SigningAlgorithm> {
        self.0.iter().map(|published| published.key.algorithm).collect()
    }

    /// The public halves (RFC 7517, section 5).
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.0.iter().map(|published| published.key.jwk.clone()).collect() }
    }
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
}
