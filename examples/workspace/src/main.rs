//! The example workspace as a program.

use std::error::Error;
use std::net::TcpListener;

use clap::Parser;
use hourpass_verifier::Verifier;

/// A small resource service that takes Hourpass tokens and API keys.
#[derive(Debug, Parser)]
struct Arguments {
    /// The public URL of Hourpass.
    #[arg(long, env = "WORKSPACE_ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// The audience of this workspace, as Hourpass has it.
    #[arg(long, env = "WORKSPACE_AUDIENCE", default_value = "urn:hourpass:default:default")]
    audience: String,
    /// Where to listen; port 0 picks a free one.
    #[arg(long, env = "WORKSPACE_LISTEN", default_value = "127.0.0.1:8090")]
    listen: String,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { issuer, audience, listen } = Arguments::parse();
    let listener = TcpListener::bind(&listen).map_err(|error| format!("cannot listen on {listen}: {error}; choose another with --listen"))?;
    let verifier = Verifier::builder(&issuer).audience(&audience).build().await;
    let verifier = verifier.map_err(|error| format!("{error}; is Hourpass running at {issuer}?"))?;
    let server = hourpass_example_workspace::serve(listener.try_clone()?, verifier)?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    actix_web::rt::signal::ctrl_c().await?;
    handle.stop(true).await;
    Ok(running.await??)
}
