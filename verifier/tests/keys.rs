//! The issuer's keys: found, refreshed, withdrawn.

use std::time::Duration;

use hourpass_verifier::{BuildError, FetchError, Verifier, VerifyError};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::issuer::Page;
use crate::support::signer::{Signer, base64url, jwks};
use crate::support::world::{AUDIENCE, JWKS, METADATA, World};

#[tokio::test]
async fn the_metadata_have_to_be_the_issuers() {
    let world = World::start().await;
    let url = &world.issuer.url;
    world.issuer.page(METADATA, Page::ok(json!({"issuer": format!("{url}/"), "jwks_uri": format!("{url}{JWKS}")}).to_string()));
    assert!(matches!(world.builder().build().await, Err(BuildError::WrongIssuer)));
    world.issuer.page(METADATA, Page::ok(json!({"issuer": url, "jwks_uri": "http://127.0.0.1:1/jwks"}).to_string()));
    assert!(matches!(world.builder().build().await, Err(BuildError::Answer(_))));
    world.issuer.page(METADATA, Page::ok("[]"));
    assert!(matches!(world.builder().build().await, Err(BuildError::Answer(_))));
    assert_eq!(world.issuer.count(JWKS), 0);
}

async fn fetch_error(world: &World) -> FetchError {
    match world.builder().build().await {
        Err(BuildError::Fetch { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_are_bounded() {
    let world = World::start().await;
    world.issuer.page(JWKS, Page::ok("x".repeat(1024 * 1024 + 1)));
    assert_eq!(fetch_error(&world).await, FetchError::TooLarge);
    world.issuer.page(JWKS, Page::status(500));
    assert_eq!(fetch_error(&world).await, FetchError::Status(500));
    world.issuer.cut(true);
    assert_eq!(fetch_error(&world).await, FetchError::Unreachable);
    world.issuer.cut(false);
    world.issuer.hold(true);
    assert_eq!(fetch_error(&world).await, FetchError::Timeout);
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let world = World::start().await;
    let other = World::start().await;
    world.issuer.page(JWKS, Page::status(302).with("Location", format!("{}{JWKS}", other.issuer.url)));
    assert_eq!(fetch_error(&world).await, FetchError::Status(302));
    assert_eq!(other.issuer.count(JWKS), 0);
    // A client that follows them is of no use either.
    let client = reqwest::Client::new();
    let built = world.builder().http_client(client).build().await;
    assert!(matches!(built, Err(BuildError::Fetch { source: FetchError::Redirected, .. })), "{built:?}");
}

#[tokio::test]
async fn only_sound_keys_count() {
    let world = World::start().await;
    let with = |name: &str, value: Value| {
        let mut jwk = world.signer.jwk();
        jwk[name] = value;
        jwk
    };
    let rsa1024 = json!({"kty": "RSA", "kid": "r", "n": base64url([&[0x80], &[1; 127][..]].concat()), "e": "AQAB"});
    let mut padded = Signer::fixed("rs256").jwk();
    padded["e"] = "AA".into();
    let unsound = [
        with("use", json!("enc")),
        with("alg", json!("ES384")),
        with("alg", json!("RS256")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("crv", json!("P-384")),
        with("kty", json!("OKP")),
        with("x", json!("AAAA")),
        with("x", world.signer.jwk()["y"].clone()),
        with("x", json!(format!("{}=", world.signer.jwk()["x"].as_str().unwrap()))),
        with("kid", json!("")),
        with("d", json!("AAAA")),
        json!({"kty": "oct", "kid": "es256", "k": "AAAA", "alg": "HS256"}),
        rsa1024,
        padded,
        json!("es256"),
    ];
    for jwk in unsound {
        world.issuer.page(JWKS, Page::ok(json!({"keys": [jwk]}).to_string()));
        assert!(matches!(world.builder().build().await, Err(BuildError::Answer(_))), "{jwk}");
    }
    // Beside a sound one they do no harm.
    world.issuer.page(JWKS, Page::ok(json!({"keys": [{"kty": "oct", "kid": "x", "k": "AAAA"}, world.signer.jwk()], "more": 1}).to_string()));
    world.verifier().await.verify(&world.token()).await.unwrap();
    let twice = json!({"keys": [world.signer.jwk(), with("x", Signer::fixed("es256-other").jwk()["x"].clone()), world.signer.jwk()]});
    world.issuer.page(JWKS, Page::ok(twice.to_string()));
    assert!(matches!(world.builder().build().await, Err(BuildError::Answer(_))), "two keys of one name");
}

#[tokio::test]
async fn a_key_that_is_new_is_found_at_once() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let new = Signer::fixed("eddsa");
    world.publish_keys(&[&world.signer, &new]);
    verifier.verify(&new.token(&world.claims())).await.unwrap();
    assert_eq!(world.issuer.count(JWKS), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_no_flood_of_requests() {
    let world = World::start().await;
    let verifier = world.builder().provoked_refresh_interval(Duration::from_secs(10)).build().await.unwrap();
    let flood = |name: &'static str| {
        let tokens: Vec<_> = (0..50)
            .map(|number| {
                let mut signer = Signer::fixed("es256-other");
                signer.kid = format!("{name}-{number}");
                signer.token(&world.claims())
            })
            .collect();
        let verifier = verifier.clone();
        async move {
            let tasks: Vec<_> = tokens
                .into_iter()
                .map(|token| {
                    let verifier = verifier.clone();
                    tokio::spawn(async move { verifier.verify(&token).await })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap().unwrap_err(), VerifyError::UnknownKey);
            }
        }
    };
    flood("first").await;
    assert_eq!(world.issuer.count(JWKS), 2, "one at the start, one for the flood");
    world.clock.advance(9);
    flood("second").await;
    assert_eq!(world.issuer.count(JWKS), 2);
    world.clock.advance(1);
    flood("third").await;
    assert_eq!(world.issuer.count(JWKS), 3);
    verifier.verify(&world.token()).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_is_away_does_not_make_tokens_invalid() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    world.issuer.cut(true);
    let token = Signer::fixed("eddsa").token(&world.claims());
    assert_eq!(verifier.verify(&token).await.unwrap_err().status(), 503);
    assert_eq!(verifier.verify(&token).await.unwrap_err().code(), "keys_unavailable");
    assert_eq!(world.issuer.count(JWKS), 2);
}

#[tokio::test]
async fn a_key_that_is_withdrawn_counts_no_longer() {
    let world = World::start().await;
    let verifier = world.builder().refresh_interval(Duration::from_millis(50)).build().await.unwrap();
    let token = world.token();
    verifier.verify(&token).await.unwrap();
    world.publish_keys(&[&Signer::fixed("eddsa")]);
    let seen = world.issuer.count(JWKS);
    eventually("the keys were read twice", || world.issuer.count(JWKS) > seen + 1).await;
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::UnknownKey, "though it was remembered");
    // Not even in name.
    let mut other = Signer::fixed("es256-other");
    "es256".clone_into(&mut other.kid);
    world.publish_keys(&[&other]);
    let seen = world.issuer.count(JWKS);
    eventually("the keys were read twice", || world.issuer.count(JWKS) > seen + 1).await;
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::BadSignature);
}

#[tokio::test]
async fn keys_that_cannot_be_refreshed_count_for_a_time() {
    let world = World::start().await;
    let long = |claims: &mut Value| {
        claims["exp"] = (world.clock.now() + 200_000).into();
        claims.as_object_mut().unwrap().remove("status");
    };
    let token = world.token_with(long);
    let builder = world.builder().allow_tokens_without_status().max_key_age(Duration::from_hours(1));
    let verifier = builder.build().await.unwrap();
    world.issuer.page(JWKS, Page::ok("not keys"));
    world.clock.advance(3_600);
    verifier.verify(&token).await.unwrap();
    world.clock.advance(1);
    let error = verifier.verify(&token).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("keys_unavailable", 503));
    assert_eq!(verifier.stats().key_fetch_failures, 1);
    world.publish_keys(&[&world.signer]);
    world.clock.advance(60);
    verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn dropping_the_verifier_ends_its_work() {
    let world = World::start().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let verifier: Verifier = world.builder().refresh_interval(Duration::from_millis(20)).build().await.unwrap();
    verifier.verify(&world.token()).await.unwrap();
    let clone = verifier.clone();
    drop(verifier);
    let seen = world.issuer.count(JWKS);
    eventually("the keys are still refreshed for the clone", || world.issuer.count(JWKS) > seen + 1).await;
    assert!(tasks() > before);
    drop(clone);
    eventually("nothing is left of it, nor its connections", || tasks() == before).await;
}

#[tokio::test]
async fn plain_http_is_for_this_machine() {
    let refused = Verifier::builder("http://192.0.2.1").audience(AUDIENCE).build().await.unwrap_err();
    assert!(refused.to_string().contains("https"), "{refused}");
    let client = reqwest::Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    let allowed = Verifier::builder("http://192.0.2.1").audience(AUDIENCE).allow_plain_http().http_client(client).build().await;
    assert!(matches!(allowed, Err(BuildError::Fetch { .. })), "{allowed:?}");
}

#[test]
fn a_set_of_every_kind() {
    let set = jwks(&[&Signer::fixed("es256"), &Signer::fixed("eddsa"), &Signer::fixed("rs256")]);
    for jwk in set["keys"].as_array().unwrap() {
        let key = hourpass_verifier::Key::from_jwk(jwk.as_object().unwrap()).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({}, {})", jwk["alg"].as_str().unwrap(), key.kid()));
    }
}
