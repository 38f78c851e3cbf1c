//! A resource service that trusts Hourpass: the example workspace, with `hourpass-verifier`, over HTTP.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use hourpass_verifier::{Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::seeds::{from_python, python, shell};
use crate::support::{Client, TestApp, claims, eventually, header, on_both_engines};

const AUDIENCE: &str = "https://pipelines.example.com";

/// A verifier that reads the test's clock.
fn verifier(app: &TestApp) -> VerifierBuilder {
    let clock = app.clock.clone();
    Verifier::builder(&app.url).audience(AUDIENCE).clock(move || UNIX_EPOCH + Duration::from_secs(clock.seconds().unsigned_abs()))
}

/// The example workspace, as the workspace `pipelines` of `default`. Returns where it is.
async fn start(app: &TestApp) -> String {
    app.admin_client().post("/api/v1/workspaces", &json!({ "slug": "pipelines", "audience": AUDIENCE })).await.expect(201);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(hourpass_example_workspace::serve(listener, verifier(app).build().await.unwrap()).unwrap());
    url
}

/// An account that has these permissions in the workspace, and its key.
async fn account(app: &TestApp, name: &str, permissions: &[&str]) -> (String, String) {
    let body = json!({ "name": name, "workspace": "pipelines", "permissions": permissions, "default_key": true });
    let made = app.admin_client().post("/api/v1/service_accounts", &body).await.expect(201);
    let key_path = format!("/api/v1/service_accounts/{name}/api_keys/{}", made["api_key_id"].as_str().unwrap());
    (made["key"].as_str().unwrap().to_owned(), key_path)
}

on_both_engines! {
    /// Each command of the documents that is about a workspace, with only host and key changed.
    async fn the_examples_of_the_documents(engine: Engine) {
        let app = TestApp::start(engine).await;
        let url = start(&app).await;
        let (key, _) = account(&app, "ci", &["pipelines.read"]).await;
        let folder = app.database.folder.path().to_owned();
        tokio::task::spawn_blocking(move || documents(&folder, &url, &key)).await.unwrap();
    }

    async fn tokens_and_keys_alike_with_permissions(engine: Engine) {
        let app = TestApp::start(engine).await;
        let url = start(&app).await;
        let workspace = Client::new(&url);
        let (reader, _) = account(&app, "reader", &["pipelines.read"]).await;
        let (deployer, _) = account(&app, "deployer", &["pipelines.read", "pipelines.deploy"]).await;
        let token = async |key: &str| workspace.post_form("/api/v1/login", &[("password", key)]).await.token();
        for credential in [reader.clone(), token(&reader).await] {
            let caller = workspace.with(&credential);
            assert_eq!(caller.get("/api/v1/pipelines").await.expect(200).as_array().unwrap().len(), 3);
            assert_eq!(caller.get("/api/v1/pipelines/train").await.expect(200), json!({ "name": "train", "deployed_version": 12 }));
            assert_eq!(caller.get("/api/v1/pipelines/none").await.status, 404);
            let refused = caller.post("/api/v1/pipelines/train/deploy", &json!({ "version": 13 })).await;
            assert_eq!(refused.status, 403);
            assert!(refused.header("www-authenticate").contains("insufficient_scope") && refused.header("www-authenticate").contains("pipelines.deploy"));
        }
        for (credential, version) in [(deployer.clone(), 13), (token(&deployer).await, 14)] {
            let caller = workspace.with(&credential);
            let answer = caller.post("/api/v1/pipelines/train/deploy", &json!({ "version": version })).await.expect(200);
            assert_eq!(answer["deployed_version"], version);
        }
        assert_eq!(workspace.with(&deployer).post("/api/v1/pipelines/train/undeploy", &json!({})).await.expect(200)["deployed_version"], Value::Null);

        // Nothing else gets in.
        let hourpass_token = app.anyone().login(&reader).await.token();
        app.admin_client().post("/api/v1/workspaces", &json!({ "slug": "other", "audience": "urn:other" })).await.expect(201);
        let other = app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "other")]).await.token();
        for credential in [hourpass_token.as_str(), &other, "hp_live_junk", "eyJhbGciOiJub25lIn0.e30.", &reader.replace("hp_live_", "hp_live_x")] {
            let refused = workspace.with(credential).get("/api/v1/current-user").await;
            assert_eq!(refused.status, 401, "{credential}: {}", refused.text);
            assert!(refused.header("www-authenticate").starts_with("Bearer ") && !refused.text.contains(credential));
        }
        assert_eq!(workspace.get("/api/v1/current-user").await.status, 401);
        assert_eq!(workspace.post_form("/api/v1/login", &[("password", "hp_live_junk")]).await.status, 401);
        assert_eq!(workspace.post_form("/api/v1/login", &[("user", "x")]).await.json()["code"], "invalid_request");
    }

    async fn a_deactivation_reaches_it(engine: Engine) {
        let app = TestApp::start_with(engine.database().await, &[("HOURPASS_STATUS_LIST__TTL", "1s")]).await;
        let workspace = Client::new(&start(&app).await);
        let (key, path) = account(&app, "ci", &["pipelines.read"]).await;
        let token = workspace.post_form("/api/v1/login", &[("password", &key)]).await.token();
        let status = async |credential: &str| workspace.with(credential).get("/api/v1/pipelines").await.status;
        assert_eq!((status(&token).await, status(&key).await), (200, 200));
        let admin = app.admin_client();
        admin.patch(&path, &json!({ "active": false })).await.expect(200);
        eventually(async || status(&token).await == 401).await;
        eventually(async || status(&key).await == 401).await;
        // Activating it again brings back the key, and not the token.
        admin.patch(&path, &json!({ "active": true })).await.expect(200);
        // A refusal is remembered for three seconds.
        app.clock.advance_seconds(5);
        eventually(async || status(&key).await == 200).await;
        assert_eq!(status(&token).await, 401);
    }

    async fn no_token_is_refused_for_a_rotation(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.admin_client().post("/api/v1/workspaces", &json!({ "slug": "pipelines", "audience": AUDIENCE })).await.expect(201);
        let verifier = verifier(&app).build().await.unwrap();
        app.clock.advance_seconds(29 * 86_400);
        app.upkeep.take_turns().await.unwrap();
        app.clock.advance_seconds(86_400 - 3);
        // Tokens are fetched and checked without a pause; each is checked again later.
        let (stop, checked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let load = || {
            let (client, key, verifier) = (app.anyone(), app.admin_key().to_owned(), verifier.clone());
            let (stop, checked) = (Arc::clone(&stop), Arc::clone(&checked));
            tokio::spawn(async move {
                let mut tokens: Vec<String> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    tokens.push(client.post_form("/auth/login", &[("password", &key), ("workspace", "pipelines")]).await.token());
                    for token in [tokens.first().unwrap(), tokens.last().unwrap()] {
                        verifier.verify(token).await.unwrap_or_else(|error| panic!("{error}: {token}"));
                        checked.fetch_add(1, Ordering::Relaxed);
                    }
                }
                tokens
            })
        };
        let loads: Vec<_> = (0..3).map(|_| load()).collect();
        for _ in 0..6 {
            let before = checked.load(Ordering::Relaxed);
            eventually(async || checked.load(Ordering::Relaxed) > before + 30).await;
            app.clock.advance_seconds(1);
            app.upkeep.take_turns().await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let mut tokens = Vec::new();
        for load in loads {
            tokens.extend(load.await.unwrap());
        }
        let kids: std::collections::BTreeSet<String> = tokens.iter().map(|token| header(token)["kid"].to_string()).collect();
        assert_eq!(kids.len(), 2, "the rotation was in the middle of it");
        // To the end of their hour, whichever key signed them.
        let last = tokens.iter().map(|token| claims(token)["exp"].as_i64().unwrap()).min().unwrap();
        app.clock.advance_seconds(last - app.clock.seconds() - 1);
        app.upkeep.take_turns().await.unwrap();
        for token in &tokens {
            verifier.verify(token).await.unwrap_or_else(|error| panic!("{error}: {token}"));
        }
        assert!(verifier.stats().verified >= 2);
    }

    async fn a_withdrawn_key_is_trusted_no_more(engine: Engine) {
        let app = TestApp::start(engine).await;
        app.admin_client().post("/api/v1/workspaces", &json!({ "slug": "pipelines", "audience": AUDIENCE })).await.expect(201);
        let verifier = verifier(&app).refresh_interval(Duration::from_secs(1)).build().await.unwrap();
        let exchange = async || app.anyone().post_form("/auth/login", &[("password", app.admin_key()), ("workspace", "pipelines")]).await.token();
        let old = exchange().await;
        assert!(verifier.verify(&old).await.is_ok());
        app.clock.advance_seconds(2);
        app.admin_client().post("/api/v1/signing_keys/rotate", &json!({ "now": true })).await.expect(200);
        eventually(async || verifier.verify(&old).await.is_err()).await;
        let new = exchange().await;
        eventually(async || verifier.verify(&new).await.is_ok()).await;
    }
}

fn documents(folder: &Path, url: &str, key: &str) {
    let current_user = |credential: &str| {
        let by_curl = shell(folder, &format!(r#"curl -H "Authorization: Bearer {credential}" {url}/api/v1/current-user"#));
        let by_wget = shell(folder, &format!(r#"wget -qO- --header="Authorization: Bearer {credential}" {url}/api/v1/current-user"#));
        let by_python = python(
            folder,
            &format!(
                r#"
import requests

response = requests.get(
    "{url}/api/v1/current-user",
    headers={{"Authorization": f"Bearer {credential}"}}
)

print(response.json())
"#
            ),
        );
        assert_eq!(by_curl["name"], "ci");
        assert_eq!(by_wget, by_curl);
        assert_eq!(from_python(&by_python), by_curl);
    };
    current_user(key);
    let by_curl = shell(folder, &format!(r#"curl -X POST -d "password={key}" {url}/api/v1/login"#));
    let by_wget = shell(
        folder,
        &format!(
            r#"wget -qO- --post-data="password={key}" \
    --header="Content-Type: application/x-www-form-urlencoded" \
    {url}/api/v1/login"#
        ),
    );
    let by_python = python(
        folder,
        &format!(
            r#"
import requests
import json

response = requests.post(
    "{url}/api/v1/login",
    data={{"password": "{key}"}},
    headers={{"Content-Type": "application/x-www-form-urlencoded"}}
)

print(response.json())
"#
        ),
    );
    for answer in [by_curl, by_wget, from_python(&by_python)] {
        let mut names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["access_token", "authorization_details", "expires_in", "refresh_token", "scope", "token_type"]);
        assert_eq!(
            (&answer["token_type"], &answer["expires_in"], &answer["refresh_token"], &answer["scope"]),
            (&json!("bearer"), &json!(3600), &Value::Null, &json!("pipelines.read"))
        );
        current_user(answer["access_token"].as_str().unwrap());
    }
    let pipelines = shell(
        folder,
        &format!(
            r#"curl -s {url}/api/v1/pipelines \
  -H "Authorization: Bearer {key}""#
        ),
    );
    assert_eq!(pipelines.as_array().unwrap().len(), 3);
}

/// What resource services depend on: neither a database nor, unless they ask for it, a web framework.
#[test]
fn resource_services_carry_no_database() {
    let tree = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |tree: &str, name: &str| tree.lines().any(|line| line.starts_with(&format!("{name} ")));
    let workspace = tree(&["--package", "hourpass-example-workspace"]);
    assert!(has(&workspace, "hourpass-verifier") && has(&workspace, "actix-web"));
    for database in ["sqlx", "sqlx-core", "libsqlite3-sys", "tokio-postgres", "rusqlite", "hourpass"] {
        assert!(!has(&workspace, database), "{database}");
    }
    let verifier = tree(&["--package", "hourpass-verifier"]);
    for framework in ["actix-web", "sqlx", "hourpass"] {
        assert!(!has(&verifier, framework), "{framework}");
    }
    assert!(!has(&tree(&["--package", "hourpass-verifier", "--no-default-features"]), "tokio"));
}
