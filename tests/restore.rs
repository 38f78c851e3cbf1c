//! Back-up and restore, by real processes: what was revoked after a back-up never counts again at a resource service, however the back-up was put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sqlx::Connection;

use crate::status::ended;
use crate::support::{Client, Database, Engine, Process, claims, hourpass, on_both_engines};

const ACCOUNTS: &str = "/api/v1/service_accounts";
const NOTICED: &str = "THE DATABASE IS OLDER THAN WHAT IT GAVE OUT";

fn command(database: &Database) -> Command {
    let mut command = hourpass(database.folder.path());
    command.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url);
    // The same before and after, as it is behind a name.
    command.env("HOURPASS_SERVER__PUBLIC_URL", "https://id.example.com");
    command
}

fn start(database: &Database) -> Process {
    Process::start(&mut command(database))
}

fn admin(database: &Database, arguments: &[&str]) -> Output {
    command(database).arg("admin").args(arguments).output().unwrap()
}

#[track_caller]
fn succeed(output: &Output) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{errors}");
    errors
}

#[track_caller]
fn fail(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap().lines().last().unwrap().to_owned()
}

fn log(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The key of an organization admin, who is there before every back-up.
fn issue_key(database: &Database) -> String {
    let role = ["--role", "organization-admin", "--role", "platform-admin"];
    let output = admin(database, &[&["issue-key", "--organization", "default", "--service-account", "admin"], &role[..]].concat());
    succeed(&output);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn file(database: &Database) -> PathBuf {
    database.folder.path().join("hourpass.db")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", file.display()).into()
}

async fn make(admin: &Client, name: &str) -> String {
    let made = admin.post(ACCOUNTS, &json!({ "name": name, "default_key": true })).await.expect(201);
    made["key"].as_str().unwrap().to_owned()
}

async fn events(admin: &Client, action: &str) -> Vec<Value> {
    let listed = admin.get(&format!("/api/v1/audit_events?action={action}")).await.expect(200);
    listed["items"].as_array().unwrap().clone()
}

/// What is there at the time of a back-up: an admin, and `ci` with a token.
struct Before {
    admin_key: String,
    ci_key: String,
    ci: String,
}

impl Before {
    async fn make(database: &Database, server: &Process) -> Self {
        let admin_key = issue_key(database);
        let anyone = Client::new(&server.url);
        let ci_key = make(&anyone.with(&admin_key), "ci").await;
        let ci = anyone.login(&ci_key).await.token();
        Self { admin_key, ci_key, ci }
    }
}

/// What happened after the back-up: `ci` was deactivated, `late` was made and deactivated, and much else.
struct After {
    late: String,
    person: String,
}

impl After {
    async fn make(server: &Process, before: &Before) -> Self {
        let anyone = Client::new(&server.url);
        let admin = anyone.with(&before.admin_key);
        admin.patch(&format!("{ACCOUNTS}/ci"), &json!({ "active": false })).await.expect(200);
        assert!(ended(&anyone, &before.ci).await);
        let late = anyone.login(&make(&admin, "late").await).await.token();
        admin.patch(&format!("{ACCOUNTS}/late"), &json!({ "active": false })).await.expect(200);
        assert!(ended(&anyone, &late).await);
        admin.post("/api/v1/users", &json!({ "email": "ada@example.com", "password": "correct horse battery" })).await.expect(201);
        let sign_in = [("username", "ada@example.com"), ("password", "correct horse battery")];
        let person = anyone.post_form("/auth/login", &sign_in).await.token();
        for number in 0..200 {
            make(&admin, &format!("other-{number}")).await;
        }
        Self { late, person }
    }
}

/// Everything from before the restore is refused; what is made now works, and has a place that nothing had before.
async fn check_restored(server: &Process, before: &Before, after: &After) {
    let anyone = Client::new(&server.url);
    let admin = anyone.with(&before.admin_key);
    for token in [&before.ci, &after.late, &after.person] {
        assert!(ended(&anyone, token).await, "a token from before the restore counts at resource services");
        assert_eq!(anyone.with(token).get("/users/me").await.status, 401);
    }
    // A key that is in the back-up works, also one that was deactivated since: that has to be done again.
    let again = anyone.login(&before.ci_key).await.token();
    assert!(!ended(&anyone, &again).await);
    assert_eq!(anyone.with(&again).get("/users/me").await.status, 200);
    let new = anyone.login(&make(&admin, "new").await).await.token();
    let uri = |token: &str| claims(token)["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    assert!(uri(&new) == uri(&again) && uri(&new) != uri(&after.late) && uri(&after.late) == uri(&before.ci));
    assert!(!ended(&anyone, &new).await);
    let lists = anyone.get("/status-lists").await.expect(200);
    let number = |uri: &str| uri.rsplit_once('/').unwrap().1.parse::<i64>().unwrap();
    let listed: Vec<_> = lists["status_lists"].as_array().unwrap().iter().map(|uri| number(uri.as_str().unwrap())).collect();
    assert_eq!(listed, [0, 1, number(&uri(&new)), number(&uri(&new)) + 1]);
    admin.patch(&format!("{ACCOUNTS}/new"), &json!({ "active": false })).await.expect(200);
    assert!(ended(&anyone, &new).await && !ended(&anyone, &again).await);
    let recorded = events(&admin, "database.restore").await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!((&recorded[0]["details"]["epoch"], &recorded[0]["target_kind"]), (&json!(1), &json!("database")));
}

/// Puts the database back as it was at the back-up `copy`, with the engine's own programs, while nothing runs.
fn put_back(engine: Engine, database: &Database, copy: &Path) {
    match engine {
        Engine::Sqlite => drop(fs::copy(copy, file(database)).unwrap()),
        Engine::Postgres => postgres("pg_restore", &["--clean", "--if-exists", &format!("--dbname={}", database.url), copy.to_str().unwrap()]),
    }
}

fn postgres(program: &str, arguments: &[&str]) {
    let program = Path::new(&std::env::var("TEST_POSTGRES_BIN").unwrap()).join(program);
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A back-up with the engine's own programs, while the server runs.
async fn copy_of(engine: Engine, database: &Database) -> PathBuf {
    let copy = database.folder.path().join("copy");
    match engine {
        Engine::Sqlite => {
            let options = database.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap();
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query("VACUUM INTO $1").bind(copy.to_str().unwrap()).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Engine::Postgres => postgres("pg_dump", &["--format=custom", &format!("--file={}", copy.display()), &format!("--dbname={}", database.url)]),
    }
    copy
}

on_both_engines! {
    async fn a_database_that_was_put_back_is_noticed_and_made_safe(engine: Engine) {
        let database = engine.database().await;
        let server = start(&database);
        let before = Before::make(&database, &server).await;
        let copy = copy_of(engine, &database).await;
        let after = After::make(&server, &before).await;
        server.stop();
        put_back(engine, &database, &copy);

        let server = start(&database);
        check_restored(&server, &before, &after).await;
        let first = log(&server.stop());
        assert!(first.lines().any(|line| line.contains("ERROR") && line.contains(NOTICED)), "{first}");
        // Once. And a second time, from the same back-up, nothing is given out again either.
        let server = start(&database);
        let new = Client::new(&server.url).login(&before.ci_key).await.token();
        assert!(!log(&server.stop()).contains(NOTICED));
        put_back(engine, &database, &copy);
        let server = start(&database);
        let anyone = Client::new(&server.url);
        let newest = anyone.login(&before.ci_key).await.token();
        let uri = |token: &str| claims(token)["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
        assert!(uri(&newest) != uri(&new) && !ended(&anyone, &newest).await && ended(&anyone, &before.ci).await);
        // Nobody may go by a list that is not there.
        assert_eq!(anyone.get(&uri(&new)["https://id.example.com".len()..]).await.status, 404);
        assert!(log(&server.stop()).contains(NOTICED));
    }

    async fn a_restart_after_a_kill_is_no_restore(engine: Engine) {
        let database = engine.database().await;
        let mut server = start(&database);
        let before = Before::make(&database, &server).await;
        for round in 0..5 {
            make(&Client::new(&server.url).with(&before.admin_key), &format!("round-{round}")).await;
            server.signal("KILL");
            server.output();
            if engine == Engine::Sqlite {
                // As a container does at its start to all that it has.
                for suffix in ["-wal", ""] {
                    fs::set_permissions(beside(&file(&database), suffix), fs::Permissions::from_mode(0o600)).unwrap();
                }
            }
            server = start(&database);
        }
        assert!(!ended(&Client::new(&server.url), &before.ci).await);
        assert!(!log(&server.stop()).contains(NOTICED));
    }

    async fn an_operator_says_that_it_was_restored(engine: Engine) {
        let database = engine.database().await;
        let server = start(&database);
        let before = Before::make(&database, &server).await;
        let anyone = Client::new(&server.url);
        let said = succeed(&admin(&database, &["restored", "--since", "2026-01-31T12:00:00Z"]));
        assert!(said.contains("epoch 1 begins") && said.contains("DO AGAIN what was done after 2026-01-31T12:00:00Z"), "{said}");
        // The server follows it as any other change.
        crate::support::eventually(async || anyone.with(&before.ci).get("/users/me").await.status == 401).await;
        assert!(ended(&anyone, &before.ci).await);
        let again = anyone.login(&before.ci_key).await.token();
        assert!(!ended(&anyone, &again).await);
        assert_eq!(events(&anyone.with(&before.admin_key), "database.restore").await[0]["details"]["lost_since"], "2026-01-31T12:00:00Z");
        assert!(!log(&server.stop()).contains(NOTICED));
    }

    async fn nothing_is_trusted_that_was_made_since(engine: Engine) {
        let database = engine.database().await;
        let server = start(&database);
        let before = Before::make(&database, &server).await;
        let anyone = Client::new(&server.url);
        let kids = anyone.get("/.well-known/jwks.json").await.text;
        let said = succeed(&admin(&database, &["restored", "--revoke-since", "2026-01-31T12:00:00Z"]));
        assert!(said.contains("withdrawn: signing key ") && said.contains("deactivated: API key default"), "{said}");
        crate::support::eventually(async || anyone.get("/.well-known/jwks.json").await.text != kids).await;
        crate::support::eventually(async || anyone.login(&before.ci_key).await.status == 401).await;
        assert_eq!(anyone.login(&before.ci_key).await.problem().1, "api_key_inactive");
        server.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_private_and_checked_and_replaces_nothing() {
    let database = Engine::Sqlite.database().await;
    let folder = database.folder.path();
    let server = start(&database);
    issue_key(&database);
    let said = succeed(&admin(&database, &["backup", "saved.db"]));
    assert!(said.contains("1 organizations, 2 service accounts, 2 API keys, 1 users, "), "{said}");
    assert!(said.contains(&format!("the master key is not in it; it is in {}", folder.join("master.key").display())), "{said}");
    let saved = folder.join("saved.db");
    assert_eq!(saved.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&saved).unwrap();
    assert!(fail(&admin(&database, &["backup", "saved.db"])).contains("saved.db is there already; name another file, or say --force"));
    assert_eq!(fs::read(&saved).unwrap(), bytes);
    succeed(&admin(&database, &["issue-key", "--organization", "default", "--service-account", "later"]));
    succeed(&admin(&database, &["backup", "--force", "saved.db"]));
    assert!(fs::read(&saved).unwrap() != bytes);
    assert!(fail(&admin(&database, &["backup", "--force", "hourpass.db"])).contains("hourpass.db is the database itself"));
    assert!(fail(&admin(&database, &["backup", "nowhere/saved.db"])).contains("No such file"));
    let left: Vec<_> = fs::read_dir(folder).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with("tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_has_programs_of_its_own() {
    let database = Engine::Postgres.database().await;
    start(&database).stop();
    let url = database.url.replacen("hourpass@", "hourpass:hunter2@", 1);
    let said = fail(&command(&database).env("HOURPASS_DATABASE__URL", &url).args(["admin", "backup", "saved"]).output().unwrap());
    assert!(said.ends_with(&format!("umask 077 && pg_dump --format=custom --file='saved' --dbname='{}'", database.url)), "{said}");
    assert!(fail(&admin(&database, &["restore", "saved"])).contains("pg_restore"));
}

/// As after a failover to a stand-by that was behind: the nodes go on, and the database is an older one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_notices_that_the_database_has_gone_back() {
    let database = Engine::Postgres.database().await;
    let mut server = start(&database);
    let before = Before::make(&database, &server).await;
    let copy = copy_of(Engine::Postgres, &database).await;
    let after = After::make(&server, &before).await;
    put_back(Engine::Postgres, &database, &copy);
    server.wait_for(NOTICED);
    check_restored(&server, &before, &after).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_waits_for_nobody_and_ruins_nothing() {
    let database = Engine::Sqlite.database().await;
    let folder = database.folder.path();
    let mut server = start(&database);
    let before = Before::make(&database, &server).await;
    succeed(&admin(&database, &["backup", "saved.db"]));
    let saved = fs::read(folder.join("saved.db")).unwrap();
    let after = After::make(&server, &before).await;
    let refused = fail(&admin(&database, &["restore", "saved.db"]));
    assert!(refused.contains("a server or another command has the database ") && refused.contains("stop it first"), "{refused}");
    server.signal("KILL");
    server.output();
    assert!(beside(&file(&database), "-wal").metadata().unwrap().len() > 0);
    let (there, wal) = (fs::read(file(&database)).unwrap(), fs::read(beside(&file(&database), "-wal")).unwrap());

    // What is no good back-up changes nothing.
    fs::write(folder.join("notes.db"), "notes ".repeat(1_000)).unwrap();
    assert!(fail(&admin(&database, &["restore", "notes.db"])).contains("notes.db is not a Hourpass database"));
    let mut damaged = saved.clone();
    damaged[8_192..16_384].fill(0x5A);
    fs::write(folder.join("damaged.db"), &damaged).unwrap();
    let refused = fail(&admin(&database, &["restore", "damaged.db"]));
    assert!(refused.contains("damaged.db is damaged") || refused.contains("damaged.db does not"), "{refused}");
    let other = ("HOURPASS_SIGNING__MASTER_KEY", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=");
    let refused = fail(&command(&database).env(other.0, other.1).args(["admin", "restore", "saved.db"]).output().unwrap());
    assert!(refused.contains("the master key does not open signing key"), "{refused}");
    assert!(fs::read(file(&database)).unwrap() == there && fs::read(beside(&file(&database), "-wal")).unwrap() == wal);

    let said = succeed(&admin(&database, &["restore", "saved.db"]));
    assert!(said.contains("DO AGAIN what was done after 20"), "{said}");
    let moved: Vec<PathBuf> = said.lines().filter_map(|line| line.strip_prefix("moved aside: ")).map(PathBuf::from).collect();
    assert_eq!((fs::read(&moved[0]).unwrap(), fs::read(&moved[1]).unwrap()), (there, wal));
    assert!(moved[1].to_str().unwrap() == format!("{}-wal", moved[0].display()));
    assert_eq!(fs::read(folder.join("saved.db")).unwrap(), saved, "the back-up was changed");
    assert_eq!(file(&database).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let server = start(&database);
    check_restored(&server, &before, &after).await;
    assert!(log(&server.stop()).contains("evidence=\"hourpass admin restore\""));
    assert!(!log(&start(&database).stop()).contains(NOTICED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_beside_another_s_log_is_not_ruined() {
    let database = Engine::Sqlite.database().await;
    let mut server = start(&database);
    let before = Before::make(&database, &server).await;
    let copy = copy_of(Engine::Sqlite, &database).await;
    let after = After::make(&server, &before).await;
    server.signal("KILL");
    server.output();
    assert!(beside(&file(&database), "-wal").metadata().unwrap().len() > 0);
    fs::copy(&copy, file(&database)).unwrap();
    let bytes = fs::read(&copy).unwrap();

    let said = fail(&command(&database).output().unwrap());
    assert!(said.contains("-wal beside it") && said.contains("hourpass admin restore FILE"), "{said}");
    let said = fail(&admin(&database, &["create-organization", "--slug", "rival"]));
    assert!(said.contains("hourpass admin restore FILE"), "{said}");
    assert!(fs::read(file(&database)).unwrap() == bytes, "the copy was changed");

    // What the sentence says works, also with the copy where it is.
    succeed(&admin(&database, &["restore", "hourpass.db"]));
    let server = start(&database);
    check_restored(&server, &before, &after).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_the_volume_is_restored_with_its_log() {
    let database = Engine::Sqlite.database().await;
    let mut server = start(&database);
    let before = Before::make(&database, &server).await;
    // The three files as they are at one moment: nothing is written while the process stands still.
    server.signal("STOP");
    let snapshot = database.folder.path().join("snapshot");
    fs::create_dir(&snapshot).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(beside(&file(&database), suffix), beside(&snapshot.join("hourpass.db"), suffix)).unwrap();
    }
    server.signal("CONT");
    let after = After::make(&server, &before).await;
    server.signal("KILL");
    server.output();
    // All three put back by hand.
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(beside(&snapshot.join("hourpass.db"), suffix), beside(&file(&database), suffix)).unwrap();
    }
    let server = start(&database);
    check_restored(&server, &before, &after).await;
    assert!(log(&server.stop()).contains(NOTICED));
    // And by the command.
    succeed(&admin(&database, &["restore", "snapshot/hourpass.db"]));
    assert_eq!(fs::read_dir(&snapshot).unwrap().count(), 3);
    let server = start(&database);
    let anyone = Client::new(&server.url);
    assert!(ended(&anyone, &before.ci).await);
    assert_eq!(anyone.login(&before.ci_key).await.status, 200);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_not_replaced_by_an_empty_one() {
    let database = Engine::Sqlite.database().await;
    start(&database).stop();
    fs::remove_file(file(&database)).unwrap();
    let said = fail(&command(&database).output().unwrap());
    assert!(said.contains(&format!("the database {} is missing, and ", file(&database).display())), "{said}");
    assert!(!file(&database).exists());
    fs::remove_file(beside(&file(&database), ".mark")).unwrap();
    start(&database).stop();
}
