//! The vocabulary and the rules of Hourpass.
//!
//! Pure: no IO, no async, no SQL, no HTTP. Nothing here reads a clock or a source of randomness of its own accord; both are parameters.

pub mod access;
pub mod api_key;
pub mod attributes;
pub mod audit;
pub mod claims;
pub mod credential;
pub mod document;
pub mod entity;
pub mod id;
pub mod name;
pub mod permission;
pub mod random;
pub mod role;
pub mod secret_filter;
pub mod signing;
pub mod status;
pub mod time;
