//! Signs tokens and lists, rightly and wrongly.

use std::io::Write;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

/// Made for these tests, and published with them: they protect nothing.
const KEYS: &str = include_str!("../keys.json");

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

pub(crate) struct Signer {
    pub(crate) kid: String,
    /// Whether its JWK says that its signatures have a low s, as those of a current Hourpass do.
    pub(crate) low_s: bool,
    pair: Pair,
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// One of the fixed keys: `es256`, `es256-other`, `eddsa`, `rs256`.
    pub(crate) fn fixed(name: &str) -> Self {
        let keys: Value = serde_json::from_str(KEYS).unwrap();
        let pkcs8 = STANDARD.decode(keys[name].as_str().unwrap()).unwrap();
        let pair = match name.split('-').next().unwrap() {
            "es256" => Pair::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap()),
            "eddsa" => Pair::EdDsa(Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap()),
            _ => Pair::Rs256(Box::new(RsaKeyPair::from_pkcs8(&pkcs8).unwrap())),
        };
        Self { kid: name.to_owned(), low_s: name == "es256", pair }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Es256(_) => "ES256",
            Pair::EdDsa(_) => "EdDSA",
            Pair::Rs256(_) => "RS256",
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
            }
            Pair::EdDsa(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())}),
            Pair::Rs256(pair) => {
                let public = pair.public_key();
                let part = |bytes: &[u8]| base64url(bytes);
                json!({"kty": "RSA", "n": part(public.modulus().big_endian_without_leading_zero()), "e": part(public.exponent().big_endian_without_leading_zero())})
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        if self.low_s {
            jwk["hourpass_low_s"] = true.into();
        }
        jwk
    }

    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&random, message).unwrap().as_ref().to_vec();
                if self.low_s && is_high(&signature) { twin(&signature) } else { signature }
            }
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(crate) fn header(&self, typ: &str) -> Value {
        json!({"alg": self.algorithm(), "typ": typ, "kid": self.kid})
    }

    /// Signs these very texts.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(payload));
        format!("{message}.{}", base64url(self.signature(message.as_bytes())))
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header("at+jwt").to_string(), &claims.to_string())
    }
}

/// The order of P-256 (FIPS 186-4, D.1.2.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9,
    0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The other ES256 signature of the same message: (r, n - s) of (r, s).
pub(crate) fn twin(signature: &[u8]) -> Vec<u8> {
    let mut twin = signature.to_vec();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let digit = i16::from(ORDER[place]) - i16::from(signature[32 + place]) - borrow;
        borrow = i16::from(digit < 0);
        twin[32 + place] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    twin
}

/// Whether s is the greater one of the two.
pub(crate) fn is_high(signature: &[u8]) -> bool {
    signature[32..] > twin(signature)[32..]
}

pub(crate) fn jwks(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

/// The claims of a list with these statuses, packed already.
pub(crate) fn list_claims(uri: &str, bits: u8, packed: &[u8], iat: u64, exp: u64, ttl: u64) -> Value {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(packed).unwrap();
    let lst = base64url(encoder.finish().unwrap());
    json!({"sub": uri, "aud": uri, "iat": iat, "exp": exp, "ttl": ttl, "status_list": {"bits": bits, "lst": lst}})
}

pub(crate) fn list(signer: &Signer, claims: &Value) -> String {
    signer.sign(&signer.header("statuslist+jwt").to_string(), &claims.to_string())
}
