//! Refusals and failures as RFC 9457 problem details: one table from the code of an error to its status, title and OAuth name.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::domain::id::RequestId;
use crate::domain::secret_filter::{holds_secret, masked};
use crate::service::{AuthenticationError, LoginError, ManagementError, PasswordError, SigningError};
use crate::store::StoreError;

/// `(code, status, title, OAuth error)`; the OAuth error (RFC 6749, sections 4.1.2.1 and 5.2; RFC 8707, section 2) is sent at the login endpoints.
type Row = (&'static str, u16, &'static str, &'static str);

/// Every code there is.
pub const CODES: &[Row] = &[
    ("invalid_request", 400, "The request cannot be understood", "invalid_request"),
    ("invalid_target", 400, "No such receiver", "invalid_target"),
    ("invalid_scope", 400, "More than is held", "invalid_scope"),
    ("token_too_large", 400, "Too much for one token", "invalid_scope"),
    ("invalid_invitation", 400, "No such invitation", "invalid_grant"),
    ("missing_credentials", 401, "No credentials", "invalid_client"),
    ("invalid_credentials", 401, "Credentials that do not count", "invalid_grant"),
    ("api_key_inactive", 401, "API key deactivated", "invalid_grant"),
    ("api_key_expired", 401, "API key expired", "invalid_grant"),
    ("api_key_rotated", 401, "API key rotated", "invalid_grant"),
    ("api_key_left_behind", 401, "API key left behind", "invalid_grant"),
    ("service_account_inactive", 401, "Service account deactivated", "invalid_grant"),
    ("user_inactive", 401, "User deactivated", "invalid_grant"),
    ("password_left_behind", 401, "Password left behind", "invalid_grant"),
    ("api_key_direct_use_disabled", 401, "API keys are taken at /auth/login only", "invalid_grant"),
    ("not_a_person", 403, "For people only", "access_denied"),
    ("wrong_password", 403, "Wrong password", "access_denied"),
    ("permission_denied", 403, "Not permitted", "access_denied"),
    ("access_denied", 403, "No access", "access_denied"),
    ("cross_site_request", 403, "From another site", "access_denied"),
    ("not_found", 404, "Not found", "invalid_request"),
    ("method_not_allowed", 405, "Method not allowed", "invalid_request"),
    ("not_acceptable", 406, "Not in that form", "invalid_request"),
    ("request_timeout", 408, "The body took too long", "invalid_request"),
    ("name_taken", 409, "Name taken", "invalid_request"),
    ("hash_taken", 409, "Key known already", "invalid_request"),
    ("in_use", 409, "In use", "invalid_request"),
    ("last_administrator", 409, "The last administrator", "invalid_request"),
    ("built_in", 409, "Built in", "invalid_request"),
    ("account_inactive", 409, "Service account deactivated", "invalid_request"),
    ("key_inactive", 409, "API key deactivated", "invalid_request"),
    ("key_compromised", 409, "API key compromised", "invalid_request"),
    ("rotated_meanwhile", 409, "Rotated by someone else", "invalid_request"),
    ("nothing_retained", 409, "No old value", "invalid_request"),
    ("idempotency_in_progress", 409, "Still being worked on", "invalid_request"),
    ("idempotency_outdated", 409, "Done before, and over", "invalid_request"),
    ("payload_too_large", 413, "Too large", "invalid_request"),
    ("unsupported_media_type", 415, "Wrong content type", "invalid_request"),
    ("validation_failed", 422, "A value is out of its range", "invalid_request"),
    ("idempotency_key_reused", 422, "Another request had this key", "invalid_request"),
    ("exchange_rate_limited", 429, "Too many exchanges", "temporarily_unavailable"),
    ("too_many_requests", 429, "Too many requests", "temporarily_unavailable"),
    ("internal_error", 500, "Internal error", "server_error"),
    ("not_implemented", 501, "Not implemented", "server_error"),
    ("signing_key_not_yet_published", 503, "Signing key not published long enough", "temporarily_unavailable"),
    ("unavailable", 503, "Not available now", "temporarily_unavailable"),
    ("outcome_unknown", 503, "Done or not done", "temporarily_unavailable"),
];

/// Why a value of a body or a query was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldError {
    field: Cow<'static, str>,
    detail: String,
}

impl FieldError {
    /// Its texts may repeat what was sent, and people paste keys where they do not belong.
    pub(super) fn new(field: impl Into<Cow<'static, str>>, detail: &str) -> Self {
        let field = field.into();
        Self { field: if holds_secret(&field) { Cow::Borrowed("(left out)") } else { field }, detail: masked(detail).into_owned() }
    }

    /// The field.
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

/// An answer that is not a success. What is `detail` may be seen by the caller, what is `internal` only by the log.
#[derive(Debug)]
pub(super) struct ApiError {
    code: &'static str,
    detail: String,
    internal: Option<String>,
    fields: Vec<FieldError>,
    /// After how many seconds it is worth trying again, where that is known better than "soon".
    retry_after: u64,
    /// Whether it is answered in the words of RFC 6749, too.
    login: bool,
    /// Whether the caller presented a credential, and so is told that it was wrong (RFC 6750, section 3.1).
    presented: bool,
}

impl ApiError {
    /// `detail` may repeat what was sent, and people paste keys where they do not belong.
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: masked(&detail.into()).into_owned(), internal: None, fields: Vec::new(), retry_after: 1, login: false, presented: true }
    }

    pub(super) fn invalid_request(detail: impl Into<String>) -> Self {
        Self::new("invalid_request", detail)
    }

    pub(super) fn missing_credentials() -> Self {
        let detail = "send an API key or an access token as \"Authorization: Bearer ...\"";
        Self { presented: false, ..Self::new("missing_credentials", detail) }
    }

    pub(super) fn invalid_fields(fields: Vec<FieldError>) -> Self {
        let detail = fields.iter().map(|field| format!("{} {}", field.field, field.detail)).collect::<Vec<_>>().join("; ");
        Self { fields, ..Self::new("validation_failed", detail) }
    }

    /// A failure inside: the caller gets a constant text.
    fn failure(code: &'static str, internal: impl fmt::Display) -> Self {
        let detail = match code {
            "unavailable" => "the service cannot answer right now; try again in a few seconds",
            "outcome_unknown" => {
                "the change may have been made, or not: repeat the request with the same Idempotency-Key, or look what is there before you repeat it without one"
            }
            _ => "something went wrong inside; give the request_id to whoever runs this server",
        };
        Self { internal: Some(internal.to_string()), ..Self::new(code, detail) }
    }

    /// Something that cannot go wrong did.
    pub(super) fn from_internal(error: &dyn std::error::Error) -> Self {
        Self::failure("internal_error", error)
    }

    /// The answer took too long. `changes`: of a request that may have changed something by then.
    pub(super) fn timeout(changes: bool) -> Self {
        Self::failure(if changes { "outcome_unknown" } else { "unavailable" }, "the answer took longer than server.request_timeout")
    }

    /// The same, with the time after which it is worth trying again.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait.as_secs() + 1;
        self
    }

    /// The same, for a login endpoint.
    pub(super) fn at_login(mut self) -> Self {
        self.login = true;
        self
    }

    pub(super) fn internal(&self) -> Option<&str> {
        self.internal.as_deref()
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn title(&self) -> &'static str {
        self.row().2
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// What is wrong, field by field, where that is known.
    pub(super) fn fields(&self) -> &[FieldError] {
        &self.fields
    }

    fn row(&self) -> Row {
        let unknown = ("internal_error", 500, "Internal error", "server_error");
        CODES.iter().find(|row| row.0 == self.code).copied().unwrap_or(unknown)
    }

    /// The answer.
    pub(super) fn render(&self, request_id: RequestId) -> HttpResponse {
        let (code, status, title, oauth) = self.row();
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        set("type", json!("about:blank"));
        set("title", json!(title));
        set("status", json!(status));
        set("detail", json!(self.detail));
        set("code", json!(code));
        set("request_id", json!(request_id));
        if !self.fields.is_empty() {
            let fields = self.fields.iter().map(|field| json!({ "field": field.field, "detail": field.detail }));
            set("errors", fields.collect());
        }
        if self.login {
            set("error", json!(oauth));
            set("error_description", json!(self.detail));
        }

        let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        match status {
            401 => {
                response.insert_header((WWW_AUTHENTICATE, self.challenge()));
            }
            403 if !self.login && code != "cross_site_request" => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"hourpass\", error=\"insufficient_scope\""));
            }
            _ if matches!(status, 429 | 503) || code == "idempotency_in_progress" => {
                response.insert_header((RETRY_AFTER, self.retry_after));
            }
            415 => {
                let accepted = if self.login { "application/x-www-form-urlencoded" } else { "application/json" };
                response.insert_header((HeaderName::from_static("accept-post"), HeaderValue::from_static(accepted)));
            }
            _ => {}
        }
        response.body(Value::Object(body).to_string())
    }

    /// RFC 6750, section 3: without an error code where no credential was presented.
    fn challenge(&self) -> &'static str {
        if self.presented && !self.login { "Bearer realm=\"hourpass\", error=\"invalid_token\"" } else { "Bearer realm=\"hourpass\"" }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code)
    }
}

impl std::error::Error for ApiError {}

/// The middleware renders errors, because it knows the request id; this is what it does when it is not there.
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }
}

/// An error of a use case: to be shown, or to be kept inside.
fn from_use_case(code: &'static str, error: &impl fmt::Display) -> ApiError {
    match code {
        "unavailable" | "outcome_unknown" | "internal_error" => ApiError::failure(code, error),
        _ => ApiError::new(code, error.to_string()),
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        let answer = from_use_case(error.code(), &error).at_login();
        match error {
            LoginError::TooManyGuesses(wait) | LoginError::TooManyExchanges(_, wait) | LoginError::NotYetPublished(_, wait) => {
                answer.retry_after(wait)
            }
            _ => answer,
        }
    }
}

impl From<AuthenticationError> for ApiError {
    fn from(error: AuthenticationError) -> Self {
        if let AuthenticationError::Invalid(reason) = &error {
            tracing::debug!(reason, "a credential was refused");
        }
        from_use_case(error.code(), &error)
    }
}

impl From<ManagementError> for ApiError {
    fn from(error: ManagementError) -> Self {
        if let ManagementError::OutOfRange(field, why) = &error {
            return Self::invalid_fields(vec![FieldError::new(*field, &why.to_string())]);
        }
        if let ManagementError::Password(why @ PasswordError::Common) = &error {
            return Self::invalid_fields(vec![FieldError::new("password", &why.to_string())]);
        }
        from_use_case(error.code(), &error)
    }
}

impl From<SigningError> for ApiError {
    fn from(error: SigningError) -> Self {
        ManagementError::from(error).into()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::failure(error.code(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_statuses_are_real() {
        let codes: BTreeSet<_> = CODES.iter().map(|row| row.0).collect();
        assert_eq!(codes.len(), CODES.len());
        assert!(CODES.iter().all(|row| StatusCode::from_u16(row.1).is_ok_and(|status| status.is_client_error() || status.is_server_error())));
    }

    #[test]
    fn an_inner_error_never_reaches_the_body() {
        let error = ApiError::from(StoreError::Corrupt("secret of the house".to_owned()));
        assert!(!format!("{:?}", error.render(RequestId(uuid::Uuid::nil())).into_body()).contains("secret"));
        assert_eq!(error.internal(), Some("the database holds what it should not: secret of the house"));
    }
}
