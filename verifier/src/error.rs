//! Why a token is refused, and how that is answered over HTTP (RFC 6750, section 3).

use std::time::Duration;

/// The `realm` of every challenge.
const REALM: &str = "hourpass";

/// Why a token is refused. No variant carries any text of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no `Authorization` header with the scheme Bearer.
    #[error("send an access token as Authorization: Bearer")]
    MissingToken,
    /// There are two credentials, or the header does not read as RFC 6750 has it.
    #[error("the Authorization header is not one Bearer credential")]
    InvalidRequest,
    /// Not three parts of base64url without padding, with JSON objects in the first two.
    #[error("not a token of this form")]
    Malformed,
    /// Longer than what is looked at.
    #[error("longer than any token of ours")]
    TooLong,
    /// A member of a JSON object is there twice, so that readers could differ on its meaning.
    #[error("a member of the token is there twice")]
    DuplicateMember,
    /// `typ` is not that of an access token (RFC 9068, section 2.1).
    #[error("not an access token")]
    WrongType,
    /// The header asks for an extension, or brings or names its own key.
    #[error("the header has parameters that are not accepted")]
    UnsupportedHeader,
    /// `alg` is not the algorithm of the key that `kid` names.
    #[error("not the algorithm of that key")]
    WrongAlgorithm,
    /// The issuer publishes no key of this `kid`.
    #[error("not a key of the issuer")]
    UnknownKey,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    BadSignature,
    /// From another issuer.
    #[error("not of this issuer")]
    WrongIssuer,
    /// For another receiver.
    #[error("the token is for another audience; exchange the API key for this one")]
    WrongAudience,
    /// Its time is over.
    #[error("the token has expired; exchange the API key for a new one")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet; the clocks of this service and the issuer differ")]
    NotYetValid,
    /// A claim is missing, or not of its type.
    #[error("the claim {0} is missing or not of its type")]
    InvalidClaim(&'static str),
    /// It cannot be revoked, and such are not taken.
    #[error("the token names no status list")]
    NoStatus,
    /// It names a status list that is not the issuer's.
    #[error("the status list is not the issuer's")]
    ForeignStatusList,
    /// Its place is not in the status list.
    #[error("not in the status list")]
    StatusOutOfRange,
    /// Revoked.
    #[error("the token was revoked, with its API key, account or sign-in; get a new one where they still count")]
    Revoked,
    /// Suspended.
    #[error("suspended")]
    Suspended,
    /// Of a status that has no meaning here.
    #[error("not valid by its status")]
    UnknownStatus(u8),
    /// An API key that the issuer refuses.
    #[error("the API key is unknown to the issuer, deactivated or expired, or has no access here")]
    InvalidApiKey,
    /// An API key that the issuer knows, and gives no token for this audience.
    #[error("the issuer gives no token for this audience; ask an administrator of the organization for a role there")]
    AccessDenied,
    /// The token is good, but does not reach this far.
    #[error("the permission {scope} is missing; ask an administrator of the organization for it")]
    InsufficientScope {
        /// What is missing.
        scope: String,
    },
    /// The status list cannot be had, or the one held is past its `exp`.
    #[error("the status of the token cannot be told at present")]
    StatusUnavailable {
        /// After how long it is worth asking again.
        retry_after: Duration,
    },
    /// The issuer's keys cannot be had, or the ones held are too old.
    #[error("the issuer's keys cannot be had at present")]
    KeysUnavailable {
        /// After how long it is worth asking again.
        retry_after: Duration,
    },
    /// The issuer cannot exchange an API key now.
    #[error("API keys cannot be exchanged at present")]
    ExchangeUnavailable {
        /// After how long it is worth asking again.
        retry_after: Duration,
    },
}

impl VerifyError {
    /// A stable word for logs, metrics and clients.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidRequest => "invalid_request",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::DuplicateMember => "duplicate_member",
            Self::WrongType => "wrong_type",
            Self::UnsupportedHeader => "unsupported_header",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::InvalidClaim(_) => "invalid_claim",
            Self::NoStatus => "no_status",
            Self::ForeignStatusList => "foreign_status_list",
            Self::StatusOutOfRange => "status_out_of_range",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::UnknownStatus(_) => "unknown_status",
            Self::InvalidApiKey => "invalid_api_key",
            Self::AccessDenied => "access_denied",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::StatusUnavailable { .. } => "status_unavailable",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::ExchangeUnavailable { .. } => "exchange_unavailable",
        }
    }

    /// The status code of the answer (RFC 6750, section 3.1). What is no fault of the token is 503, never 401.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::AccessDenied | Self::InsufficientScope { .. } => 403,
            Self::StatusUnavailable { .. } | Self::KeysUnavailable { .. } | Self::ExchangeUnavailable { .. } => 503,
            _ => 401,
        }
    }

    /// The error code of the challenge (RFC 6750, section 3.1); none where no token was presented, and where it is no fault of the token.
    #[must_use]
    pub const fn oauth_error(&self) -> Option<&'static str> {
        match (self, self.status()) {
            (Self::MissingToken, _) | (_, 503) => None,
            (_, 400) => Some("invalid_request"),
            (_, 403) => Some("insufficient_scope"),
            _ => Some("invalid_token"),
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3); none where the answer is 503.
    #[must_use]
    pub fn www_authenticate(&self) -> Option<String> {
        if self.status() == 503 {
            return None;
        }
        // The characters that RFC 6750 allows within the quotes.
        let quoted = |text: &str| text.chars().filter(|it| matches!(it, ' '..='~') && !matches!(it, '"' | '\\')).collect::<String>();
        let scope = match self {
            Self::InsufficientScope { scope } => format!(", scope=\"{}\"", quoted(scope)),
            _ => String::new(),
        };
        Some(match self.oauth_error() {
            None => format!("Bearer realm=\"{REALM}\""),
            Some(error) => format!("Bearer realm=\"{REALM}\", error=\"{error}\", error_description=\"{}\"{scope}", quoted(&self.to_string())),
        })
    }

    /// After how long asking again can help: the value of `Retry-After` (RFC 9110, section 10.2.3), in whole seconds on the wire.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StatusUnavailable { retry_after } | Self::KeysUnavailable { retry_after } | Self::ExchangeUnavailable { retry_after } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }

    /// The body of the answer: a problem (RFC 9457) with our `code` and, where there is one, OAuth's `error`.
    #[must_use]
    pub fn problem(&self) -> String {
        let title = match self.status() {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            _ => "Service Unavailable",
        };
        let mut body = serde_json::json!({
            "type": "about:blank", "title": title, "status": self.status(), "detail": self.to_string(), "code": self.code(),
        });
        if let (Some(error), Some(members)) = (self.oauth_error(), body.as_object_mut()) {
            members.insert("error".to_owned(), error.into());
        }
        body.to_string()
    }

    /// The headers of the answer, beside its `Content-Type`.
    #[cfg(any(feature = "actix", feature = "tower"))]
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let seconds = self.retry_after().map(|after| after.as_secs().max(1).to_string());
        let challenge = self.www_authenticate().map(|challenge| ("www-authenticate", challenge));
        challenge.into_iter().chain(seconds.map(|seconds| ("retry-after", seconds))).chain([("cache-control", "no-store".to_owned())])
    }
}

/// Why no verifier could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An option is missing or out of its range.
    #[error("{0}")]
    Options(&'static str),
    /// The metadata is of another issuer (RFC 8414, section 3.3).
    #[error("the metadata is not that of this issuer")]
    WrongIssuer,
    /// What the issuer answered is not what it should be.
    #[error("{0}")]
    Answer(&'static str),
    /// The issuer cannot be reached, or does not answer in time or in the size allowed.
    #[cfg(feature = "http")]
    #[error("{what} cannot be fetched: {source}")]
    Fetch {
        /// What was asked for.
        what: &'static str,
        /// Why it did not come.
        source: crate::fetch::FetchError,
    },
}
