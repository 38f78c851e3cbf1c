//! What is remembered is checked again.

use hourpass_verifier::VerifyError;

use crate::support::eventually;
use crate::support::world::{LIST, World};

#[tokio::test]
async fn a_token_is_verified_once() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    for _ in 0..3 {
        verifier.verify(&token).await.unwrap();
    }
    let stats = verifier.stats();
    assert_eq!((stats.verified, stats.cached), (1, 2));
    let bare = world.builder().cache_entries(0).build().await.unwrap();
    for _ in 0..3 {
        bare.verify(&token).await.unwrap();
    }
    assert_eq!((bare.stats().verified, bare.stats().cached), (3, 0));
}

#[tokio::test]
async fn its_time_ends() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token_with(|claims| claims["exp"] = (world.clock.now() + 100).into());
    verifier.verify(&token).await.unwrap();
    world.clock.advance(104);
    verifier.verify(&token).await.unwrap();
    assert_eq!(verifier.stats().cached, 1);
    world.clock.advance(1);
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Expired);
}

#[tokio::test]
async fn it_is_revoked() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    verifier.verify(&token).await.unwrap();
    world.publish_list(&[1]);
    let seen = world.issuer.count(LIST);
    eventually("the list was read twice", || world.issuer.count(LIST) > seen + 1).await;
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Revoked);
    assert_eq!(verifier.verify_held(&token).unwrap_err(), VerifyError::Revoked);
    assert_eq!(verifier.stats().verified, 1);
}

#[tokio::test]
async fn a_long_connection_asks_again() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = verifier.verify(&world.token()).await.unwrap();
    verifier.check_again(&token).unwrap();
    world.publish_list(&[1]);
    let seen = world.issuer.count(LIST);
    eventually("the list was read twice", || world.issuer.count(LIST) > seen + 1).await;
    assert_eq!(verifier.check_again(&token).unwrap_err(), VerifyError::Revoked);
    world.clock.advance(3605);
    assert_eq!(verifier.check_again(&token).unwrap_err(), VerifyError::Expired);
}

#[tokio::test]
async fn an_altered_text_is_another_token() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    verifier.verify(&token).await.unwrap();
    for altered in [format!("{token}A"), token[..token.len() - 1].to_owned()] {
        assert!(verifier.verify(&altered).await.is_err());
    }
}
