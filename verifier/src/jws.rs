//! Signed texts in JWS compact form (RFC 7515, section 7.1), read as strictly as the RFC lets us.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::error::VerifyError;
use crate::key::{Key, KeySet};
use crate::strict_json::{self, Fault};

/// Header parameters that are never accepted: extensions (RFC 7515, section 4.1.11), keys that the token brings or names itself, and other
/// readings of the payload (RFC 7797).
const REFUSED_PARAMETERS: [&str; 7] = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"];

/// A text whose signature holds.
pub(crate) struct Signed {
    pub(crate) key: Arc<Key>,
    /// The payload as it was signed.
    pub(crate) payload: Vec<u8>,
}

/// Checks the header and the signature. `typ` is the media type that it has to be of, without `application/`.
pub(crate) fn verify(text: &str, keys: &KeySet, typ: &str) -> Result<Signed, VerifyError> {
    let (message, signature) = text.rsplit_once('.').ok_or(VerifyError::Malformed)?;
    let (header, payload) = message.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or(VerifyError::Malformed)?;
    // Tokens of one key have one header, so that its text alone says what was found out about it before.
    let known = keys.recall(typ, header);
    let key = match &known {
        Some(key) => key,
        None => key_of(&object(&decode(header)?)?, keys, typ)?,
    };
    let signature = decode(signature)?;
    let payload = decode(payload)?;
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(VerifyError::BadSignature);
    }
    if known.is_none() {
        keys.remember(typ, header, key);
    }
    Ok(Signed { key: Arc::clone(key), payload })
}

/// Reads a JSON object that has no member twice.
pub(crate) fn object(json: &[u8]) -> Result<Map<String, Value>, VerifyError> {
    strict_json::object(json).map_err(|fault| match fault {
        Fault::Malformed => VerifyError::Malformed,
        Fault::Duplicate => VerifyError::DuplicateMember,
    })
}

/// The engine refuses padding, and bits that are left over and not zero: each signed text has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, VerifyError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| VerifyError::Malformed)
}

fn key_of<'keys>(header: &Map<String, Value>, keys: &'keys KeySet, typ: &str) -> Result<&'keys Arc<Key>, VerifyError> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if REFUSED_PARAMETERS.iter().any(|&name| header.contains_key(name)) {
        return Err(VerifyError::UnsupportedHeader);
    }
    if !text("typ").is_some_and(|it| is_media_type(it, typ)) {
        return Err(VerifyError::WrongType);
    }
    let algorithm = text("alg").ok_or(VerifyError::Malformed)?;
    if !["ES256", "EdDSA", "RS256"].contains(&algorithm) {
        return Err(VerifyError::WrongAlgorithm);
    }
    let key = keys.find(text("kid").ok_or(VerifyError::Malformed)?).ok_or(VerifyError::UnknownKey)?;
    // The algorithm is the key's; what the token says may only agree with it (RFC 8725, section 3.1).
    if key.algorithm().as_str() == algorithm { Ok(key) } else { Err(VerifyError::WrongAlgorithm) }
}

/// Media types are compared without case, and `application/` may be left out (RFC 7515, section 4.1.9).
fn is_media_type(value: &str, typ: &str) -> bool {
    let bare =
        value.split_at_checked("application/".len()).filter(|(prefix, _)| prefix.eq_ignore_ascii_case("application/")).map_or(value, |it| it.1);
    bare.eq_ignore_ascii_case(typ)
}
