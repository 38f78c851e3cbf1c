//! Running it: stopping, ports, logs, health.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Client, Database, Engine, Process, TestApp, hourpass, on_both_engines};

fn server(database: &Database, settings: &[(&str, &str)]) -> std::process::Command {
    let mut command = hourpass(database.folder.path());
    command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url).envs(settings.iter().copied());
    command
}

/// A login whose body has not come to its end.
async fn half_a_login(url: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server says "go on" when the handler has begun to read.
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

on_both_engines! {
    async fn a_request_in_progress_is_answered_before_the_stop(engine: Engine) {
        let database = engine.database().await;
        let mut server = Process::start(&mut server(&database, &[]));
        let mut stream = half_a_login(&server.url).await;
        server.signal("TERM");
        server.wait_for("stopping");
        stream.write_all(b"password=x").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        let output = server.output();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stderr).unwrap().contains("stopped"));
    }

    async fn a_request_that_never_ends_is_given_up_after_the_grace(engine: Engine) {
        let database = engine.database().await;
        let mut server = Process::start(&mut server(&database, &[("HOURPASS_SERVER__SHUTDOWN_GRACE", "300ms")]));
        let _stream = half_a_login(&server.url).await;
        server.signal("TERM");
        let output = server.output();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stderr).unwrap().contains("are given up"));
    }

    async fn a_second_server_on_the_same_port_says_so(engine: Engine) {
        let database = engine.database().await;
        let first = Process::start(&mut server(&database, &[]));
        let port = first.url.rsplit_once(':').unwrap().1;
        let empty = engine.database().await;
        let output = server(&empty, &[("HOURPASS_SERVER__PORT", port)]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        // Nothing was set up, and no secrets were shown.
        assert!(output.stdout.is_empty());
        let message = String::from_utf8(output.stderr).unwrap();
        let expected = format!("hourpass: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98); if another program listens there, ");
        assert!(message.lines().last().unwrap().starts_with(&expected), "{message}");
        first.stop();
    }

    async fn logs_are_json_with_the_request_id(engine: Engine) {
        let database = engine.database().await;
        let server = Process::start(&mut server(&database, &[("HOURPASS_LOG__FORMAT", "json")]));
        let answer = Client::new(&server.url).get("/users/me?secret=1").await;
        let id = answer.header("x-request-id").to_owned();
        let output = server.stop();
        let log = String::from_utf8(output.stderr).unwrap();
        let line = log.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{log}"));
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["method"], &line["path"], &line["status"], &line["code"]), (&"GET".into(), &"/users/me".into(), &401.into(), &"missing_credentials".into()));
        assert_eq!(line["span"]["id"], id);
        // Query strings can hold what is nobody's business.
        assert!(!log.contains("secret"));
    }

    async fn a_proxy_that_was_forgotten_is_named_once(engine: Engine) {
        for (trusted, warnings) in [("", 1), ("127.0.0.0/8", 0)] {
            let database = engine.database().await;
            let server = Process::start(&mut server(&database, &[("HOURPASS_SERVER__TRUSTED_PROXIES", trusted)]));
            let client = Client::new(&server.url);
            for _ in 0..2 {
                Answer::of(client.request(reqwest::Method::GET, "/users/me").header("x-forwarded-for", "198.51.100.1")).await;
            }
            let log = String::from_utf8(server.stop().stderr).unwrap();
            assert_eq!(log.matches("X-Forwarded-For is not believed").count(), warnings, "{log}");
        }
    }

    async fn health_and_headers(engine: Engine) {
        let app = TestApp::start(engine).await;
        assert_eq!(app.anyone().get("/healthz").await.expect(200), serde_json::json!({ "status": "live" }));
        let ready = app.anyone().get("/readyz").await;
        assert_eq!((ready.header("cache-control"), ready.header("x-content-type-options")), ("no-store", "nosniff"));
        assert_eq!(ready.expect(200), serde_json::json!({ "status": "ready" }));
    }

    async fn answers_are_counted_by_route(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.anyone().login(app.admin_key()).await.token();
        app.anyone().login("junk").await.expect(401);
        app.admin_client().get("/api/v1/service_accounts/nobody").await.expect(404);
        app.anyone().get("/made/up/by/anyone").await.expect(404);
        let answer = app.anyone().get("/metrics").await;
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        for line in [
            r#"hourpass_http_requests_total{method="POST",route="/auth/login",status="200",code=""} 1"#,
            r#"hourpass_http_requests_total{method="POST",route="/auth/login",status="401",code="invalid_credentials"} 1"#,
            r#"hourpass_http_requests_total{method="GET",route="/api/v1/service_accounts/{account}",status="404",code="not_found"} 1"#,
            r#"hourpass_http_requests_total{method="GET",route="",status="404",code="not_found"} 1"#,
            r#"hourpass_http_request_duration_seconds_count{route="/auth/login"} 2"#,
        ] {
            assert!(answer.text.lines().any(|counted| counted == line), "{line} is not in {}", answer.text);
        }
        assert!(answer.text.contains("hourpass_build_info{version=") && answer.text.ends_with("# EOF\n"));
        assert!(!answer.text.contains("made/up") && !answer.text.contains("nobody"));
    }

    async fn sign_ins_wait_their_turn_and_keys_do_not(engine: Engine) {
        let database = engine.database().await;
        let settings = [
            ("HOURPASS_PASSWORDS__CONCURRENCY", "1"),
            ("HOURPASS_PASSWORDS__QUEUE_TIMEOUT", "1ms"),
            ("HOURPASS_PASSWORDS__GUESSES_PER_MINUTE", "30"),
        ];
        let app = TestApp::start_with(database, &settings).await;
        let guess = |_| {
            let client = app.anyone();
            tokio::spawn(async move { client.post_form("/auth/login", &[("username", "admin@localhost"), ("password", "a wrong guess")]).await })
        };
        let guesses: Vec<_> = (0..20).map(guess).collect();
        assert_eq!(app.anyone().login(app.admin_key()).await.status, 200);
        let (mut refused, mut compared) = (0, 0);
        for guess in guesses {
            let answer = guess.await.unwrap();
            if answer.status == 429 {
                assert_eq!(answer.problem(), (429, "too_many_requests".to_owned()));
                assert_eq!(answer.header("retry-after"), "1");
                refused += 1;
            } else {
                assert_eq!(answer.status, 401);
                compared += 1;
            }
        }
        assert!(refused > 0);
        // Who had no turn has not guessed.
        for _ in compared..30 {
            assert_eq!(guess(0).await.unwrap().status, 401);
        }
        assert_eq!(guess(0).await.unwrap().header("retry-after"), "61");
    }
}

/// How long the whole of it may take is bounded, whatever the database does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_has_a_deadline() {
    let database = Engine::Sqlite.database().await;
    let settings = [("HOURPASS_SERVER__REQUEST_TIMEOUT", "1s"), ("HOURPASS_DATABASE__TIMEOUT", "20s")];
    let app = TestApp::start_with(database, &settings).await;
    // Someone else writes, and takes their time.
    let hourpass::store::Db::Sqlite(pool) = app.store.pool() else { panic!() };
    let mut other = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let answer = app.anyone().login(app.admin_key()).await;
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
    // What was to change something may have done so, or do so later.
    let answer = app.admin_client().post("/api/v1/teams", &serde_json::json!({ "name": "data" })).await;
    assert_eq!(answer.problem(), (503, "outcome_unknown".to_owned()));
    sqlx::query("SELECT 1").execute(&mut *other).await.unwrap();
    other.rollback().await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(20), app.anyone().login(app.admin_key())).await.unwrap();
    assert_eq!(answered.status, 200);
}

/// Records wait in a queue that is bounded; what is in it is written, also when the last of those who hand over records has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_records_is_bounded_and_drained() {
    const QUEUE: usize = 4_096;
    let app = TestApp::start(Engine::Sqlite).await;
    let (recorder, writing) = hourpass::service::Recorder::new(app.store.clone());
    let event = |number: u128| hourpass::domain::audit::Event {
        id: hourpass::domain::id::AuditEventId(uuid::Uuid::from_u128(number)),
        organization_id: None,
        occurred_at: hourpass::domain::time::Timestamp::from_micros(0),
        actor: hourpass::domain::audit::Actor::system(),
        action: hourpass::domain::audit::Action::TokenIssue,
        target: hourpass::domain::audit::Target::hourpass(),
        outcome: hourpass::domain::audit::Outcome::Granted,
        origin: hourpass::domain::audit::Origin::default(),
        token_expires_at: None,
        details: None,
    };
    // Nobody writes yet.
    let mut queued: Vec<_> = (0..QUEUE).map(|number| Box::pin(recorder.record(event(number as u128)))).collect();
    for one in &mut queued {
        assert!(futures_util::poll!(one).is_pending());
    }
    let refused = recorder.record(event(QUEUE as u128)).await;
    assert_eq!(refused, Err(hourpass::service::RecordError::Unavailable));
    let writing = tokio::spawn(writing);
    for one in queued {
        assert_eq!(one.await, Ok(()));
    }
    drop(recorder);
    writing.await.unwrap();
}
