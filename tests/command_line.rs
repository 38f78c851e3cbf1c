//! `hourpass admin …` and `hourpass healthcheck`, as processes beside a running server.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::{Client, Process, command, eventually, hourpass, on_both_engines};
use serde_json::json;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command printed, which has to have succeeded.
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The last line of a failure.
fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "{}", text(&output.stdout));
    assert!(output.stdout.is_empty());
    text(&output.stderr).lines().last().unwrap().to_owned()
}

on_both_engines! {
    async fn admin_works_beside_a_running_server(engine: Engine) {
        let database = engine.database().await;
        let folder = database.folder.path();
        let server = Process::start(hourpass(folder).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
        let admin = |arguments: &[&str]| hourpass(folder).env("HOURPASS_DATABASE__URL", &database.url).arg("admin").args(arguments).output().unwrap();
        let anyone = Client::new(&server.url);

        let issue = ["issue-key", "--organization", "default", "--service-account", "ci"];
        let printed = stdout(&admin(&issue));
        let key = printed.strip_suffix('\n').unwrap();
        assert!(key.starts_with("hp_live_") && key.len() == 57, "{printed}");
        let me = anyone.with(key).get("/users/me").await.expect(200);
        assert_eq!((&me["name"], &me["permissions"]), (&json!("ci"), &json!([])));

        // Once more: the same account, another key, and roles on top.
        let roles = ["--role", "Organization Member", "--role", "workspace-developer", "--workspace", "default"];
        let second = stdout(&admin(&[&issue[..], &roles].concat()));
        let second = second.trim_end();
        let again = anyone.with(second).get("/users/me").await.expect(200);
        assert_eq!((&again["id"], &again["permissions"]), (&me["id"], &json!(["service_accounts.read", "workspaces.read", "roles.read", "teams.read", "users.read"])));
        // The server follows what is changed beside it, and may take its time, up to the bound.
        eventually(async || anyone.with(key).get("/users/me").await.expect(200)["permissions"].as_array().unwrap().len() == 5).await;
        let token = anyone.post_form("/auth/login", &[("password", second), ("workspace", "default")]).await.token();
        assert!(crate::support::claims(&token)["scope"].as_str().unwrap().contains("pipelines.deploy"));

        assert!(failure(&admin(&["issue-key", "--organization", "nowhere", "--service-account", "ci"])).contains("there is no organization nowhere"));
        assert!(failure(&admin(&[&issue[..], &["--workspace", "nowhere"]].concat())).contains("there is no workspace nowhere"));
        assert!(failure(&admin(&[&issue[..], &["--role", "workspace-viewer"]].concat())).contains("name the workspace with --workspace"));
        assert!(text(&admin(&[&issue[..], &["--role", "boss"]].concat()).stderr).contains("there is no role boss in that organization; there are: Platform Admin, Organization Admin"));
        assert!(text(&admin(&["issue-key", "--organization", "default", "--service-account", ""]).stderr).contains("must not be empty"));

        stdout(&admin(&["create-organization", "--slug", "rival"]));
        assert_eq!(failure(&admin(&["create-organization", "--slug", "rival"])), "hourpass: the slug rival is taken");
        let workspace = ["create-workspace", "--organization", "default", "--slug", "prod", "--url", "https://prod.example.com", "--signing-algorithm", "EdDSA"];
        stdout(&admin(&workspace));
        // Slug, URL and audience are all taken; each engine names another first.
        assert!(failure(&admin(&workspace)).ends_with(" is taken; choose another"));
        // Another organization cannot have tokens of its own taken for ours.
        let theirs = ["create-workspace", "--organization", "rival", "--slug", "prod", "--url", "https://prod.example.com"];
        assert_eq!(failure(&admin(&theirs)), "hourpass: the audience https://prod.example.com is taken; choose another");

        let create = ["create-user", "--organization", "default", "--email", "Ada@example.com", "--role", "organization-admin"];
        let password = stdout(&admin(&create));
        let sign_in = async |password: &str| anyone.post_form("/auth/login", &[("username", "ada@example.com"), ("password", password)]).await.status;
        assert_eq!(sign_in(password.trim_end()).await, 200);
        assert_eq!(failure(&admin(&create)), "hourpass: the email address ada@example.com is taken; choose another");

        // Roles for who is there already: built-in ones and the organization's own.
        let assign = |arguments: &[&str]| admin(&[&["assign-role", "--organization", "default"], arguments].concat());
        stdout(&assign(&["--user", "ada@example.com", "--role", "platform-admin", "--role", "organization-admin"]));
        let token = anyone.post_form("/auth/login", &[("username", "ada@example.com"), ("password", password.trim_end())]).await.token();
        let ada = anyone.with(&token);
        assert_eq!(ada.get("/api/v1/organizations").await.expect(200)["items"].as_array().unwrap().len(), 2);
        ada.post("/api/v1/roles", &json!({ "name": "deployer", "level": "workspace", "permissions": ["pipelines.deploy"] })).await.expect(201);
        ada.post("/api/v1/teams", &json!({ "name": "ops" })).await.expect(201);
        stdout(&assign(&["--team", "ops", "--role", "deployer", "--workspace", "prod"]));
        assert_eq!(ada.get("/api/v1/role_assignments?team=ops").await.expect(200)["items"][0]["role"], "deployer");
        assert!(failure(&assign(&["--user", "nobody@example.com", "--role", "organization-admin"])).contains("there is no user nobody@example.com"));
        assert!(failure(&assign(&["--team", "ops", "--role", "project-admin"])).contains("in a project"));
        assert!(failure(&assign(&["--team", "ops", "--role", "organization-member", "--workspace", "prod"])).contains("leave --workspace out"));
        assert!(text(&assign(&["--team", "ops", "--user", "ada@example.com", "--role", "organization-admin"]).stderr).contains("cannot be used with"));

        let reset = |password: &str| {
            let mut command = hourpass(folder);
            command.env("HOURPASS_DATABASE__URL", &database.url).args(["admin", "reset-password", "--email", "ada@example.com", "--password-stdin"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        assert_eq!(stdout(&reset("correct horse battery\n")), "");
        assert_eq!((sign_in("correct horse battery").await, sign_in(password.trim_end()).await), (200, 401));
        assert_eq!(failure(&reset("short\n")), "hourpass: the password must have at least 12 characters");
        let unknown = admin(&["reset-password", "--email", "nobody@example.com"]);
        assert!(failure(&unknown).contains("there is no user nobody@example.com"));

        server.stop();
    }

    async fn healthcheck_asks_the_server(engine: Engine) {
        let database = engine.database().await;
        let folder = database.folder.path();
        let server = Process::start(hourpass(folder).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
        let check = |arguments: &[&str]| hourpass(folder).arg("healthcheck").args(arguments).output().unwrap();
        assert_eq!(stdout(&check(&["--url", &server.url])), "{\"status\":\"live\"}\n");
        assert_eq!(stdout(&check(&["--ready", "--url", &server.url])), "{\"status\":\"ready\"}\n");
        let port = server.url.rsplit_once(':').unwrap().1.to_owned();
        let by_settings = hourpass(folder).env("HOURPASS_SERVER__PORT", &port).env("HOURPASS_SERVER__HOST", "0.0.0.0").arg("healthcheck").output().unwrap();
        assert_eq!(stdout(&by_settings), "{\"status\":\"live\"}\n");
        let url = server.url.clone();
        server.stop();
        assert!(failure(&check(&["--url", &url])).contains(&format!("{url}/healthz does not answer: ")));
    }
}

#[test]
fn mistakes_in_the_configuration_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, value: &str| failure(&hourpass(folder.path()).env(name, value).output().unwrap());
    assert_eq!(run("HOURPASS_SERVER__PROT", "1"), "hourpass: HOURPASS_SERVER__PROT: there is no setting server.prot; config/default.toml lists all");
    assert_eq!(
        run("HOURPASS_DATABASE__URL", "mysql://localhost"),
        "hourpass: database.url (from HOURPASS_DATABASE__URL) must begin with sqlite:// or postgres://"
    );
    let file = folder.path().join("hourpass.toml");
    std::fs::write(&file, "[log]\nformat = \"xml\"\n").unwrap();
    let output = hourpass(folder.path()).args(["serve", "--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(failure(&output), format!("hourpass: log.format (from {}) must be pretty or json", file.display()));
    // Nothing was made before the mistake was found.
    assert!(!folder.path().join("data").exists());
}

#[test]
fn help_names_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let help = stdout(&hourpass(folder.path()).arg("--help").output().unwrap());
    for command in ["serve", "admin", "healthcheck", "--config"] {
        assert!(help.contains(command), "{help}");
    }
    let version = stdout(&command(env!("CARGO_BIN_EXE_hourpass"), folder.path()).arg("--version").output().unwrap());
    assert_eq!(version, format!("hourpass {}\n", env!("CARGO_PKG_VERSION")));
}

/// The first command of the README.
#[test]
fn the_demonstration_shows_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let shown = stdout(&hourpass(folder.path()).arg("demo").output().unwrap());
    for part in [
        "curl -d \"password=$KEY\" \"$WORKSPACE/api/v1/login\"",
        "propagation",
        "-> 401 Unauthorized  code: \"revoked\"",
        "retained_until",
        "token.issue  demo",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let took: f64 = shown.split_once("The workspace refused it ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    assert!(took < 10.0, "{took}");
    assert!(shown.lines().count() < 60, "more than a screen");
    // Nothing of it stays.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
