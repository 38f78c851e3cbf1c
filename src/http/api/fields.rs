//! Values of bodies and queries, checked field by field, so that an answer names all that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::error::{ApiError, FieldError};
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::{KeyPolicy, MOST_EXCHANGES_A_MINUTE};
use crate::domain::name::Invalid;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;

/// Collects what is wrong.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// The value, or nothing and a note of why.
    pub(crate) fn check<T>(&mut self, field: &'static str, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|why| self.0.push(FieldError::new(field, &why.to_string()))).ok()
    }

    /// The same for a value that may be left out.
    pub(crate) fn optional<T>(&mut self, field: &'static str, text: Option<&str>, parse: impl Fn(&str) -> Result<T, Invalid>) -> Option<T> {
        self.check(field, text.map(parse).transpose()).flatten()
    }

    /// A time as RFC 3339.
    pub(crate) fn time(&mut self, field: &'static str, text: Option<&str>) -> Option<Timestamp> {
        self.optional(field, text, Timestamp::parse)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, field: &'static str, text: Option<&str>) -> Option<bool> {
        self.optional(field, text, |text| text.parse().map_err(|_| Invalid("must be true or false".to_owned())))
    }

    /// A number of days: nothing said, none (null), or from 1 to ten years.
    pub(crate) fn days(&mut self, field: &'static str, sent: Option<Option<i64>>) -> Option<Option<u16>> {
        let valid = |days: i64| u16::try_from(days).ok().filter(|days| (1..=KeyPolicy::LIMIT).contains(days));
        match sent {
            Some(Some(days)) => {
                let wrong = || Invalid(format!("must be a number from 1 to {}, or null for no limit", KeyPolicy::LIMIT));
                self.check(field, valid(days).ok_or_else(wrong)).map(Some)
            }
            Some(None) => Some(None),
            None => None,
        }
    }

    /// How many exchanges a minute: nothing said, as the server has it (null), or a number.
    pub(crate) fn exchanges(&mut self, sent: Option<Option<i64>>) -> Option<Option<NonZeroU32>> {
        let valid = |most: i64| u32::try_from(most).ok().filter(|most| *most <= MOST_EXCHANGES_A_MINUTE).and_then(NonZeroU32::new);
        match sent {
            Some(Some(most)) => {
                let wrong = || Invalid(format!("must be a number from 1 to {MOST_EXCHANGES_A_MINUTE}, or null for the server's own limit"));
                self.check("exchanges_per_minute", valid(most).ok_or_else(wrong)).map(Some)
            }
            Some(None) => Some(None),
            None => None,
        }
    }

    /// A number of minutes from 0 on.
    pub(crate) fn minutes(&mut self, field: &'static str, sent: Option<i64>) -> Option<u32> {
        let wrong = || Invalid("must be a number of minutes, 0 or more".to_owned());
        sent.and_then(|minutes| self.check(field, u32::try_from(minutes).map_err(|_| wrong())))
    }

    /// Names of permissions.
    pub(crate) fn permissions(&mut self, field: &'static str, sent: Option<&[String]>) -> Option<BTreeSet<Permission>> {
        self.check(field, sent.map(|names| names.iter().map(|name| Permission::parse(name)).collect()).transpose()).flatten()
    }

    /// Labels: an object of texts.
    pub(crate) fn labels(&mut self, sent: Option<BTreeMap<String, String>>) -> Option<Labels> {
        self.check("labels", sent.map(Labels::parse).transpose()).flatten()
    }

    /// Claims: an object.
    pub(crate) fn claims(&mut self, sent: Option<BTreeMap<String, Value>>) -> Option<CustomClaims> {
        self.check("claims", sent.map(CustomClaims::parse).transpose()).flatten()
    }

    /// A label to look for: `name=value`.
    pub(crate) fn label(&mut self, sent: Option<&str>) -> Option<(String, String)> {
        let wrong = || Invalid("must be name=value, such as team=data".to_owned());
        self.optional("label", sent, |text| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong))
    }

    /// Goes on where nothing was wrong.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(self.0)) }
    }

    /// Goes on with the values where nothing was wrong.
    pub(crate) fn finish_with<T>(self, value: Option<T>) -> Result<T, ApiError> {
        self.finish()?;
        value.ok_or_else(|| ApiError::invalid_request("a field is missing"))
    }
}

/// Tells a field that is null from one that is left out.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
