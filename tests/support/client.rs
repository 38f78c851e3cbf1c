//! A caller, and what it was answered.

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::contract::Asked;

/// Someone who calls a server, with a credential or without.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    bearer: Option<String>,
    /// With a browser's headers, as sent by a page of the server itself.
    browser: bool,
    cookie: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// What a request is answered with: it has to be what the OpenAPI document says.
    pub async fn of(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let asked = Asked::from(&request);
        let response = client.execute(request).await.unwrap();
        let answer = Self { status: response.status().as_u16(), headers: response.headers().clone(), text: response.text().await.unwrap() };
        asked.compare(&answer);
        answer
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, which has to be of this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// `(status, code)` of a problem.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(body["status"], self.status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
        (self.status, body["code"].as_str().unwrap().to_owned())
    }

    /// The token of a login that has to have succeeded.
    #[track_caller]
    pub fn token(self) -> String {
        self.expect(200)["access_token"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { http, base: base.to_owned(), bearer: None, browser: false, cookie: None }
    }

    pub fn with(&self, credential: &str) -> Self {
        Self { bearer: Some(credential.to_owned()), ..self.clone() }
    }

    /// A browser that shows a page of the server.
    pub fn browser(&self) -> Self {
        Self { browser: true, ..self.clone() }
    }

    /// The browser that was given the cookie of this answer.
    #[track_caller]
    pub fn keeping(&self, answer: &Answer) -> Self {
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        assert!(cookie.contains("=hp_session_"), "{answer:?}");
        Self { cookie: Some(cookie), browser: true, ..self.clone() }
    }

    pub fn cookie(&self) -> &str {
        self.cookie.as_deref().unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = if self.browser { request.header("sec-fetch-site", "same-origin") } else { request };
        let request = self.cookie.iter().fold(request, |request, cookie| request.header("cookie", cookie));
        self.bearer.iter().fold(request, RequestBuilder::bearer_auth)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// With headers of the test's own.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::GET, path);
        Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// A POST without a body.
    pub async fn call(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::POST, path)).await
    }

    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Answer::of(self.request(Method::POST, path).form(fields)).await
    }

    /// Exchanges a key for a token for Hourpass itself.
    pub async fn login(&self, key: &str) -> Answer {
        self.post_form("/auth/login", &[("password", key)]).await
    }
}
