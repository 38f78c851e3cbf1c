//! What the tests share.

pub(crate) mod issuer;
pub(crate) mod signer;
pub(crate) mod world;

use std::time::Duration;

/// Waits until it holds; fails where that takes ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("ten seconds, and still not: {what}");
}
