//! Signing keys and what is made with them: sealed private keys, the JWKS, access tokens. The only user of jsonwebtoken.
//!
//! May not know: the database, HTTP, who may do what.

mod master;
mod signing_key;
mod token;

pub use master::{MasterKey, UnsealError};
pub use signing_key::{KeyError, KeySet, SigningKey};
pub use token::{TokenError, inspect, mint, verify};
