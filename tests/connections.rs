//! Every connection is bounded in time and in memory, on every route, whoever asks.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::future::join_all;
use hourpass::http::{PAGES, ROUTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Engine, Process, TestApp, hourpass, on_both_engines};

/// Long enough for any machine: what is waited for comes after less than a second.
const BOUND: Duration = Duration::from_secs(30);

/// Times that a test does not wait long for. Only those that it names are short, so that it sees which one closes.
fn short(names: &[&str]) -> Vec<(String, &'static str)> {
    let all = ["HEAD", "BODY", "REQUEST", "WRITE", "IDLE"];
    assert!(names.iter().all(|name| all.contains(name)));
    all.iter().map(|name| (format!("HOURPASS_SERVER__{name}_TIMEOUT"), if names.contains(name) { "300ms" } else { "10m" })).collect()
}

async fn start(engine: Engine, names: &[&str], more: &[(&str, &str)]) -> TestApp {
    let short = short(names);
    let settings: Vec<_> = short.iter().map(|(name, value)| (name.as_str(), *value)).chain(more.iter().copied()).collect();
    TestApp::start_with(engine.database().await, &settings).await
}

/// A connection to the server, with nothing between.
struct Raw(TcpStream);

impl Raw {
    async fn open(url: &str) -> Self {
        Self(TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap())
    }

    async fn send(url: &str, text: &str) -> Self {
        let mut this = Self::open(url).await;
        this.write(text).await;
        this
    }

    async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What arrives until the server closes the connection, which it has to. This side stays open.
    async fn until_closed(&mut self) -> String {
        let mut text = Vec::new();
        let read = timeout(BOUND, self.0.read_to_end(&mut text)).await.expect("the connection stays open");
        assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        String::from_utf8(text).unwrap()
    }

    /// The head and the body of one answer, by its content-length.
    async fn answer(&mut self) -> (String, String) {
        let mut text = Vec::new();
        let reading = async {
            while !text.ends_with(b"\r\n\r\n") {
                text.push(self.0.read_u8().await.unwrap());
            }
            let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            (head, String::from_utf8(body).unwrap())
        };
        timeout(BOUND, reading).await.expect("there is no answer")
    }
}

/// What the server counts.
async fn metric(app: &TestApp, line: &str) -> u64 {
    let text = app.anyone().get("/metrics").await.text;
    let counted = text.lines().find_map(|counted| counted.strip_prefix(line)?.strip_prefix(' ').map(|count| count.parse().unwrap()));
    counted.unwrap_or_else(|| panic!("{line} is not in {text}"))
}

/// Every route and page there is, and some that there are not.
fn everywhere() -> Vec<(String, String)> {
    let routes = ROUTES.iter().map(|route| (route.method, route.path)).chain(PAGES.iter().map(|page| (page.method, page.path)));
    let others = [
        ("POST", "/nowhere"),
        ("GET", "/nowhere"),
        ("PUT", "/healthz"),
        ("POST", "/static/app.css"),
        ("OPTIONS", "/auth/login"),
        ("BREW", "/coffee"),
        ("POST", "/%00"),
    ];
    let fill = |path: &str| {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "nobody" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    };
    routes.chain(others).map(|(method, path)| (method.to_owned(), fill(path))).collect()
}

on_both_engines! {
    async fn unfinished_body_is_answered_and_closed_on_every_route(engine: Engine) {
        let app = start(engine, &["BODY"], &[]).await;
        let bearer = format!("authorization: Bearer {}\r\n", app.admin_key());
        // Of each kind: a chunk, and then nothing; less than was announced; the server is asked first whether it wants it.
        let bodies = [
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "content-length: 1000\r\n\r\nhello",
            "expect: 100-continue\r\ncontent-length: 1000\r\n\r\n",
        ];
        let everywhere = everywhere();
        assert!(everywhere.len() > 150);
        for credential in ["", bearer.as_str()] {
            for body in bodies {
                for kind in ["application/json", "application/x-www-form-urlencoded"] {
                    for some in everywhere.chunks(50) {
                        let asked = some.iter().map(async |(method, path)| {
                            let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nsec-fetch-site: same-origin\r\ncontent-type: {kind}\r\n{credential}");
                            let mut raw = Raw::send(&app.url, &format!("{head}{body}")).await;
                            let answer = raw.until_closed().await.to_ascii_lowercase();
                            let answer = answer.strip_prefix("http/1.1 100 continue\r\n\r\n").unwrap_or(&answer);
                            let head = answer.split("\r\n\r\n").next().unwrap();
                            let closes = head.lines().any(|line| line == "connection: close");
                            assert!(head.starts_with("http/1.1 ") && closes, "{method} {path}: {answer}");
                        });
                        join_all(asked).await;
                    }
                }
            }
        }
        assert!(metric(&app, "hourpass_connections_expired_total{reason=\"body\"}").await > 0);
    }

    async fn answer_before_the_end_of_a_body_is_not_lost(engine: Engine) {
        let app = start(engine, &[], &[]).await;
        // More than the socket's buffers hold: without being read, it would make the server reset the connection.
        let body = "x".repeat(4 << 20);
        let head = format!("POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut raw = Raw::send(&app.url, &head).await;
        raw.write(&body).await;
        let answer = raw.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with('}'), "{answer}");
    }

    async fn exchanges_go_on_beside_slow_connections(engine: Engine) {
        let app = start(engine, &[], &[]).await;
        let slow = [
            "",
            "POST /auth/login HTTP/1.1\r\nhost: x\r\n",
            "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\npass",
            "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n4\r\npass\r\n",
        ];
        let _held = join_all((0..400).map(|number| Raw::send(&app.url, slow[number % slow.len()]))).await;
        for _ in 0..20 {
            app.anyone().login(app.admin_key()).await.token();
        }
        app.anyone().get("/readyz").await.expect(200);
    }

    async fn export_is_complete_and_holds_no_database_connection_for_a_slow_reader(engine: Engine) {
        let app = start(engine, &[], &[("HOURPASS_DATABASE__MAX_CONNECTIONS", "2"), ("HOURPASS_DATABASE__TIMEOUT", "1s")]).await;
        let key = app.admin_key();
        for _ in 0..12 {
            join_all((0..100).map(|_| async { app.anyone().login(key).await.token() })).await;
        }
        let expected = app.admin_client().get("/api/v1/audit_events/export").await;
        assert!(expected.text.lines().count() > 1_200);
        let request = format!("GET /api/v1/audit_events/export HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", app.admin_key());
        let _readers = join_all((0..20).map(|_| small(&app.url, &request))).await;
        for _ in 0..10 {
            app.admin_client().get("/api/v1/audit_events?limit=1").await.expect(200);
            app.anyone().login(app.admin_key()).await.token();
        }
    }
}

/// A client with a small buffer that reads nothing.
async fn small(url: &str, text: &str) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut raw = Raw(socket.connect(url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap());
    raw.write(text).await;
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_head_is_answered_with_408_and_closed() {
    let app = start(Engine::Sqlite, &["HEAD"], &[]).await;
    for begun in ["G", "GET /healthz HTTP/1.1\r\nhost:", "\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        let answer = Raw::send(&app.url, begun).await.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 408 ") || answer.starts_with("HTTP/1.1 400 "), "{begun:?}: {answer}");
    }
    // Byte by byte, it does not begin anew.
    let mut raw = Raw::open(&app.url).await;
    let (mut reading, mut writing) = raw.0.split();
    let trickle = async {
        loop {
            if writing.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = String::new();
    tokio::select! {
        () = trickle => {}
        read = timeout(BOUND, reading.read_to_string(&mut answer)) => drop(read.expect("the connection stays open")),
    }
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // The second head of a connection is bounded as the first.
    let mut raw = Raw::send(&app.url, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw.answer().await.0.starts_with("http/1.1 200 "));
    raw.write("GET /healthz").await;
    assert!(raw.until_closed().await.starts_with("HTTP/1.1 408 "));
    assert!(metric(&app, "hourpass_connections_expired_total{reason=\"head\"}").await >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connection_is_closed() {
    let app = start(Engine::Sqlite, &["HEAD", "IDLE"], &[]).await;
    assert_eq!(Raw::open(&app.url).await.until_closed().await, "");
    let mut raw = Raw::send(&app.url, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw.until_closed().await.starts_with("HTTP/1.1 200 "));
    assert!(metric(&app, "hourpass_connections_expired_total{reason=\"idle\"}").await >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_that_is_too_large_is_refused() {
    let app = start(Engine::Sqlite, &[], &[]).await;
    let mut raw = Raw::open(&app.url).await;
    raw.write(&format!("GET /healthz HTTP/1.1\r\nx: {}", "x".repeat(40_000))).await;
    assert!(raw.until_closed().await.starts_with("HTTP/1.1 431 "));
    // Up to there, heads are taken.
    let mut raw = Raw::send(&app.url, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(16_000))).await;
    assert!(raw.answer().await.0.starts_with("http/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_is_kept_for_the_next_request_and_pipelined_requests_are_answered_in_order() {
    let app = start(Engine::Sqlite, &[], &[]).await;
    let form = format!("password={}", app.admin_key());
    let length = form.len();
    let chunks: Vec<String> = form.as_bytes().chunks(3).map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap())).collect();
    let chunks = chunks.concat();
    let exchange = "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let requests = [
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("{exchange}content-length: {length}\r\n\r\n{form}"),
        format!("{exchange}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
        "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        // A line too many, as some old clients send it.
        "\r\n\r\nHEAD /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
    ];
    for size in [1, 7, 1_000, 100_000] {
        // All at once, or in pieces wherever they are cut.
        let mut raw = Raw::open(&app.url).await;
        raw.0.set_nodelay(true).unwrap();
        for piece in requests.concat().as_bytes().chunks(size) {
            raw.0.write_all(piece).await.unwrap();
        }
        let all = raw.until_closed().await;
        let statuses: Vec<_> = all.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect();
        assert_eq!(statuses, ["200", "200", "200", "404", "200"], "{size}: {all}");
        assert_eq!(all.matches("\"access_token\":\"").count(), 2, "{size}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_connection_gets_its_answer() {
    let app = start(Engine::Sqlite, &[], &[]).await;
    let mut raw = Raw::send(&app.url, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    raw.0.shutdown().await.unwrap();
    assert!(raw.until_closed().await.starts_with("HTTP/1.1 200 "));
    let mut raw = Raw::send(
        &app.url,
        "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\npass",
    )
    .await;
    raw.0.shutdown().await.unwrap();
    assert!(raw.until_closed().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_takes_nothing_is_reset_on_large_answers() {
    let app = start(Engine::Sqlite, &["WRITE"], &[]).await;
    let key = app.admin_key();
    for _ in 0..6 {
        join_all((0..100).map(|_| async { app.anyone().login(key).await.token() })).await;
    }
    let bearer = format!("authorization: Bearer {}\r\n", app.admin_key());
    for path in ["/openapi.json", "/docs/swagger-ui-bundle.js", "/api/v1/audit_events/export", "/api/v1/audit_events?limit=200"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{bearer}\r\n").repeat(20);
        let mut raw = small(&app.url, &request).await;
        // It is written to until the server does not want it any more; it reads nothing until then.
        let wrote = timeout(BOUND, async { while raw.0.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {} }).await;
        assert!(wrote.is_ok(), "{path}: the connection stays open");
    }
    assert!(metric(&app, "hourpass_connections_expired_total{reason=\"write\"}").await >= 4);
    // Who reads slowly, but reads, gets all of it.
    let mut raw = small(&app.url, "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("http/1.1 200 ") && body.ends_with("}\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_per_address_and_in_all() {
    let limits = [("HOURPASS_SERVER__MAX_CONNECTIONS", "7"), ("HOURPASS_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "3")];
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let from = async |app: &TestApp, address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let mut raw = Raw(socket.connect(app.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap());
        raw.write(request).await;
        let (head, _) = raw.answer().await;
        (raw, head[9..12].to_owned())
    };
    let app = start(Engine::Sqlite, &[], &limits).await;
    let mut held = Vec::new();
    for (address, statuses) in [
        ("127.0.0.2", ["200", "200", "200", "503"]),
        // Someone else is not concerned.
        ("127.0.0.3", ["200", "200", "200", "503"]),
        ("127.0.0.4", ["200", "503", "503", "503"]),
    ] {
        for status in statuses {
            let (raw, answered) = from(&app, address).await;
            assert_eq!(answered, status, "{address}, {} open", held.len());
            if answered == "200" {
                held.push(raw);
            }
        }
    }
    // Who goes makes room.
    held.truncate(4);
    crate::support::eventually(async || from(&app, "127.0.0.4").await.1 == "200").await;
    drop(held);
    crate::support::eventually(async || app.anyone().get("/metrics").await.text.contains("hourpass_connections 1\n")).await;
    assert!(metric(&app, "hourpass_connections_refused_total{limit=\"address\"}").await >= 2);
    assert!(metric(&app, "hourpass_connections_refused_total{limit=\"total\"}").await >= 2);

    // A proxy is everybody.
    let trusted = [limits[0], limits[1], ("HOURPASS_SERVER__TRUSTED_PROXIES", "127.0.0.2")];
    let app = start(Engine::Sqlite, &[], &trusted).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(from(&app, "127.0.0.2").await);
    }
    assert!(held.iter().all(|(_, status)| status == "200"));
}

/// The readers of the answers hold next to nothing of the server's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_take_little_memory() {
    let database = Engine::Sqlite.database().await;
    let mut command = hourpass(database.folder.path());
    command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
    let server = Process::start(&mut command);
    let rss = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let get = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    // What is made once, and what a connection that is read takes.
    let mut raw = Raw::send(&server.url, get).await;
    assert!(raw.answer().await.1.len() > 100_000);
    let before = rss();
    for (name, request) in [
        ("pipelined large answers", get.repeat(20)),
        ("pipelined small heads", "GET /healthz HTTP/1.1\r\n\r\n".repeat(2_000)),
        (
            "pipelined behind a chunked body",
            format!("POST /auth/login HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{}", "GET / HTTP/1.1\r\n\r\n".repeat(2_000)),
        ),
        ("a large head", format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(16_000))),
        ("a large body for nobody", format!("POST /nowhere HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(60_000))),
    ] {
        let held = join_all((0..200).map(|_| small(&server.url, &request))).await;
        // The server has worked on all of them: it answers whoever came later.
        for _ in 0..50 {
            Raw::send(&server.url, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.answer().await;
        }
        let taken = rss().saturating_sub(before) / 200;
        assert!(taken < 100, "{name}: {taken} kB for each connection");
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_of_open_files_is_raised_or_lowers_the_connections() {
    let database = Engine::Sqlite.database().await;
    let with_limit = |limit: &str| {
        let mut command = crate::support::command("/bin/sh", database.folder.path());
        command.arg("-c").arg(format!("ulimit {limit}; exec {}", env!("CARGO_BIN_EXE_hourpass")));
        command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
        command
    };
    let output = with_limit("-n 100").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("hourpass: the limit of open files is 100, which leaves too few for connections; raise it to 9314 "), "{message}");

    // Lowered with a warning; and even so, a flood from one address leaves room for others.
    let server = Process::start(&mut with_limit("-n 300"));
    let _held = join_all((0..400).map(|_| Raw::open(&server.url))).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut raw = Raw(socket.connect(server.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap());
    raw.write("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw.answer().await.0.starts_with("http/1.1 200 "));
    let log = String::from_utf8(server.stop().stderr).unwrap();
    assert!(log.contains("the limit of open files is too low for server.max_connections = 8192"), "{log}");
    assert!(log.contains("server.max_connections_per_address is reached"), "{log}");

    // The soft limit alone is no limit.
    let server = Process::start(&mut with_limit("-S -n 300"));
    let log = String::from_utf8(server.stop().stderr).unwrap();
    assert!(!log.contains("the limit of open files"), "{log}");
}
