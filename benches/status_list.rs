//! Status lists: how large they are, and how long it takes to build, compress and sign one of a million places of which 1 % are set.
//!
//! ```sh
//! cargo bench --bench status_list
//! ```
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::domain::status::{LIST_LENGTH, StatusBits, StatusIndex, list_address};
use hourpass::domain::time::Timestamp;
use hourpass::keys::{CompressedBits, DocumentHead, SigningKey, StatusListBody, compress, gzip, sign_document};

/// Every place is as likely as any other to be set: the least compressible that there is.
fn ended(share: f64, credentials: i64) -> Vec<StatusIndex> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a number")]
    let limit = (share * u64::MAX as f64) as u64;
    (0..credentials).filter(|_| next() < limit).map(StatusIndex).collect()
}

fn build(ended: &[StatusIndex], lists: usize) -> Vec<StatusBits> {
    let mut all = vec![StatusBits::default(); lists];
    for index in ended {
        all.get_mut(usize::try_from(index.list()).unwrap()).unwrap().set(index.position());
    }
    all
}

fn benchmarks(criterion: &mut Criterion) {
    let (key, _) = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let address = list_address("https://hourpass.example.com", 0);
    let issued_at = Timestamp::from_seconds(1_767_225_600);
    let head = DocumentHead { address: &address, issued_at, expires_at: issued_at.plus(Duration::from_mins(5)) };
    let sign = |bits: &CompressedBits| sign_document(&key, head, &StatusListBody::new(bits, "https://hourpass.example.com/status-lists", 5)).unwrap();
    println!("| credentials | ended | lists | tokens, bytes | gzip, bytes | bits in memory, bytes |\n|---|---|---|---|---|---|");
    for credentials in [1_000_000_i64, 10_000_000] {
        for share in [0.0, 0.000_1, 0.01] {
            let ended = ended(share, credentials);
            let lists = usize::try_from(credentials / i64::from(LIST_LENGTH)).unwrap() + 1;
            let tokens: Vec<String> = build(&ended, lists).iter().map(|bits| sign(&compress(bits))).collect();
            let (plain, zipped) = (tokens.iter().map(String::len).sum::<usize>(), tokens.iter().map(|token| gzip(token).len()).sum::<usize>());
            println!("| {credentials} | {} | {lists} | {plain} | {zipped} | {} |", ended.len(), lists * LIST_LENGTH as usize / 8);
        }
    }
    let ended = ended(0.01, i64::from(LIST_LENGTH));
    criterion.bench_function("build, 1 % of 1,048,576", |bencher| bencher.iter(|| build(black_box(&ended), 1)));
    let bits = build(&ended, 1).pop().unwrap();
    criterion.bench_function("compress", |bencher| bencher.iter(|| compress(black_box(&bits))));
    let compressed = compress(&bits);
    criterion.bench_function("sign", |bencher| bencher.iter(|| sign(black_box(&compressed))));
    let token = sign(&compressed);
    criterion.bench_function("gzip", |bencher| bencher.iter(|| gzip(black_box(&token))));
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
