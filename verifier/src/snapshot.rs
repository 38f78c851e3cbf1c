//! What a verifier knows, to be carried to where the issuer cannot be reached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Keys and status lists of an issuer, as it published them. Nothing in it is secret.
///
/// The keys are taken on trust: carry it by a way that nobody can alter. The lists are signed, and a token is refused when its list is past
/// its `exp`, unless [`StaleLists::Allow`](crate::StaleLists::Allow) says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The issuer, as in `iss`.
    pub issuer: String,
    /// Its JWK Set (RFC 7517, section 5).
    pub jwks: Value,
    /// Status lists by their addresses, each as its signed JWT.
    pub status_lists: BTreeMap<String, String>,
}
