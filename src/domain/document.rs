//! What Hourpass signs beside access tokens: the kinds of documents and their addresses.
//!
//! Many receivers look at no `typ`, and at `iss` or `aud` only where they are present. So a document names no issuer, and the only audience that it
//! names is its own address, which no receiver may have.

use std::fmt;

/// A kind of signed document. A new kind is added here, and so gets the rules that hold for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A Token Status List (draft-ietf-oauth-status-list-21, section 5.1).
    StatusList,
}

impl DocumentKind {
    /// Every one of them.
    pub const ALL: [Self; 1] = [Self::StatusList];

    /// The media type in `typ`, without `application/` (RFC 8725, section 3.11).
    #[must_use]
    pub const fn typ(self) -> &'static str {
        match self {
            Self::StatusList => "statuslist+jwt",
        }
    }

    /// The path below the issuer at which documents of this kind are served.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::StatusList => "/status-lists",
        }
    }
}

/// The address at which a signed document is served: always below the issuer, so that it is nobody's audience (see [`is_own_address`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentAddress {
    kind: DocumentKind,
    uri: String,
}

impl DocumentAddress {
    /// The address of the document `name` of that kind. `issuer` is the public URL of this Hourpass.
    #[must_use]
    pub fn new(issuer: &str, kind: DocumentKind, name: &dyn fmt::Display) -> Self {
        Self { kind, uri: format!("{issuer}{}/{name}", kind.folder()) }
    }

    /// The kind of the document.
    #[must_use]
    pub const fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The address as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }
}

/// Whether an address is the issuer's own, or below it: no workspace may have it as its audience, for what Hourpass signs for itself has such an audience.
#[must_use]
pub fn is_own_address(issuer: &str, address: &str) -> bool {
    let (issuer, address) = (issuer.trim_end_matches('/').to_ascii_lowercase(), address.to_ascii_lowercase());
    address.strip_prefix(&issuer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_address_is_the_issuers_own() {
        for kind in DocumentKind::ALL {
            let address = DocumentAddress::new("https://id.example.com", kind, &7);
            assert!(is_own_address("https://id.example.com", address.as_str()), "{kind:?}");
            assert_ne!(address.as_str(), "https://id.example.com");
        }
    }

    #[test]
    fn own_address_similar_host_is_another() {
        for own in ["https://id.example.com", "https://ID.example.com/", "https://id.example.com/a", "https://id.example.com?a"] {
            assert!(is_own_address("https://id.example.com", own), "{own}");
        }
        for other in ["https://id.example.com.evil.example", "https://id.example.com:8443", "http://id.example.com", "urn:id", ""] {
            assert!(!is_own_address("https://id.example.com", other), "{other}");
        }
    }
}
