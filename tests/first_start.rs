//! The first start on an empty database, as a process, and what it leaves behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::support::{Client, Database, Engine, Process, claims, hourpass, on_both_engines};

fn start(database: &Database) -> Process {
    Process::start(hourpass(database.folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url))
}

fn text(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// The word after `label` in the welcome.
fn shown<'a>(welcome: &'a str, label: &str) -> &'a str {
    welcome.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {welcome}")).1.split_whitespace().next().unwrap()
}

/// Every file below a folder, to look for what must not be in any.
fn contents(folder: &Path) -> Vec<u8> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).fold(Vec::new(), |mut all, path| {
        all.extend(if path.is_dir() { contents(&path) } else { std::fs::read(path).unwrap() });
        all
    })
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

on_both_engines! {
    async fn secrets_are_shown_once_and_kept_nowhere(engine: Engine) {
        let database = engine.database().await;
        let server = start(&database);
        let url = server.url.clone();
        let first = server.stop();
        let (welcome, log) = text(&first);
        let (key, password) = (shown(&welcome, "API key"), shown(&welcome, "password "));
        assert_eq!(shown(&welcome, "administrator"), "admin@localhost");
        // The line to paste names this very server.
        let line = welcome.lines().find(|line| line.trim_start().starts_with("curl ")).unwrap().trim();
        assert_eq!(line, format!("curl -d \"password={key}\" {url}/auth/login"));

        // A second start shows nothing, and the secrets work.
        let server = start(&database);
        let anyone = Client::new(&server.url);
        let token = anyone.login(key).await.token();
        assert_eq!(anyone.with(&token).get("/users/me").await.expect(200)["name"], "bootstrap");
        let signed_in = anyone.post_form("/auth/login", &[("username", "admin@localhost"), ("password", password)]).await.token();
        assert_eq!(claims(&signed_in)["principal_type"], "user");
        anyone.post_form("/auth/login", &[("password", key), ("workspace", "default")]).await.token();
        let second = server.stop();
        let (silence, second_log) = text(&second);
        assert_eq!(silence, "");

        for log in [log, second_log] {
            for secret in [key, password, token.rsplit_once('.').unwrap().1] {
                assert!(!log.contains(secret), "a secret is in the log: {log}");
            }
        }
        let files = contents(database.folder.path());
        assert!(!holds(&files, key) && !holds(&files, password));
    }

    async fn a_configured_password_is_not_shown(engine: Engine) {
        let database = engine.database().await;
        let mut command = hourpass(database.folder.path());
        command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
        // Digits only, and with a zero in front: it stays a text.
        command.env("HOURPASS_BOOTSTRAP__ADMIN_PASSWORD", "001234567890").env("HOURPASS_BOOTSTRAP__ADMIN_EMAIL", "ada@example.com");
        let server = Process::start(&mut command);
        let fields = [("username", "ada@example.com"), ("password", "001234567890")];
        Client::new(&server.url).post_form("/auth/login", &fields).await.token();
        let (welcome, log) = text(&server.stop());
        assert!(welcome.contains("(as configured)") && !welcome.contains("001234567890") && !log.contains("001234567890"));
    }

    async fn several_servers_that_start_at_once_set_up_once(engine: Engine) {
        let database = engine.database().await;
        let key_file = database.folder.path().join("shared.key");
        std::fs::write(&key_file, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        let servers: Vec<Process> = std::thread::scope(|scope| {
            let start = || {
                let mut command = hourpass(database.folder.path());
                command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
                Process::start(command.env("HOURPASS_SIGNING__MASTER_KEY_FILE", &key_file))
            };
            let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut keys = Vec::new();
        for server in &servers {
            keys.push(Client::new(&server.url).get("/.well-known/jwks.json").await.text);
        }
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
        let welcomes = servers.into_iter().map(|server| text(&server.stop()).0).filter(|welcome| !welcome.is_empty()).count();
        assert_eq!(welcomes, 1);
    }

    async fn the_master_key_has_to_be_the_right_one(engine: Engine) {
        let database = engine.database().await;
        let folder = database.folder.path();
        let fail = |name: &str, value: &str| {
            let output = hourpass(folder).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url).env(name, value).output().unwrap();
            assert!(!output.status.success());
            String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
        };
        // Damaged or missing: nothing is made of it.
        let file = folder.join("given.key");
        let given = file.to_str().unwrap();
        assert!(fail("HOURPASS_SIGNING__MASTER_KEY_FILE", given).contains("given.key cannot be read: No such file"));
        std::fs::write(&file, "c2hvcnQ=").unwrap();
        assert!(fail("HOURPASS_SIGNING__MASTER_KEY_FILE", given).contains("given.key holds 5 bytes instead of 32; it must be 32 bytes in base64"));
        std::fs::write(&file, [0xFF, 0xFE]).unwrap();
        assert!(fail("HOURPASS_SIGNING__MASTER_KEY_FILE", given).contains("given.key cannot be read"));
        assert_eq!(
            fail("HOURPASS_SIGNING__MASTER_KEY", "not base64!"),
            "hourpass: signing.master_key is not base64; it must be 32 bytes in base64, as `openssl rand -base64 32` makes them"
        );

        // Made by itself, for its owner only.
        let server = start(&database);
        let kids = Client::new(&server.url).get("/.well-known/jwks.json").await.text;
        let (_, log) = text(&server.stop());
        let own = if engine == Engine::Sqlite { folder.join("master.key") } else { folder.join("data/master.key") };
        assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(log.contains("made a master key"), "{log}");

        // Another one opens nothing.
        let other = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
        assert!(fail("HOURPASS_SIGNING__MASTER_KEY", other).contains("the master key does not open signing key"));
        // A lost one is not replaced in silence.
        let kept = std::fs::read(&own).unwrap();
        std::fs::remove_file(&own).unwrap();
        assert!(fail("HOURPASS_LOG__FORMAT", "pretty").contains("is missing, and the database holds signing keys that only it opens"));
        std::fs::write(&own, kept).unwrap();
        let server = start(&database);
        assert_eq!(Client::new(&server.url).get("/.well-known/jwks.json").await.text, kids);
        server.stop();
    }
}
