//! Status lists: found, followed, and what becomes of tokens when they cannot be had.

use hourpass_verifier::{StaleLists, VerifyError};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::issuer::Page;
use crate::support::signer::{Signer, list, list_claims};
use crate::support::world::{JWKS, LIST, World};

fn at(world: &World, idx: u64) -> String {
    world.token_with(|claims| claims["status"]["status_list"]["idx"] = idx.into())
}

#[tokio::test]
async fn each_status() {
    let world = World::start().await;
    // Two bits for each: 0, 1, 2, 3.
    let claims = list_claims(&world.list_uri(), 2, &[0b1110_0100], world.clock.now(), world.clock.now() + 300, 5);
    world.issuer.page(LIST, Page::ok(list(&world.signer, &claims)));
    let verifier = world.verifier().await;
    verifier.verify(&at(&world, 0)).await.unwrap();
    let refusals = [VerifyError::Revoked, VerifyError::Suspended, VerifyError::UnknownStatus(3), VerifyError::StatusOutOfRange];
    for (idx, error) in (1..).zip(refusals) {
        assert_eq!(verifier.verify(&at(&world, idx)).await.unwrap_err(), error);
    }
    assert_eq!(verifier.verify(&at(&world, u64::MAX)).await.unwrap_err(), VerifyError::StatusOutOfRange);
    assert_eq!(world.issuer.count(LIST), 1);
    assert_eq!(verifier.stats().refused["revoked"], 1);
}

#[tokio::test]
async fn the_first_tokens_share_one_request() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    world.issuer.hold(true);
    let tasks: Vec<_> = (0..20)
        .map(|idx| {
            let (verifier, token) = (verifier.clone(), at(&world, idx));
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    eventually("the list is asked for", || world.issuer.count(LIST) == 1).await;
    world.issuer.hold(false);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(verifier.stats().list_fetches, 1);
}

#[tokio::test]
async fn a_revocation_arrives_without_a_request() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    verifier.verify(&token).await.unwrap();
    world.publish_list(&[1]);
    let seen = world.issuer.count(LIST);
    eventually("the list was read twice", || world.issuer.count(LIST) > seen + 1).await;
    world.issuer.cut(true);
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Revoked);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let world = World::start().await;
    let page = Page::ok(list(&world.signer, &world.list_claims(&[0]))).with("ETag", "\"7\"");
    world.issuer.page(LIST, page);
    let verifier = world.verifier().await;
    verifier.verify(&world.token()).await.unwrap();
    eventually("the list was asked for again", || world.issuer.count(LIST) > 1).await;
    assert!(world.issuer.seen(LIST)[1].head.contains("if-none-match: \"7\""));
    eventually("it was read", || verifier.stats().list_fetches > 1).await;
    assert_eq!(verifier.stats().list_fetch_failures, 0);
    verifier.verify(&world.token()).await.unwrap();
}

#[tokio::test]
async fn a_stale_list_judges_nobody() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    verifier.verify(&token).await.unwrap();
    world.issuer.cut(true);
    world.clock.advance(299);
    verifier.verify(&token).await.unwrap();
    world.clock.advance(1);
    let error = verifier.verify(&token).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("status_unavailable", 503));
    assert!(error.retry_after().unwrap().as_secs() >= 1);
    world.issuer.cut(false);
    world.publish_list(&[0]);
    world.clock.advance(60);
    verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_stale_list_judges_where_that_is_wanted() {
    let world = World::start().await;
    world.publish_list(&[2]);
    let verifier = world.builder().stale_lists(StaleLists::Allow).build().await.unwrap();
    let (good, revoked) = (world.token(), at(&world, 1));
    verifier.verify(&good).await.unwrap();
    world.issuer.cut(true);
    world.clock.advance(301);
    assert_eq!(verifier.stats().stale_allowed, 0);
    verifier.verify(&good).await.unwrap();
    assert_eq!(verifier.verify(&revoked).await.unwrap_err(), VerifyError::Revoked);
    assert_eq!(verifier.stats().stale_allowed, 1);
    // A list that was never had judges nobody.
    let other = world.token_with(|claims| claims["status"]["status_list"]["uri"] = format!("{}/status-lists/2", world.issuer.url).into());
    assert_eq!(verifier.verify(&other).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn an_older_list_undoes_nothing() {
    let world = World::start().await;
    let old = list(&world.signer, &world.list_claims(&[0]));
    world.clock.advance(1);
    world.publish_list(&[1]);
    let verifier = world.verifier().await;
    let token = world.token();
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Revoked);
    world.issuer.page(LIST, Page::ok(old));
    eventually("the old list was refused", || verifier.stats().list_fetch_failures > 0).await;
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Revoked);
}

#[tokio::test]
async fn lists_that_do_not_count() {
    let world = World::start().await;
    let good = world.list_claims(&[0]);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        list(&world.signer, &claims)
    };
    let mut foreign = Signer::fixed("es256-other");
    foreign.kid = "es256".to_owned();
    let now = world.clock.now();
    let bomb = list_claims(&world.list_uri(), 1, &vec![0; 16 * 1024 * 1024 + 1], now, now + 300, 1);
    let lists = [
        ("another address's", with("sub", json!(format!("{}/status-lists/2", world.issuer.url)))),
        ("nobody's", with("sub", Value::Null)),
        ("for another audience", with("aud", json!(crate::support::world::AUDIENCE))),
        ("for several audiences", with("aud", json!([world.list_uri(), crate::support::world::AUDIENCE]))),
        ("for nobody", with("aud", Value::Null)),
        ("another issuer's", with("iss", json!("https://evil.example"))),
        ("expired", with("exp", json!(now))),
        ("endless", with("exp", Value::Null)),
        ("of the future", with("iat", json!(now + 60))),
        ("without a time", with("iat", Value::Null)),
        ("never to be asked for", with("ttl", json!(0))),
        ("of three bits", with("status_list", json!({"bits": 3, "lst": good["status_list"]["lst"]}))),
        ("of 257 bits", with("status_list", json!({"bits": 257, "lst": good["status_list"]["lst"]}))),
        ("not ZLIB", with("status_list", json!({"bits": 1, "lst": "AAAA"}))),
        ("padded", with("status_list", json!({"bits": 1, "lst": format!("{}=", good["status_list"]["lst"].as_str().unwrap())}))),
        ("a bomb", list(&world.signer, &bomb)),
        ("a forgery", list(&foreign, &good)),
        ("a token", world.signer.token(&good)),
        ("nothing", String::new()),
        ("too large", "x".repeat(16 * 1024 * 1024 + 1)),
    ];
    let token = world.token();
    for (what, text) in lists {
        world.issuer.page(LIST, Page::ok(text));
        let error = world.verifier().await.verify(&token).await.unwrap_err();
        assert_eq!(error.code(), "status_unavailable", "{what}");
    }
}

#[tokio::test]
async fn list_of_an_older_server_is_accepted() {
    let world = World::start().await;
    let mut older = world.list_claims(&[0b10]);
    older.as_object_mut().unwrap().remove("aud");
    for issuer in [None, Some(&world.issuer.url)] {
        let mut claims = older.clone();
        if let Some(issuer) = issuer {
            claims["iss"] = json!(issuer);
        }
        world.issuer.page(LIST, Page::ok(list(&world.signer, &claims)));
        let verifier = world.verifier().await;
        verifier.verify(&world.token()).await.unwrap();
        assert_eq!(verifier.verify(&at(&world, 1)).await.unwrap_err(), VerifyError::Revoked);
    }
}

/// A receiver that is so unwise as to have the address of a list as its audience takes no list for a token all the same.
#[tokio::test]
async fn list_presented_as_a_token_is_refused() {
    let world = World::start().await;
    let presented = list(&world.signer, &world.list_claims(&[0]));
    assert_eq!(world.verifier().await.verify(&presented).await.unwrap_err(), VerifyError::WrongType);
    let unwise = world.builder().audience(&world.list_uri()).build().await.unwrap();
    assert_eq!(unwise.verify(&presented).await.unwrap_err(), VerifyError::WrongType);
    // Even where its type is what is asked for, it says too little.
    let unwiser = world.builder().audience(&world.list_uri()).token_type("statuslist+jwt").build().await.unwrap();
    assert!(matches!(unwiser.verify(&presented).await.unwrap_err(), VerifyError::InvalidClaim(_)));
    unwise.verify(&world.token()).await.unwrap();
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_not_asked_for_by_each_token() {
    let world = World::start().await;
    world.issuer.page(LIST, Page::status(500));
    let verifier = world.verifier().await;
    let token = world.token();
    for _ in 0..20 {
        assert_eq!(verifier.verify(&token).await.unwrap_err().status(), 503);
    }
    // The clock stands still: what follows the list does not, so a few may be.
    assert!(world.issuer.count(LIST) <= 3, "{}", world.issuer.count(LIST));
    world.publish_list(&[0]);
    world.clock.advance(60);
    verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn no_other_host_is_asked() {
    let world = World::start().await;
    let other = World::start().await;
    let verifier = world.verifier().await;
    for uri in [other.list_uri(), world.issuer.url.replace("http://", "http://evil@") + LIST, format!("{}/admin", world.issuer.url)] {
        let token = world.token_with(|claims| claims["status"]["status_list"]["uri"] = uri.into());
        assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::ForeignStatusList);
    }
    assert_eq!((other.issuer.count(LIST), world.issuer.count("/admin"), verifier.stats().lists), (0, 0, 0));
}

#[tokio::test]
async fn forged_tokens_make_no_list_be_asked_for() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let mut forged = Signer::fixed("es256-other");
    "es256".clone_into(&mut forged.kid);
    assert_eq!(verifier.verify(&forged.token(&world.claims())).await.unwrap_err(), VerifyError::BadSignature);
    let elsewhere = world.token_with(|claims| claims["aud"] = "https://other.example.com".into());
    assert_eq!(verifier.verify(&elsewhere).await.unwrap_err(), VerifyError::WrongAudience);
    assert_eq!((world.issuer.count(LIST), verifier.stats().lists), (0, 0));
}

#[tokio::test]
async fn only_so_many_lists_are_followed() {
    let world = World::start().await;
    let verifier = world.builder().max_lists(1).build().await.unwrap();
    verifier.verify(&world.token()).await.unwrap();
    let second = world.token_with(|claims| claims["status"]["status_list"]["uri"] = format!("{}/status-lists/2", world.issuer.url).into());
    assert_eq!(verifier.verify(&second).await.unwrap_err().code(), "status_unavailable");
    assert_eq!((verifier.stats().lists, world.issuer.count("/status-lists/2")), (1, 0));
}

#[tokio::test]
async fn a_list_that_no_token_names_is_dropped() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    verifier.verify(&world.token()).await.unwrap();
    assert_eq!(verifier.stats().lists, 1);
    world.clock.advance(3_602);
    eventually("it is dropped", || verifier.stats().lists == 0).await;
    world.publish_list(&[0]);
    verifier.verify(&world.token()).await.unwrap();
}

#[tokio::test]
async fn a_list_may_come_with_a_new_key() {
    let world = World::start().await;
    let new = Signer::fixed("eddsa");
    let verifier = world.verifier().await;
    world.publish_keys(&[&world.signer, &new]);
    world.issuer.page(LIST, Page::ok(list(&new, &world.list_claims(&[1]))));
    assert_eq!(verifier.verify(&world.token()).await.unwrap_err(), VerifyError::Revoked);
    assert_eq!(world.issuer.count(JWKS), 2);
}

#[tokio::test]
async fn a_list_counts_no_longer_than_its_key() {
    let world = World::start().await;
    let other = Signer::fixed("eddsa");
    world.publish_keys(&[&world.signer, &other]);
    world.issuer.page(LIST, Page::ok(list(&other, &world.list_claims(&[0]))));
    let verifier = world.builder().refresh_interval(std::time::Duration::from_millis(50)).build().await.unwrap();
    verifier.verify(&world.token()).await.unwrap();
    world.publish_keys(&[&world.signer]);
    let seen = world.issuer.count(JWKS);
    eventually("the keys were read twice", || world.issuer.count(JWKS) > seen + 1).await;
    assert_eq!(verifier.verify(&world.token()).await.unwrap_err().code(), "status_unavailable");
}

#[tokio::test]
async fn of_two_lists_of_one_second_the_one_that_knows_less_does_not_count() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    world.publish_list(&[1]);
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Revoked);
    // Another node, of an earlier state, in the same second.
    world.publish_list(&[0]);
    let seen = world.issuer.count(LIST);
    eventually("the list was read twice", || world.issuer.count(LIST) > seen + 1).await;
    assert_eq!(verifier.verify(&token).await.unwrap_err(), VerifyError::Revoked);
    world.clock.advance(1);
    world.publish_list(&[0]);
    let seen = world.issuer.count(LIST);
    eventually("the list was read twice", || world.issuer.count(LIST) > seen + 1).await;
    verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_list_from_a_future_that_was_none_does_not_stay() {
    let world = World::start().await;
    let verifier = world.verifier().await;
    let token = world.token();
    // Issuer and receiver were an hour ahead together, and are not any more.
    world.clock.advance(3_000);
    world.publish_list(&[0]);
    verifier.verify(&token).await.unwrap();
    world.clock.go_back(3_000);
    world.publish_list(&[1]);
    eventually("the list of now counts", || verifier.verify_held(&token).is_err_and(|error| error == VerifyError::Revoked)).await;
}
