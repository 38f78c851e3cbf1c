//! API keys presented to a receiver.

use hourpass_verifier::VerifyError;
use hourpass_verifier::exchange::Exchange;

use crate::support::eventually;
use crate::support::issuer::Page;
use crate::support::world::{AUDIENCE, LIST, World, login_answer};

const LOGIN: &str = "/auth/login";
const KEY: &str = "hp_live_0000000000";

async fn exchange(world: &World) -> Exchange {
    Exchange::new(world.verifier().await)
}

#[tokio::test]
async fn a_key_is_exchanged_once() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    let exchange = exchange(&world).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let exchange = exchange.clone();
            tokio::spawn(async move { exchange.verify(KEY).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().name(), "ci");
    }
    let seen = world.issuer.seen(LOGIN);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, format!("password={KEY}&audience=https%3A%2F%2Fpipelines.example.com"));
    assert!(seen[0].head.contains("content-type: application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn tokens_are_taken_as_they_are() {
    let world = World::start().await;
    let exchange = exchange(&world).await;
    exchange.verify(&world.token()).await.unwrap();
    let other = world.token_with(|claims| claims["aud"] = "https://other.example.com".into());
    assert_eq!(exchange.verify(&other).await.unwrap_err(), VerifyError::WrongAudience);
    assert_eq!(world.issuer.count(LOGIN), 0);
}

#[tokio::test]
async fn a_refusal_counts_for_seconds_only() {
    let world = World::start().await;
    let exchange = exchange(&world).await;
    for _ in 0..5 {
        let error = exchange.verify(KEY).await.unwrap_err();
        assert_eq!((error.code(), error.status(), error.oauth_error()), ("invalid_api_key", 401, Some("invalid_token")));
    }
    assert_eq!(world.issuer.count(LOGIN), 1);
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    world.clock.advance(3);
    exchange.verify(KEY).await.unwrap();
    for junk in ["short", "with spaces in it", "umlaut-äöü-umlaut", &"x".repeat(600)] {
        assert_eq!(exchange.verify(junk).await.unwrap_err(), VerifyError::InvalidApiKey);
    }
    assert_eq!(world.issuer.count(LOGIN), 2);
}

#[tokio::test]
async fn a_key_ends_with_its_revocation() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    let exchange = exchange(&world).await;
    exchange.verify(KEY).await.unwrap();
    world.issuer.forget_login(KEY);
    world.publish_list(&[1]);
    let seen = world.issuer.count(LIST);
    eventually("the list was read twice", || world.issuer.count(LIST) > seen + 1).await;
    assert_eq!(exchange.verify(KEY).await.unwrap_err(), VerifyError::InvalidApiKey);
    // Made active again, it gets a token of another place in the list.
    let second = world.token_with(|claims| claims["status"]["status_list"]["idx"] = 1.into());
    world.issuer.login(KEY, login_answer(&second, 3600));
    world.clock.advance(3);
    exchange.verify(KEY).await.unwrap();
    assert_eq!(world.issuer.count(LOGIN), 3);
}

#[tokio::test]
async fn a_token_that_ends_is_replaced() {
    let world = World::start().await;
    let short = world.token_with(|claims| claims["exp"] = (world.clock.now() + 60).into());
    world.issuer.login(KEY, login_answer(&short, 60));
    let exchange = exchange(&world).await;
    exchange.verify(KEY).await.unwrap();
    world.clock.advance(65);
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    exchange.verify(KEY).await.unwrap();
    assert_eq!(world.issuer.count(LOGIN), 2);
}

#[tokio::test]
async fn what_the_issuer_hands_out_is_verified() {
    let world = World::start().await;
    let elsewhere = world.token_with(|claims| claims["aud"] = "https://other.example.com".into());
    world.issuer.login(KEY, login_answer(&elsewhere, 3600));
    let exchange = exchange(&world).await;
    for _ in 0..5 {
        assert_eq!(exchange.verify(KEY).await.unwrap_err(), VerifyError::WrongAudience);
    }
    assert_eq!(world.issuer.count(LOGIN), 1);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_no_fault_of_the_key() {
    let world = World::start().await;
    let exchange = exchange(&world).await;
    world.issuer.login(KEY, Page::status(429).with("Retry-After", "7"));
    for _ in 0..5 {
        let error = exchange.verify(KEY).await.unwrap_err();
        assert_eq!((error.status(), error.retry_after().unwrap().as_secs()), (503, 7));
    }
    assert_eq!(world.issuer.count(LOGIN), 1);
    for page in [Page::status(500), Page::status(429), Page::status(302).with("Location", "http://127.0.0.1:1/"), Page::ok("{}")] {
        world.clock.advance(30);
        world.issuer.login(KEY, page);
        assert_eq!(exchange.verify(KEY).await.unwrap_err().code(), "exchange_unavailable");
    }
    world.clock.advance(30);
    world.issuer.cut(true);
    assert_eq!(exchange.verify(KEY).await.unwrap_err().code(), "exchange_unavailable");
}

#[tokio::test]
async fn a_login_is_forwarded() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    let exchange = exchange(&world).await;
    let answer = exchange.login(KEY).await.unwrap();
    assert_eq!((answer.token_type.as_str(), answer.expires_in), ("bearer", 3600));
    assert!(answer.other.contains_key("device_id"));
    assert!(!format!("{answer:?} {exchange:?}").contains("eyJ"));
    exchange.verify(&answer.access_token).await.unwrap();
    assert_eq!(exchange.login("hp_live_unknown").await.unwrap_err(), VerifyError::InvalidApiKey);
    let offline = Exchange::new(world.builder().offline(&exchange.verifier().snapshot()).unwrap());
    assert_eq!(offline.verify(KEY).await.unwrap_err().status(), 503);
    assert_eq!(exchange.verifier().audiences(), [AUDIENCE]);
}

#[tokio::test]
async fn a_final_no_is_no_outage() {
    let world = World::start().await;
    let exchange = exchange(&world).await;
    for status in [400, 403, 404] {
        world.clock.advance(30);
        world.issuer.login(KEY, Page::status(status));
        let error = exchange.verify(KEY).await.unwrap_err();
        assert_eq!((error.status(), error.code(), error.retry_after()), (403, "access_denied", None), "{status}");
    }
}
