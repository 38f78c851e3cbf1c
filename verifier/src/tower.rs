//! For services on tower, and with it axum, tonic and hyper: a layer that lets only requests with a valid token through.
//!
//! The service behind it finds the caller in the request's extensions, as `Arc<AccessToken>`.
//!
//! ```no_run
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use hourpass_verifier::tower::VerifyLayer;
//! use hourpass_verifier::{AccessToken, Verifier};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, service_fn};
//!
//! async fn hello(request: Request<String>) -> Result<Response<String>, Infallible> {
//!     let name = request.extensions().get::<Arc<AccessToken>>().map_or("nobody", |caller| caller.name());
//!     Ok(Response::new(format!("hello, {name}")))
//! }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder("https://id.example.com").audience("https://pipelines.example.com").build().await?;
//! let service = ServiceBuilder::new().layer(VerifyLayer::new(verifier)).service(service_fn(hello));
//! # Ok(()) }
//! ```

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::bearer::credential;
use crate::{AccessToken, Verifier, VerifyError};

#[derive(Clone, Debug)]
enum Judge {
    Verifier(Verifier),
    #[cfg(feature = "exchange")]
    Exchange(crate::exchange::Exchange),
}

impl Judge {
    async fn verify(&self, credential: &str) -> Result<Arc<AccessToken>, VerifyError> {
        match self {
            Self::Verifier(verifier) => verifier.verify(credential).await,
            #[cfg(feature = "exchange")]
            Self::Exchange(exchange) => exchange.verify(credential).await,
        }
    }
}

/// Lets only requests with a valid token through.
#[derive(Clone, Debug)]
pub struct VerifyLayer(Judge);

impl VerifyLayer {
    /// Takes access tokens.
    #[must_use]
    pub const fn new(verifier: Verifier) -> Self {
        Self(Judge::Verifier(verifier))
    }

    /// Takes access tokens and API keys.
    #[cfg(feature = "exchange")]
    #[must_use]
    pub const fn with_exchange(exchange: crate::exchange::Exchange) -> Self {
        Self(Judge::Exchange(exchange))
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = VerifyService<S>;

    fn layer(&self, inner: S) -> VerifyService<S> {
        VerifyService { judge: self.0.clone(), inner }
    }
}

/// The service that [`VerifyLayer`] makes of another.
#[derive(Clone, Debug)]
pub struct VerifyService<S> {
    judge: Judge,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for VerifyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let judge = self.judge.clone();
        // The one that said it was ready, and not its clone, is to be called.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let credential = credential(request.headers().get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes)).map(str::to_owned);
            let outcome = match credential {
                Ok(credential) => judge.verify(&credential).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(token) => {
                    request.extensions_mut().insert(token);
                    inner.call(request).await
                }
                Err(error) => Ok(answer(&error)),
            }
        })
    }
}

/// The answer to a request that is refused, as RFC 6750 has it; also for what [`AccessToken::require`] says.
#[must_use]
pub fn answer<R: From<String>>(error: &VerifyError) -> Response<R> {
    let mut response = Response::new(R::from(error.problem()));
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    for (name, value) in error.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
