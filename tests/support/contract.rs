//! Holds what a server answers against the OpenAPI document, so that the document tells the truth.
//!
//! What the router refuses because there is no such path, and pages for people (`text/html`), are not part of the document; nor is what other servers answer.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use hourpass::http::openapi_document;
use jsonschema::Validator;
use reqwest::Request;
use serde_json::{Map, Value, json};

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&openapi_document()).unwrap());

/// Validators by the place of their schema, each made when it is first needed.
static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// What was asked.
pub struct Asked {
    method: String,
    path: String,
    /// The names of the parameters in the query.
    parameters: Vec<String>,
    body: Option<Value>,
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Self {
        let bytes = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let form =
            || Value::Object(url::form_urlencoded::parse(bytes).map(|(name, value)| (name.into_owned(), Value::from(value))).collect::<Map<_, _>>());
        let media = request.headers().get("content-type").and_then(|media| media.to_str().ok()).unwrap_or_default();
        Self {
            method: request.method().as_str().to_ascii_lowercase(),
            path: request.url().path().to_owned(),
            parameters: request.url().query_pairs().map(|(name, _)| name.into_owned()).collect(),
            body: if media.contains("form") { Some(form()) } else { serde_json::from_slice(bytes).ok() },
        }
    }
}

impl Asked {
    /// Fails where the document does not know such an answer to such a request.
    pub fn compare(&self, answer: &Answer) {
        // Every answer of ours has one.
        if !answer.headers.contains_key("x-request-id") || self.path.contains("%00") {
            return;
        }
        let Some((path, item)) = find(&self.path) else {
            let html = answer.header("content-type").starts_with("text/html");
            let page = html || (300..400).contains(&answer.status) || self.path.starts_with("/static/");
            assert!(page || answer.status == 404, "{} {} is not in the document, and was answered with {}", self.method, self.path, answer.status);
            return;
        };
        // Every GET answers HEAD, too.
        let method = if self.method == "head" { "get" } else { &self.method };
        let Some(operation) = item.get(method) else {
            assert_eq!(answer.status, 405, "{method} {path} is not in the document");
            return;
        };
        let place = format!("{method} {path}");
        self.compare_answer(&place, &operation["responses"], answer);
        if (200..300).contains(&answer.status) {
            self.compare_request(&place, operation);
        }
    }

    fn compare_answer(&self, place: &str, responses: &'static Value, answer: &Answer) {
        let Some(response) = responses.get(answer.status.to_string()).map(resolve) else {
            panic!("{place} does not document the status {}: {}", answer.status, answer.text);
        };
        // Not everyone is given a cookie, not every answer was given before, and where a request came from the wrong site, no other credential helps.
        let sometimes = |name: &str| ["set-cookie", "idempotency-replayed"].contains(&name) || name == "www-authenticate" && answer.status == 403;
        let documented = response.get("headers").and_then(Value::as_object).into_iter().flat_map(Map::keys).filter(|name| !sometimes(name));
        for name in documented {
            assert!(answer.headers.contains_key(name), "{place} documents the header {name} of {}, which is not there", answer.status);
        }
        let Some(content) = response.get("content").and_then(Value::as_object) else {
            assert_eq!(answer.text, "", "{place} documents no body of {}", answer.status);
            return;
        };
        let media = answer.header("content-type").split(';').next().unwrap_or_default();
        let Some(described) = content.get(media).or_else(|| content.get("*/*")) else {
            panic!("{place} does not document the content type {media} of {}", answer.status);
        };
        if self.method != "head" && ["application/json", "application/problem+json"].contains(&media) {
            valid(&format!("{place} {} {media}", answer.status), &described["schema"], &answer.json());
        }
    }

    /// What was accepted is what the document asks for.
    fn compare_request(&self, place: &str, operation: &'static Value) {
        let described: Vec<_> = operation["parameters"].as_array().into_iter().flatten().map(resolve).collect();
        for sent in &self.parameters {
            let known = described.iter().any(|parameter| parameter["in"] == "query" && parameter["name"] == **sent);
            // Only GET with filters refuses unknown ones.
            assert!(
                known || !described.iter().any(|parameter| parameter["in"] == "query"),
                "{place} took the parameter {sent}, which it does not document"
            );
        }
        let content = operation["requestBody"]["content"].as_object();
        if let (Some(body), Some(content)) = (&self.body, content.and_then(|content| content.values().next())) {
            valid(&format!("{place} request"), &content["schema"], body);
        }
    }
}

/// The template and the item of a path: the one with the fewest parameters.
fn find(path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let fitting = paths.filter(|(template, _)| {
        let (mut wanted, mut there) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), there.next()) {
                (None, None) => return true,
                (Some(wanted), Some(there)) if wanted == there || (wanted.starts_with('{') && !there.is_empty()) => {}
                _ => return false,
            }
        }
    });
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(template, item)| (template.as_str(), item))
}

/// What a reference means.
fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} is nowhere")),
        None => value,
    }
}

fn valid(place: &str, schema: &Value, value: &Value) {
    let validator = *VALIDATORS.lock().unwrap().entry(place.to_owned()).or_insert_with(|| Box::leak(Box::new(validator(schema))));
    let errors: Vec<_> = validator.iter_errors(value).map(|error| format!("{} at {:?}", error, error.instance_path().to_string())).collect();
    assert!(errors.is_empty(), "{place}: the document says otherwise: {errors:#?}\n{value:#}");
}

/// A validator of a schema of the document.
pub fn validator(schema: &Value) -> Validator {
    let whole = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"], "allOf": [schema] });
    jsonschema::options().should_validate_formats(true).build(&whole).unwrap_or_else(|error| panic!("{error}: {schema:#}"))
}
