//! For services on actix-web: an extractor, a middleware, and answers as RFC 6750 has them.
//!
//! The [`Verifier`] is found in the application's data. With the feature `exchange` and an `Exchange` beside it, API keys are taken as well.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, get, web};
//! use hourpass_verifier::actix::Authorized;
//! use hourpass_verifier::{Verifier, VerifyError};
//!
//! #[get("/pipelines/{project}")]
//! async fn pipelines(caller: Authorized, project: web::Path<String>) -> Result<String, VerifyError> {
//!     caller.require_in_project(&project, "pipelines.read")?;
//!     Ok(format!("hello, {}", caller.name()))
//! }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder("https://id.example.com").audience("https://pipelines.example.com").build().await?;
//! HttpServer::new(move || App::new().app_data(web::Data::new(verifier.clone())).service(pipelines)).bind("127.0.0.1:9000")?.run().await?;
//! # Ok(()) }
//! ```

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};

use crate::bearer::credential;
use crate::{AccessToken, Verifier, VerifyError};

/// The caller of a handler: as an argument, it lets only requests with a valid token through.
#[derive(Clone, Debug)]
pub struct Authorized(pub Arc<AccessToken>);

impl Deref for Authorized {
    type Target = AccessToken;

    fn deref(&self) -> &AccessToken {
        &self.0
    }
}

impl FromRequest for Authorized {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authorize(&request).await })
    }
}

/// A middleware that lets only requests with a valid token through, for `actix_web::middleware::from_fn`. The handlers behind it find the
/// caller with [`Authorized`], which is not verified again.
///
/// # Errors
/// [`VerifyError`], where there is no valid token.
pub async fn require_token<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, actix_web::Error> {
    let caller = authorize(request.request()).await?;
    request.extensions_mut().insert(caller);
    next.call(request).await
}

async fn authorize(request: &HttpRequest) -> Result<Authorized, actix_web::Error> {
    if let Some(caller) = request.extensions().get::<Authorized>() {
        return Ok(caller.clone());
    }
    let credential = credential(request.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes))?;
    #[cfg(feature = "exchange")]
    if let Some(exchange) = request.app_data::<Data<crate::exchange::Exchange>>() {
        return Ok(Authorized(exchange.verify(credential).await?));
    }
    let verifier = request.app_data::<Data<Verifier>>();
    let verifier = verifier.ok_or_else(|| ErrorInternalServerError("the application's data hold no hourpass_verifier::Verifier"))?;
    Ok(Authorized(verifier.verify(credential).await?))
}

impl ResponseError for VerifyError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        for header in self.headers() {
            response.insert_header(header);
        }
        response.content_type("application/problem+json").body(self.problem())
    }
}
