//! Each way of being refused, with its code. What other languages should refuse as well is in the vectors.

use hourpass_verifier::VerifyError;
use serde_json::{Value, json};

use crate::support::signer::{Signer, base64url};
use crate::support::world::{AUDIENCE, World};

/// Runs a token against a fresh verifier.
async fn refused(world: &World, token: &str) -> VerifyError {
    let error = world.verifier().await.verify(token).await.unwrap_err();
    let status = if error.code().ends_with("unavailable") { 503 } else { 401 };
    assert_eq!(error.status(), status, "{error}");
    error
}

#[tokio::test]
async fn forms() {
    let world = World::start().await;
    let good = world.token();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let garbage = base64url("not json");
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        message.to_owned(),
        format!("{good}."),
        format!("{good}.x"),
        format!(".{good}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}="),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}+.{signature}"),
        format!("{garbage}.{payload}.{signature}"),
        world.signer.sign("[]", &world.claims().to_string()),
        world.signer.sign(&world.signer.header("at+jwt").to_string(), "[]"),
        world.signer.sign(&world.signer.header("at+jwt").to_string(), ""),
        world.signer.sign(&world.signer.header("at+jwt").to_string(), &format!("{} {{}}", world.claims())),
    ];
    for text in texts {
        assert_eq!(refused(&world, &text).await, VerifyError::Malformed, "{text:?}");
    }
    world.verifier().await.verify(&good).await.unwrap();
}

/// The last character of a signature has bits that mean nothing: were they let through, each token had sixteen spellings.
#[tokio::test]
async fn one_spelling_of_each_token() {
    let world = World::start().await;
    let good = world.token();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(good.chars().last().unwrap()).unwrap();
    let other = alphabet.chars().nth(last ^ 1).unwrap();
    let respelled = format!("{}{other}", &good[..good.len() - 1]);
    assert_eq!(refused(&world, &respelled).await, VerifyError::Malformed);
}

#[tokio::test]
async fn sizes() {
    let world = World::start().await;
    let long = world.token_with(|claims| claims["padding"] = "x".repeat(8 * 1024).into());
    assert_eq!(refused(&world, &long).await, VerifyError::TooLong);
    let verifier = world.builder().max_token_size(long.len()).build().await.unwrap();
    verifier.verify(&long).await.unwrap();
    assert_eq!(world.builder().max_token_size(long.len() - 1).build().await.unwrap().verify(&long).await.unwrap_err(), VerifyError::TooLong);
}

#[tokio::test]
async fn headers() {
    let world = World::start().await;
    let foreign = Signer::fixed("es256-other");
    let payload = world.claims().to_string();
    let cases: Vec<(&str, Value, VerifyError)> = vec![
        ("crit", json!(["exp"]), VerifyError::UnsupportedHeader),
        ("crit", json!([]), VerifyError::UnsupportedHeader),
        ("jwk", foreign.jwk(), VerifyError::UnsupportedHeader),
        ("jku", json!("https://evil.example/jwks"), VerifyError::UnsupportedHeader),
        ("x5u", json!("https://evil.example/x"), VerifyError::UnsupportedHeader),
        ("x5c", json!(["AAAA"]), VerifyError::UnsupportedHeader),
        ("b64", json!(false), VerifyError::UnsupportedHeader),
        ("zip", json!("DEF"), VerifyError::UnsupportedHeader),
        ("alg", json!("none"), VerifyError::WrongAlgorithm),
        ("alg", json!("NONE"), VerifyError::WrongAlgorithm),
        ("alg", json!("HS256"), VerifyError::WrongAlgorithm),
        ("alg", json!("RS256"), VerifyError::WrongAlgorithm),
        ("alg", json!("EdDSA"), VerifyError::WrongAlgorithm),
        ("alg", json!("es256"), VerifyError::WrongAlgorithm),
        ("alg", json!(["ES256"]), VerifyError::Malformed),
        ("alg", Value::Null, VerifyError::Malformed),
        ("typ", json!("JWT"), VerifyError::WrongType),
        ("typ", json!("at+jwt; x=1"), VerifyError::WrongType),
        ("typ", json!("text/at+jwt"), VerifyError::WrongType),
        ("typ", json!("statuslist+jwt"), VerifyError::WrongType),
        ("typ", Value::Null, VerifyError::WrongType),
        ("kid", Value::Null, VerifyError::Malformed),
        ("kid", json!(1), VerifyError::Malformed),
        ("kid", json!("es256-other"), VerifyError::UnknownKey),
        ("kid", json!("../../dev/null"), VerifyError::UnknownKey),
    ];
    let verifier = world.verifier().await;
    for (name, value, error) in cases {
        let mut header = world.signer.header("at+jwt");
        header[name] = value.clone();
        let token = world.signer.sign(&header.to_string(), &payload);
        assert_eq!(verifier.verify(&token).await.unwrap_err(), error, "{name}: {value}");
    }
    for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        verifier.verify(&world.signer.sign(&world.signer.header(typ).to_string(), &payload)).await.unwrap();
    }
    let mut forged = Signer::fixed("es256-other");
    "es256".clone_into(&mut forged.kid);
    assert_eq!(verifier.verify(&forged.token(&world.claims())).await.unwrap_err(), VerifyError::BadSignature);
}

#[tokio::test]
async fn claims() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let url = world.issuer.url.clone();
    let foreign = |uri: &str| json!({"status_list": {"idx": 0, "uri": uri}});
    let invalid = VerifyError::InvalidClaim;
    let cases: Vec<(&str, Value, VerifyError)> = vec![
        ("iss", json!(format!("{url}/")), VerifyError::WrongIssuer),
        ("iss", json!([url]), invalid("iss")),
        ("iss", Value::Null, invalid("iss")),
        ("aud", json!("https://other.example.com"), VerifyError::WrongAudience),
        ("aud", json!([]), VerifyError::WrongAudience),
        ("aud", json!([AUDIENCE, 1]), invalid("aud")),
        ("aud", json!({AUDIENCE: 1}), invalid("aud")),
        ("sub", json!(""), invalid("sub")),
        ("sub", json!(1), invalid("sub")),
        ("jti", Value::Null, invalid("jti")),
        ("exp", Value::Null, invalid("exp")),
        ("exp", json!("1800003600"), invalid("exp")),
        ("exp", json!(1_800_003_600.5), invalid("exp")),
        ("exp", json!(1e30), invalid("exp")),
        ("exp", json!(-1), invalid("exp")),
        ("exp", json!(u64::MAX), invalid("exp")),
        ("exp", json!(0), VerifyError::Expired),
        ("iat", Value::Null, invalid("iat")),
        ("nbf", json!("0"), invalid("nbf")),
        ("nbf", Value::Null, invalid("nbf")),
        ("scope", json!(["pipelines.read"]), invalid("scope")),
        ("authorization_details", json!({}), invalid("authorization_details")),
        ("principal_type", json!("god"), invalid("principal_type")),
        ("status", json!({}), invalid("status")),
        ("status", json!({"status_list": {"idx": -1, "uri": world.list_uri()}}), invalid("status")),
        ("status", json!({"status_list": {"idx": "0", "uri": world.list_uri()}}), invalid("status")),
        ("status", foreign("https://evil.example/status-lists/1"), VerifyError::ForeignStatusList),
        ("status", foreign(&format!("{url}/status-lists/../admin")), VerifyError::ForeignStatusList),
    ];
    for (name, value, error) in cases {
        let token = world.token_with(|claims| claims[name] = value.clone());
        assert_eq!(verifier.verify(&token).await.unwrap_err(), error, "{name}: {value}");
    }
    for name in ["iss", "aud", "sub", "jti", "exp", "iat"] {
        let token = world.token_with(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
        assert_eq!(verifier.verify(&token).await.unwrap_err(), invalid(name));
    }
}

#[tokio::test]
async fn members_twice() {
    let world = World::start().await;
    let header = world.signer.header("at+jwt").to_string();
    let claims = world.claims().to_string();
    let twice = |text: &str, addition: &str| text.replacen('{', &format!("{{{addition},"), 1);
    let tokens = [
        world.signer.sign(&twice(&header, r#""alg":"ES256""#), &claims),
        world.signer.sign(&header, &twice(&claims, r#""exp":99999999999"#)),
        world.signer.sign(&header, &twice(&claims, r#""\u0065xp":99999999999"#)),
        world.signer.sign(&header, &claims.replacen(r#""idx":0"#, r#""idx":0,"idx":1"#, 1)),
        world.signer.sign(&header, &twice(&claims, r#""custom":[{"deep":{"a":1,"a":1}}]"#)),
    ];
    for token in tokens {
        assert_eq!(refused(&world, &token).await, VerifyError::DuplicateMember);
    }
}

#[tokio::test]
async fn signatures() {
    let world = World::start().await;
    let [ed, rsa] = ["eddsa", "rs256"].map(Signer::fixed);
    world.publish_keys(&[&world.signer, &ed, &rsa]);
    let verifier = world.verifier().await;
    for signer in [&world.signer, &ed, &rsa] {
        let token = signer.token(&world.claims());
        verifier.verify(&token).await.unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let raw = signer.signature(message.as_bytes());
        let mut flipped = raw.clone();
        flipped[10] ^= 1;
        for altered in [base64url(flipped), base64url(&raw[1..]), base64url([&raw[..], &[0]].concat()), String::new(), base64url(vec![0; raw.len()])]
        {
            assert_eq!(verifier.verify(&format!("{message}.{altered}")).await.unwrap_err(), VerifyError::BadSignature, "{}", signer.kid);
        }
        let (header, _) = message.split_once('.').unwrap();
        let mut more = world.claims();
        more["scope"] = "everything".into();
        let moved = format!("{header}.{}.{signature}", base64url(more.to_string()));
        assert_eq!(verifier.verify(&moved).await.unwrap_err(), VerifyError::BadSignature, "{}", signer.kid);
    }
    // ECDSA in ASN.1 is not the form of JWS.
    let token = world.token();
    let message = token.rsplit_once('.').unwrap().0;
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &world.signer.signature(message.as_bytes())].concat();
    assert_eq!(verifier.verify(&format!("{message}.{}", base64url(der))).await.unwrap_err(), VerifyError::BadSignature);
}

#[tokio::test]
async fn challenges_of_each_class() {
    assert_eq!(VerifyError::MissingToken.www_authenticate().unwrap(), r#"Bearer realm="hourpass""#);
    let expired = r#"Bearer realm="hourpass", error="invalid_token", error_description="the token has expired; exchange the API key for a new one""#;
    assert_eq!(VerifyError::Expired.www_authenticate().unwrap(), expired);
    assert_eq!((VerifyError::InvalidRequest.status(), VerifyError::InvalidRequest.oauth_error()), (400, Some("invalid_request")));
    let quoted = VerifyError::InsufficientScope { scope: "a\"b\\c\r\nd".to_owned() }.www_authenticate().unwrap();
    assert!(quoted.ends_with("scope=\"abcd\""), "{quoted}");
    let away = VerifyError::StatusUnavailable { retry_after: std::time::Duration::from_secs(3) };
    assert_eq!((away.status(), away.www_authenticate(), away.retry_after().unwrap().as_secs()), (503, None, 3));
}
