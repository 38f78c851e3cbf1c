//! `hourpass demo`: what it is good for, in one screen. Starts Hourpass on a temporary database and a workspace that trusts it, and shows each call as a `curl` line.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use clap::Args;
use hourpass_verifier::Verifier;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Outcome, print};
use crate::app::{Application, system_sources};
use crate::config::Config;

/// How long the workspace is given to refuse a token, at most: beyond what it says itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave everything running at the end, so that the lines can be tried, until Ctrl-C.
    #[arg(long)]
    stay: bool,
}

/// What the shown lines call things.
struct Shown {
    client: Client,
    /// What stands for what in the lines: secrets and addresses are long.
    names: Vec<(&'static str, String)>,
}

impl Shown {
    fn name(&mut self, name: &'static str, value: &str) {
        self.names.push((name, value.to_owned()));
    }

    fn heading(text: &str) -> Outcome {
        print(&format!("\n{text}\n"), "nothing was kept")
    }

    /// Shows a call as a `curl` line, makes it, and shows the status and what `pick` takes of the answer.
    async fn call(&self, method: Method, url: &str, bearer: Option<&str>, body: Body, pick: &[&str]) -> Result<(StatusCode, Value), reqwest::Error> {
        // Single quotes keep the shell from putting anything in, so bodies are shown as they are.
        let named = |text: String| self.names.iter().fold(text, |text, (name, value)| text.replace(value, &format!("${name}")));
        let mut line = vec!["curl".to_owned()];
        line.extend(bearer.map(|bearer| named(format!("-H \"Authorization: Bearer {bearer}\""))));
        match &body {
            Body::None => line.extend((method == Method::POST).then(|| "-X POST".to_owned())),
            Body::Form(fields) => line.extend(fields.iter().map(|(name, value)| named(format!("-d \"{name}={value}\"")))),
            Body::Json(value) if method == Method::POST => line.push(format!("--json '{value}'")),
            Body::Json(value) => line.push(format!("-X {method} --json '{value}'")),
        }
        line.push(named(format!("\"{url}\"")));
        say_out(&format!("  {}", line.join(" ")));
        let (status, answer) = self.ask(method, url, bearer, body).await?;
        let fields = pick.iter().filter_map(|name| Some((name, answer.get(*name).filter(|value| !value.is_null())?)));
        let mut picked = fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ");
        if answer.is_array() {
            picked = answer.to_string();
        }
        if picked.chars().count() > 110 {
            picked = picked.chars().take(107).chain("...".chars()).collect();
        }
        say_out(&format!("  -> {status}  {picked}"));
        Ok((status, answer))
    }

    async fn ask(&self, method: Method, url: &str, bearer: Option<&str>, body: Body) -> Result<(StatusCode, Value), reqwest::Error> {
        let mut request = self.client.request(method, url);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        request = match body {
            Body::None => request,
            Body::Form(fields) => {
                // Keys and slugs need no escaping.
                let form = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
                request.header("content-type", "application/x-www-form-urlencoded").body(form)
            }
            Body::Json(value) => request.header("content-type", "application/json").body(value.to_string()),
        };
        let response = request.send().await?;
        let status = response.status();
        Ok((status, serde_json::from_str(&response.text().await?).unwrap_or_default()))
    }
}

enum Body {
    None,
    Form(Vec<(&'static str, String)>),
    Json(Value),
}

/// Whoever reads the demonstration may have gone, which is no reason to fail.
fn say_out(line: &str) {
    let _nobody_reads = print(&format!("{line}\n"), "");
}

/// A text of an answer.
fn text(answer: &Value, name: &str) -> Result<String, String> {
    answer[name].as_str().map(str::to_owned).ok_or_else(|| format!("the answer has no {name}: {answer}"))
}

impl Demo {
    pub(super) async fn run(self) -> Outcome {
        let folder = tempfile::tempdir()?;
        let database = format!("sqlite://{}", folder.path().join("hourpass.db").display());
        let settings = [("HOURPASS_SERVER__PORT", "0"), ("HOURPASS_DATABASE__URL", &database)];
        let config = Config::load(None, settings.map(|(name, value)| (name.into(), value.into())))?;
        let ttl = config.status_list.ttl;
        let mut application = Application::build(config, system_sources()).await?;
        let admin = application.take_first_start().ok_or("the temporary database was not empty")?.api_key.expose().to_owned();
        let hourpass = application.url().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(Box::pin(application.run_until(async { drop(stopped.await) })));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let workspace = format!("http://{}", listener.local_addr()?);
        let verifier = Verifier::builder(&hourpass).audience(&workspace).build().await?;
        let serving = hourpass_example_workspace::serve(listener, verifier)?;
        let handle = serving.handle();
        let serving = tokio::spawn(serving);

        let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let mut shown = Shown { client, names: vec![("HOURPASS", hourpass.clone()), ("WORKSPACE", workspace.clone()), ("ADMIN", admin.clone())] };
        print("Hourpass on a temporary database, and a workspace: a service that trusts it and has no database at all.\n", "")?;
        say_out(&format!("  HOURPASS={hourpass} WORKSPACE={workspace} ADMIN={admin}"));
        let told = Box::pin(tell(&mut shown, &hourpass, &workspace, &admin, ttl)).await;
        if self.stay && told.is_ok() {
            let variables = shown.names.iter().map(|(name, value)| format!("  {name}={value}")).collect::<Vec<_>>().join("\n");
            say_out(&format!("\nEverything goes on running until Ctrl-C; the lines above work with these set:\n\n{variables}"));
            tokio::signal::ctrl_c().await?;
        }
        handle.stop(true).await;
        serving.await??;
        drop(stop);
        running.await??;
        told
    }
}

async fn tell(shown: &mut Shown, hourpass: &str, workspace: &str, admin: &str, ttl: Duration) -> Outcome {
    let admin = Some(admin);
    let accounts = format!("{hourpass}/api/v1/service_accounts");
    Shown::heading("1. Make the workspace known, and an account that may do two things there, with a key.")?;
    let body = json!({ "slug": "demo", "url": workspace });
    shown.call(Method::POST, &format!("{hourpass}/api/v1/workspaces"), admin, Body::Json(body), &["slug", "audience"]).await?;
    let body = json!({ "name": "ci", "workspace": "demo", "permissions": ["pipelines.read", "pipelines.deploy"], "default_key": true });
    let (_, made) = shown.call(Method::POST, &accounts, admin, Body::Json(body), &["name", "key"]).await?;
    let (key, key_id) = (text(&made, "key")?, text(&made, "api_key_id")?);
    shown.name("KEY", &key);
    let path = format!("{accounts}/ci/api_keys/{key_id}");

    Shown::heading("2. Exchange the key for a token that lives an hour, and use it. The workspace checks it by itself, offline.")?;
    let form = |key: &str| Body::Form(vec![("password", key.to_owned())]);
    let login = format!("{workspace}/api/v1/login");
    let (_, answer) = shown.call(Method::POST, &login, None, form(&key), &["token_type", "expires_in", "scope"]).await?;
    let token = text(&answer, "access_token")?;
    shown.name("TOKEN", &token);
    let pipelines = format!("{workspace}/api/v1/pipelines");
    shown.call(Method::GET, &pipelines, Some(&token), Body::None, &[]).await?;
    let deployment = Body::Json(json!({ "version": 4 }));
    shown.call(Method::POST, &format!("{pipelines}/ingest/deploy"), Some(&token), deployment, &["name", "deployed_version"]).await?;

    Shown::heading("3. Deactivate the key. The token had most of its hour left.")?;
    #[expect(clippy::disallowed_methods, reason = "how long it takes is measured on the monotonic clock")]
    let began = Instant::now();
    shown.call(Method::PATCH, &path, admin, Body::Json(json!({ "active": false })), &["active", "propagation"]).await?;
    loop {
        let (status, _) = shown.ask(Method::GET, &pipelines, Some(&token), Body::None).await?;
        if status == StatusCode::UNAUTHORIZED {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("the workspace still takes the token after {} s", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    let took = began.elapsed();
    shown.call(Method::GET, &pipelines, Some(&token), Body::None, &["code", "detail"]).await?;
    say_out(&format!(
        "     The workspace refused it {:.1} s after the deactivation: it reads the status list every {} s, and asks for nothing per request.",
        took.as_secs_f64(),
        ttl.as_secs()
    ));

    Shown::heading("4. Activate it again, and rotate it: the old value works for another five minutes, so that nothing stops.")?;
    shown.call(Method::PATCH, &path, admin, Body::Json(json!({ "active": true })), &["active"]).await?;
    let body = json!({ "retain_minutes": 5 });
    let (_, rotated) = shown.call(Method::POST, &format!("{path}/rotate"), admin, Body::Json(body), &["key", "retained_until"]).await?;
    let new = text(&rotated, "key")?;
    shown.name("NEW_KEY", &new);
    shown.call(Method::POST, &login, None, form(&key), &["token_type", "expires_in"]).await?;
    shown.call(Method::POST, &login, None, form(&new), &["token_type", "expires_in"]).await?;

    Shown::heading("5. What was done is on record, each exchange and each change.")?;
    let events = format!("{hourpass}/api/v1/audit_events?actor=ci&limit=3");
    let (_, recorded) = shown.call(Method::GET, &events, admin, Body::None, &[]).await?;
    for event in recorded.get("items").and_then(Value::as_array).into_iter().flatten() {
        let said = ["occurred_at", "actor_name", "action", "target_name"].map(|name| event[name].as_str().unwrap_or_default());
        say_out(&format!("     {}", said.join("  ")));
    }
    Ok(())
}
