//! What a verifier is told when it is made.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a verifier reads the time.
pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What becomes of tokens whose status list is past its `exp`, because the issuer cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleLists {
    /// They are refused with 503: no revocation goes unnoticed for longer than a list lives.
    #[default]
    Refuse,
    /// They are judged by the old list, and counted in [`Stats::stale_allowed`](crate::Stats::stale_allowed). For receivers that had rather
    /// miss a revocation than stand still.
    Allow,
}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) issuer: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) token_type: String,
    pub(crate) leeway: Duration,
    pub(crate) max_token_size: usize,
    pub(crate) cache_entries: u64,
    pub(crate) stale_lists: StaleLists,
    pub(crate) allow_without_status: bool,
    pub(crate) max_lists: usize,
    pub(crate) max_list_size: usize,
    pub(crate) refresh_interval: Duration,
    pub(crate) provoked_refresh_interval: Duration,
    pub(crate) max_key_age: Duration,
    pub(crate) clock: Clock,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("issuer", &self.issuer).field("audiences", &self.audiences).finish_non_exhaustive()
    }
}

impl Options {
    pub(crate) fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audiences: Vec::new(),
            token_type: "at+jwt".to_owned(),
            leeway: Duration::from_secs(5),
            max_token_size: 8 * 1024,
            cache_entries: 10_000,
            stale_lists: StaleLists::default(),
            allow_without_status: false,
            max_lists: 256,
            max_list_size: 16 * 1024 * 1024,
            refresh_interval: Duration::from_mins(5),
            provoked_refresh_interval: Duration::from_secs(10),
            max_key_age: Duration::from_hours(24),
            clock: Arc::new(system_time),
        }
    }

    /// Since the Unix epoch.
    pub(crate) fn now(&self) -> Duration {
        (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Whether that address is one of the issuer's lists. It came with a token, so it may lead nowhere else: no other host, no other path, no way up.
    pub(crate) fn is_list_uri(&self, uri: &str) -> bool {
        let id = uri.strip_prefix(self.base()).and_then(|path| path.strip_prefix("/status-lists/"));
        id.is_some_and(|id| {
            (1..=128).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._~".contains(&it))
        })
    }

    /// What the issuer's addresses begin with.
    pub(crate) fn base(&self) -> &str {
        self.issuer.trim_end_matches('/')
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where a verifier gets its time; everything else takes it from the options")]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_issuers_lists() {
        let options = Options::new("https://id.example.com");
        for uri in ["https://id.example.com/status-lists/1", "https://id.example.com/status-lists/0199-ab_c.d~e"] {
            assert!(options.is_list_uri(uri), "{uri}");
        }
        for uri in [
            "https://id.example.com/status-lists/",
            "https://id.example.com/status-lists/..",
            "https://id.example.com/status-lists/../admin",
            "https://id.example.com/status-lists/a/b",
            "https://id.example.com/status-lists/%2e%2e",
            "https://id.example.com/status-lists/1?x=1",
            "https://id.example.com/status-lists/1#x",
            "https://id.example.com/status-lists/a\\b",
            "http://id.example.com/status-lists/1",
            "https://id.example.com:8443/status-lists/1",
            "https://id.example.com.evil.example/status-lists/1",
            "https://id.example.com@evil.example/status-lists/1",
            "https://evil.example/status-lists/1",
            "HTTPS://id.example.com/status-lists/1",
            "file:///status-lists/1",
            "",
        ] {
            assert!(!options.is_list_uri(uri), "{uri}");
        }
    }
}
