//! Signing keys and what is made with them: sealed private keys, the JWKS, access tokens, status lists. The only user of jsonwebtoken.
//!
//! May not know: the database, HTTP, who may do what.

mod idempotency;
mod low_s;
mod master;
mod signed;
mod signing_key;
mod status_list;
mod token;

pub use idempotency::{AnswerKey, AnswerKeys};
pub use master::{MasterKey, UnsealError};
pub use signed::{DocumentHead, mint, sign_document};
pub use signing_key::{Jwks, KeyError, KeySet, PublishedKey, SigningKey};
pub use status_list::{CompressedBits, StatusListBody, compress, entity_tag, gzip};
pub use token::{TokenError, inspect, verify};
