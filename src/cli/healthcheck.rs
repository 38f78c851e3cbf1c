//! `hourpass healthcheck`: for containers, which have no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use super::{Outcome, print};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Ask whether it can do its work (/readyz: the database takes writes), and not only whether it lives (/healthz).
    #[arg(long)]
    ready: bool,
    /// The server's URL; without it, the configured host and port.
    #[arg(long)]
    url: Option<String>,
}

impl Healthcheck {
    pub(super) async fn run(self, config: &Config) -> Outcome {
        let base = match self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if config.server.port == 0 => return Err("server.port is 0, so the port is not known; say --url http://HOST:PORT".into()),
            None => format!("http://{}", SocketAddr::new(reachable(config.server.host), config.server.port)),
        };
        let url = format!("{base}/{}", if self.ready { "readyz" } else { "healthz" });
        // A proxy from the environment has no business between a container and itself.
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let response = client.get(&url).send().await.map_err(|error| format!("{url} does not answer: {}", root_cause(&error)))?;
        let status = response.status();
        if status.is_success() {
            print(&format!("{}\n", response.text().await?), "the server is well")
        } else {
            Err(format!("{url} answered {status}").into())
        }
    }
}

/// "All addresses" cannot be connected to.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
