//! What an organization writes on its accounts and workspaces: labels to find them by, and claims that go into tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::name::{Invalid, Lines, check_visible};
use super::secret_filter::{REFUSED, refuse_secrets, value_holds_secret};

/// Labels: a name and a value each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

/// The claims that Hourpass itself sets, or that RFC 7519 (section 4.1), RFC 9068 (section 2.2), RFC 9396, and OpenID Connect Core 1.0 (sections 2 and 5.1) give
/// a meaning. None of them is in a namespace, so none could be taken anyway; they are named to say so.
const REGISTERED: [&str; 27] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "auth_time",
    "acr",
    "amr",
    "groups",
    "roles",
    "entitlements",
    "cnf",
    "act",
    "may_act",
    "status",
    "sid",
    "authorization_details",
    "org_id",
    "workspace_id",
    "api_key_id",
    "principal_type",
    "name",
    "narrowed",
];

macro_rules! stored_as_json {
    ($($name:ident)+) => {$(
        impl $name {
            /// As it is stored.
            #[must_use]
            pub fn to_json(&self) -> String {
                // Texts as names and JSON as values: nothing in it cannot be written.
                serde_json::to_string(&self.0).unwrap_or_default()
            }
        }

        impl TryFrom<String> for $name {
            type Error = serde_json::Error;

            /// From how it is stored.
            fn try_from(json: String) -> Result<Self, serde_json::Error> {
                serde_json::from_str(&json).map(Self)
            }
        }
    )+};
}

stored_as_json! { Labels CustomClaims }

impl Labels {
    /// The greatest number of them.
    pub const MAX: usize = 50;
    /// The greatest length of a name, in characters.
    pub const LONGEST_NAME: usize = 63;
    /// The greatest length of a value, in characters.
    pub const LONGEST_VALUE: usize = 200;

    /// At most [`Labels::MAX`]; a name has 1 to [`Labels::LONGEST_NAME`] characters `A-Z`, `a-z`, `0-9`, `.`, `_`, `/` and `-`, a value at most
    /// [`Labels::LONGEST_VALUE`] characters, none of them a control character or invisible.
    ///
    /// # Errors
    /// A sentence that says what is wrong with them.
    pub fn parse(labels: BTreeMap<String, String>) -> Result<Self, Invalid> {
        if labels.len() > Self::MAX {
            return Err(Invalid(format!("must be at most {}", Self::MAX)));
        }
        for (name, value) in &labels {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
            if name.is_empty() || name.len() > Self::LONGEST_NAME || !name.chars().all(legal) {
                return Err(Invalid(format!("has a name that is not 1 to {} characters A-Z, a-z, 0-9, ., _, / and -", Self::LONGEST_NAME)));
            }
            if value.chars().count() > Self::LONGEST_VALUE || check_visible(value, Lines::One).is_err() {
                return Err(Invalid(format!(
                    "must have values of at most {} characters without control or invisible characters; {name} has another",
                    Self::LONGEST_VALUE
                )));
            }
            refuse_secrets(name)?;
            refuse_secrets(value)?;
        }
        Ok(Self(labels))
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Static claims for tokens. Each name is in a namespace of its own (a "Collision-Resistant Name", RFC 7519, section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomClaims(BTreeMap<String, Value>);

impl CustomClaims {
    /// The greatest size of all of them together, in bytes of JSON: a token has to fit into a header.
    pub const MAX: usize = 2_048;
    /// The greatest number of them.
    pub const MOST: usize = 20;

    /// At most [`CustomClaims::MOST`], and [`CustomClaims::MAX`] bytes as JSON. A name is an `https` or `http` URI, such as `https://example.com/tier`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with them.
    pub fn parse(claims: BTreeMap<String, Value>) -> Result<Self, Invalid> {
        for name in claims.keys() {
            if REGISTERED.contains(&name.as_str()) {
                return Err(Invalid(format!(
                    "holds {name:?}, which only Hourpass sets; name it in a namespace of yours, such as https://example.com/{name}"
                )));
            }
            // As it is written, and not only as a lenient parser reads it.
            let named = |url: Url| url.as_str() == name && url.username().is_empty() && url.password().is_none() && url.path() != "/";
            let web = name.starts_with("https://") || name.starts_with("http://");
            if name.len() > 200 || !web || !Url::parse(name).is_ok_and(named) {
                let why =
                    "must have names in a namespace of yours: https URIs with a path, such as https://example.com/tier, of at most 200 characters";
                return Err(Invalid(why.to_owned()));
            }
        }
        let (number, claims) = (claims.len(), Self(claims));
        let text = claims.to_json();
        if number > Self::MOST || text.len() > Self::MAX {
            return Err(Invalid(format!("must be at most {} with {} bytes of JSON, because they go into every token", Self::MOST, Self::MAX)));
        }
        if text.contains("\\u0000") {
            return Err(Invalid("must not hold the character NUL".to_owned()));
        }
        // JSON writes control characters as escapes, so that only what nobody sees is found here.
        check_visible(&text, Lines::Many)?;
        for (name, value) in &claims.0 {
            refuse_secrets(name)?;
            if value_holds_secret(value) {
                return Err(Invalid(REFUSED.to_owned()));
            }
        }
        Ok(claims)
    }

    /// These, and those of `over`, which win.
    #[must_use]
    pub fn overridden_by(mut self, over: &Self) -> BTreeMap<String, Value> {
        self.0.extend(over.0.clone());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(name: &str, value: &str) -> Result<Labels, Invalid> {
        Labels::parse(BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    fn claims(name: &str, value: Value) -> Result<CustomClaims, Invalid> {
        CustomClaims::parse(BTreeMap::from([(name.to_owned(), value)]))
    }

    #[test]
    fn labels_are_short_texts() {
        assert!(labels("team", "data").is_ok() && labels("example.com/cost-centre", "").is_ok());
        for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\ny"), (&*"x".repeat(64), "x"), ("a", "x\u{200b}y"), ("a", &*"x".repeat(201))] {
            assert!(labels(name, value).is_err(), "{name:?} {value:?}");
        }
        assert!(Labels::parse((0..51).map(|number| (number.to_string(), String::new())).collect()).is_err());
    }

    #[test]
    fn claims_are_in_a_namespace_and_small() {
        assert!(claims("https://example.com/tier", json!({"gold": [1, true, null]})).is_ok());
        for name in [
            "iss",
            "scope",
            "tier",
            "urn:x",
            "https://example.com",
            "https://example.com/a b",
            "mailto:a@b/c",
            "",
            "https:e.x/a",
            "https:///e.x/a",
            "https://u:p@e.x/a",
            "https:\\\\e.x\\a",
            "HTTPS://e.x/a",
        ] {
            assert!(claims(name, json!(1)).is_err(), "{name:?}");
        }
        assert!(claims("sub", json!(1)).is_err_and(|why| why.0.contains("only Hourpass")));
        assert!(claims("https://example.com/x", json!("x".repeat(2_048))).is_err());
        assert!(claims("https://example.com/x", json!("\0")).is_err());
        assert!(claims("https://example.com/x", json!({"team": ["a\u{202e}b"]})).is_err());
    }

    #[test]
    fn the_outer_claims_win() {
        let (inner, outer) = (claims("https://a/x", json!(1)).unwrap(), claims("https://a/x", json!(2)).unwrap());
        assert_eq!(inner.overridden_by(&outer), BTreeMap::from([("https://a/x".to_owned(), json!(2))]));
    }
}
