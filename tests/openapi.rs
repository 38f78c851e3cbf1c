//! The OpenAPI document and its page. That the document tells the truth is looked at with every answer that any test gets: see `support::contract`.

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Engine, TestApp, validator};

/// Every place in the document where a media type has a schema and an example.
fn examples<'a>(value: &'a Value, place: &str, found: &mut Vec<(String, &'a Value, &'a Value)>) {
    let Value::Object(members) = value else {
        if let Value::Array(items) = value {
            for item in items {
                examples(item, place, found);
            }
        }
        return;
    };
    if let Some(schema) = members.get("schema") {
        found.extend(members.get("example").map(|example| (place.to_owned(), schema, example)));
        let named = members.get("examples").and_then(Value::as_object).into_iter().flatten();
        found.extend(named.map(|(name, example)| (format!("{place}/{name}"), schema, &example["value"])));
    }
    for (name, member) in members {
        examples(member, &format!("{place}/{name}"), found);
    }
}

async fn served() -> (TestApp, Answer) {
    let app = TestApp::start(Engine::Sqlite).await;
    let answer = app.anyone().get("/openapi.json").await;
    (app, answer)
}

#[tokio::test]
async fn the_document_is_served_to_anyone_and_kept_until_it_changes() {
    let (app, answer) = served().await;
    assert_eq!((answer.status, answer.header("content-type"), answer.header("cache-control")), (200, "application/json", "no-cache"));
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let again = app.anyone().request(Method::GET, "/openapi.json").header("if-none-match", answer.header("etag"));
    let again = Answer::of(again).await;
    assert_eq!((again.status, &*again.text, again.header("etag")), (304, "", answer.header("etag")));
    let zipped = Answer::of(app.anyone().request(Method::HEAD, "/openapi.json").header("accept-encoding", "br, gzip")).await;
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, "gzip"));
}

#[tokio::test]
async fn examples_are_what_their_schemas_say() {
    let (_app, answer) = served().await;
    let document = answer.json();
    let mut found = Vec::new();
    examples(&document, "", &mut found);
    assert!(found.len() > 200, "{}", found.len());
    for (place, schema, example) in found {
        let errors: Vec<_> = validator(schema).iter_errors(example).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{place}: {errors:?}\n{example:#}");
    }
}

#[tokio::test]
async fn every_operation_is_complete() {
    let (_app, answer) = served().await;
    let document = answer.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            for member in ["operationId", "summary", "description"] {
                assert!(operation[member].as_str().is_some_and(|text| !text.is_empty()), "{place} has no {member}");
            }
            assert!(operation["security"].is_array(), "{place} does not say who may ask");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')) && responses.contains_key("503"), "{place}");
            let json = responses.values().filter_map(|response| response["content"].get("application/json"));
            assert!(
                json.chain(operation["requestBody"]["content"].as_object().into_iter().flat_map(|it| it.values()))
                    .all(|it| it.get("example").is_some() || path == "/openapi.json"),
                "{place} has no example"
            );
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name} is not described");
        for (member, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string() || property.get("$ref").is_some(), "{name}.{member} is not described");
        }
    }
}

#[tokio::test]
async fn the_page_and_its_files_come_from_here_alone() {
    let (app, _) = served().await;
    let page = app.anyone().get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let named: Vec<_> = page.text.split("\"/docs/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for name in named {
        let file = app.anyone().request(Method::GET, &format!("/docs/{name}")).header("accept-encoding", "identity");
        let file = Answer::of(file).await;
        let expected = match name.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/png",
        };
        assert_eq!((file.status, file.header("content-type"), file.header("x-content-type-options")), (200, expected, "nosniff"), "{name}");
        assert!(file.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'; "), "{name}");
        let again = Answer::of(app.anyone().request(Method::GET, &format!("/docs/{name}")).header("if-none-match", file.header("etag"))).await;
        assert_eq!(again.status, 304, "{name}");
    }
    let csp = page.header("content-security-policy");
    assert!(!csp.contains("unsafe") && csp.contains("frame-ancestors 'none'"), "{csp}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    for name in ["index.html", "swagger-ui.js", "..%2Fdocs.js", "x"] {
        assert_eq!(app.anyone().get(&format!("/docs/{name}")).await.problem(), (404, "not_found".to_owned()), "{name}");
    }
}
