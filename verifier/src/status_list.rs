//! Token Status Lists (draft-ietf-oauth-status-list): a signed array of small numbers, one for each token.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use serde_json::{Map, Value};

use crate::error::VerifyError;
use crate::jws;
use crate::key::{Key, KeySet};

/// `typ` of a status list (section 5.1 of the draft).
const TYPE: &str = "statuslist+jwt";
/// How often a list that gives no `ttl` is asked for.
const DEFAULT_TTL: Duration = Duration::from_mins(1);
/// More often than this, no list is asked for.
const MIN_TTL: Duration = Duration::from_secs(1);

/// Why a text is not a status list that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    #[error("{0}")]
    Token(VerifyError),
    #[error("not a status list: {0}")]
    Content(&'static str),
}

/// A status list whose signature holds.
pub(crate) struct StatusList {
    key: Arc<Key>,
    jwt: String,
    bits: u8,
    statuses: Vec<u8>,
    iat: i64,
    exp: i64,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "a list of a snapshot is never asked for again"))]
    ttl: Duration,
    /// When its time is over by the monotonic clock; not of a list in a snapshot, which may come from another machine.
    deadline: Option<Instant>,
}

impl fmt::Debug for StatusList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StatusList").field("places", &self.len()).field("iat", &self.iat).field("exp", &self.exp).finish_non_exhaustive()
    }
}

impl StatusList {
    /// Reads the list of that address; `max_size` bounds what is inflated, in bytes.
    ///
    /// `sub` has to be the address, and `aud` too. An older Hourpass names no `aud`, but itself as `iss`, and other issuers name neither: a list
    /// without an `aud` is taken, because its type, its signature and its `sub` say all that is needed, and an `iss` is compared if there is one.
    pub(crate) fn verify(jwt: String, uri: &str, issuer: &str, keys: &KeySet, max_size: usize) -> Result<Self, ListError> {
        let signed = jws::verify(&jwt, keys, TYPE).map_err(ListError::Token)?;
        let claims = jws::object(&signed.payload).map_err(ListError::Token)?;
        if claims.get("sub").is_none_or(|sub| sub != uri) {
            return Err(ListError::Content("sub is not its address"));
        }
        if claims.get("aud").is_some_and(|aud| aud != uri) {
            return Err(ListError::Content("for another audience"));
        }
        if claims.get("iss").is_some_and(|iss| iss != issuer) {
            return Err(ListError::Content("of another issuer"));
        }
        let time = |name: &str| claims.get(name).and_then(Value::as_i64).filter(|time| *time >= 0);
        let iat = time("iat").ok_or(ListError::Content("iat"))?;
        // The draft leaves `exp` out for lists without an end; here it is what bounds how long a revocation can be held back.
        let exp = time("exp").ok_or(ListError::Content("exp"))?;
        let ttl = match claims.get("ttl") {
            None => DEFAULT_TTL,
            Some(ttl) => ttl.as_u64().filter(|ttl| *ttl > 0).map(Duration::from_secs).ok_or(ListError::Content("ttl"))?,
        };
        let (bits, statuses) = statuses(&claims, max_size)?;
        Ok(Self { key: signed.key, jwt, bits, statuses, iat, exp, ttl: ttl.max(MIN_TTL), deadline: None })
    }

    /// The status at that place: `bits` wide, the least significant bit first (section 4.1 of the draft).
    pub(crate) fn status(&self, idx: u64) -> Option<u8> {
        status_at(&self.statuses, self.bits, idx)
    }

    /// How many places it has.
    pub(crate) const fn len(&self) -> usize {
        self.statuses.len() * (8 / self.bits as usize)
    }

    /// The list as it came at `now`: from then on its time also runs by the monotonic clock, so that a clock that is set back makes it live no longer.
    #[cfg(feature = "http")]
    #[expect(clippy::disallowed_methods, reason = "the monotonic clock is not told from outside: it cannot be wrong")]
    pub(crate) fn received(mut self, now: Duration) -> Self {
        self.deadline = Instant::now().checked_add(self.expires_at().saturating_sub(now));
        self
    }

    /// Whether its time is over. Leeway would only make a revocation late, so there is none.
    #[expect(clippy::disallowed_methods, reason = "the monotonic clock is not told from outside: it cannot be wrong")]
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX) >= self.exp || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether it was made in the future, further than clocks differ.
    pub(crate) fn is_early(&self, now: Duration, leeway: Duration) -> bool {
        self.iat > i64::try_from(now.saturating_add(leeway).as_secs()).unwrap_or(i64::MAX)
    }

    /// Whether it was made before the other: a copy that was held back must not undo a revocation. Of two of one second, the one that knows of fewer is the older.
    #[cfg(feature = "http")]
    pub(crate) fn is_older_than(&self, other: &Self) -> bool {
        let knows_less = || {
            let lost = |(ours, theirs): (&u8, &u8)| theirs & !ours != 0;
            self.bits != other.bits || self.statuses.iter().zip(&other.statuses).any(lost)
        };
        self.iat < other.iat || (self.iat == other.iat && knows_less())
    }

    pub(crate) const fn key(&self) -> &Arc<Key> {
        &self.key
    }

    #[cfg(feature = "http")]
    pub(crate) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Since the Unix epoch.
    #[cfg(feature = "http")]
    pub(crate) fn expires_at(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.exp).unwrap_or_default())
    }

    pub(crate) fn jwt(&self) -> &str {
        &self.jwt
    }
}

fn statuses(claims: &Map<String, Value>, max_size: usize) -> Result<(u8, Vec<u8>), ListError> {
    let list = claims.get("status_list").ok_or(ListError::Content("status_list"))?;
    let bits = list.get("bits").and_then(Value::as_u64).and_then(|bits| u8::try_from(bits).ok());
    let bits = bits.filter(|bits| [1, 2, 4, 8].contains(bits)).ok_or(ListError::Content("bits"))?;
    let text = list.get("lst").and_then(Value::as_str).ok_or(ListError::Content("lst"))?;
    let compressed = URL_SAFE_NO_PAD.decode(text).map_err(|_| ListError::Content("lst"))?;
    Ok((bits, inflate(&compressed, max_size).ok_or(ListError::Content("lst does not inflate, or is too large"))?))
}

/// Inflates ZLIB (RFC 1950), to no more than `max_size` bytes.
pub(crate) fn inflate(compressed: &[u8], max_size: usize) -> Option<Vec<u8>> {
    let limit = u64::try_from(max_size).ok()?;
    let mut decoder = ZlibDecoder::new(compressed);
    let mut inflated = Vec::new();
    decoder.by_ref().take(limit.saturating_add(1)).read_to_end(&mut inflated).ok()?;
    (inflated.len() <= max_size && usize::try_from(decoder.total_in()).ok()? == compressed.len()).then_some(inflated)
}

pub(crate) fn status_at(statuses: &[u8], bits: u8, idx: u64) -> Option<u8> {
    let (bits, idx) = (u64::from(bits), usize::try_from(idx).ok()?);
    let per_byte = usize::try_from(8 / bits).ok()?;
    let shift = u64::try_from(idx % per_byte).ok()? * bits;
    let byte = u16::from(*statuses.get(idx / per_byte)?);
    u8::try_from((byte >> shift) & ((1 << bits) - 1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflated(lst: &str) -> Vec<u8> {
        inflate(&URL_SAFE_NO_PAD.decode(lst).unwrap(), 100).unwrap()
    }

    fn all(statuses: &[u8], bits: u8) -> Vec<u8> {
        (0..).map_while(|idx| status_at(statuses, bits, idx)).collect()
    }

    /// The examples of section 4.1 of the draft.
    #[test]
    fn reads_the_examples_of_the_draft() {
        let one = inflated("eNrbuRgAAhcBXQ");
        assert_eq!(one, [0xb9, 0xa3]);
        assert_eq!(all(&one, 1), [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
        let two = inflated("eNo76fITAAPfAgc");
        assert_eq!(two, [0xc9, 0x44, 0xf9]);
        assert_eq!(all(&two, 2), [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
    }

    #[test]
    fn wider_statuses() {
        assert_eq!(all(&[0x21, 0xf0], 4), [1, 2, 0, 15]);
        assert_eq!(all(&[0x21, 0xff], 8), [0x21, 255]);
        assert_eq!(status_at(&[0xff], 1, 8), None);
        assert_eq!(status_at(&[0xff], 1, u64::MAX), None);
    }

    #[test]
    fn inflates_no_more_than_allowed() {
        let exact = inflated("eNrbuRgAAhcBXQ").len();
        let compressed = URL_SAFE_NO_PAD.decode("eNrbuRgAAhcBXQ").unwrap();
        assert!(inflate(&compressed, exact).is_some());
        assert!(inflate(&compressed, exact - 1).is_none());
        assert!(inflate(&compressed[..compressed.len() - 1], 100).is_none(), "cut off");
        assert!(inflate(&[compressed, vec![0]].concat(), 100).is_none(), "more behind it");
    }
}
