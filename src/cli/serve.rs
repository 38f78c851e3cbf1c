//! `hourpass serve`.

use std::io::Write;

use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;
use crate::app::{Application, system_sources};
use crate::config::Config;
use crate::service::FirstStart;

pub(super) async fn run(config: Config) -> Outcome {
    // Before the server starts: a signal that comes while it does is not to be lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut application = Application::build(config, system_sources()).await?;
    if let Some(made) = application.take_first_start() {
        // The only time that these are shown. Standard output, so that they do not end in a log.
        let mut output = std::io::stdout().lock();
        output.write_all(welcome(&made, application.url()).as_bytes())?;
        output.flush()?;
    }
    eprintln!("listening on {}", application.url());
    tracing::info!(issuer = application.issuer(), "started");
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(application.run_until(stop).await?)
}

fn welcome(made: &FirstStart, url: &str) -> String {
    let password = made.admin_password.as_ref().map_or("(as configured)", |password| password.expose_secret());
    let key = made.api_key.expose();
    format!(
        "Hourpass is set up. The secrets below are shown this once; keep them in a safe place.

  administrator  {email}
  password       {password}
  API key        {key}
                 (service account \"bootstrap\", Organization Admin)

Exchange the key for a one-hour token:

  curl -d \"password={key}\" {url}/auth/login

",
        email = made.admin_email
    )
}
