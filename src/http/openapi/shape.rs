//! What a row of the table of routes says about what goes in and what comes out. The types describe themselves.

use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::schemas::Schemas;

/// Puts a type, and all that it is made of, among the schemas, and says how it is referred to.
pub(super) type Describe = fn(&mut Schemas) -> RefOr<Schema>;

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// What goes into a route, and what comes out of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Shape {
    pub(super) query: Option<Describe>,
    pub(super) body: Option<Body>,
    pub(super) answer: Answer,
    /// Whether it takes an Idempotency-Key.
    pub(in crate::http) once: bool,
    /// The codes of the errors that can come beside those that the rest of the row implies.
    pub(super) codes: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) media: &'static str,
    pub(super) required: bool,
    pub(super) describe: Describe,
}

/// A success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media: &'static str,
    /// Nothing where there is no body, or one that is not JSON.
    pub(super) describe: Option<Describe>,
    pub(super) headers: &'static [&'static str],
    pub(super) description: &'static str,
}

impl Answer {
    const fn new(status: u16, media: &'static str, describe: Option<Describe>, headers: &'static [&'static str], description: &'static str) -> Self {
        Self { status, media, describe, headers, description }
    }
}

const fn answers(answer: Answer) -> Shape {
    Shape { query: None, body: None, answer, once: false, codes: &[] }
}

/// 200 with this.
pub(in crate::http) const fn gives<T: ToSchema>() -> Shape {
    answers(Answer::new(200, JSON, Some(Schemas::answer::<T>), &[], "It was done, or found."))
}

/// 201 with this, and where it is found. It takes an Idempotency-Key.
pub(in crate::http) const fn makes<T: ToSchema>() -> Shape {
    answers(Answer::new(201, JSON, Some(Schemas::answer::<T>), &["location"], "It was made.")).once()
}

/// 200 with a page of a list of these.
pub(in crate::http) const fn lists<T: ToSchema>() -> Shape {
    answers(Answer::new(200, JSON, Some(Schemas::list::<T>), &[], "A page of the list."))
}

/// 200 with this, and with how many nodes answer by it.
pub(in crate::http) const fn confirms<T: ToSchema>() -> Shape {
    answers(Answer::new(200, JSON, Some(Schemas::confirmed::<T>), &[], "It was done, and the other nodes were waited for."))
}

/// 204, with how many nodes answer by it in a header.
pub(in crate::http) const fn ends() -> Shape {
    answers(Answer::new(204, "", None, &["hourpass-propagation"], "It was done, and the other nodes were waited for."))
}

/// 204.
pub(in crate::http) const fn removes() -> Shape {
    answers(Answer::new(204, "", None, &[], "It was done."))
}

/// 200 with this, which anyone may keep for as long as `Cache-Control` says.
pub(in crate::http) const fn publishes<T: ToSchema>() -> Shape {
    answers(Answer::new(200, JSON, Some(Schemas::answer::<T>), &["cache-control", "access-control-allow-origin"], "It may be kept for a while."))
}

/// 200 with something that is not a JSON object.
pub(in crate::http) const fn sends(media: &'static str) -> Shape {
    answers(Answer::new(200, media, None, &[], "The whole of it."))
}

/// 200 with something that is asked for again with `If-None-Match`, or 304.
pub(in crate::http) const fn serves(media: &'static str) -> Shape {
    answers(Answer::new(200, media, None, &["etag", "cache-control"], "The whole of it."))
}

impl Shape {
    /// It takes an Idempotency-Key: a repeat with the same one is answered as the first request was, and nothing is done twice.
    pub(in crate::http) const fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// It takes these parameters of the query.
    pub(in crate::http) const fn query<T: ToSchema>(self) -> Self {
        Self { query: Some(Schemas::request::<T>), ..self }
    }

    /// It takes this JSON object.
    pub(in crate::http) const fn takes<T: ToSchema>(self) -> Self {
        self.body(JSON, true, Schemas::request::<T>)
    }

    /// It takes this JSON object, or no body.
    pub(in crate::http) const fn may_take<T: ToSchema>(self) -> Self {
        self.body(JSON, false, Schemas::request::<T>)
    }

    /// It takes a form with these fields. Its errors are told in the words of OAuth, too.
    pub(in crate::http) const fn form<T: ToSchema>(self) -> Self {
        self.body(FORM, true, Schemas::request::<T>)
    }

    const fn body(self, media: &'static str, required: bool, describe: Describe) -> Self {
        Self { body: Some(Body { media, required, describe }), ..self }
    }

    /// It may send these headers with a success.
    pub(in crate::http) const fn with(self, headers: &'static [&'static str]) -> Self {
        Self { answer: Answer { headers, ..self.answer }, ..self }
    }

    /// It may also be answered with errors of these codes.
    pub(in crate::http) const fn or(self, codes: &'static [&'static str]) -> Self {
        Self { codes, ..self }
    }
}
