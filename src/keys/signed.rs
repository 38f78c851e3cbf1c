//! The two functions that sign: [`mint`] for access tokens, [`sign_document`] for everything else (JWS compact form, RFC 7515, section 7.1).
//!
//! Receivers that look at no `typ` must not take a document for a token. So a document gets its `aud` and `sub` from its address and never has an `iss`:
//! there is no argument for one, and a body that brings one of the claims that receivers go by is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde::Serialize;
use serde_json::{Map, Value};

use super::signing_key::{KeyError, SigningKey, jws};
use super::token::TYPE;
use crate::domain::claims::AccessTokenClaims;
use crate::domain::document::DocumentAddress;
use crate::domain::time::Timestamp;

/// The claims that the body of a document may not bring: those that say who issued a token, for whom, of whom, and for how long (RFC 7519, section 4.1),
/// and those that give it rights (RFC 9068, section 2.2).
const NOT_OF_A_DOCUMENT: [&str; 12] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "azp", "scope", "authorization_details", "org_id"];

/// A document to be signed, without its body.
#[derive(Clone, Copy, Debug)]
pub struct DocumentHead<'a> {
    /// The address at which it is served: its `sub` and its `aud`.
    pub address: &'a DocumentAddress,
    /// The moment as of which it is right.
    pub issued_at: Timestamp,
    /// The moment from which on nobody may go by it.
    pub expires_at: Timestamp,
}

/// Signs an access token.
///
/// # Errors
/// Where the cryptographic library refuses.
pub fn mint(key: &SigningKey, claims: &AccessTokenClaims) -> Result<String, KeyError> {
    compact(key, TYPE, claims)
}

/// Signs a document that is no access token.
///
/// # Errors
/// Where the body is no JSON object or brings a claim that only an access token may have, and where the cryptographic library refuses.
pub fn sign_document(key: &SigningKey, head: DocumentHead<'_>, body: &impl Serialize) -> Result<String, KeyError> {
    let typ = head.address.kind().typ();
    let Ok(Value::Object(mut claims)) = serde_json::to_value(body) else { return Err(KeyError::Document(typ)) };
    if NOT_OF_A_DOCUMENT.iter().any(|name| claims.contains_key(*name)) {
        return Err(KeyError::Document(typ));
    }
    let address = head.address.as_str();
    let own: [(&str, Value); 4] =
        [("aud", address.into()), ("sub", address.into()), ("iat", head.issued_at.as_seconds().into()), ("exp", head.expires_at.as_seconds().into())];
    claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
    compact::<Map<String, Value>>(key, typ, &claims)
}

/// Signs a JWT of this `typ`.
fn compact<T: Serialize>(key: &SigningKey, typ: &str, claims: &T) -> Result<String, KeyError> {
    let mut header = Header::new(jws(key.algorithm()));
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.kid().to_owned());
    let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| KeyError::Crypto(key.algorithm()));
    let mut token = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(claims))?);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::document::DocumentKind;
    use crate::domain::signing::SigningAlgorithm;

    #[test]
    fn document_body_with_a_claim_of_tokens_is_not_signed() {
        let (key, _) = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        for kind in DocumentKind::ALL {
            let address = DocumentAddress::new("https://id.example.com", kind, &0);
            let now = Timestamp::from_seconds(1);
            let sign = |body: Value| sign_document(&key, DocumentHead { address: &address, issued_at: now, expires_at: now }, &body);
            for name in NOT_OF_A_DOCUMENT {
                assert!(matches!(sign(json!({ name: "x" })), Err(KeyError::Document(_))), "{name}");
            }
            assert!(sign(json!([])).is_err());
            let signed = sign(json!({ "ttl": 5 })).unwrap();
            let payload = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
            let uri = address.as_str();
            assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), json!({ "aud": uri, "sub": uri, "iat": 1, "exp": 1, "ttl": 5 }));
        }
    }
}
