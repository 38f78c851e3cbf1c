//! Status lists as tokens (draft-ietf-oauth-status-list-21, section 5.1).

use std::io::Write;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde::Serialize;

use super::signing_key::{KeyError, SigningKey};
use super::token::compact;
use crate::domain::status::StatusBits;

/// The `typ` of a status list (section 5.1).
const TYPE: &str = "statuslist+jwt";

/// Bits as they stand in `lst`: compressed in the format ZLIB (RFC 1950), in base64url (section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedBits(String);

/// Compresses bits.
#[must_use]
pub fn compress(bits: &StatusBits) -> CompressedBits {
    CompressedBits(URL_SAFE_NO_PAD.encode(zlib(bits.as_bytes())))
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Into memory, which takes everything.
    let _written = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Compresses an answer as `Content-Encoding: gzip` has it (RFC 1952).
#[must_use]
pub fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let _written = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

/// What tells an answer from every other (RFC 9110, section 8.8.3), without the quotes.
#[must_use]
pub fn entity_tag(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default())
}

/// What a list says beside its bits. Times are whole seconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct StatusListClaims<'a> {
    /// The public URL of this Hourpass.
    pub issuer: &'a str,
    /// Where the list is served.
    pub uri: &'a str,
    /// Where all lists are named (section 9).
    pub aggregation_uri: &'a str,
    /// As of when it is right.
    pub issued_at: i64,
    /// From when on nobody may go by it.
    pub expires_at: i64,
    /// After how many seconds it is to be asked for again.
    pub ttl: u64,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    ttl: u64,
    status_list: List<'a>,
}

#[derive(Serialize)]
struct List<'a> {
    bits: u8,
    lst: &'a str,
    aggregation_uri: &'a str,
}

/// Signs a list.
///
/// # Errors
/// Where the cryptographic library refuses.
pub fn mint_status_list(key: &SigningKey, claims: &StatusListClaims<'_>, bits: &CompressedBits) -> Result<String, KeyError> {
    let StatusListClaims { issuer, uri, aggregation_uri, issued_at, expires_at, ttl } = *claims;
    let status_list = List { bits: 1, lst: &bits.0, aggregation_uri };
    compact(key, TYPE, &Payload { iss: issuer, sub: uri, iat: issued_at, exp: expires_at, ttl, status_list })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn bits_are_compressed_as_in_the_draft() {
        // Section 4.1: the bytes B9 A3 are eNrbuRgAAhcBXQ.
        assert_eq!(URL_SAFE_NO_PAD.encode(zlib(&[0xB9, 0xA3])), "eNrbuRgAAhcBXQ");
    }

    #[test]
    fn gzip_is_undone() {
        let mut text = String::new();
        flate2::read::GzDecoder::new(gzip("a list").as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a list");
    }
}
