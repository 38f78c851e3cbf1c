//! A resource service as its authors would write it: a few routes, each of which names the permission that it needs. It has no database, shares no secret with Hourpass,
//! and asks Hourpass for nothing per request: it holds the keys and the status list, which `hourpass-verifier` keeps fresh.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::rt::time::timeout;
use actix_web::web::{Data, Form, FormConfig, Json, Path};
use actix_web::{App, HttpResponse, HttpServer, ResponseError, get, post};
use hourpass_verifier::actix::Authorized;
use hourpass_verifier::exchange::Exchange;
use hourpass_verifier::{Verifier, VerifyError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The longest time for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The greatest size of a form, in bytes.
const FORM_LIMIT: usize = 16 * 1024;

/// What this service is about: pipelines, and which version of each is deployed.
#[derive(Debug)]
pub struct Pipelines(Mutex<BTreeMap<String, Option<u32>>>);

impl Default for Pipelines {
    fn default() -> Self {
        Self(Mutex::new([("ingest", Some(3)), ("train", Some(12)), ("report", None)].map(|(name, version)| (name.to_owned(), version)).into()))
    }
}

impl Pipelines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Serialize)]
struct Pipeline {
    name: String,
    deployed_version: Option<u32>,
}

#[derive(Deserialize)]
struct LoginForm {
    password: String,
}

#[derive(Deserialize)]
struct Deployment {
    version: u32,
}

/// The exchange, for this service's own audience: clients need to know no other address.
#[post("/api/v1/login")]
async fn login(exchange: Data<Exchange>, form: Form<LoginForm>) -> Result<HttpResponse, VerifyError> {
    let answer = exchange.login(&form.password).await?;
    let token = exchange.verifier().verify(&answer.access_token).await?;
    let scope: Vec<&str> = token.scopes().collect();
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(json!({
        "access_token": answer.access_token, "token_type": answer.token_type, "expires_in": answer.expires_in, "refresh_token": null,
        "scope": (!scope.is_empty()).then(|| scope.join(" ")), "authorization_details": token.authorization_details(),
    })))
}

/// Who is calling. Any token for this workspace will do.
#[get("/api/v1/current-user")]
async fn current_user(caller: Authorized) -> Json<Value> {
    Json(json!({
        "id": caller.subject(), "name": caller.name(), "organization_id": caller.organization_id(), "workspace_id": caller.workspace_id(),
        "permissions": caller.scopes().collect::<Vec<_>>(), "authorization_details": caller.authorization_details(),
    }))
}

#[get("/api/v1/pipelines")]
async fn list(caller: Authorized, pipelines: Data<Pipelines>) -> Result<Json<Vec<Pipeline>>, VerifyError> {
    caller.require("pipelines.read")?;
    Ok(Json(pipelines.lock().iter().map(|(name, version)| Pipeline { name: name.clone(), deployed_version: *version }).collect()))
}

#[get("/api/v1/pipelines/{name}")]
async fn show(caller: Authorized, pipelines: Data<Pipelines>, name: Path<String>) -> Result<HttpResponse, VerifyError> {
    caller.require("pipelines.read")?;
    let found = pipelines.lock().get(&*name).copied();
    Ok(found.map_or_else(|| no_such(&name), |deployed_version| HttpResponse::Ok().json(Pipeline { name: name.to_string(), deployed_version })))
}

#[post("/api/v1/pipelines/{name}/deploy")]
async fn deploy(caller: Authorized, pipelines: Data<Pipelines>, name: Path<String>, wanted: Json<Deployment>) -> Result<HttpResponse, VerifyError> {
    caller.require("pipelines.deploy")?;
    Ok(set(&pipelines, &name, Some(wanted.version)))
}

#[post("/api/v1/pipelines/{name}/undeploy")]
async fn undeploy(caller: Authorized, pipelines: Data<Pipelines>, name: Path<String>) -> Result<HttpResponse, VerifyError> {
    caller.require("pipelines.deploy")?;
    Ok(set(&pipelines, &name, None))
}

fn set(pipelines: &Pipelines, name: &str, version: Option<u32>) -> HttpResponse {
    match pipelines.lock().get_mut(name) {
        Some(deployed) => {
            *deployed = version;
            HttpResponse::Ok().json(Pipeline { name: name.to_owned(), deployed_version: version })
        }
        None => no_such(name),
    }
}

fn no_such(name: &str) -> HttpResponse {
    problem(StatusCode::NOT_FOUND, "not_found", &format!("there is no pipeline {name}"))
}

fn problem(status: StatusCode, code: &str, detail: &str) -> HttpResponse {
    let body = json!({ "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "code": code, "detail": detail });
    HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
}

/// A client that sends its request a byte at a time is not waited for.
async fn in_time<B: MessageBody + 'static>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Ok(answered) = timeout(REQUEST_TIMEOUT, next.call(request)).await else {
        let response = problem(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request did not arrive in time; send it in one go");
        return Err(InternalError::from_response("the request took too long", response).into());
    };
    answered
}

/// Serves the workspace until it is stopped. `verifier` has the workspace's audience.
///
/// # Errors
/// Where the listener cannot be served.
pub fn serve(listener: TcpListener, verifier: Verifier) -> std::io::Result<Server> {
    let (exchange, pipelines) = (Data::new(Exchange::new(verifier)), Data::new(Pipelines::default()));
    let app = move || {
        let bad_form = FormConfig::default().limit(FORM_LIMIT).error_handler(|error, _| {
            let response = problem(error.status_code(), "invalid_request", "send the form field password, with your API key in it");
            InternalError::from_response(error, response).into()
        });
        let app = App::new().wrap(from_fn(in_time)).app_data(exchange.clone()).app_data(pipelines.clone()).app_data(bad_form);
        app.service(login).service(current_user).service(list).service(show).service(deploy).service(undeploy)
    };
    Ok(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run())
}
