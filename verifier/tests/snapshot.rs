//! Without the issuer.

use hourpass_verifier::{BuildError, Snapshot, StaleLists, Verifier, VerifyError};
use serde_json::json;

use crate::support::world::{AUDIENCE, JWKS, LIST, World};

async fn carried(world: &World) -> Snapshot {
    let verifier = world.verifier().await;
    verifier.verify(&world.token()).await.unwrap();
    let text = serde_json::to_string(&verifier.snapshot()).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_snapshot_is_enough() {
    let world = World::start().await;
    world.publish_list(&[0b10]);
    let snapshot = carried(&world).await;
    world.issuer.cut(true);
    let (keys, lists) = (world.issuer.count(JWKS), world.issuer.count(LIST));
    let verifier = Verifier::builder(&world.issuer.url).audience(AUDIENCE).clock(world.clock.reader()).offline(&snapshot).unwrap();
    let token = world.token();
    assert_eq!(verifier.verify(&token).await.unwrap().name(), "ci");
    assert_eq!(verifier.verify_held(&token).unwrap().name(), "ci");
    let revoked = world.token_with(|claims| claims["status"]["status_list"]["idx"] = 1.into());
    assert_eq!(verifier.verify(&revoked).await.unwrap_err(), VerifyError::Revoked);
    let unknown = world.token_with(|claims| claims["status"]["status_list"]["uri"] = format!("{}/status-lists/2", world.issuer.url).into());
    assert_eq!(verifier.verify(&unknown).await.unwrap_err().code(), "status_unavailable");
    assert_eq!(verifier.snapshot(), snapshot);
    assert_eq!((world.issuer.count(JWKS), world.issuer.count(LIST)), (keys, lists));
}

#[tokio::test]
async fn its_lists_grow_stale() {
    let world = World::start().await;
    let snapshot = carried(&world).await;
    let builder = world.builder();
    let strict = builder.clone().offline(&snapshot).unwrap();
    let lax = builder.stale_lists(StaleLists::Allow).offline(&snapshot).unwrap();
    world.clock.advance(300);
    let token = world.token();
    assert_eq!(strict.verify(&token).await.unwrap_err().code(), "status_unavailable");
    lax.verify(&token).await.unwrap();
    assert_eq!(lax.stats().stale_allowed, 1);
}

#[tokio::test]
async fn a_snapshot_has_to_be_sound() {
    let world = World::start().await;
    let snapshot = carried(&world).await;
    let other = Verifier::builder("https://other.example.com").audience(AUDIENCE).offline(&snapshot);
    assert!(matches!(other, Err(BuildError::WrongIssuer)));
    let empty = Snapshot { jwks: json!({"keys": []}), ..snapshot.clone() };
    assert!(matches!(Verifier::from_snapshot(&empty, AUDIENCE), Err(BuildError::Answer(_))));
    let mut altered = snapshot;
    altered.status_lists.values_mut().for_each(|jwt| jwt.push('A'));
    let verifier = world.builder().offline(&altered).unwrap();
    assert_eq!(verifier.verify(&world.token()).await.unwrap_err().code(), "status_unavailable");
}
