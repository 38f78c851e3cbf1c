//! What an attacker, a broken pipe or a stuck peer does, and what it must not achieve.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use hourpass::domain::attributes::{CustomClaims, Labels};
use hourpass::domain::name::{Audience, Email, Slug, WorkspaceUrl};
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::service::NewWorkspace;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Client, Engine, Process, TestApp, hourpass, on_both_engines};

on_both_engines! {
    async fn guesses_at_a_password_are_limited_by_address(engine: Engine) {
        const WRONG: &str = "a wrong guess";
        let database = engine.database().await;
        let settings = [("HOURPASS_SERVER__TRUSTED_PROXIES", "127.0.0.0/8"), ("HOURPASS_PASSWORDS__QUEUE_TIMEOUT", "10s")];
        let app = TestApp::start_with(database, &settings).await;
        let right = app.admin_password();
        let post = async |path: &str, address: &str, username: &str, password: &str| {
            let request = app.anyone().browser().request(reqwest::Method::POST, path).header("x-forwarded-for", address);
            Answer::of(request.form(&[("username", username), ("password", password)])).await
        };
        let sign_in = async |address: &str, username: &str, password: &str| post("/auth/login", address, username, password).await;
        let (here, elsewhere) = ("2001:db8::1", "2001:db8:0:1::1");
        // A right one says that the others were mistakes.
        for password in [WRONG, right] {
            for _ in 0..9 {
                assert_eq!(sign_in(here, "admin@localhost", WRONG).await.status, 401);
            }
            assert_eq!(sign_in(here, "admin@localhost", password).await.status, if password == right { 200 } else { 401 });
            app.clock.advance_seconds(if password == right { 0 } else { 60 });
        }
        // Of many at once no more are compared, and whether there is such a person makes no difference.
        for username in ["Admin@localhost", "nobody@example.com"] {
            let answers = futures_util::future::join_all((0..15).map(|_| sign_in(here, username, WRONG))).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 10);
        }
        let refused = sign_in("2001:db8::2", "admin@localhost", right).await;
        assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
        assert_eq!(refused.header("retry-after"), "61");
        let page = post("/sign-in", here, "admin@localhost", right).await;
        assert!(page.status == 429 && page.text.contains("Too many wrong passwords for this email address"), "{}", page.text);
        // That is no way to lock somebody out, and keys are not guessed.
        assert_eq!(sign_in(elsewhere, "admin@localhost", right).await.status, 200);
        assert_eq!(sign_in(here, "", app.admin_key()).await.status, 200);
        app.clock.advance_seconds(59);
        assert_eq!(sign_in(here, "admin@localhost", right).await.status, 429);
        app.clock.advance_seconds(1);
        assert_eq!(sign_in(here, "admin@localhost", right).await.status, 200);
        // A clock that was ahead has nobody wait for it.
        for _ in 0..11 {
            sign_in(here, "admin@localhost", WRONG).await;
        }
        app.clock.advance_seconds(-3_600);
        assert_eq!(sign_in(here, "admin@localhost", right).await.status, 200);
    }

    /// Whoever knows the old password keeps signing in while it is replaced. Comparing a password takes a while, so some are always under way.
    async fn a_reset_ends_sign_ins_that_are_under_way(engine: Engine) {
        let database = engine.database().await;
        let app = TestApp::start_with(database, &[("HOURPASS_PASSWORDS__QUEUE_TIMEOUT", "10s")]).await;
        let email = Email::parse("admin@localhost").unwrap();
        let mut password = app.admin_password().to_owned();
        for round in 0..3 {
            let sign_ins: Vec<_> = (0..8)
                .map(|_| {
                    let (client, password) = (app.anyone(), password.clone());
                    tokio::spawn(async move { client.post_form("/auth/login", &[("username", "admin@localhost"), ("password", &password)]).await })
                })
                .collect();
            let next = format!("the next password {round}");
            app.admin.reset_password(&email, &next.as_str().into()).await.unwrap();
            for sign_in in sign_ins {
                let answer = sign_in.await.unwrap();
                if answer.status == 200 {
                    let token = answer.token();
                    assert_eq!(app.anyone().with(&token).get("/users/me").await.status, 401, "a token of the old password outlived the reset");
                } else {
                    assert_eq!(answer.problem(), (401, "invalid_credentials".to_owned()));
                }
            }
            password = next;
        }
    }

    /// A request comes in, its sender is thrown out, and only then does its body arrive. It is decided by what its sender may do then.
    async fn a_body_that_arrives_after_its_sender_was_thrown_out(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        for (name, throw_out) in [("deactivated", 0), ("deleted", 1), ("compromised", 2), ("revoked", 3)] {
            let key = app.issue_key("default", name, &["organization-admin"], None).await;
            let account = format!("/api/v1/service_accounts/{name}");
            let keys = admin.get(&format!("{account}/api_keys")).await.expect(200);
            let id = keys["items"][0]["id"].as_str().unwrap();
            let credential = if throw_out == 3 { app.anyone().login(&key).await.token() } else { key };
            let body = json!({ "name": format!("planted by {name}") }).to_string();
            let head = format!(
                "POST /api/v1/service_accounts/bootstrap/api_keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {credential}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let mut stream = tokio::net::TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // "Go on": the sender was let in, and the handler waits for the body.
            stream.read_exact(&mut [0; 25]).await.unwrap();
            match throw_out {
                0 => drop(admin.patch(&account, &json!({ "active": false })).await.expect(200)),
                1 => assert_eq!(admin.delete(&account).await.status, 204),
                2 => drop(admin.call(&format!("{account}/api_keys/{id}/compromised")).await.expect(200)),
                _ => drop(admin.call(&format!("{account}/revoke_tokens")).await.expect(200)),
            }
            stream.write_all(body.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 401 "), "{name}: {answer}");
        }
        let keys = admin.get("/api/v1/service_accounts/bootstrap/api_keys").await.expect(200);
        assert_eq!(keys["items"].as_array().unwrap().len(), 1);
    }

    async fn a_workspace_never_gets_our_own_audience(engine: Engine) {
        let app = TestApp::start(engine).await;
        let wanted = NewWorkspace {
            slug: Slug::parse("self").unwrap(),
            name: None,
            url: Some(WorkspaceUrl::parse(&app.url).unwrap()),
            audience: Some(Audience::parse(&app.url).unwrap()),
            signing_algorithm: SigningAlgorithm::Es256,
            token_lifetime: Duration::from_hours(1),
            labels: Labels::default(),
            claims: CustomClaims::default(),
        };
        app.admin.create_workspace("default", wanted).await.unwrap();
        let password = ("password", app.admin_key());
        for (path, fields) in [("/auth/login", vec![password, ("workspace", "self")]), ("/api/v1/login", vec![password]), ("/workspaces/self/api/v1/login", vec![password])] {
            assert_eq!(app.anyone().post_form(path, &fields).await.problem(), (400, "invalid_target".to_owned()), "{path}");
        }
    }

    async fn the_character_nul_reaches_no_query(engine: Engine) {
        let app = TestApp::start(engine).await;
        let admin = app.admin_client();
        let accounts = "/api/v1/service_accounts";
        for path in [format!("{accounts}/a%00b"), format!("{accounts}?name=a%00b"), format!("{accounts}/a%00b/api_keys"), "/api/v1/audit_events?actor=%00".to_owned()] {
            assert_eq!(admin.get(&path).await.problem(), (400, "invalid_request".to_owned()), "{path}");
        }
        for field in ["workspace", "audience", "scope", "username"] {
            let answer = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), (field, "a\0b")]).await;
            assert_eq!(answer.problem(), (400, "invalid_request".to_owned()), "{field}");
        }
        assert_eq!(admin.post(accounts, &json!({ "name": "a\0b" })).await.problem(), (400, "invalid_request".to_owned()));
        assert_eq!(admin.post(accounts, &json!({ "name": "a", "description": "a\0b" })).await.problem(), (400, "invalid_request".to_owned()));
    }

    async fn a_default_port_in_the_host_does_not_matter(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.create_workspace("default", "ws", Some("https://ws.example.com"), SigningAlgorithm::Es256, Duration::from_hours(1)).await;
        for host in ["ws.example.com", "WS.example.com:443"] {
            let request = app.anyone().request(reqwest::Method::POST, "/api/v1/login").header("host", host).form(&[("password", app.admin_key())]);
            assert_eq!(Answer::of(request).await.status, 200, "{host}");
        }
    }

    async fn reads_answer_to_head(engine: Engine) {
        let app = TestApp::start(engine).await;
        for path in ["/healthz", "/.well-known/jwks.json", "/users/me"] {
            let answer = Answer::of(app.admin_client().request(reqwest::Method::HEAD, path)).await;
            assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
        }
    }

    async fn six_who_issue_a_key_for_one_new_account(engine: Engine) {
        let app = TestApp::start(engine).await;
        let wanted = |number: u32| hourpass::service::IssueKey {
            organization: "default".to_owned(),
            service_account: hourpass::domain::name::Name::parse("new").unwrap(),
            key_name: Some(hourpass::domain::name::Name::parse(&format!("key {number}")).unwrap()),
            roles: Vec::new(),
            workspace: None,
            expires_in_days: None,
        };
        let issued = futures_util::future::join_all((0..6).map(|number| app.admin.issue_key(wanted(number)))).await;
        for key in issued {
            assert_eq!(app.anyone().login(key.unwrap().expose()).await.status, 200);
        }
    }

    async fn one_connection_is_enough(engine: Engine) {
        let database = engine.database().await;
        let one = [("HOURPASS_DATABASE__MAX_CONNECTIONS", "1")];
        let app = TestApp::start_with(database, &one).await;
        app.admin_client().post("/api/v1/service_accounts", &json!({ "name": "ci", "default_key": true })).await.expect(201);
        let rotated = app.admin_client().call("/api/v1/service_accounts/ci/api_keys/default/rotate").await.expect(200);
        app.anyone().login(rotated["key"].as_str().unwrap()).await.token();
        let issued = hourpass(app.database.folder.path())
            .env("HOURPASS_DATABASE__URL", &app.database.url)
            .env("HOURPASS_DATABASE__MAX_CONNECTIONS", "1")
            .args(["admin", "issue-key", "--organization", "default", "--service-account", "other", "--role", "organization-member"])
            .output()
            .unwrap();
        assert!(issued.status.success(), "{issued:?}");
    }

    /// The collector of the logs is gone. That is no reason to stop answering.
    async fn nobody_reads_the_log(engine: Engine) {
        let database = engine.database().await;
        let mut command = hourpass(database.folder.path());
        command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned)).unwrap();
        drop(lines);
        for _ in 0..3 {
            assert_eq!(Client::new(&url).get("/healthz").await.status, 200);
        }
        assert!(std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
        assert_eq!(server.wait().unwrap().code(), Some(0));
    }

    /// Where a secret cannot be shown, the message says how to get another.
    async fn a_secret_that_cannot_be_printed(engine: Engine) {
        let database = engine.database().await;
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let run = |arguments: &[&str]| {
            let mut command = hourpass(database.folder.path());
            command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
            let output = command.args(arguments).stdout(full()).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
        };
        let first = run(&["serve"]);
        assert!(first.contains("No space left") && first.contains("hourpass admin reset-password"), "{first}");
        let key = run(&["admin", "issue-key", "--organization", "default", "--service-account", "ci"]);
        assert!(key.contains("the key is lost; delete it, and make another"), "{key}");
        let password = run(&["admin", "reset-password", "--email", "admin@localhost"]);
        assert!(password.contains("the password is lost; get another"), "{password}");
    }

    async fn a_workspace_without_a_workspace_role_is_a_mistake(engine: Engine) {
        let app = TestApp::start(engine).await;
        let output = hourpass(app.database.folder.path())
            .env("HOURPASS_DATABASE__URL", &app.database.url)
            .args(["admin", "issue-key", "--organization", "default", "--service-account", "ci", "--role", "organization-admin", "--workspace", "default"])
            .output()
            .unwrap();
        assert!(String::from_utf8(output.stderr).unwrap().contains("--workspace is where workspace roles are given"));
        assert_eq!(app.admin_client().get("/api/v1/service_accounts/ci").await.status, 404);
    }
}

#[test]
fn a_database_in_the_working_folder_is_its_owner_s_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(hourpass(folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", "sqlite://hourpass.db"));
    for file in ["hourpass.db", "hourpass.db-wal", "hourpass.db-shm", "master.key"] {
        let mode = folder.path().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    server.stop();
    let server = Process::start(hourpass(folder.path()).env("HOURPASS_SERVER__PORT", "0"));
    assert_eq!(folder.path().join("data").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    server.stop();
}

#[test]
fn a_database_without_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["sqlite:", "sqlite://", "sqlite::memory:"] {
        let output = hourpass(folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", url).output().unwrap();
        assert!(String::from_utf8(output.stderr).unwrap().contains("name a file, as in sqlite://data/hourpass.db"), "{url}");
    }
}

/// A parameter that we do not know may be a password under another name, so its value goes nowhere.
#[test]
fn parameters_of_a_postgres_url_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://ada@127.0.0.1:1/x?sslpassword=hunter2";
    let output = hourpass(folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", url).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("database.url has the parameter sslpassword; there are: sslmode,") && !message.contains("hunter2"), "{message}");
    // Nobody listens there, and the message says so.
    let output =
        hourpass(folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", "postgres://ada@127.0.0.1:1/x").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("Connection refused"));
}

/// Someone else's lock is waited for as long as `database.timeout` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_in_postgres_is_not_waited_for_long() {
    let app = TestApp::start_with(
        Engine::Postgres.database().await,
        &[("HOURPASS_DATABASE__TIMEOUT", "200ms"), ("HOURPASS_SERVER__REQUEST_TIMEOUT", "60s")],
    )
    .await;
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE").execute(&mut other).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), app.anyone().login(app.admin_key())).await.unwrap();
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    app.anyone().login(app.admin_key()).await.token();
}

/// A start that waits for another's migration can be stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_behind_a_lock_can_be_stopped() {
    let app = TestApp::start(Engine::Postgres).await;
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE _sqlx_migrations IN ACCESS EXCLUSIVE MODE").execute(&mut other).await.unwrap();
    let mut command = hourpass(app.database.folder.path());
    command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &app.database.url);
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.unwrap() == 0 {
        assert!(server.try_wait().unwrap().is_none(), "the server ended by itself");
    }
    assert!(std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    let output = server.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("stopped before the server had started"));
}
