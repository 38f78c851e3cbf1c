//! Junk, and the clear refusal that it gets.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, TestApp, on_both_engines};

const FORM: &str = "application/x-www-form-urlencoded";

async fn raw(app: &TestApp, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.anyone().request(Method::POST, "/auth/login").body(body);
    Answer::of(if content_type.is_empty() { request } else { request.header("content-type", content_type) }).await
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

on_both_engines! {
    async fn the_character_nul_in_a_body_is_refused(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for (path, body) in [
            ("role_assignments", json!({ "role": "\0", "service_account": "bootstrap" })), ("role_assignments", json!({ "role": "x", "team": "a\0" })),
            ("service_accounts", json!({ "name": "x", "workspace": "\0", "permissions": ["nodes.read"] })), ("explain", json!({ "credential": "x", "workspace": "\0" })),
            ("users", json!({ "email": "a\0@example.com" })), ("workspaces", json!({ "slug": "x", "labels": { "a": "\0" } })),
        ] {
            assert_eq!(admin.post(&format!("/api/v1/{path}"), &body).await.problem(), (400, "invalid_request".to_owned()), "{body}");
        }
    }

    async fn a_form_that_is_not_right(engine: Engine) {
        let app = TestApp::start(engine).await;
        let key = app.admin_key();
        for (body, names) in [
            (String::new(), "password is missing"),
            ("grant_type=password".to_owned(), "password is missing"),
            ("password=".to_owned(), "password is missing or empty"),
            (format!("password={key}&password={key}"), "password is there more than once"),
            (format!("password={key}&workspace=a&workspace=b"), "workspace is there more than once"),
            (format!("password={key}&workspace=a&audience=https://b"), "by workspace, or by audience"),
            (format!("password={key}&audience=https://a&resource=https://b"), "two receivers"),
            ("password=%ff".to_owned(), "not UTF-8"),
        ] {
            let answer = raw(&app, FORM, body.clone()).await;
            assert_eq!(answer.problem(), code(400, "invalid_request"), "{body}");
            let said = answer.json();
            assert_eq!(said["error"], "invalid_request");
            assert!(said["detail"].as_str().unwrap().contains(names), "{said}");
            assert_eq!(said["detail"], said["error_description"]);
            assert!(!answer.text.contains(key));
        }
    }

    async fn a_key_that_is_not_right(engine: Engine) {
        let app = TestApp::start(engine).await;
        let key = app.admin_key();
        let last = if key.ends_with('0') { '1' } else { '0' };
        let altered = format!("{}{last}", &key[..key.len() - 1]);
        for wrong in [altered.as_str(), "x", "hp_live_", &"a".repeat(57), "' OR 1=1 --", "a.b.c"] {
            let answer = app.anyone().login(wrong).await;
            assert_eq!(answer.problem(), code(401, "invalid_credentials"), "{wrong}");
            assert!(answer.header("www-authenticate").starts_with("Bearer realm="));
            assert!(!answer.text.contains(wrong) || wrong.len() < 3);
        }
        // Of the right form, and never issued here.
        let other = TestApp::start(engine).await;
        assert_eq!(app.anyone().login(other.admin_key()).await.problem(), code(401, "invalid_credentials"));
    }

    async fn a_pasted_key_is_taken(engine: Engine) {
        let app = TestApp::start(engine).await;
        for pasted in [format!("{}\n", app.admin_key()), format!(" {}\r\n", app.admin_key())] {
            assert_eq!(app.anyone().login(&pasted).await.status, 200);
        }
    }

    async fn a_receiver_that_is_not_there(engine: Engine) {
        let app = TestApp::start(engine).await;
        for (field, value) in [("workspace", "nowhere"), ("workspace", "00000000-0000-7000-8000-000000000000"), ("audience", "https://nowhere.example.com")] {
            let answer = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), (field, value)]).await;
            assert_eq!(answer.problem(), code(400, "invalid_target"));
            assert_eq!(answer.json()["error"], "invalid_target");
        }
        // Our own audience is no workspace's, but it is ours.
        let own = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("audience", &app.url)]).await;
        assert_eq!(own.status, 200);
    }

    async fn a_body_of_another_kind(engine: Engine) {
        let app = TestApp::start(engine).await;
        for content_type in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
            let answer = raw(&app, content_type, json!({ "password": app.admin_key() }).to_string()).await;
            assert_eq!(answer.problem(), code(415, "unsupported_media_type"), "{content_type}");
            assert_eq!(answer.header("accept-post"), FORM);
        }
        let multipart = reqwest::multipart::Form::new().text("password", app.admin_key().to_owned());
        let answer = Answer::of(app.anyone().request(Method::POST, "/auth/login").multipart(multipart)).await;
        assert_eq!(answer.problem(), code(415, "unsupported_media_type"));
        let charset = raw(&app, "application/x-www-form-urlencoded; charset=utf-8", format!("password={}", app.admin_key())).await;
        assert_eq!(charset.status, 200);

        let admin = app.admin_client();
        let form = admin.post_form("/api/v1/service_accounts", &[("name", "x")]).await;
        assert_eq!(form.problem(), code(415, "unsupported_media_type"));
        assert_eq!(form.header("accept-post"), "application/json");
    }

    async fn a_body_that_is_too_large(engine: Engine) {
        let app = TestApp::start(engine).await;
        let megabyte = format!("password={}", "a".repeat(1 << 20));
        assert_eq!(raw(&app, FORM, megabyte.clone()).await.problem(), code(413, "payload_too_large"));
        // Without an announced length, it is counted while it comes.
        let chunks = megabyte.into_bytes().chunks(1 << 14).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        assert_eq!(raw(&app, FORM, stream).await.problem(), code(413, "payload_too_large"));
        assert_eq!(app.anyone().login(app.admin_key()).await.status, 200);
    }

    async fn json_that_is_not_right(engine: Engine) {
        let app = TestApp::start(engine).await;
        for (body, names) in [
            ("", "EOF"), ("{", "EOF"), ("[]", "has to be an object"), (r#"["a","b"]"#, "has to be an object"), ("{}", "missing field `name`"), (r#"{"name":1}"#, "expected a string"),
            (r#"{"name":"a","name":"b"}"#, "duplicate field `name`"), (r#"{"name":"a","nmae":"b"}"#, "unknown field `nmae`"),
        ] {
            let request = app.admin_client().request(Method::POST, "/api/v1/service_accounts").header("content-type", "application/json").body(body);
            let answer = Answer::of(request).await;
            assert_eq!(answer.problem(), code(400, "invalid_request"), "{body}");
            assert!(answer.json()["detail"].as_str().unwrap().contains(names), "{body}: {}", answer.text);
        }
    }

    async fn a_path_or_method_that_is_not_there(engine: Engine) {
        let app = TestApp::start(engine).await;
        assert_eq!(app.anyone().get("/nowhere").await.problem(), code(404, "not_found"));
        let answer = app.anyone().get("/auth/login").await;
        assert_eq!(answer.problem(), code(405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), "POST");
    }

    async fn a_body_that_trickles(engine: Engine) {
        let database = engine.database().await;
        let app = TestApp::start_with(database, &[("HOURPASS_SERVER__BODY_TIMEOUT", "200ms")]).await;
        let mut stream = tokio::net::TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!("POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\ncontent-length: 100\r\nconnection: close\r\n\r\npass");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The rest never comes; without a bound, neither would the answer.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    }
}
