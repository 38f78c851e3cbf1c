//! What verifying costs, beside the bare signature check: `cargo bench -p hourpass-verifier`.
//!
//! The aims: a token that is new takes no more than 1.15 times the bare check of its signature, one seen before no more than two microseconds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that panics is a benchmark that fails")]

#[path = "../tests/support/signer.rs"]
mod signer;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hourpass_verifier::{Snapshot, Verifier, VerifierBuilder};
use serde_json::{Value, json};
use signer::{Signer, jwks, list, list_claims};

const ISSUER: &str = "https://hourpass.example.com";
const LIST: &str = "https://hourpass.example.com/status-lists/1";
const AUDIENCE: &str = "https://pipelines.example.com";
const NOW: u64 = 1_800_000_000;

/// A token as Hourpass issues them, with a dozen permissions.
fn claims() -> Value {
    let scope = "pipelines.read pipelines.create pipelines.update pipelines.deploy pipelines.delete runs.read runs.create runs.cancel \
                 artifacts.read artifacts.create models.read models.deploy";
    json!({
        "iss": ISSUER, "sub": "0199c0de-0000-7000-8000-000000000001", "aud": AUDIENCE, "client_id": "0199c0de-0000-7000-8000-000000000001",
        "iat": NOW, "exp": NOW + 3600, "jti": "0199c0de-0000-7000-8000-000000000002", "scope": scope,
        "org_id": "0199c0de-0000-7000-8000-000000000003", "workspace_id": "0199c0de-0000-7000-8000-000000000004",
        "api_key_id": "0199c0de-0000-7000-8000-000000000005", "sid": "0199c0de-0000-7000-8000-000000000006",
        "principal_type": "service_account", "name": "ci-deployments",
        "authorization_details": [{
            "type": "project", "identifier": "0199c0de-0000-7000-8000-000000000007", "slug": "models",
            "workspace_id": "0199c0de-0000-7000-8000-000000000004", "actions": ["models.write"],
        }],
        "status": {"status_list": {"idx": 123_456, "uri": LIST}},
    })
}

/// A million places, of which about one in a hundred is set, here and there.
fn million() -> Vec<u8> {
    let mut packed = vec![0_u8; 125_000];
    let mut state = 1_u32;
    for place in 0..1_000_000_usize {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 16 < 655 && place != 123_456 {
            packed[place / 8] |= 1 << (place % 8);
        }
    }
    packed
}

fn snapshot() -> Snapshot {
    let signers = ["es256", "eddsa", "rs256"].map(Signer::fixed);
    let jwt = list(&signers[0], &list_claims(LIST, 1, &million(), NOW, NOW + 300, 5));
    Snapshot { issuer: ISSUER.to_owned(), jwks: jwks(&signers.each_ref()), status_lists: BTreeMap::from([(LIST.to_owned(), jwt)]) }
}

fn builder() -> VerifierBuilder {
    Verifier::builder(ISSUER).audience(AUDIENCE).clock(|| UNIX_EPOCH + Duration::from_secs(NOW))
}

fn parsed(jwk: &Value) -> ParsedPublicKey {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    match jwk["alg"].as_str().unwrap() {
        "ES256" => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], part("x"), part("y")].concat()).parse().unwrap(),
        "EdDSA" => UnparsedPublicKey::new(&ED25519, part("x")).parse().unwrap(),
        _ => RsaPublicKeyComponents { n: part("n"), e: part("e") }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).unwrap(),
    }
}

fn verify(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let (cold, warm) = (builder().cache_entries(0).offline(&snapshot).unwrap(), builder().offline(&snapshot).unwrap());
    for name in ["es256", "eddsa", "rs256"] {
        let signer = Signer::fixed(name);
        let token = signer.token(&claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = parsed(&signer.jwk());
        let mut group = criterion.benchmark_group(name);
        group.bench_function("bare", |bencher| bencher.iter(|| key.verify_sig(black_box(message.as_bytes()), &signature).unwrap()));
        group.bench_function("cold", |bencher| bencher.iter(|| cold.verify_held(black_box(&token)).unwrap()));
        group.bench_function("cached", |bencher| bencher.iter(|| warm.verify_held(black_box(&token)).unwrap()));
        group.finish();
    }
}

fn lists(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let verifier = builder().offline(&snapshot).unwrap();
    let token = verifier.verify_held(&Signer::fixed("es256").token(&claims())).unwrap();
    criterion.bench_function("status", |bencher| bencher.iter(|| verifier.check_again(black_box(&token)).unwrap()));
    let mut group = criterion.benchmark_group("list");
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("a million places, one in a hundred revoked", |bencher| bencher.iter(|| builder().offline(black_box(&snapshot)).unwrap()));
    group.finish();
}

/// What this process holds, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// What it takes to follow ten million credentials: ten lists, one in a hundred places set.
fn memory(_: &mut Criterion) {
    let signer = Signer::fixed("es256");
    let uri = |number: u32| format!("{ISSUER}/status-lists/{number}");
    let jwt = |number| list(&signer, &list_claims(&uri(number), 1, &million(), NOW, NOW + 300, 5));
    let status_lists = (0..10).map(|number| (uri(number), jwt(number))).collect();
    let snapshot = Snapshot { issuer: ISSUER.to_owned(), jwks: jwks(&[&signer]), status_lists };
    let before = resident();
    let verifier = builder().offline(&snapshot).unwrap();
    println!("ten lists of a million places: {} KiB more in memory", resident().saturating_sub(before));
    black_box(verifier);
}

criterion_group!(benches, memory, verify, lists);
criterion_main!(benches);
