//! Validates Hourpass access tokens where they are used, without asking Hourpass about each.
//!
//! A [`Verifier`] holds the issuer's public keys (RFC 7517) and its Token Status Lists (draft-ietf-oauth-status-list), keeps both fresh in the
//! background, and judges each token in memory: its form, signature, issuer, audience and times (RFC 9068, RFC 8725), and that it is not revoked.
//! A revocation arrives within the list's `ttl`, by default five seconds. When the issuer cannot be reached, tokens go on being judged until the
//! list's `exp`; then they are answered with 503, never let through unless [`StaleLists::Allow`] says so.
//!
//! ```no_run
//! use hourpass_verifier::Verifier;
//!
//! # async fn run(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder("https://id.example.com").audience("https://pipelines.example.com").build().await?;
//! let caller = verifier.verify(token).await?;
//! caller.require("pipelines.read")?;
//! caller.require_in_project("models", "pipelines.deploy")?;
//! println!("{} ({})", caller.name(), caller.subject());
//! # Ok(()) }
//! ```
//!
//! A refusal is a [`VerifyError`], which knows its answer over HTTP (RFC 6750): [`VerifyError::status`], [`VerifyError::www_authenticate`],
//! [`VerifyError::retry_after`], [`VerifyError::problem`].
//!
//! # Features
//!
//! | feature | what |
//! |---|---|
//! | `http` (default) | finds keys and lists by itself; without it, a verifier works from a [`Snapshot`] |
//! | `actix` | `actix::Authorized`, an extractor, and `actix::require_token`, a middleware |
//! | `tower` | `tower::VerifyLayer`, for axum, tonic and hyper as well |
//! | `exchange` | `exchange::Exchange` takes API keys beside tokens; `exchange::TokenSource` keeps a client's own token fresh |
//!
//! # Where the issuer cannot be reached
//!
//! ```no_run
//! use hourpass_verifier::{Snapshot, Verifier};
//!
//! # fn run(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // Elsewhere: `serde_json::to_string(&verifier.snapshot())`
//! let snapshot: Snapshot = serde_json::from_str(&std::fs::read_to_string("hourpass.json")?)?;
//! let verifier = Verifier::from_snapshot(&snapshot, "https://pipelines.example.com")?;
//! let caller = verifier.verify_held(token)?;
//! # Ok(()) }
//! ```

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(any(feature = "actix", feature = "tower"))]
mod bearer;
mod claims;
mod core;
mod error;
#[cfg(feature = "exchange")]
pub mod exchange;
#[cfg(feature = "http")]
mod fetch;
#[cfg(feature = "http")]
mod flight;
mod jws;
mod key;
#[cfg(feature = "exchange")]
mod login;
mod options;
#[cfg(feature = "http")]
mod remote;
mod snapshot;
mod stats;
mod status_list;
mod strict_json;
mod token;
#[cfg(feature = "exchange")]
mod token_source;
#[cfg(feature = "tower")]
pub mod tower;
mod verifier;

pub use error::{BuildError, VerifyError};
#[cfg(feature = "http")]
pub use fetch::FetchError;
#[doc(hidden)]
pub use key::Key;
pub use options::StaleLists;
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use token::{AccessToken, AuthorizationDetail, PrincipalType, StatusReference};
pub use verifier::{Verifier, VerifierBuilder};

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "actix", feature = "exchange", feature = "tower"))]
#[doc = include_str!("../README.md")]
struct Readme;
