//! The issuer's public keys: a JWK Set (RFC 7517), each key parsed once and bound to one algorithm.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::strict_json;

/// More keys than any issuer needs; the rest of a longer set would only take memory.
const MAX_KEYS: usize = 128;
/// An issuer signs with a few keys at a time, each with one header for tokens and one for lists.
const MAX_HEADERS: usize = 16;

/// A signature algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1). There are no others, and none with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// As in `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// The member of a JWK that says that all signatures of this key have a low s: no other text of a signed token is genuine.
const LOW_S: &str = "hourpass_low_s";
/// Half of the order of P-256, rounded down (FIPS 186-4, D.1.2.3).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79,
    0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// A public key, ready for use.
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    /// Whether its signatures are ES256 ones whose s is at most half of the order.
    low_s: bool,
    /// The parts of the key that its meaning hangs on: two keys are one where they are equal.
    material: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({}, {})", self.algorithm.as_str(), self.kid)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithm == other.algorithm && self.material == other.material
    }
}

impl Key {
    /// Reads a JWK. `None` where it is not a public key for signatures of an algorithm that is accepted: a set may hold others.
    #[must_use]
    pub fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok());
        let for_verifying = jwk.get("use").is_none_or(|purpose| purpose == "sig")
            && jwk.get("key_ops").is_none_or(|it| it.as_array().is_some_and(|operations| operations.iter().any(|it| it == "verify")));
        // A key whose private half is published is nobody's.
        if !for_verifying || jwk.contains_key("d") {
            return None;
        }
        let (algorithm, material, parsed) = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x").filter(|x| x.len() == 32)?, bytes("y").filter(|y| y.len() == 32)?);
                // The uncompressed point of SEC 1, section 2.3.3.
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let parsed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).parse().ok()?;
                (Algorithm::Es256, point, parsed)
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                let parsed = UnparsedPublicKey::new(&ED25519, &x).parse().ok()?;
                (Algorithm::EdDsa, x, parsed)
            }
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                // The library takes 2048 to 8192 bits.
                let parsed = RsaPublicKeyComponents { n: &n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
                let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
                if !(2048..=8192).contains(&bits) {
                    return None;
                }
                (Algorithm::Rs256, [n, e].concat(), parsed)
            }
            _ => return None,
        };
        if jwk.get("alg").is_some_and(|alg| alg != algorithm.as_str()) {
            return None;
        }
        let low_s = algorithm == Algorithm::Es256 && jwk.get(LOW_S) == Some(&Value::Bool(true));
        Some(Self { kid: text("kid").filter(|kid| !kid.is_empty())?.to_owned(), algorithm, low_s, material, parsed })
    }

    /// Its name in the set.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The only algorithm that it is used with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this is its signature of the message. Of ECDSA, r and s at their fixed lengths (RFC 7518, section 3.4).
    ///
    /// If (r, s) is a signature, so is (r, n - s): anybody can make that other text of somebody's token. It is refused if the key's JWK has
    /// `"hourpass_low_s": true`. Keys that an older Hourpass made do not, because about half of what that signed has a high s.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let high = || signature.get(32..).is_none_or(|s| s > HALF_ORDER.as_slice());
        !(self.low_s && high()) && self.parsed.verify_sig(message, signature).is_ok()
    }
}

/// The keys that the issuer publishes.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: HashMap<String, Arc<Key>>,
    /// Headers of texts whose signature held, by media type and spelling, and the keys they lead to.
    headers: RwLock<Vec<(String, String, Arc<Key>)>>,
}

impl KeySet {
    /// Reads a JWK Set. Keys of other kinds are passed over (RFC 7517, section 5).
    ///
    /// `None` where it is no JWK Set, or two of its keys have one name: which of them is meant, no one can tell.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let set = strict_json::object(json).ok()?;
        let mut keys = HashMap::new();
        for key in set.get("keys")?.as_array()?.iter().take(MAX_KEYS).filter_map(Value::as_object).filter_map(Key::from_jwk) {
            if keys.insert(key.kid.clone(), Arc::new(key)).is_some() {
                return None;
            }
        }
        Some(Self { keys, headers: RwLock::default() })
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&Arc<Key>> {
        self.keys.get(kid)
    }

    /// The key that this header leads to, where a text with it has been accepted before.
    pub(crate) fn recall(&self, typ: &str, header: &str) -> Option<Arc<Key>> {
        let headers = self.headers.read().unwrap_or_else(PoisonError::into_inner);
        headers.iter().find(|(its_typ, text, _)| text == header && its_typ == typ).map(|(_, _, key)| Arc::clone(key))
    }

    /// Only for headers that are signed for: nobody else fills the few places there are.
    pub(crate) fn remember(&self, typ: &str, header: &str, key: &Arc<Key>) {
        let mut headers = self.headers.write().unwrap_or_else(PoisonError::into_inner);
        if headers.len() < MAX_HEADERS {
            headers.push((typ.to_owned(), header.to_owned(), Arc::clone(key)));
        }
    }

    /// Whether this very key is still published.
    pub(crate) fn trusts(&self, key: &Arc<Key>) -> bool {
        self.find(key.kid()).is_some_and(|ours| Arc::ptr_eq(ours, key) || ours == key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
