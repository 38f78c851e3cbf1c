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
        Box::pin(async move { authorize(&request).await.map(|(caller, _)| caller) })
    }
}

/// A middleware that lets only requests with a valid token through, for `actix_web::middleware::from_fn`. The handlers behind it find the
/// caller with [`Authorized`], which is not verified again.
///
/// # Errors
/// [`VerifyError`], where there is no valid token.
pub async fn require_token<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, actix_web::Error> {
    let (caller, verifier) = authorize(request.request()).await?;
    request.extensions_mut().insert(Judged { caller, verifier });
    next.call(request).await
}

/// A caller, and who has let them through: behind another verifier, they have to show themselves again.
struct Judged {
    caller: Authorized,
    verifier: Verifier,
}

async fn authorize(request: &HttpRequest) -> Result<(Authorized, Verifier), actix_web::Error> {
    let verifier = request.app_data::<Data<Verifier>>();
    #[cfg(feature = "exchange")]
    let exchange = request.app_data::<Data<crate::exchange::Exchange>>();
    #[cfg(feature = "exchange")]
    let verifier = match (verifier, exchange) {
        // Which of them was meant here cannot be told, and the wrong one would let others in.
        (Some(verifier), Some(exchange)) if !Arc::ptr_eq(&verifier.0, &exchange.verifier().0) => {
            return Err(ErrorInternalServerError("the application's data hold a Verifier and the Exchange of another; keep one of them"));
        }
        (_, Some(exchange)) => Some(exchange.verifier()),
        (verifier, None) => verifier.map(Data::get_ref),
    };
    let verifier = verifier.ok_or_else(|| ErrorInternalServerError("the application's data hold no hourpass_verifier::Verifier"))?;
    if let Some(judged) = request.extensions().get::<Judged>().filter(|judged| Arc::ptr_eq(&judged.verifier.0, &verifier.0)) {
        return Ok((judged.caller.clone(), judged.verifier.clone()));
    }
    let credential = credential(request.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes))?;
    #[cfg(feature = "exchange")]
    if let Some(exchange) = exchange {
        return Ok((Authorized(exchange.verify(credential).await?), Verifier::clone(verifier)));
    }
    Ok((Authorized(verifier.verify(credential).await?), Verifier::clone(verifier)))
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
