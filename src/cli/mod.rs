//! Arguments and commands. Standard output holds results; standard error holds messages and logs.

mod admin;
mod demo;
mod healthcheck;
mod serve;

use std::borrow::Cow;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Log, LogFormat};
use crate::domain::secret_filter::{holds_secret, masked, masked_json};

/// Identity service for machines: exchanges a service account's API key for a one-hour signed token.
#[derive(Debug, Parser)]
#[command(name = "hourpass", version, about)]
struct Arguments {
    /// A TOML file with settings; config/default.toml in the source lists them all. Variables `HOURPASS_SECTION__KEY` win over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server. This is also what hourpass does without a command.
    Serve,
    /// Work on the database directly: for scripts, and when nobody can sign in. It may run beside a server.
    #[command(subcommand)]
    Admin(admin::Admin),
    /// See what it does, in one screen: starts everything on a temporary database, and shows each call as a curl line.
    Demo(demo::Demo),
    /// Ask a running server whether it is well; exit with 0 if it is.
    Healthcheck(healthcheck::Healthcheck),
}

type Outcome = Result<(), Box<dyn Error>>;

/// Reads the arguments and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // It repeats what was typed, which may be a key in the wrong place.
        Err(error) if error.use_stderr() => {
            say(error.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("hourpass: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: Arguments) -> Outcome {
    let mut config = Config::load(arguments.config.as_deref(), std::env::vars_os())?;
    if matches!(arguments.command, Some(Command::Demo(_))) {
        // It says itself what it does.
        "error".clone_into(&mut config.log.filter);
    }
    start_logging(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => Box::pin(serve::run(config)).await,
            Command::Admin(command) => command.run(config).await,
            Command::Demo(command) => Box::pin(command.run()).await,
            Command::Healthcheck(command) => command.run(&config).await,
        }
    })
}

/// Writes a line to standard error, without credentials. Whoever reads it may be gone, which is no reason to stop.
fn say(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{}", masked(line));
}

/// Standard error, for the log: whatever is logged, of whatever module, goes through here without credentials.
struct Masked(LogFormat);

impl Write for Masked {
    /// Takes one event, which the log writes at once.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let json = if self.0 == LogFormat::Json && holds_secret(line) { serde_json::from_str(line).ok() } else { None };
        // What was JSON stays JSON.
        let clean = json.map_or_else(|| masked(line), |event: Value| Cow::Owned(masked_json(&event)));
        std::io::stderr().write_all(format!("{clean}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Writes a result to standard output; `otherwise` says what to do where it cannot be written, for it is shown this once.
fn print(result: &str, otherwise: &str) -> Outcome {
    let mut output = std::io::stdout().lock();
    output.write_all(result.as_bytes()).and_then(|()| output.flush()).map_err(|error| format!("this cannot be printed: {error}; {otherwise}").into())
}

fn start_logging(log: &Log) -> Outcome {
    let format = log.format;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&log.filter)?)
        .with_writer(move || Masked(format))
        .with_ansi(std::io::stderr().is_terminal())
        // What reports a failed write would itself write, and end the request in a panic.
        .log_internal_errors(false);
    match log.format {
        LogFormat::Pretty => logs.with_target(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    // A panic may say what it stumbled over.
    std::panic::set_hook(Box::new(|panic| say(&panic.to_string())));
    Ok(())
}
