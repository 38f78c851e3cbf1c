//! What a status list says as a token (draft-ietf-oauth-status-list-21, section 5.1).

use std::io::Write;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde::Serialize;

use crate::domain::status::StatusBits;

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

/// What a list says beside what every signed document says (section 5.1).
#[derive(Debug, Serialize)]
pub struct StatusListBody<'a> {
    ttl: u64,
    status_list: List<'a>,
}

#[derive(Debug, Serialize)]
struct List<'a> {
    bits: u8,
    lst: &'a str,
    aggregation_uri: &'a str,
}

impl<'a> StatusListBody<'a> {
    /// A list of these bits, to be asked for again after `ttl` seconds. All lists are named at `aggregation_uri` (section 9).
    #[must_use]
    pub fn new(bits: &'a CompressedBits, aggregation_uri: &'a str, ttl: u64) -> Self {
        Self { ttl, status_list: List { bits: 1, lst: &bits.0, aggregation_uri } }
    }
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
