//! Errors, as the document tells them: one answer for each status, with the codes that can come with it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOf, Object, SchemaType, Type};
use utoipa::openapi::{Content, Ref, RefOr, Response, Schema, example::Example};

use super::super::error::CODES;
use super::operation::header;
use super::vocabulary::ID;

/// What refuses a credential.
pub(super) const CREDENTIAL: &[&str] = &[
    "missing_credentials",
    "invalid_credentials",
    "api_key_inactive",
    "api_key_expired",
    "api_key_rotated",
    "api_key_left_behind",
    "service_account_inactive",
    "user_inactive",
    "password_left_behind",
    "api_key_direct_use_disabled",
];

/// What refuses an exchange, beside what is wrong with the form.
pub(super) const EXCHANGE: &[&str] = &[
    "invalid_target",
    "invalid_scope",
    "token_too_large",
    "signing_key_not_yet_published",
    "invalid_credentials",
    "api_key_inactive",
    "api_key_expired",
    "api_key_rotated",
    "api_key_left_behind",
    "service_account_inactive",
    "user_inactive",
    "password_left_behind",
    "access_denied",
    "exchange_rate_limited",
    "too_many_requests",
];

/// An error (RFC 9457). `code` is stable and for programs, `detail` is for people.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the table of errors writes it member by member")]
pub(super) struct Problem {
    /// Always `about:blank`: `code` says what it is.
    #[schema(rename = "type", example = "about:blank")]
    kind: String,
    /// What kind of error it is, for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: String,
    /// What kind of error it is, for programs: it never changes.
    code: String,
    /// By which the log finds the request; also in the header `x-request-id`.
    #[schema(format = Uuid)]
    request_id: String,
    /// With `validation_failed`, each value that was not taken.
    #[schema(nullable = false)]
    errors: Option<Vec<InvalidField>>,
}

/// A value that was not taken.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the table of errors writes it member by member")]
pub(super) struct InvalidField {
    /// The name of the field or parameter.
    #[schema(example = "name")]
    field: String,
    /// Why.
    #[schema(example = "must not be empty")]
    detail: String,
}

/// An error of an exchange: also in the words of OAuth (RFC 6749, section 5.2).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the table of errors writes it member by member")]
pub(super) struct LoginProblem {
    #[serde(flatten)]
    problem: Problem,
    /// What OAuth calls it.
    error: String,
    /// The same as `detail`.
    error_description: String,
}

/// The answers that operations share, by their names.
#[derive(Default)]
pub(super) struct Problems(pub(super) BTreeMap<String, RefOr<Response>>);

impl Problems {
    /// For each status, the answer with those of these codes that have it. `accepted` is the content type that a body has to have.
    pub(super) fn of(&mut self, codes: &[&str], login: bool, accepted: &str) -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for row in CODES.iter().filter(|row| codes.contains(&row.0)) {
            by_status.entry(row.1).or_default().push(row.0);
        }
        let shared = by_status.into_iter().map(|(status, codes)| {
            let name = name(status, &codes, login, accepted);
            self.0.entry(name.clone()).or_insert_with(|| response(status, &codes, login, accepted).into());
            (status.to_string(), RefOr::Ref(Ref::from_response_name(name)))
        });
        shared.collect()
    }
}

/// Says what the answer is, so that different ones have different names.
fn name(status: u16, codes: &[&str], login: bool, accepted: &str) -> String {
    let codes = if *codes == *CREDENTIAL { "credential".to_owned() } else { codes.join("-") };
    let kind = if login { "login" } else { "problem" };
    let accepted = if status == 415 && !login { accepted.rsplit('/').next().unwrap_or_default() } else { "" };
    [kind, &status.to_string(), &codes, accepted].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

fn response(status: u16, codes: &[&str], login: bool, accepted: &str) -> Response {
    let rows: Vec<_> = CODES.iter().filter(|row| codes.contains(&row.0)).collect();
    let lines = rows.iter().map(|row| format!("- `{}`: {}", row.0, row.2));
    let problem = Ref::from_schema_name(if login { "LoginProblem" } else { "Problem" });
    let code = Object::builder().schema_type(SchemaType::new(Type::String)).enum_values(Some(codes.iter().map(|code| json!(code))));
    let narrowed = Object::builder().property("code", code).schema_type(SchemaType::AnyValue);
    let content = Content::builder()
        .schema(Some(Schema::from(AllOf::builder().item(problem).item(narrowed).build())))
        .examples_from_iter(rows.iter().map(|row| (row.0, Example::builder().summary(row.2).value(Some(example(row, login))))));
    let response = Response::builder()
        .description(lines.collect::<Vec<_>>().join("\n"))
        .content("application/problem+json", content.build())
        .header_ref("x-request-id", header("x-request-id"));
    let response = match status {
        401 => response.header_ref("www-authenticate", header("www-authenticate")),
        403 if !login => response.header_ref("www-authenticate", header("www-authenticate")),
        415 if !accepted.is_empty() => response.header_ref("accept-post", header("accept-post")),
        429 | 503 => response.header_ref("retry-after", header("retry-after")),
        _ => response,
    };
    response.build()
}

fn example(row: &(&str, u16, &str, &str), login: bool) -> Value {
    let (code, status, title, oauth) = row;
    let detail = "a sentence that says what is wrong, and what to do";
    // In the order of their names, as everywhere: see `schemas::sorted`.
    let mut members = BTreeMap::from([
        ("code", json!(code)),
        ("detail", json!(detail)),
        ("request_id", json!(ID)),
        ("status", json!(status)),
        ("title", json!(title)),
        ("type", json!("about:blank")),
    ]);
    if *code == "validation_failed" {
        members.insert("errors", json!([BTreeMap::from([("detail", "must not be empty"), ("field", "name")])]));
    }
    if login {
        members.extend([("error", json!(oauth)), ("error_description", json!(detail))]);
    }
    json!(members)
}
