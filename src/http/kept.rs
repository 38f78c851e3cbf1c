//! Answers that are kept for a repeated request: what an answer consists of, as bytes.

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::ApiError;
use crate::service::{KeptAnswer, ManagementError, Uncommitted};

/// The header by which a request says that it may be a repeat (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The field by which a form of a page does.
pub(super) const FORM_KEY: &str = "idempotency_key";
/// Says that an answer is that to an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// An Idempotency-Key may have so many characters.
const LONGEST: usize = 255;

/// An answer.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    #[serde(skip)]
    replayed: bool,
}

impl Kept {
    /// Commits what a use case made, with the answer that `render` makes of it. To a repeat, it is the answer that was kept.
    pub(super) async fn commit<T>(
        made: Result<Uncommitted<T>, ManagementError>,
        render: impl FnOnce(T) -> Result<HttpResponse, ApiError>,
    ) -> Result<Self, ApiError> {
        let (KeptAnswer(answer), replayed) = match made {
            Ok(made) => (made.commit(|it| Self::of(render(it)?)?.to_bytes()).await?, false),
            Err(ManagementError::Repeated(answer)) => (answer, true),
            Err(error) => return Err(error.into()),
        };
        let kept: Self = serde_json::from_slice(&answer).map_err(|error| ApiError::from_internal(&error))?;
        Ok(Self { replayed, ..kept })
    }

    fn of(response: HttpResponse) -> Result<Self, ApiError> {
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).map_err(|error| ApiError::from_internal(&error));
        let headers = response.headers().iter().map(|(name, value)| Ok((name.to_string(), text(value)?)));
        let headers = headers.collect::<Result<_, ApiError>>()?;
        let whole = || ApiError::new("internal_error", "the answer is not held in memory as a whole");
        let bytes = response.into_body().try_into_bytes().map_err(|_| whole())?;
        let body = String::from_utf8(bytes.to_vec()).map_err(|error| ApiError::from_internal(&error))?;
        Ok(Self { status, headers, body, replayed: false })
    }

    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, ApiError> {
        serde_json::to_vec(self).map(Zeroizing::new).map_err(|error| ApiError::from_internal(&error))
    }

    /// Where a redirection leads.
    pub(super) fn location(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| *name == LOCATION.as_str()).map(|(_, value)| value.as_str())
    }

    /// Adds members to the JSON object that is the body.
    pub(super) fn with(mut self, members: &impl Serialize) -> Result<Self, ApiError> {
        let added = serde_json::to_string(members).map_err(|error| ApiError::from_internal(&error))?;
        // Joined as text, so that the members keep their order.
        if let (Some(body), Some(added)) = (self.body.strip_suffix('}'), added.strip_prefix('{')) {
            self.body = format!("{body},{added}");
        }
        Ok(self)
    }

    /// Sets a member of the JSON object that is the body.
    pub(super) fn set(mut self, name: &str, value: Value) -> Result<Self, ApiError> {
        let mut body = self.json()?;
        body.insert(name.to_owned(), value);
        self.body = Value::Object(body).to_string();
        Ok(self)
    }

    /// The JSON object that is the body.
    pub(super) fn json(&self) -> Result<Map<String, Value>, ApiError> {
        serde_json::from_str(&self.body).map_err(|error| ApiError::from_internal(&error))
    }

    /// The answer.
    pub(super) fn answer(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        for header in self.headers {
            response.insert_header(header);
        }
        if self.replayed {
            response.insert_header((REPLAYED, "true"));
        }
        response.body(self.body)
    }
}

/// Reads the value of the header: as it stands, or as a string of structured fields (RFC 9651), in quotes.
pub(super) fn parse_idempotency_key(value: &str) -> Result<&str, ApiError> {
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    if value.is_empty() || value.len() > LONGEST || !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        let how = format!("the Idempotency-Key must be 1 to {LONGEST} printable ASCII characters, such as a random UUID");
        return Err(ApiError::invalid_request(how));
    }
    Ok(value)
}
