//! The commands of the two documents that Hourpass is modelled on, with only host and key changed, against a real server.
//!
//! The pages about a workspace's own API (`/api/v1/current-user`, `/api/v1/pipelines`) are in `workspace`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Client, Process, command, eventually, hourpass, on_both_engines};

/// What a shell line printed.
pub(crate) fn shell(folder: &Path, line: &str) -> Value {
    let output = command("bash", folder).args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}\n{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// What a Python program printed.
pub(crate) fn python(folder: &Path, program: &str) -> String {
    let python = std::env::var("TEST_PYTHON").expect("TEST_PYTHON is not set: run scripts/test, which makes a Python with requests and PyJWT");
    let output = Command::new(python).current_dir(folder).args(["-c", program]).output().unwrap();
    assert!(output.status.success(), "{program}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Python prints a dict, which is JSON but for the quotes and the words for null, true and false.
pub(crate) fn from_python(printed: &str) -> Value {
    let json = printed.replace('\'', "\"").replace("None", "null").replace("True", "true").replace("False", "false");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

on_both_engines! {
    async fn the_examples_of_the_documents(engine: Engine) {
        let database = engine.database().await;
        let folder = database.folder.path();
        let server = Process::start(hourpass(folder).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url));
        let url = server.url.clone();
        let admin = |arguments: &[&str]| hourpass(folder).env("HOURPASS_DATABASE__URL", &database.url).arg("admin").args(arguments).output().unwrap();
        // The workspace's own host: another name of this machine.
        let workspace_url = url.replace("127.0.0.1", "localhost");
        let made = admin(&["create-workspace", "--organization", "default", "--slug", "ws", "--url", &workspace_url]);
        assert!(made.status.success(), "{made:?}");
        let issued = admin(&["issue-key", "--organization", "default", "--service-account", "ci", "--role", "workspace-developer", "--workspace", "ws"]);
        let key = String::from_utf8(issued.stdout).unwrap().trim().to_owned();

        // Direct API key authentication.
        let by_curl = shell(folder, &format!(r#"curl -H "Authorization: Bearer {key}" {url}/users/me"#));
        let by_wget = shell(folder, &format!(r#"wget -qO- --header="Authorization: Bearer {key}" {url}/users/me"#));
        let by_python = python(folder, &format!(r#"
import requests

response = requests.get(
  "{url}/users/me",
  headers={{"Authorization": f"Bearer {key}"}}
)

print(response.json())
"#));
        assert_eq!(by_curl["name"], "ci");
        assert_eq!(by_curl["is_service_account"], true);
        assert_eq!(by_wget, by_curl);
        assert_eq!(from_python(&by_python), by_curl);

        // Token exchange authentication.
        let by_curl = shell(folder, &format!(r#"curl -X POST -d "password={key}" {url}/auth/login"#));
        let by_wget = shell(folder, &format!(r#"wget -qO- --post-data="password={key}" \
    --header="Content-Type: application/x-www-form-urlencoded" \
    {url}/auth/login"#));
        let by_python = python(folder, &format!(r#"
import requests
import json

response = requests.post(
    "{url}/auth/login",
    data={{"password": "{key}"}},
    headers={{"Content-Type": "application/x-www-form-urlencoded"}}
)

print(response.json())
"#));
        for answer in [by_curl, by_wget, from_python(&by_python)] {
            let mut names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["access_token", "device_id", "device_metadata", "expires_in", "token_type"]);
            assert_eq!((&answer["token_type"], &answer["expires_in"]), (&"bearer".into(), &3600.into()));

            let token = answer["access_token"].as_str().unwrap();
            let by_curl = shell(folder, &format!(r#"curl -H "Authorization: Bearer {token}" {url}/users/me"#));
            let by_wget = shell(folder, &format!(r#"wget -qO- --header="Authorization: Bearer {token}" {url}/users/me"#));
            let by_python = python(folder, &format!(r#"
import requests

response = requests.get(
    "{url}/users/me",
    headers={{"Authorization": f"Bearer {token}"}}
)

print(response.json())
"#));
            assert_eq!(by_curl["name"], "ci");
            assert_eq!(by_wget, by_curl);
            assert_eq!(from_python(&by_python), by_curl);
        }

        // The workspace's login, at the workspace's own URL.
        let by_curl = shell(folder, &format!(r#"curl -X POST -d "password={key}" {workspace_url}/api/v1/login"#));
        let by_wget = shell(folder, &format!(r#"wget -qO- --post-data="password={key}" \
    --header="Content-Type: application/x-www-form-urlencoded" \
    {workspace_url}/api/v1/login"#));
        let by_python = python(folder, &format!(r#"
import requests
import json

response = requests.post(
    "{workspace_url}/api/v1/login",
    data={{"password": "{key}"}},
    headers={{"Content-Type": "application/x-www-form-urlencoded"}}
)

print(response.json())
"#));
        for answer in [by_curl, by_wget, from_python(&by_python)] {
            let mut names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
            assert_eq!((&answer["token_type"], &answer["expires_in"], &answer["refresh_token"]), (&"bearer".into(), &3600.into(), &Value::Null));
            assert_eq!(crate::support::claims(answer["access_token"].as_str().unwrap())["aud"], workspace_url.as_str());
        }
        server.stop();
    }

    /// "Any JWT library verifies it with the published keys": here one in another language, by discovery alone.
    async fn another_library_verifies_the_token(engine: Engine) {
        let database = engine.database().await;
        let folder = database.folder.path();
        let program = || {
            let mut program = hourpass(folder);
            program.env("HOURPASS_DATABASE__URL", &database.url).env("HOURPASS_SIGNING__MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
            program
        };
        let server = Process::start(program().env("HOURPASS_SERVER__PORT", "0"));
        let url = &server.url;
        for algorithm in ["ES256", "EdDSA", "RS256"] {
            let slug = algorithm.to_lowercase();
            let audience = format!("https://{slug}.example.com");
            let admin = |arguments: &[&str]| program().arg("admin").args(arguments).output().unwrap();
            let workspace = ["create-workspace", "--organization", "default", "--slug", &slug, "--audience", &audience, "--signing-algorithm", algorithm];
            assert!(admin(&workspace).status.success());
            let issue = ["issue-key", "--organization", "default", "--service-account", "ci", "--role", "workspace-viewer", "--workspace", &slug];
            let key = String::from_utf8(admin(&issue).stdout).unwrap().trim().to_owned();
            if algorithm != "ES256" {
                // The server makes the first key of an algorithm when it is asked for one, and it signs only after a while. Here the time is the real one.
                let asked = async || Client::new(url).post_form("/auth/login", &[("password", &key), ("audience", &audience)]).await.json();
                eventually(async || asked().await["code"] == "signing_key_not_yet_published").await;
                assert!(admin(&["rotate-signing-key", "--algorithm", algorithm, "--now"]).status.success());
            }
            // The server finds out by itself.
            let login = async || Client::new(url).post_form("/auth/login", &[("password", &key), ("audience", &audience)]).await.status == 200;
            eventually(login).await;
            let printed = python(folder, &format!(r#"
import jwt, requests

metadata = requests.get("{url}/.well-known/openid-configuration").json()
token = requests.post(metadata["token_endpoint"], data={{"password": "{key}", "audience": "{audience}"}}).json()["access_token"]
key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token)
claims = jwt.decode(token, key, algorithms=["{algorithm}"], audience="{audience}", issuer=metadata["issuer"],
                    options={{"require": ["exp", "iat", "sub", "jti"]}})
for wrong in [dict(audience="https://other.example.com"), dict(audience="{audience}", issuer="https://other.example.com")]:
    try:
        jwt.decode(token, key, algorithms=["{algorithm}"], **wrong)
        raise SystemExit(f"accepted {{wrong}}")
    except jwt.InvalidTokenError:
        pass
print(claims["name"], claims["exp"] - claims["iat"])
"#));
            assert_eq!(printed, "ci 3600\n");
        }
        server.stop();
    }
}
