//! The verifier against an issuer of our own making, which counts what it is asked and misbehaves on demand.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a helper that panics is a test that fails")]

mod cache;
mod exchange;
mod keys;
mod lists;
mod refusals;
mod snapshot;
mod support;
mod token_source;
mod tokens;
mod vectors;
mod web;
mod wycheproof;
