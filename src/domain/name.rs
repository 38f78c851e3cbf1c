//! Texts that people choose, checked once where they come in: names, slugs, descriptions, addresses.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;
use uuid::Uuid;
use zxcvbn::{Score, zxcvbn};

use super::secret_filter::refuse_secrets;

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
        check_visible(text, Lines::One)?;
        if Uuid::parse_str(text).is_ok() {
            return invalid("must not look like a UUID, because paths take a UUID as an id");
        }
        refuse_secrets(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// How many lines a text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// One: no line break, no tab, and no space but the usual one.
    One,
    /// Any number.
    Many,
}

/// Refuses characters that nobody sees, or that make a text look like another: every text that people choose is looked at here.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check_visible(text: &str, lines: Lines) -> Result<(), Invalid> {
    let many = lines == Lines::Many;
    if text.chars().any(|c| c.is_control() && !(many && matches!(c, '\n' | '\r' | '\t'))) {
        return invalid("must not hold control characters such as line breaks");
    }
    let mut before = None;
    for character in text.chars() {
        // An emoji may be followed by the character that asks for its picture in colour.
        let of_an_emoji = character == '\u{fe0f}' && before.is_some_and(|it: char| !it.is_ascii() && !it.is_alphanumeric() && !is_invisible(it));
        if is_invisible(character) && !of_an_emoji {
            return invalid("must not hold invisible characters, nor such as change the direction of the text");
        }
        if !many && character.is_whitespace() && character != ' ' {
            return invalid("must not hold white space other than the usual space");
        }
        before = Some(character);
    }
    Ok(())
}

/// Whether a character is not seen, but makes a text another: Unicode's `Default_Ignorable_Code_Point`, general category Cf, the separators of lines and paragraphs, and what
/// is drawn as nothing.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
        check_visible(text, Lines::One)?;
        refuse_secrets(text)?;
        Ok(Self(text.to_lowercase()))
    }
}

impl Audience {
    /// The greatest length, in bytes.
    pub const MAX: usize = 500;

    /// An absolute URI without a fragment, as RFC 8707 (section 2) has it, in normal form (RFC 3986, section 6.2): validators compare audiences byte by byte and people look
    /// at them, so that no two may look alike. A text in another form is refused, and not rewritten: whoever sends it compares with what was sent.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX {
            return invalid(format!("must have at most {} bytes, and has {}", Self::MAX, text.len()));
        }
        refuse_secrets(text)?;
        check_uri(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// Refuses what is no absolute URI without a fragment, and a URI that is not in normal form.
fn check_uri(text: &str) -> Result<(), Invalid> {
    const WRONG: &str = "must be an absolute URI without a fragment, such as https://workspace.example.com";
    if !text.is_ascii() {
        return invalid("must be ASCII, as every URI is: write the host in Punycode (xn--…) and other characters percent-encoded");
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte);
    let Some((scheme, rest)) = text.split_once(':').filter(|(_, rest)| !rest.is_empty() && text.bytes().all(legal)) else { return invalid(WRONG) };
    let parsed = Url::parse(text).map_err(|_| Invalid(WRONG.to_owned()))?;
    if scheme != scheme.to_ascii_lowercase() {
        return invalid(format!("must have its scheme in lower case: {}", scheme.to_ascii_lowercase()));
    }
    check_percent_encoding(text)?;
    if text.ends_with('?') {
        return invalid("must not end with a ?");
    }
    let Some(hierarchical) = rest.strip_prefix("//") else {
        // The namespace of a URN is compared without case (RFC 8141, section 3.1).
        let namespace = rest.split(':').next().unwrap_or_default();
        let lower = scheme != "urn" || !namespace.bytes().any(|byte| byte.is_ascii_uppercase());
        // A scheme that has hosts wants two slashes, and lenient parsers take any number.
        return if lower && !parsed.has_authority() { Ok(()) } else { invalid(format!("must be in normal form: {parsed}")) };
    };
    let end = hierarchical.find(['/', '?']).unwrap_or(hierarchical.len());
    let (authority, path) = hierarchical.split_at(end);
    if authority.is_empty() {
        return invalid("must name a host after //");
    }
    if authority.contains('@') {
        return invalid("must not have a user or password before its host");
    }
    if authority.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'%') {
        return invalid("must have its host in lower case, without percent-encoding");
    }
    let (host, port) = match authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.is_empty() || host.ends_with('.') || host.starts_with('.') || host.contains("..") {
        return invalid("must have a host that neither begins nor ends with a dot");
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |number| number.to_string() != port)) {
        return invalid("must have a port from 0 to 65535 after the colon, without leading zeros, or no colon");
    }
    if let Some(query) = path.strip_prefix('/').filter(|rest| rest.is_empty() || rest.starts_with('?')) {
        return invalid(format!("must not have a slash alone after its host: {scheme}://{authority}{query}"));
    }
    // What is left: default ports, dot segments, and the ways to write an IP address.
    let normal = parsed.as_str();
    if normal == text || normal.strip_suffix('/') == Some(text) || normal.replacen(&format!("{authority}/?"), &format!("{authority}?"), 1) == text {
        Ok(())
    } else {
        invalid(format!("must be in normal form: {}", if parsed.path() == "/" { normal.trim_end_matches('/') } else { normal }))
    }
}

/// Every `%` is followed by two upper-case hexadecimal digits, and encodes what cannot stand for itself (RFC 3986, section 6.2.2).
fn check_percent_encoding(text: &str) -> Result<(), Invalid> {
    for rest in text.split('%').skip(1) {
        let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_lowercase()));
        let Some(encoded) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return invalid("must have two hexadecimal digits, in upper case, after each %");
        };
        if encoded.is_ascii_alphanumeric() || b"-._~".contains(&encoded) {
            return invalid(format!("must not percent-encode the character {}", char::from(encoded)));
        }
    }
    Ok(())
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
    check_visible(text, Lines::One)?;
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            let origin = url.origin().ascii_serialization();
            let bare = !text.contains('@')
                && url.username().is_empty()
                && url.password().is_none()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none();
            if !bare {
                return invalid(format!("must end after the host and port: {origin}"));
            }
            // The same host for resolvers, and another one for everybody who compares.
            if url.host_str().is_none_or(|host| host.ends_with('.') || host.starts_with('.') || host.contains("..")) {
                return invalid("must have a host that neither begins nor ends with a dot");
            }
            Ok(origin)
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
    check_visible(text, Lines::Many)?;
    refuse_secrets(text)?;
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
    fn audience_in_normal_form_is_kept_to_the_letter() {
        for good in [
            "https://example.com",
            "https://example.com:8443",
            "https://example.com/a/",
            "https://example.com/a?b=c",
            "https://example.com?b",
            "https://xn--bcher-kva.example",
            "https://example.com/%C3%A9",
            "https://[2001:db8::1]:8443",
            "https://192.0.2.1",
            "urn:hourpass:default:default",
            "urn:example:A",
            "api://0b2c-11",
            "spiffe://td/ns/a",
            "http://localhost:81",
            "tag:example.com,2026:a",
            "https://example.com/@scope/a:b",
        ] {
            assert_eq!(Audience::parse(good).map(|audience| audience.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn audience_that_looks_like_another_is_refused() {
        let invisible =
            ["\u{200b}", "\u{200d}", "\u{2060}", "\u{feff}", "\u{ad}", "\u{202e}", "\u{34f}", "\u{e0061}", "\u{fe0f}", "\u{3164}", "\u{a0}"];
        let invisible = invisible.map(|it| format!("https://exam{it}ple.com"));
        for bad in invisible.iter().map(String::as_str).chain([
            "",
            "workspace",
            "https:",
            "https://",
            "https:///a",
            "https:example.com",
            "https:/example.com",
            "https://a#b",
            "https://a#",
            "https://a b",
            "https://a\tb",
            " https://a",
            "https://a\n",
            "https://user@a",
            "https://user:password@a",
            "https://@a",
            "https://good.example.com@evil.example",
            "https://ex\u{430}mple.com",
            "https://b\u{fc}cher.example",
            "HTTPS://a",
            "https://A.example",
            "https://a.",
            "https://a./b",
            "https://.a",
            "https://a..b",
            "https://a:443",
            "http://a:80",
            "https://a:",
            "https://a:08443",
            "https://a:99999",
            "https://a/",
            "https://a/?b",
            "api://a/",
            "https://a?",
            "https://a/b?",
            "https://a/b/../c",
            "https://a/./b",
            "https://a/%2e%2e/b",
            "https://a/%7Eb",
            "https://a/%e9",
            "https://a/%",
            "https://a/%4",
            "https://a/%zz",
            "https://a/%41",
            "https://%61",
            "https://a\\b",
            "https://0x7f.1",
            "https://127.1",
            "https://[2001:DB8::1]",
            "https://[2001:0db8::1]",
            "https://a/<b>",
            "https://a/\"b",
            "URN:example:a",
            "urn:Example:a",
            "API://a",
            "api://A",
            "api://u@a",
            "spiffe://td/../a",
            "https://xn--a-\u{301}.example",
        ]) {
            assert!(Audience::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Audience::parse("https://a.example:443/b"), Err(Invalid("must be in normal form: https://a.example/b".to_owned())));
    }

    #[test]
    fn text_with_invisible_characters_is_refused_wherever_people_choose_one() {
        for hidden in [
            "\u{200b}",
            "\u{200d}",
            "\u{2060}",
            "\u{feff}",
            "\u{ad}",
            "\u{202e}",
            "\u{2066}",
            "\u{34f}",
            "\u{e0061}",
            "\u{fe0f}",
            "\u{3164}",
            "\u{2028}",
        ] {
            let text = format!("ci{hidden}x");
            assert!(Name::parse(&text).is_err() && parse_description(&text).is_err(), "{hidden:?}");
            assert!(Email::parse(&format!("{text}@example.com")).is_err(), "{hidden:?}");
            assert!(WorkspaceUrl::parse(&format!("https://{text}.example.com")).is_err(), "{hidden:?}");
            assert!(Slug::parse(&text).is_err());
        }
        assert!(Name::parse("ci\u{a0}deployer").is_err() && Name::parse("\u{2699}\u{fe0f} ci").is_ok());
        assert!(parse_description("two\nlines\tand \u{e9}").is_ok());
    }

    #[test]
    fn workspace_urls_are_origins() {
        assert_eq!(WorkspaceUrl::parse("https://A.example.com:443/").map(|url| url.host().to_owned()), Ok("a.example.com".to_owned()));
        assert_eq!(WorkspaceUrl::parse("http://localhost:81").map(|url| url.host().to_owned()), Ok("localhost:81".to_owned()));
        for bad in ["", "ftp://a", "https://a/b", "https://a?b", "https://u:p@a", "https://@a", "https://a.", "https://a..b", "mailto:a@b"] {
            assert!(WorkspaceUrl::parse(bad).is_err(), "{bad:?}");
        }
    }
}
