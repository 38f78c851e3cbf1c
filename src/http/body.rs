//! Bodies: bounded in size and time, and taken apart with an error that says what is wrong.

use std::borrow::Cow;

use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Limits;
use super::error::{ApiError, FieldError};
use crate::domain::secret_filter::{REFUSED, holds_secret, value_holds_secret};

/// Reads the body of a request that has to be of the content type `expected`.
async fn read(request: &HttpRequest, payload: Payload, limits: Limits, expected: &str) -> Result<Bytes, ApiError> {
    if !request.content_type().eq_ignore_ascii_case(expected) {
        let sent = request.content_type();
        let sent = if sent.is_empty() { "none" } else { sent };
        return Err(ApiError::new("unsupported_media_type", format!("send the body as {expected}; the content type sent is {sent}")));
    }
    let too_large = || ApiError::new("payload_too_large", format!("the body may have at most {} bytes", limits.body_limit));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.body_limit) {
        return Err(too_large());
    }
    // actix-web's own timeout ends with the head of the request; a body could trickle in for ever.
    match tokio::time::timeout(limits.body_timeout, payload.to_bytes_limited(limits.body_limit)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(ApiError::invalid_request("the body ended before it was complete")),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(ApiError::new("request_timeout", "the body did not arrive in time; send it in one go")),
    }
}

/// Fields that are for credentials, and are not stored as they are. In all others a credential is refused, so that a field that is forgotten here takes none.
const CREDENTIALS: [&str; 7] = ["credential", "invitation", "key", "old_password", "password", "secret", "token"];

/// Refuses what these fields hold: credentials where they do not belong.
pub(super) fn refuse_secrets<'a>(fields: impl IntoIterator<Item = Cow<'a, str>>) -> Result<(), ApiError> {
    let fields: Vec<FieldError> = fields.into_iter().map(|field| FieldError::new(field.into_owned(), REFUSED)).collect();
    if fields.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(fields)) }
}

/// Refuses a credential in any field that is not for one.
fn refuse_secrets_in(body: &Map<String, Value>) -> Result<(), ApiError> {
    let misplaced = |(name, value): &(&String, &Value)| holds_secret(name) || !CREDENTIALS.contains(&name.as_str()) && value_holds_secret(value);
    refuse_secrets(body.iter().filter(misplaced).map(|(name, _)| Cow::Borrowed(name.as_str())))
}

/// Reads a JSON object. A credential in a field that is not for one is refused, whatever becomes of the field.
pub(super) async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload, limits: Limits) -> Result<T, ApiError> {
    Ok(json_and_bytes(request, payload, limits).await?.0)
}

/// Reads a JSON object. Returns the bytes, too.
pub(super) async fn json_and_bytes<T: DeserializeOwned>(request: &HttpRequest, payload: Payload, limits: Limits) -> Result<(T, Bytes), ApiError> {
    let bytes = read(request, payload, limits, "application/json").await?;
    // Otherwise the fields would be taken from an array, too, by their order.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(ApiError::invalid_request("the JSON body has to be an object, in braces"));
    }
    // PostgreSQL cannot even be asked for the character NUL. The text looked for may also be part of an escaped backslash, so that it decides nothing alone.
    if bytes.windows(6).any(|part| part == b"\\u0000") && serde_json::from_slice(&bytes).is_ok_and(|value| holds_nul(&value)) {
        return Err(ApiError::invalid_request("the JSON body holds the character NUL"));
    }
    // Where this does not parse, the other does not either, and says where.
    if let Ok(body) = serde_json::from_slice(&bytes) {
        refuse_secrets_in(&body)?;
    }
    let read = serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid_request(format!("the JSON body cannot be taken: {error}")))?;
    Ok((read, bytes))
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Reads a JSON object where a body was sent.
pub(super) async fn optional_json<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: Payload,
    limits: Limits,
) -> Result<(T, Bytes), ApiError> {
    if is_empty(request) { Ok((T::default(), Bytes::new())) } else { json_and_bytes(request, payload, limits).await }
}

/// Whether a request has no body.
pub(super) fn is_empty(request: &HttpRequest) -> bool {
    request.headers().get(CONTENT_LENGTH).is_none_or(|length| length == "0") && !request.headers().contains_key(TRANSFER_ENCODING)
}

/// The content type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of an `application/x-www-form-urlencoded` body.
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads a form and returns its bytes, too. A credential in a field that is not for one is refused, whatever becomes of the field.
    pub(super) async fn read(request: &HttpRequest, payload: Payload, limits: Limits) -> Result<(Self, Bytes), ApiError> {
        let bytes = read(request, payload, limits, FORM).await?;
        let form = Self::of(&bytes)?;
        let misplaced =
            |(name, value): &&(String, Zeroizing<String>)| holds_secret(name) || !CREDENTIALS.contains(&name.as_str()) && holds_secret(value);
        refuse_secrets(form.0.iter().filter(misplaced).map(|(name, _)| Cow::Borrowed(name.as_str())))?;
        Ok((form, bytes))
    }

    /// Reads a form with which somebody signs in. Clients send their key in more fields than one, and nothing of it is stored as it is.
    pub(super) async fn read_credentials(request: &HttpRequest, payload: Payload, limits: Limits) -> Result<Self, ApiError> {
        Self::of(&read(request, payload, limits, FORM).await?)
    }

    fn of(bytes: &[u8]) -> Result<Self, ApiError> {
        Self::parse(bytes).ok_or_else(|| ApiError::invalid_request("the form cannot be read: it is not UTF-8, or holds the character NUL"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        // PostgreSQL cannot even be asked for it.
        if text.contains("%00") || text.contains('\0') {
            return None;
        }
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?.into_owned(), Zeroizing::new(decode(value)?.into_owned())))
        });
        pairs.collect::<Option<Vec<_>>>().map(Self)
    }

    /// The value of a field, which stays there; nothing where it is missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Takes the value of a field out; nothing where it is missing or empty, because form libraries send empty fields for what was left out.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.0.iter_mut().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| std::mem::take(&mut **value));
        if values.next().is_some() {
            return Err(ApiError::invalid_request(format!("the field {name} is there more than once; send it once")));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Takes all values of a field out, such as those of the boxes of this name that were checked.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        let values = self.0.iter_mut().filter(|(other, _)| other == name);
        values.map(|(_, value)| std::mem::take(&mut **value)).filter(|value| !value.is_empty()).collect()
    }
}

/// The WHATWG's decoding, but strict: what is not UTF-8 is refused, not replaced.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().ok().map(|decoded| Cow::Owned(decoded.into_owned()))
    } else {
        percent_decode_str(text).decode_utf8().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_nul_is_found_wherever_it_is() {
        for (text, holds) in [(r#"{"a":["x\u0000"]}"#, true), (r#"{"\u0000":1}"#, true), (r#"{"a":"\\u0000"}"#, false), ("{}", false)] {
            assert_eq!(holds_nul(&serde_json::from_str(text).unwrap()), holds, "{text}");
        }
    }

    #[test]
    fn forms_are_decoded() {
        let mut form = Form::parse(b"a=1+2%2B3&b=%C3%A9&c&&=x&d=a=b").unwrap();
        assert_eq!(form.take("a").unwrap().unwrap(), "1 2+3");
        assert_eq!(form.take("b").unwrap().unwrap(), "\u{e9}");
        assert_eq!(form.take("c").unwrap(), None);
        assert_eq!(form.take("d").unwrap().unwrap(), "a=b");
        assert_eq!(form.take("z").unwrap(), None);
    }

    #[test]
    fn repeated_fields_and_broken_text_are_refused() {
        assert!(Form::parse(b"a=1&a=2").unwrap().take("a").is_err());
        assert!(Form::parse(b"a=&a=").unwrap().take("a").is_err());
        assert!(Form::parse(b"a=%ff").is_none());
        assert!(Form::parse(b"\xff").is_none());
        assert!(Form::parse(b"a=b%00").is_none());
    }
}
