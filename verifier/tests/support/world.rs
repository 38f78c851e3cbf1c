//! An issuer with a key and a list, a clock, and tokens of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hourpass_verifier::{Verifier, VerifierBuilder};
use serde_json::{Value, json};

use super::issuer::{Issuer, Page};
use super::signer::{Signer, jwks, list, list_claims};

pub(crate) const AUDIENCE: &str = "https://pipelines.example.com";
pub(crate) const JWKS: &str = "/.well-known/jwks.json";
pub(crate) const METADATA: &str = "/.well-known/oauth-authorization-server";
pub(crate) const LIST: &str = "/status-lists/1";
pub(crate) const START: u64 = 1_800_000_000;

#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn go_back(&self, seconds: u64) {
        self.0.fetch_sub(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn reader(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.clone();
        move || UNIX_EPOCH + Duration::from_secs(clock.now())
    }
}

pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) clock: Clock,
    pub(crate) signer: Signer,
}

impl World {
    pub(crate) async fn start() -> Self {
        let world = Self { issuer: Issuer::start().await, clock: Clock(Arc::new(AtomicU64::new(START))), signer: Signer::fixed("es256") };
        let url = &world.issuer.url;
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}{JWKS}"), "token_endpoint": format!("{url}/auth/login")});
        world.issuer.page(METADATA, Page::ok(metadata.to_string()));
        world.publish_keys(&[&world.signer]);
        world.publish_list(&[0; 8]);
        world
    }

    pub(crate) fn publish_keys(&self, signers: &[&Signer]) {
        self.issuer.page(JWKS, Page::ok(jwks(signers).to_string()));
    }

    /// A list of single bits that lives five minutes, and is to be asked for every second.
    pub(crate) fn publish_list(&self, packed: &[u8]) {
        self.issuer.page(LIST, Page::ok(list(&self.signer, &self.list_claims(packed))));
    }

    pub(crate) fn list_claims(&self, packed: &[u8]) -> Value {
        list_claims(&self.list_uri(), 1, packed, self.clock.now(), self.clock.now() + 300, 1)
    }

    pub(crate) fn list_uri(&self) -> String {
        format!("{}{LIST}", self.issuer.url)
    }

    pub(crate) fn claims(&self) -> Value {
        let now = self.clock.now();
        json!({
            "iss": self.issuer.url, "sub": "0199-account", "aud": AUDIENCE, "client_id": "0199-account", "jti": "0199-token",
            "iat": now, "exp": now + 3600, "scope": "pipelines.read pipelines.deploy", "org_id": "0199-organization",
            "workspace_id": "0199-workspace", "api_key_id": "0199-key", "sid": "0199-session", "principal_type": "service_account", "name": "ci",
            "authorization_details": [
                {"type": "project", "identifier": "0199-project", "slug": "models", "workspace_id": "0199-workspace", "actions": ["models.write"]},
            ],
            "status": {"status_list": {"idx": 0, "uri": self.list_uri()}},
        })
    }

    pub(crate) fn token(&self) -> String {
        self.signer.token(&self.claims())
    }

    /// A token that differs from the good one in its claims.
    pub(crate) fn token_with(&self, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        edit(&mut claims);
        self.signer.token(&claims)
    }

    pub(crate) fn builder(&self) -> VerifierBuilder {
        Verifier::builder(&self.issuer.url).audience(AUDIENCE).clock(self.clock.reader())
    }

    pub(crate) async fn verifier(&self) -> Verifier {
        self.builder().build().await.unwrap()
    }
}

/// What an issuer answers to a key.
pub(crate) fn login_answer(token: &str, expires_in: u64) -> Page {
    let answer = json!({"access_token": token, "token_type": "bearer", "expires_in": expires_in, "device_id": null, "device_metadata": null});
    Page::ok(answer.to_string())
}
