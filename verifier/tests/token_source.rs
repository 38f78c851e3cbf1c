//! A client's own token.

use hourpass_verifier::exchange::{LoginError, TokenSource};

use crate::support::eventually;
use crate::support::world::{AUDIENCE, World, login_answer};

const LOGIN: &str = "/auth/login";
const KEY: &str = "hp_live_0000000000";

fn source(world: &World) -> TokenSource {
    TokenSource::builder(&world.issuer.url, KEY).audience(AUDIENCE).clock(world.clock.reader()).build().unwrap()
}

#[tokio::test]
async fn one_exchange_for_all_callers() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer("first", 3600));
    let source = source(&world);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.token().await })
        })
        .collect();
    for task in tasks {
        assert_eq!(&*task.await.unwrap().unwrap(), "first");
    }
    assert_eq!(world.issuer.count(LOGIN), 1);
    assert!(world.issuer.seen(LOGIN)[0].body.ends_with("&audience=https%3A%2F%2Fpipelines.example.com"));
    assert!(!format!("{source:?}").contains(KEY));
}

#[tokio::test]
async fn it_is_renewed_in_good_time_without_waiting() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer("first", 1000));
    let source = source(&world);
    source.token().await.unwrap();
    world.issuer.login(KEY, login_answer("second", 1000));
    world.clock.advance(715);
    assert_eq!(&*source.token().await.unwrap(), "first");
    // Were a renewal under way, it would be there before another client has come and gone twice.
    for _ in 0..2 {
        self::source(&world).token().await.unwrap();
    }
    assert_eq!(world.issuer.count(LOGIN), 3);
    assert_eq!(&*source.token().await.unwrap(), "first");
    world.clock.advance(170);
    world.issuer.hold(true);
    for _ in 0..5 {
        assert_eq!(&*source.token().await.unwrap(), "first", "nobody waits");
    }
    eventually("another is asked for", || world.issuer.count(LOGIN) == 4).await;
    world.issuer.hold(false);
    let renewed = async {
        while &*source.token().await.unwrap() != "second" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), renewed).await.expect("never renewed");
    assert_eq!(world.issuer.count(LOGIN), 4);
}

#[tokio::test]
async fn it_survives_an_outage_as_long_as_it_lives() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer("first", 1000));
    let source = source(&world);
    source.token().await.unwrap();
    world.issuer.cut(true);
    world.clock.advance(999);
    assert_eq!(&*source.token().await.unwrap(), "first");
    eventually("a renewal was tried", || world.issuer.count(LOGIN) == 2).await;
    world.clock.advance(1);
    assert!(matches!(source.token().await, Err(LoginError::Unavailable { .. })));
    world.issuer.cut(false);
    world.issuer.login(KEY, login_answer("second", 1000));
    world.clock.advance(60);
    assert_eq!(&*source.token().await.unwrap(), "second");
}

#[tokio::test]
async fn a_refusal_is_told_and_not_repeated_at_once() {
    let world = World::start().await;
    let source = source(&world);
    for _ in 0..5 {
        assert_eq!(source.token().await.unwrap_err(), LoginError::Refused);
    }
    assert_eq!(world.issuer.count(LOGIN), 1);
}

#[tokio::test]
async fn a_token_that_was_refused_is_replaced() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer("first", 1000));
    let source = source(&world);
    let first = source.token().await.unwrap();
    world.issuer.login(KEY, login_answer("second", 1000));
    source.forget("another");
    assert_eq!(source.token().await.unwrap(), first);
    source.forget(&first);
    assert_eq!(&*source.token().await.unwrap(), "second");
}

#[tokio::test]
async fn a_key_goes_nowhere_in_the_clear() {
    assert!(TokenSource::builder("http://id.example.com", KEY).build().is_err());
    assert!(TokenSource::builder("http://id.example.com", KEY).allow_plain_http().build().is_ok());
    assert!(TokenSource::builder("not a url", KEY).build().is_err());
}
