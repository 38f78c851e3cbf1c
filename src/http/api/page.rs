//! Lists, a page at a time: `?limit=` and `?cursor=`, answered with `items` and `next_cursor`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::Uuid;

use super::super::error::{ApiError, FieldError};
use crate::service::Page;

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 200;

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

impl<T> Items<T> {
    /// A list that is so short that it has one page.
    pub(crate) fn all(items: impl Iterator<Item = T>) -> Self {
        Self { items: items.collect(), next_cursor: None }
    }
}

/// A page asked for, and the number of items that it is to have.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    after: Uuid,
    limit: u16,
}

impl Asked {
    /// Reads `limit` and `cursor`.
    pub(crate) fn parse(limit: Option<&str>, cursor: Option<&str>) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let limit = match limit {
            None => DEFAULT_LIMIT,
            Some(text) => text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).unwrap_or_else(|| {
                errors.push(FieldError::new("limit", &format!("must be a number from 1 to {MAX_LIMIT}")));
                0
            }),
        };
        let after = match cursor {
            None => Uuid::nil(),
            Some(text) => URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| Uuid::from_slice(&bytes).ok()).unwrap_or_else(|| {
                errors.push(FieldError::new("cursor", "must be the next_cursor of an answer of this list"));
                Uuid::nil()
            }),
        };
        if errors.is_empty() { Ok(Self { after, limit }) } else { Err(ApiError::invalid_fields(errors)) }
    }

    /// One more than asked for, to know whether there is a next page.
    pub(crate) fn page(self) -> Page {
        Page { after: self.after, limit: self.limit + 1 }
    }

    /// The answer, from what [`Asked::page`] found.
    pub(crate) fn answer<T, U>(self, mut found: Vec<T>, id: impl Fn(&T) -> Uuid, render: impl Fn(T) -> U) -> Items<U> {
        let more = found.len() > usize::from(self.limit);
        found.truncate(self.limit.into());
        let next_cursor = found.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(id(last)));
        Items { items: found.into_iter().map(render).collect(), next_cursor }
    }
}
