//! Finds credentials in texts where they do not belong: people paste keys into names, addresses and labels, and texts go into the database, the log and the audit trail.
//!
//! Found are:
//! - API keys of the form of ours, whatever their prefix, and with it invitations and the contents of session cookies, also in the middle of a longer word: by their checksum;
//! - what has the length of such a key after a `_`, though its checksum does not hold: a key in other case, or with a mistake in it;
//! - what follows `live_`, `test_`, `invite_` or `session_` and is at least 40 letters and digits long: keys of other systems (`vf_live_…`), and those of ours that were cut;
//! - JSON Web Tokens (RFC 7515, section 3.1): an access token is a credential for an hour;
//! - any of these in percent-encoding (RFC 3986, section 2.1), and a key of ours with white space, dashes, quotes or invisible characters in it, such as from a line that was broken.
//!
//! Not found is what says nothing about itself: keys of unknown form, and texts that were encoded in another way, such as base64.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::api_key::{CHECKSUM_LENGTH, KeyPrefix, SECRET_LENGTH, checksum};
use super::name::{Invalid, is_invisible};

/// The length of a key after its prefix.
const AFTER_PREFIX: usize = SECRET_LENGTH + CHECKSUM_LENGTH;
/// The shortest of all: a prefix of a letter and `_`, and what follows.
const SHORTEST: usize = 2 + 40;
/// How long the secret of a marked key is at least.
const SHORTEST_MARKED: usize = 40;
/// What keys have before the last `_` of their prefix.
const MARKS: [&[u8]; 4] = [b"live", b"test", b"invite", b"session"];
/// The least length of a part of a JSON Web Token.
const SHORTEST_PART: usize = 16;
/// How often a text may be percent-encoded.
const ENCODED: usize = 3;

const KEY: &str = "(API key)";
const TOKEN: &str = "(token)";
/// In the place of a whole text in which a credential stands that cannot be cut out.
const ALL: &str = "(left out, because it holds an API key)";

/// A credential in a text.
struct Found {
    range: Range<usize>,
    mask: &'static str,
}

/// The text with every credential in it replaced by what it was: `(API key)` or `(token)`.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    if text.len() < SHORTEST {
        return Cow::Borrowed(text);
    }
    let found = find(text);
    let text = if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replaced(text, &found)) };
    if is_disguised(&text) { Cow::Borrowed(ALL) } else { text }
}

/// Whether there is a credential in it.
#[must_use]
pub fn holds_secret(text: &str) -> bool {
    text.len() >= SHORTEST && (!find(text).is_empty() || is_disguised(text))
}

/// Refuses a text that holds a credential.
///
/// # Errors
/// A sentence that says so, without the credential.
pub fn refuse_secrets(text: &str) -> Result<(), Invalid> {
    if holds_secret(text) { Err(Invalid(REFUSED.to_owned())) } else { Ok(()) }
}

/// What whoever sent a credential in the wrong place is told.
pub const REFUSED: &str = "contains an API key or another credential; remove it, and rotate the key, for it has to be taken for leaked";

/// JSON as a text, with every credential in it replaced.
#[must_use]
pub fn masked_json(value: &Value) -> String {
    let text = value.to_string();
    if holds_secret(&text) { without(value).to_string() } else { text }
}

/// Whether there is a credential in the texts or the names of a value.
#[must_use]
pub fn value_holds_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => holds_secret(text),
        Value::Array(values) => values.iter().any(value_holds_secret),
        Value::Object(members) => members.iter().any(|(name, value)| holds_secret(name) || value_holds_secret(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn without(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(masked(text).into_owned()),
        Value::Array(values) => Value::Array(values.iter().map(without).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (masked(name).into_owned(), without(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn replaced(text: &str, found: &[Found]) -> String {
    let (mut clean, mut at) = (String::with_capacity(text.len()), 0);
    for Found { range, mask } in found {
        clean.push_str(text.get(at..range.start).unwrap_or_default());
        clean.push_str(mask);
        at = range.end;
    }
    clean.push_str(text.get(at..).unwrap_or_default());
    clean
}

/// Whether there is one that is only seen when the text is decoded or put together.
fn is_disguised(text: &str) -> bool {
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..ENCODED {
        let Cow::Owned(next) = percent_decode_str(&decoded).decode_utf8_lossy() else { break };
        if next == *decoded {
            break;
        }
        if !find(&next).is_empty() {
            return true;
        }
        decoded = Cow::Owned(next);
    }
    let joins = |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '-' | '"' | '\'' | '\\' | '`');
    if !decoded.contains(joins) {
        return false;
    }
    let joined: String = decoded.chars().filter(|c| !joins(*c)).collect();
    // By the checksum alone: words that were put together have any length.
    let bytes = joined.as_bytes();
    underscores(bytes).any(|at| run(bytes, at + 1) >= AFTER_PREFIX && key_before(bytes, at).is_some())
}

/// The credentials in a text, in order; none is in another.
fn find(text: &str) -> Vec<Found> {
    let bytes = text.as_bytes();
    let mut found: Vec<Found> = Vec::new();
    for at in underscores(bytes) {
        let length = run(bytes, at + 1);
        if length < SHORTEST_MARKED {
            continue;
        }
        let range = match key_before(bytes, at).filter(|_| length >= AFTER_PREFIX) {
            Some(start) => start..at + 1 + AFTER_PREFIX,
            None if is_marked(bytes, at) || length == AFTER_PREFIX && is_random(bytes, at + 1) => word_before(bytes, at)..at + 1 + length,
            None => continue,
        };
        found.push(Found { range, mask: KEY });
    }
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find("eyJ")).map(|at| from + at) {
        let end = token_end(bytes, start);
        if let Some(end) = end {
            // A key inside of it goes with it.
            found.retain(|it| it.range.end <= start || it.range.start >= end);
            found.push(Found { range: start..end, mask: TOKEN });
        }
        from = end.unwrap_or(start + 3);
    }
    found.sort_unstable_by_key(|it| it.range.start);
    let mut last = 0;
    found.retain(|it| {
        let apart = it.range.start >= last;
        last = last.max(it.range.end);
        apart
    });
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn underscores(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').map(|(at, _)| at)
}

/// How many letters and digits there are from here on.
fn run(bytes: &[u8], from: usize) -> usize {
    bytes.iter().skip(from).take_while(|byte| byte.is_ascii_alphanumeric()).count()
}

/// Where the key begins whose prefix ends with the `_` at `at`: of all that could be its prefix, the one with which the checksum holds.
fn key_before(bytes: &[u8], at: usize) -> Option<usize> {
    let end = at + 1 + AFTER_PREFIX;
    let first = (at + 1).saturating_sub(KeyPrefix::MAX);
    let starts = (first..at).rev().take_while(|start| bytes.get(*start).is_some_and(|byte| is_word(*byte)));
    let mut starts = starts.filter(|start| bytes.get(*start).is_some_and(u8::is_ascii_alphabetic));
    starts.find(|start| {
        let body = bytes.get(*start..end - CHECKSUM_LENGTH).and_then(|body| str::from_utf8(body).ok());
        body.is_some_and(|body| Some(checksum(body).as_bytes()) == bytes.get(end - CHECKSUM_LENGTH..end))
    })
}

/// Where the prefix begins that ends with the `_` at `at`.
fn word_before(bytes: &[u8], at: usize) -> usize {
    let first = (at + 1).saturating_sub(KeyPrefix::MAX);
    (first..at).rev().take_while(|start| bytes.get(*start).is_some_and(|byte| is_word(*byte))).last().unwrap_or(at)
}

/// Whether one of [`MARKS`] stands before the `_` at `at`.
fn is_marked(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    MARKS.iter().any(|mark| before.len() >= mark.len() && before.get(before.len() - mark.len()..).is_some_and(|end| end.eq_ignore_ascii_case(mark)))
}

/// Whether letters and digits follow one another, as in no word.
fn is_random(bytes: &[u8], from: usize) -> bool {
    let text = bytes.get(from..from + AFTER_PREFIX).unwrap_or_default();
    text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic)
}

/// Where the token ends that begins at `start`: three parts of base64url with points between them, of which the first two begin as JSON objects do.
fn token_end(bytes: &[u8], start: usize) -> Option<usize> {
    let part = |from: usize| bytes.iter().skip(from).take_while(|byte| is_word(**byte) || **byte == b'-').count();
    let mut at = start;
    for number in 0..3 {
        let length = part(at);
        if length < SHORTEST_PART || number == 1 && !bytes.get(at..).is_some_and(|rest| rest.starts_with(b"eyJ")) {
            return None;
        }
        at += length;
        if number < 2 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::RawApiKey;
    use crate::domain::random::Random;
    use proptest::prelude::*;
    use serde_json::json;

    struct Bytes([u8; 32]);

    impl Random for Bytes {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0);
        }
    }

    const BYTES: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";

    fn key(prefix: &str) -> String {
        RawApiKey::generate(&KeyPrefix::parse(prefix).unwrap(), &Bytes(BYTES)).expose().to_owned()
    }

    fn token() -> String {
        format!("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.{}", "a-Z_9".repeat(17))
    }

    #[test]
    fn keys_are_taken_out_of_texts() {
        let raw = key("hp_live_");
        assert_eq!(masked(&format!("/a/{raw}/b?é={raw}")), "/a/(API key)/b?é=(API key)");
        assert_eq!(masked(&raw), "(API key)");
        for text in
            ["", "curl/8", "hp_live_", "a b  c", "äöü/ß", &"x".repeat(500), &format!("sha256_{}", "0123456789abcdef".repeat(4)), &"a_".repeat(300)]
        {
            assert_eq!(masked(text), *text);
            assert!(!holds_secret(text));
        }
    }

    #[test]
    fn keys_are_found_in_every_form() {
        let raw = key("hp_live_");
        for (text, clean) in [
            (key("a_"), "(API key)"),
            (key("an_other_prefix_1_"), "(API key)"),
            (key("hp_invite_"), "(API key)"),
            (key("hp_session_"), "(API key)"),
            (format!("x{raw}y"), "x(API key)y"),
            (format!("see {raw}{raw}."), "see (API key)(API key)."),
            (format!("https://{raw}.example.com/{raw}"), "https://(API key).example.com/(API key)"),
            (raw.to_lowercase(), "(API key)"),
            (raw.to_uppercase(), "(API key)"),
            (key("acme_").to_lowercase(), "(API key)"),
            (raw[..raw.len() - 3].to_owned(), "(API key)"),
            (format!("vf_live_{}", "0123456789ab".repeat(4)), "(API key)"),
            (format!("VF_LIVE_{}", "0123456789AB".repeat(4)), "(API key)"),
            (format!("Bearer {}, {raw}", token()), "Bearer (token), (API key)"),
            (raw.replace('_', "%5f"), ALL),
            (raw.replace('_', "%255F"), ALL),
            (raw.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}")), ALL),
            (format!("a {}\n {} b", &raw[..20], &raw[20..]), ALL),
            (format!("{}\u{200b}{}", &raw[..30], &raw[30..]), ALL),
            (format!("'{}' '{}'", &raw[..30], &raw[30..]), ALL),
        ] {
            assert_eq!(masked(&text), clean, "{text}");
            assert!(holds_secret(&text), "{text}");
            assert!(!holds_secret(&masked(&text)), "{text}");
            assert_eq!(refuse_secrets(&text).map_err(|why| why.0.contains(&text)), Err(false));
        }
    }

    #[test]
    fn json_stays_json_without_its_keys() {
        let raw = key("hp_live_");
        let value = json!({ "a": [raw, 1, null], &raw: { "b": format!("\"{}\n{}", &raw[..9], &raw[9..]), "c": "d" } });
        assert!(value_holds_secret(&value));
        let clean: Value = serde_json::from_str(&masked_json(&value)).unwrap();
        assert_eq!(clean, json!({ "a": ["(API key)", 1, null], "(API key)": { "b": ALL, "c": "d" } }));
        assert!(!value_holds_secret(&clean));
        assert_eq!(masked_json(&json!({ "a": "b" })), r#"{"a":"b"}"#);
    }

    proptest! {
        #[test]
        fn no_key_stays_in_any_text(bytes in any::<[u8; 32]>(), before in "[ -~éß\u{200b}]{0,40}", after in "[ -~éß\u{200b}]{0,40}", prefix in "[a-zA-Z][a-z0-9_]{0,18}_") {
            let raw = RawApiKey::generate(&KeyPrefix::parse(&prefix).unwrap(), &Bytes(bytes));
            let clean = masked(&format!("{before}{}{after}", raw.expose())).into_owned();
            prop_assert!(!clean.contains(&raw.expose()[prefix.len()..prefix.len() + SECRET_LENGTH]), "{clean}");
            prop_assert!(!holds_secret(&clean), "{clean}");
        }

        #[test]
        fn any_text_can_be_looked_through(text in "\\PC*", json in "[eyJ._%a-zA-Z0-9-]{0,300}") {
            let _masked = (masked(&text).len(), masked(&json).len());
        }
    }
}
