//! `hourpass serve`.

use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, print, say};
use crate::app::{Application, system_sources};
use crate::config::Config;
use crate::service::FirstStart;

pub(super) async fn run(config: Config) -> Outcome {
    // Before the server starts: a signal that comes while it does is not to be lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut stop = Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let mut application = tokio::select! {
        built = Application::build(config, system_sources()) => built?,
        () = &mut stop => return Err("stopped before the server had started".into()),
    };
    if let Some(made) = application.take_first_start() {
        // Standard output, so that they do not end in a log.
        print(&welcome(&made, application.url()), RECOVERY)?;
    }
    say(&format!("listening on {}", application.url()));
    tracing::info!(issuer = application.issuer(), "started");
    Ok(Box::pin(application.run_until(stop)).await?)
}

/// What to do where the secrets of the first start were not seen.
const RECOVERY: &str = "get new ones with `hourpass admin reset-password --email ...` and \
                        `hourpass admin issue-key --organization default --service-account bootstrap`";

fn welcome(made: &FirstStart, url: &str) -> String {
    let password = made.admin_password.as_ref().map_or("(as configured)", |password| password.expose_secret());
    let key = made.api_key.expose();
    format!(
        "Hourpass is set up. The secrets below are shown this once; keep them in a safe place.

  administrator  {email}
  password       {password}
  API key        {key}
                 (service account \"bootstrap\", Organization Admin and Platform Admin)

Exchange the key for a one-hour token:

  curl -d \"password={key}\" {url}/auth/login

Or sign in with a browser, with the key alone or with the email address and the password:

  {url}/

",
        email = made.admin_email
    )
}
