//! Signing keys and what is made with them: sealed private keys, the JWKS, access tokens, status lists. The only user of jsonwebtoken.
//!
//! May not know: the database, HTTP, who may do what.

mod master;
mod signing_key;
mod status_list;
mod token;

pub use master::{MasterKey, UnsealError};
pub use signing_key::{KeyError, KeySet, PublishedKey, SigningKey};
pub use status_list::{CompressedBits, StatusListClaims, compress, entity_tag, gzip, mint_status_list};
pub use token::{TokenError, inspect, mint, verify};
