//! In actix-web and in tower.

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, get, web};
use hourpass_verifier::actix::{Authorized, require_token};
use hourpass_verifier::exchange::Exchange;
use hourpass_verifier::tower::{VerifyLayer, answer};
use hourpass_verifier::{AccessToken, VerifyError};
use http::{Request, Response};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::world::{LIST, World, login_answer};

const KEY: &str = "hp_live_0000000000";

#[get("/deploy")]
async fn deploy(caller: Authorized) -> Result<String, VerifyError> {
    caller.require("pipelines.deploy")?;
    Ok(caller.name().to_owned())
}

#[get("/models/{project}")]
async fn models(caller: Authorized, project: web::Path<String>) -> Result<String, VerifyError> {
    caller.require_in_project(&project, "models.write")?;
    Ok("written".to_owned())
}

/// Status, challenge and body.
macro_rules! ask {
    ($app:expr, $path:expr, $($authorization:expr),*) => {{
        let request = TestRequest::get().uri($path)$(.append_header((AUTHORIZATION, $authorization)))*.to_request();
        let response = call_service(&$app, request).await;
        let header = |name| response.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        let (status, challenge, kind) = (response.status().as_u16(), header(WWW_AUTHENTICATE), header(CONTENT_TYPE));
        let body: Value = if status == 200 { Value::Null } else { read_body_json(response).await };
        (status, challenge, kind, body)
    }};
}

#[actix_web::test]
async fn actix_lets_valid_tokens_through() {
    let world = World::start().await;
    let app = init_service(App::new().app_data(web::Data::new(world.verifier().await)).service(deploy).service(models)).await;
    assert_eq!(ask!(app, "/deploy", format!("Bearer {}", world.token())).0, 200);
    assert_eq!(ask!(app, "/deploy", format!("bearer {}", world.token())).0, 200);
    assert_eq!(ask!(app, "/models/models", format!("Bearer {}", world.token())).0, 200);

    let (status, challenge, kind, body) = ask!(app, "/deploy",);
    assert_eq!((status, challenge.unwrap().as_str()), (401, r#"Bearer realm="hourpass""#));
    assert_eq!((kind.unwrap().as_str(), body["code"].as_str(), body.get("error")), ("application/problem+json", Some("missing_token"), None));

    let (status, challenge, _, body) = ask!(app, "/deploy", format!("Bearer {}x", world.token()));
    assert!(challenge.unwrap().starts_with(r#"Bearer realm="hourpass", error="invalid_token""#));
    assert_eq!((status, body["error"].as_str(), body["status"].as_u64()), (401, Some("invalid_token"), Some(401)));

    let (status, challenge, _, body) = ask!(app, "/models/other", format!("Bearer {}", world.token()));
    assert!(challenge.unwrap().ends_with(r#"scope="models.write""#));
    assert_eq!((status, body["code"].as_str()), (403, Some("insufficient_scope")));

    let both = ask!(app, "/deploy", format!("Bearer {}", world.token()), format!("Bearer {}", world.token()));
    assert_eq!((both.0, both.3["code"].as_str()), (400, Some("invalid_request")));
    assert_eq!(ask!(app, "/deploy", "Basic eDp5").0, 401);
    assert_eq!(ask!(app, "/deploy", format!("Bearer {KEY}")).0, 401, "keys are for an Exchange");
}

#[actix_web::test]
async fn actix_says_when_to_come_back() {
    let world = World::start().await;
    world.issuer.page(LIST, crate::support::issuer::Page::status(500));
    let app = init_service(App::new().app_data(web::Data::new(world.verifier().await)).service(deploy)).await;
    let request = TestRequest::get().uri("/deploy").append_header((AUTHORIZATION, format!("Bearer {}", world.token()))).to_request();
    let response = call_service(&app, request).await;
    assert_eq!((response.status().as_u16(), response.headers().get(WWW_AUTHENTICATE)), (503, None));
    assert!(response.headers().get("retry-after").unwrap().to_str().unwrap().parse::<u64>().unwrap() >= 1);
}

#[actix_web::test]
async fn actix_takes_keys_where_there_is_an_exchange() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    let exchange = Exchange::new(world.verifier().await);
    let app = init_service(App::new().app_data(web::Data::new(exchange)).service(deploy)).await;
    assert_eq!(ask!(app, "/deploy", format!("Bearer {KEY}")).0, 200);
    assert_eq!(ask!(app, "/deploy", format!("Bearer {}", world.token())).0, 200);
    let (status, challenge, ..) = ask!(app, "/deploy", "Bearer hp_live_1111111111");
    assert!(status == 401 && challenge.unwrap().contains("invalid_token"));
}

#[actix_web::test]
async fn actix_guards_what_is_behind_the_middleware() {
    async fn open() -> &'static str {
        "reached"
    }
    let world = World::start().await;
    let verifier = world.verifier().await;
    let scope = web::scope("").wrap(from_fn(require_token)).route("/open", web::get().to(open)).service(deploy);
    let app = init_service(App::new().app_data(web::Data::new(verifier.clone())).service(scope)).await;
    let request = TestRequest::get().uri("/open").to_request();
    let refused = actix_web::test::try_call_service(&app, request).await.unwrap_err().error_response();
    assert_eq!(refused.status().as_u16(), 401);
    assert!(refused.headers().contains_key(WWW_AUTHENTICATE));
    let token = world.token();
    for path in ["/open", "/deploy"] {
        let request = TestRequest::get().uri(path).append_header((AUTHORIZATION, format!("Bearer {token}"))).to_request();
        assert_eq!(call_service(&app, request).await.status().as_u16(), 200, "{path}");
    }
    assert_eq!(verifier.stats().verified + verifier.stats().cached, 2, "once for each request");
}

#[actix_web::test]
async fn actix_without_a_verifier_is_a_fault_of_ours() {
    let app = init_service(App::new().service(deploy)).await;
    let request = TestRequest::get().uri("/deploy").append_header((AUTHORIZATION, "Bearer x")).to_request();
    assert_eq!(call_service(&app, request).await.status().as_u16(), 500);
}

async fn hello(request: Request<String>) -> Result<Response<String>, Infallible> {
    let caller = request.extensions().get::<Arc<AccessToken>>().unwrap();
    Ok(match caller.require("pipelines.deploy") {
        Ok(()) => Response::new(caller.name().to_owned()),
        Err(error) => answer(&error),
    })
}

async fn call(layer: VerifyLayer, authorization: Option<String>) -> Response<String> {
    let mut request = Request::get("/");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    layer.layer(service_fn(hello)).oneshot(request.body(String::new()).unwrap()).await.unwrap()
}

#[actix_web::test]
async fn tower_lets_valid_tokens_through() {
    let world = World::start().await;
    let layer = VerifyLayer::new(world.verifier().await);
    let through = call(layer.clone(), Some(format!("Bearer {}", world.token()))).await;
    assert_eq!((through.status().as_u16(), through.body().as_str()), (200, "ci"));
    let missing = call(layer.clone(), None).await;
    assert_eq!(missing.status().as_u16(), 401);
    assert_eq!(missing.headers()["www-authenticate"], r#"Bearer realm="hourpass""#);
    let narrow = world.token_with(|claims| claims["scope"] = "pipelines.read".into());
    let narrow = call(layer.clone(), Some(format!("Bearer {narrow}"))).await;
    assert_eq!(narrow.status().as_u16(), 403);
    assert!(narrow.headers()["www-authenticate"].to_str().unwrap().ends_with(r#"scope="pipelines.deploy""#));
    let altered = call(layer, Some(format!("Bearer {}x", world.token()))).await;
    let body: Value = serde_json::from_str(altered.body()).unwrap();
    assert_eq!((altered.status().as_u16(), body["code"].as_str()), (401, Some("malformed")));
    assert_eq!(altered.headers()["content-type"], "application/problem+json");
    assert_eq!(altered.headers()["cache-control"], "no-store");
}

#[actix_web::test]
async fn tower_takes_keys_where_there_is_an_exchange() {
    let world = World::start().await;
    world.issuer.login(KEY, login_answer(&world.token(), 3600));
    let layer = VerifyLayer::with_exchange(Exchange::new(world.verifier().await));
    assert_eq!(call(layer.clone(), Some(format!("Bearer {KEY}"))).await.status().as_u16(), 200);
    assert_eq!(call(layer, Some("Bearer hp_live_1111111111".to_owned())).await.status().as_u16(), 401);
}

#[actix_web::test]
async fn behind_another_verifier_one_has_to_show_oneself_again() {
    let (world, other) = (World::start().await, World::start().await);
    let inner = web::scope("/inner").app_data(web::Data::new(other.verifier().await)).service(deploy);
    let app = init_service(App::new().app_data(web::Data::new(world.verifier().await)).wrap(from_fn(require_token)).service(inner)).await;
    let (status, _, _, body) = ask!(app, "/inner/deploy", format!("Bearer {}", world.token()));
    assert_eq!((status, body["error"].as_str()), (401, Some("invalid_token")), "{body}");
}

#[actix_web::test]
async fn two_verifiers_for_one_handler_are_a_mistake() {
    let (world, other) = (World::start().await, World::start().await);
    let exchange = Exchange::new(other.verifier().await);
    let app = init_service(App::new().app_data(web::Data::new(world.verifier().await)).app_data(web::Data::new(exchange)).service(deploy)).await;
    for token in [world.token(), other.token()] {
        let request = TestRequest::get().uri("/deploy").append_header((AUTHORIZATION, format!("Bearer {token}"))).to_request();
        assert_eq!(call_service(&app, request).await.status(), 500);
    }
}
