//! Texts that people choose, checked once where they come in: names, slugs, descriptions, addresses.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;
use uuid::Uuid;
use zxcvbn::{Score, zxcvbn};

use super::api_key::without_keys;

/// Why a value cannot be taken: a sentence for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A text that was checked before it was stored.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )+};
}

texts! {
    /// The name of an account, a key or another thing that people name.
    Name
    /// A short name for use in URLs.
    Slug
    /// A person's email address, in lower case: how they sign in.
    Email
    /// The URI that names the receiver of a token: its `aud` claim (RFC 7519, section 4.1.3).
    Audience
    /// The address of a workspace: scheme, host and, where it is not the scheme's own, port.
    WorkspaceUrl
}

impl Name {
    /// The greatest length, in characters.
    pub const MAX: usize = 100;

    /// 1 to [`Name::MAX`] characters, none of them a control character or invisible. White space at the ends is dropped. A text in the form of a UUID is refused, for
    /// paths take such a text as an id.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return invalid("must not be empty");
        }
        if length > Self::MAX {
            return invalid(format!("must have at most {} characters, and has {length}", Self::MAX));
        }
        if text.chars().any(char::is_control) {
            return invalid("must not hold control characters such as line breaks");
        }
        if text.chars().any(is_invisible) {
            return invalid("must not hold invisible characters, nor such as change the direction of the text");
        }
        if Uuid::parse_str(text).is_ok() {
            return invalid("must not look like a UUID, because paths take a UUID as an id");
        }
        refuse_keys(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// Whether a character is not seen, but makes a name look like another: zero width, direction, byte order mark, tags (Unicode, general category Cf).
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Names and descriptions are for everyone to see.
fn refuse_keys(text: &str) -> Result<(), Invalid> {
    if without_keys(text) == text { Ok(()) } else { invalid("holds an API key, which does not belong there; take it for leaked, and rotate it") }
}

impl Slug {
    /// The greatest length, in characters.
    pub const MAX: usize = 63;

    /// 1 to [`Slug::MAX`] characters `a-z`, `0-9` and `-`, the first and last no `-`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > Self::MAX || !text.chars().all(legal) || text.starts_with('-') || text.ends_with('-') {
            return invalid(format!("must be 1 to {} characters a-z, 0-9 and -, and neither begin nor end with -", Self::MAX));
        }
        if Uuid::parse_str(text).is_ok() {
            return invalid("must not look like a UUID, because paths take a UUID as an id");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Email {
    /// The greatest length, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
    pub const MAX: usize = 254;

    /// Something on both sides of one `@`, no white space. Only receiving a message proves an address, so nothing more is asked of it. Kept in lower case,
    /// so that an address is one person's however it is typed.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let sound = text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
        if !sound || text.len() > Self::MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return invalid("must be an email address, such as ada@example.com");
        }
        refuse_keys(text)?;
        Ok(Self(text.to_lowercase()))
    }
}

impl Audience {
    /// The greatest length, in bytes.
    pub const MAX: usize = 500;

    /// An absolute URI without a fragment, as RFC 8707 (section 2) has it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX {
            return invalid(format!("must have at most {} bytes, and has {}", Self::MAX, text.len()));
        }
        // Kept to the letter, not as the parser would write it: validators compare audiences byte by byte.
        match Url::parse(text) {
            Ok(url) if url.fragment().is_none() && !text.chars().any(|c| c.is_whitespace() || c.is_control()) => Ok(Self(text.to_owned())),
            _ => invalid("must be an absolute URI without a fragment, such as https://workspace.example.com"),
        }
    }
}

impl WorkspaceUrl {
    /// `http` or `https`, a host and perhaps a port; nothing after them but one `/`, which is dropped.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_origin(text).map(Self)
    }

    /// Host and port as a browser or `curl` writes them in the `Host` header for this URL (RFC 9110, section 7.2).
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.split_once("://").map_or(&self.0, |(_, host)| host)
    }
}

/// The origin (RFC 6454) that `text` names: `http` or `https`, host, and the port where it is not the scheme's own.
///
/// # Errors
/// A sentence that says what is wrong with it, where `text` holds more than an origin or something else.
pub fn parse_origin(text: &str) -> Result<String, Invalid> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            let origin = url.origin().ascii_serialization();
            let bare =
                url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            if bare { Ok(origin) } else { invalid(format!("must end after the host and port: {origin}")) }
        }
        _ => invalid("must be an http or https URL, such as https://workspace.example.com"),
    }
}

/// Free text about a thing: at most 1,000 characters.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_description(text: &str) -> Result<String, Invalid> {
    const MAX: usize = 1_000;
    let length = text.chars().count();
    if length > MAX {
        return invalid(format!("must have at most {MAX} characters, and has {length}"));
    }
    if text.contains('\0') {
        // PostgreSQL cannot store it.
        return invalid("must not hold the character NUL");
    }
    refuse_keys(text)?;
    Ok(text.trim().to_owned())
}

/// A new password: 12 to 1,000 characters, none of those that are tried first ([`is_common`]), and no other rule (NIST SP 800-63B, section 3.1.1.2). This looks
/// at its length only.
///
/// # Errors
/// A sentence that says what is wrong with it, without the password.
pub fn check_password(password: &SecretString) -> Result<(), Invalid> {
    let password = password.expose_secret();
    match password.chars().count() {
        0..12 => invalid("must have at least 12 characters"),
        // A form cannot hold it, so that nobody could sign in.
        12..=1_000 if password.contains('\0') => invalid("must not hold the character NUL"),
        12..=1_000 => Ok(()),
        _ => invalid("must have at most 1,000 characters"),
    }
}

/// Whether a password is among the first million that are tried: in the lists of passwords, names and words, or something like them. It takes a while.
#[must_use]
pub fn is_common(password: &SecretString) -> bool {
    zxcvbn(password.expose_secret(), &[]).score() < Score::Two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(Name::parse("  ci deployer ").map(|name| name.to_string()), Ok("ci deployer".to_owned()));
        for bad in ["", "   ", "a\nb", "\0", &"x".repeat(101), "01890a5d-ac96-774b-bcce-b302099a8057", "boot\u{200b}strap", "admin\u{202e}gnp.exe"] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Name::parse(&"é".repeat(100)).is_ok());
    }

    #[test]
    fn slugs_are_for_urls() {
        assert!(Slug::parse("team-7").is_ok());
        for bad in ["", "-a", "a-", "A", "a_b", "a b", "ä", &"x".repeat(64)] {
            assert!(Slug::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn emails_are_one_person_however_typed() {
        assert_eq!(Email::parse(" Ada@Example.COM "), Email::parse("ada@example.com"));
        for bad in ["", "ada", "@example.com", "ada@", "a@b@c", "a da@example.com"] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_are_long_and_not_everybody_s() {
        for good in ["correct horse battery staple", "Tr0ub4dor&3 and more", "пароль-пароль-7", "correct horse battery"] {
            assert!(check_password(&SecretString::from(good)).is_ok() && !is_common(&SecretString::from(good)), "{good}");
        }
        for common in
            ["justinbieber", "qwerasdfzxcv", "Unbelievable", "123456789012", "aaaaaaaaaaaa", "passwordpassword", "123123123123", "changeme1234"]
        {
            assert!(is_common(&SecretString::from(common)), "{common}");
        }
        for bad in ["short", "elevenchars", "nul\0 in the middle", &"x".repeat(1_001)] {
            assert!(check_password(&SecretString::from(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn audiences_are_kept_to_the_letter() {
        assert_eq!(Audience::parse("HTTPS://Example.com").map(|audience| audience.to_string()), Ok("HTTPS://Example.com".to_owned()));
        assert!(Audience::parse("urn:hourpass:default:default").is_ok());
        for bad in ["", "workspace", "https://a#b", "https://a b"] {
            assert!(Audience::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn workspace_urls_are_origins() {
        assert_eq!(WorkspaceUrl::parse("https://A.example.com:443/").map(|url| url.host().to_owned()), Ok("a.example.com".to_owned()));
        assert_eq!(WorkspaceUrl::parse("http://localhost:81").map(|url| url.host().to_owned()), Ok("localhost:81".to_owned()));
        for bad in ["", "ftp://a", "https://a/b", "https://a?b", "https://u:p@a", "mailto:a@b"] {
            assert!(WorkspaceUrl::parse(bad).is_err(), "{bad:?}");
        }
    }
}
