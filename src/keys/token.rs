//! Access tokens: RFC 9068 in JWS compact form (RFC 7515, section 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Validation, decode, decode_header};

use super::signing_key::{KeySet, jws};
use crate::domain::claims::AccessTokenClaims;
use crate::domain::time::Timestamp;

/// The `typ` of an access token (RFC 9068, section 2.1).
pub(super) const TYPE: &str = "at+jwt";
/// Longer texts are not looked at: the exchange issues none of half that length.
const MAX_LENGTH: usize = 16 * 1024;

/// Why a text is not a token that counts. Which of these it is goes to the log, not to the caller.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT at all, or too long for one of ours.
    #[error("not a token of this form")]
    Malformed,
    /// Not signed by a key of ours, or altered since.
    #[error("the signature does not hold")]
    Signature,
    /// Signed by us, but not for this: another type, issuer or audience.
    #[error("not an access token for this receiver")]
    Purpose,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("not valid yet")]
    NotYetValid,
}

/// Checks an access token that was presented to Hourpass itself: `typ`, key, signature, `iss`, `aud`, `exp`, `nbf`.
///
/// # Errors
/// Why it does not count.
pub fn verify(keys: &KeySet, token: &str, issuer: &str, now: Timestamp) -> Result<AccessTokenClaims, TokenError> {
    let claims = inspect(keys, token, issuer)?;
    // A workspace that somehow got our own audience still has no say here.
    if claims.aud != issuer || claims.workspace_id.is_some() {
        return Err(TokenError::Purpose);
    }
    if claims.exp <= now.as_seconds() {
        return Err(TokenError::Expired);
    }
    // Without leeway, as `exp`: Hourpass issues no `nbf`.
    if claims.nbf.is_some_and(|nbf| nbf > now.as_seconds()) {
        return Err(TokenError::NotYetValid);
    }
    Ok(claims)
}

/// Reads an access token of ours, whomever it is for and however old it is: `typ`, key, signature, `iss`.
///
/// # Errors
/// Why it is none.
pub fn inspect(keys: &KeySet, token: &str, issuer: &str) -> Result<AccessTokenClaims, TokenError> {
    if token.len() > MAX_LENGTH {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    let typed = header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case(TYPE) || typ.eq_ignore_ascii_case("application/at+jwt"));
    // We never ask a receiver to understand an extension (RFC 7515, section 4.1.11), so a token that does is not ours.
    if !typed || header.crit.is_some() {
        return Err(TokenError::Purpose);
    }
    let published = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(TokenError::Signature)?;
    let key = &published.key;
    // The algorithm comes from the key, never from the token. jsonwebtoken reads the system's clock, so time is checked below.
    let mut validation = Validation::new(jws(key.algorithm()));
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = decode::<AccessTokenClaims>(token, key.decoding(), &validation).map_err(|_| TokenError::Signature)?.claims;
    let signature = token.rsplit_once('.').and_then(|(_, signature)| URL_SAFE_NO_PAD.decode(signature).ok()).ok_or(TokenError::Malformed)?;
    if !published.has_form(&signature) {
        return Err(TokenError::Signature);
    }
    if claims.iss == issuer { Ok(claims) } else { Err(TokenError::Purpose) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::claims::PrincipalType;
    use crate::domain::id::{OrganizationId, TokenId};
    use crate::domain::signing::SigningAlgorithm;
    use crate::keys::{PublishedKey, SigningKey, low_s, mint};
    use serde_json::{Value, json};
    use uuid::Uuid;

    const ISSUER: &str = "https://hourpass.example.com";

    fn keys() -> KeySet {
        let published = |algorithm| PublishedKey {
            key: SigningKey::generate(algorithm).unwrap().0,
            generation: 1,
            active_from: Timestamp::from_seconds(0),
            introduced_at: None,
            low_s: true,
        };
        KeySet::new(SigningAlgorithm::ALL.map(published).into())
    }

    fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: ISSUER.to_owned(),
            sub: "1".to_owned(),
            aud: ISSUER.to_owned(),
            client_id: "1".to_owned(),
            iat: 1_000,
            exp: 4_600,
            nbf: None,
            jti: TokenId(Uuid::nil()),
            scope: None,
            org_id: OrganizationId(Uuid::nil()),
            workspace_id: None,
            api_key_id: None,
            sid: None,
            status: None,
            principal_type: PrincipalType::ServiceAccount,
            authorization_details: Vec::new(),
            narrowed: false,
            custom: std::collections::BTreeMap::new(),
            name: "ci".to_owned(),
        }
    }

    /// A token of the given header and payload, rightly signed.
    fn signed(key: &SigningKey, header: &Value, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature = key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn every_algorithm_round_trips() {
        let keys = keys();
        for algorithm in SigningAlgorithm::ALL {
            let token = mint(keys.current(algorithm, Timestamp::from_seconds(1_000)).unwrap(), &claims()).unwrap();
            assert_eq!(verify(&keys, &token, ISSUER, Timestamp::from_seconds(4_599)).unwrap().sub, "1");
            assert!(matches!(verify(&keys, &token, ISSUER, Timestamp::from_seconds(4_600)), Err(TokenError::Expired)));
            assert!(matches!(verify(&keys, &token, "https://other.example.com", Timestamp::from_seconds(2_000)), Err(TokenError::Purpose)));
        }
    }

    #[test]
    fn forgeries_are_refused() {
        let keys = keys();
        let ours = keys.current(SigningAlgorithm::Es256, Timestamp::from_seconds(1_000)).unwrap();
        let (foreign, _) = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let payload = serde_json::to_value(claims()).unwrap();
        let text = payload.to_string();
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": ours.kid()});
        let with = |name: &str, value: Value| {
            let mut header = header.clone();
            header[name] = value;
            header
        };
        assert!(verify(&keys, &signed(ours, &header, &text), ISSUER, Timestamp::from_seconds(2_000)).is_ok());

        let mut list = payload.clone();
        list["aud"] = json!([ISSUER]);
        let with_nbf = |nbf: Value| {
            let mut early = payload.clone();
            early["nbf"] = nbf;
            signed(ours, &header, &early.to_string())
        };
        assert!(verify(&keys, &with_nbf(json!(2_000)), ISSUER, Timestamp::from_seconds(2_000)).is_ok());
        let mut timeless = payload.clone();
        timeless.as_object_mut().unwrap().remove("exp");
        let good = signed(ours, &header, &text);
        let unsigned = |alg: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(with("alg", json!(alg)).to_string()), URL_SAFE_NO_PAD.encode(&text));
        let forgeries = [
            ("signed by another key", signed(&foreign, &header, &text)),
            ("another key's own kid", signed(&foreign, &with("kid", json!(foreign.kid())), &text)),
            ("an embedded key", signed(&foreign, &with("jwk", serde_json::from_str(&foreign.public_jwk().unwrap()).unwrap()), &text)),
            ("no kid", signed(ours, &json!({"alg": "ES256", "typ": "at+jwt"}), &text)),
            ("alg none", unsigned("none")),
            ("HS256", signed(ours, &with("alg", json!("HS256")), &text)),
            ("another of our algorithms", signed(ours, &with("alg", json!("RS256")), &text)),
            ("an ID token", signed(ours, &with("typ", json!("JWT")), &text)),
            ("crit", signed(ours, &with("crit", json!(["exp"])), &text)),
            ("a list of audiences", signed(ours, &header, &list.to_string())),
            ("no exp", signed(ours, &header, &timeless.to_string())),
            ("nbf in a second", with_nbf(json!(2_001))),
            ("nbf in a text", with_nbf(json!("1000"))),
            ("nbf null", with_nbf(Value::Null)),
            ("nbf with a fraction", with_nbf(json!(1000.5))),
            ("exp twice", signed(ours, &header, &text.replacen("\"exp\":4600", "\"exp\":4600,\"exp\":99999", 1))),
            ("no signature", good.rsplit_once('.').unwrap().0.to_owned() + "."),
            ("two parts", good.rsplit_once('.').unwrap().0.to_owned()),
            ("nothing", String::new()),
            ("dots", "..".to_owned()),
            ("a megabyte", "a".repeat(1 << 20)),
        ];
        for (what, token) in forgeries {
            assert!(verify(&keys, &token, ISSUER, Timestamp::from_seconds(2_000)).is_err(), "{what}");
        }
    }

    #[test]
    fn signature_with_a_high_s_counts_only_of_an_older_key() {
        let (mut keys, now) = (keys(), Timestamp::from_seconds(2_000));
        let token = mint(keys.current(SigningAlgorithm::Es256, now).unwrap(), &claims()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let twin = low_s::twin(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let twin = format!("{message}.{}", URL_SAFE_NO_PAD.encode(twin));
        assert!(verify(&keys, &token, ISSUER, now).is_ok());
        assert!(matches!(verify(&keys, &twin, ISSUER, now), Err(TokenError::Signature)));
        // What a version signed that made both, is not refused after the upgrade.
        keys = KeySet::new(keys.into_iter().map(|key| PublishedKey { low_s: false, ..key }).collect());
        assert!(verify(&keys, &twin, ISSUER, now).is_ok());
    }
}
