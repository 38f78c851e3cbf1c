//! What is wrong with a form that was sent, so that it can be shown again.

use actix_web::http::StatusCode;

use super::super::error::{ApiError, FieldError};

/// Where a form was sent before with other contents, and went through.
const SENT_BEFORE: &str =
    "This form was sent before with other contents, and that was done. Nothing was done now; send it again if you want this as well.";

/// What is wrong with a form: nothing at first.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    status: StatusCode,
    fields: Vec<FieldError>,
    other: Option<String>,
    /// Whether `other` says by itself what was done.
    alone: bool,
}

impl Mistakes {
    /// From what the API would have answered. A name that is taken is a mistake of the field `name`.
    ///
    /// # Errors
    /// The same error, where the visitor can do nothing about it in the form.
    pub(super) fn of(error: ApiError, name: &'static str) -> Result<Self, ApiError> {
        let status = error.status();
        match (status.as_u16(), error.code()) {
            (422, "idempotency_key_reused") => Ok(Self::only(StatusCode::CONFLICT, SENT_BEFORE)),
            (409, "idempotency_outdated") => Ok(Self::only(status, &sentence(error.detail()))),
            (422, _) => Ok(Self { status, fields: error.fields().to_vec(), ..Self::default() }),
            (409, "name_taken") => Ok(Self { status, fields: vec![FieldError::new(name, "is taken; choose another")], ..Self::default() }),
            // What the form names is gone, and not the page.
            (404, _) => {
                let other = Some(sentence(&without_requests(error.detail())));
                Ok(Self { status: StatusCode::UNPROCESSABLE_ENTITY, other, ..Self::default() })
            }
            (400 | 403 | 409 | 429, _) => Ok(Self { status, other: Some(sentence(&without_requests(error.detail()))), ..Self::default() }),
            _ => Err(error),
        }
    }

    /// These fields, which are replaced as a whole, were changed since the form was shown.
    pub(super) fn conflict(fields: &[&'static str]) -> Self {
        let detail = "were changed by someone else meanwhile; look at them again";
        let fields = fields.iter().map(|field| FieldError::new(*field, detail)).collect();
        Self { status: StatusCode::CONFLICT, fields, ..Self::default() }
    }

    /// This text, which says by itself what was done.
    pub(super) fn only(status: StatusCode, text: &str) -> Self {
        Self { status, other: Some(text.to_owned()), alone: true, ..Self::default() }
    }

    /// Whether it goes without saying that nothing was done.
    pub(super) fn alone(&self) -> bool {
        self.alone
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether there is anything wrong.
    pub(super) fn any(&self) -> bool {
        self.other.is_some() || !self.fields.is_empty()
    }

    /// What is wrong with the form as a whole.
    pub(super) fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    /// What is wrong with single fields: the field, and a sentence with its name.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, String)> {
        self.fields.iter().map(|it| (it.field(), sentence(&format!("{} {}", label(it.field()), without_requests(it.detail())))))
    }

    /// What is wrong with this field.
    pub(super) fn at(&self, field: &str) -> Option<String> {
        self.fields.iter().find(|it| it.field() == field).map(|it| sentence(&without_requests(it.detail())))
    }
}

/// What forms call a field, where that is not its name.
const LABELS: &[(&str, &str)] = &[
    ("admin_email", "first administrator"),
    ("api_key_default_days", "the default"),
    ("api_key_max_days", "the maximum"),
    ("expires_in_days", "expiration"),
    ("hint", "first characters"),
    ("invitation", "code of the link"),
    ("level", "where it is given"),
    ("place", "where"),
    ("retain_minutes", "how long the old value works on"),
    ("sha256", "SHA-256"),
    ("token_lifetime_seconds", "lifetime in seconds"),
    ("url", "URL"),
];

fn label(field: &str) -> String {
    LABELS.iter().find(|(name, _)| *name == field).map_or_else(|| field.replace('_', " "), |(_, label)| (*label).to_owned())
}

/// What there is to ask the API stands in parentheses, and helps nobody who looks at a page.
fn without_requests(detail: &str) -> String {
    match detail.split_once(" (GET /api/") {
        Some((before, rest)) => format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after)),
        None => detail.to_owned(),
    }
}

/// With a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}
