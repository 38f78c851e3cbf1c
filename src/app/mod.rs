//! Puts the parts together: the server for `hourpass serve` and for tests alike, and the administration of a database.

mod master_key;
mod open_files;
mod recovery;
mod system;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web;
use secrecy::ExposeSecret;
use tokio::net::TcpSocket;

use crate::config::{ApiKeys, Config, Database, Passwords as PasswordSettings, Users};
use crate::domain::id::NodeId;
use crate::http::{self, ConnectionSettings, Limits, Metrics, State, Stopping};
use crate::keys::AnswerKeys;
use crate::service::{
    Administration, AdministrationError, AuditLog, Authenticator, Context, FirstStart, Follower, Login, Management, Memory, Passwords, RateLimiter,
    Recorder, Rules, Sessions, Signing, SigningError, Sources, StatusPublisher, StatusRules, Traffic, Upkeep, Usage,
};
use crate::store::{OpenMode, Pooler, PostgresOptions, Store, StoreError};

pub use recovery::{Backup, Replaced, backup, declare_restored, restore};
pub use system::system_sources;

/// Connections that may wait to be taken.
const BACKLOG: u32 = 1_024;

/// At a stop, how long it may take to write when keys were last used.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(4);

/// Why the server did not start: a line for the person who starts it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing can listen there.
    #[error("cannot listen on {0}: {1}; if another program listens there, stop it or set server.port")]
    Listen(SocketAddr, std::io::Error),
    /// The threads cannot be started.
    #[error("the server cannot be started: {0}")]
    Server(std::io::Error),
    /// The limit of open files is too low.
    #[error(
        "the limit of open files is {files}, which leaves too few for connections; raise it to {needed} (ulimit -n, LimitNOFILE=), or lower server.max_connections and \
         database.max_connections"
    )]
    OpenFiles {
        /// The limit.
        files: usize,
        /// What the settings need.
        needed: usize,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key cannot be had.
    #[error("{0}")]
    MasterKey(String),
    /// The signing keys cannot be read or made.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A back-up or a restore cannot be done.
    #[error("{0}")]
    Recovery(String),
    /// The first start did not come to its end.
    #[error(transparent)]
    Bootstrap(#[from] AdministrationError),
}

/// A server that listens and is ready to run.
pub struct Application {
    server: Server,
    handle: ServerHandle,
    stopping: Arc<Stopping>,
    store: Store,
    memory: Memory,
    follower: Follower,
    upkeep: Upkeep,
    url: String,
    issuer: String,
    first_start: Option<FirstStart>,
    shutdown_grace: Duration,
}

impl Application {
    /// Listens, opens the database, sets it up where it is empty, and reads or makes the signing keys.
    ///
    /// # Errors
    /// Where any of that cannot be done.
    pub async fn build(config: Config, sources: Sources) -> Result<Self, StartError> {
        // First, so that a second server on the same port does nothing to the database.
        let listener = listen(SocketAddr::new(config.server.host, config.server.port))?;
        let address = listener.local_addr().map_err(StartError::Server)?;
        let url = format!("http://{address}");
        let connections = open_files::reserve(&config.server, &config.database)?;
        let issuer = config.server.public_url.unwrap_or_else(|| {
            if address.ip().is_unspecified() {
                tracing::warn!("tokens will name {url} as their issuer, where nobody can reach it; set server.public_url");
            }
            url.clone()
        });

        let store = open(&config.database, OpenMode::CreateIfMissing).await?;
        // Before anything is given out, and before anybody is answered.
        let unfinished = recovery::begin_epoch_if_restored(&config.database, &config.signing, &store, &sources).await?;
        let sealed = store.count_signing_keys().await? > 0;
        let master = master_key::find(&config.signing, &config.database, OpenMode::CreateIfMissing, sealed, &*sources.random)?;
        store.keep_marks(recovery::mark_directory(&config.database, &config.signing).as_ref(), OpenMode::CreateIfMissing).await?;
        let answers = AnswerKeys::new(&master);
        let signing = Arc::new(Signing::open_or_create(store.clone(), master, sources.clone(), config.signing.rotation).await?);
        unfinished.finish(&signing).await?;
        let passwords = passwords(&config.passwords, &sources);
        let rules = rules(&config.api_keys, &config.users, Some(issuer.clone()));
        let first_start = administration(&store, &sources, passwords.clone(), rules.clone())
            .bootstrap(&config.bootstrap.admin_email, config.bootstrap.admin_password.as_ref())
            .await?;

        let usage = Arc::new(Usage::new(store.clone()));
        let upkeep = Upkeep::new(store.clone(), sources.clone(), Arc::clone(&usage), Arc::clone(&signing), config.audit.retention);
        let (recorder, writing) = Recorder::new(store.clone());
        // On its own from now on; it ends with the last handler. A handler waits for its record, so a stop that waits for the handlers waits for the records.
        tokio::spawn(writing);
        let memory = Memory::new(store.clone(), config.cache.entries, config.staleness.bound);
        let node = NodeId::generate(sources.now(), sources.random());
        let follower = Follower::new(store.clone(), node.0, url.clone(), config.staleness.bound, config.staleness.confirm_wait);
        // Before it answers anybody, so that the others wait for it from the beginning.
        follower.join().await?;
        let context = Context {
            store: store.clone(),
            memory: memory.clone(),
            signing: Arc::clone(&signing),
            usage,
            sources: sources.clone(),
            issuer: issuer.clone(),
            prefix: config.api_keys.prefix.clone(),
        };
        let status = StatusRules { ttl: config.status_list.ttl, lifetime: config.status_list.lifetime };
        let settings = ConnectionSettings {
            head_timeout: config.server.head_timeout,
            idle_timeout: config.server.idle_timeout,
            write_timeout: config.server.write_timeout,
            max_connections: connections.in_all,
            max_per_address: connections.per_address,
            exempt: config.server.trusted_proxies.clone(),
            max_sockets: connections.sockets,
        };
        let state = web::Data::new(State {
            status: StatusPublisher::new(store.clone(), Arc::clone(&signing), sources.clone(), issuer.clone(), status),
            login: Login::new(
                context.clone(),
                passwords.clone(),
                recorder,
                config.sessions.max_age,
                config.passwords.guesses_per_minute,
                config.api_keys.exchanges_per_minute,
            ),
            sessions: Sessions::new(context.clone()),
            authenticator: Authenticator::new(context, config.api_keys.direct_use),
            management: Management::new(store.clone(), sources.clone(), passwords, rules),
            audit_log: AuditLog::new(store.clone(), sources.clone()),
            traffic: Traffic::new(store.clone(), sources.clone()),
            reports: config.api_keys.reports_per_minute.map(|most| (most, RateLimiter::default())),
            trusted_proxies: config.server.trusted_proxies,
            signing,
            memory: memory.clone(),
            follower: follower.clone(),
            store: store.clone(),
            sources,
            issuer: issuer.clone(),
            answers,
            metrics: Metrics::default(),
            limits: Limits {
                body_limit: config.server.body_limit,
                body_timeout: config.server.body_timeout,
                request_timeout: config.server.request_timeout,
            },
        });
        let shutdown_grace = config.server.shutdown_grace;
        let (server, stopping) = http::serve(listener, state, settings, config.server.workers, shutdown_grace).map_err(StartError::Server)?;
        let handle = server.handle();
        Ok(Self { server, handle, stopping, store, memory, follower, upkeep, url, issuer, first_start, shutdown_grace })
    }

    /// The address listened on, as a URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The public URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The database: for tests that look at the tables themselves.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is held in memory: for tests that look into it.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The work in the background, for tests that do not want to wait for it.
    #[must_use]
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// What the first start made, once.
    pub fn take_first_start(&mut self) -> Option<FirstStart> {
        self.first_start.take()
    }

    /// Answers requests until `stop` comes to its end; then takes no more, and gives those in progress `server.shutdown_grace`.
    ///
    /// # Errors
    /// Where the server fails by itself.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let mut server = std::pin::pin!(self.server);
        let mut failed = None;
        tokio::select! {
            ended = &mut server => failed = ended.err(),
            () = self.upkeep.run() => {}
            () = self.follower.run() => {}
            () = stop => {
                tracing::info!("stopping");
                self.stopping.begin();
                let graceful = tokio::time::timeout(self.shutdown_grace, async { tokio::join!(self.handle.stop(true), &mut server) });
                // Requests in progress are still answered from memory, which has to be kept right. Meanwhile most uses of keys can be written.
                let given_up = tokio::select! {
                    ended = graceful => ended.is_err(),
                    () = self.follower.run() => false,
                    () = async {
                        drop(self.upkeep.flush(true).await);
                        std::future::pending::<()>().await;
                    } => false,
                };
                if given_up {
                    tracing::warn!("requests were still in progress at the end of server.shutdown_grace, and are given up");
                }
            }
        }
        match tokio::time::timeout(FLUSH_TIMEOUT, self.upkeep.flush_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "when keys were last used could not be written"),
            Err(_) => tracing::warn!("when some keys were last used could not be written in time"),
        }
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), self.follower.leave()).await {
            tracing::debug!(%error, "the other nodes will find out by themselves that this one is gone");
        }
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), self.store.sync_marks()).await {
            tracing::warn!(%error, "the marks may lack the last changes");
        }
        // A connection that hangs in a broken network is not waited for.
        if tokio::time::timeout(Duration::from_secs(2), self.store.close()).await.is_err() {
            tracing::warn!("the database did not close in time");
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), |error| Err(StartError::Server(error)))
    }
}

/// Opens the database for `hourpass admin`: one that a server made. Makes and migrates nothing.
///
/// # Errors
/// If there is none, if its schema is not this version's, or if it cannot be opened.
pub async fn open_administration(config: &Config, sources: &Sources) -> Result<Administration, StartError> {
    let store = open_existing(config).await?;
    let rules = rules(&config.api_keys, &config.users, config.server.public_url.clone());
    Ok(administration(&store, sources, passwords(&config.passwords, sources), rules))
}

/// Opens the signing keys for `hourpass admin`: those that a server made. Makes nothing.
///
/// # Errors
/// If there is no database, master key or signing key, or if one cannot be read.
pub async fn open_signing(config: &Config, sources: &Sources) -> Result<Signing, StartError> {
    let store = open_existing(config).await?;
    let sealed = store.count_signing_keys().await? > 0;
    let master = master_key::find(&config.signing, &config.database, OpenMode::ExistingOnly, sealed, &*sources.random)?;
    Ok(Signing::open(store, master, sources.clone(), config.signing.rotation).await?)
}

fn administration(store: &Store, sources: &Sources, passwords: Passwords, rules: Rules) -> Administration {
    let management = Management::new(store.clone(), sources.clone(), passwords.clone(), rules);
    Administration::new(store.clone(), sources.clone(), passwords, management)
}

fn rules(keys: &ApiKeys, users: &Users, issuer: Option<String>) -> Rules {
    Rules { prefix: keys.prefix.clone(), max_retention: keys.max_retention, invitation_lifetime: users.invitation_lifetime, issuer }
}

fn passwords(settings: &PasswordSettings, sources: &Sources) -> Passwords {
    Passwords::new(sources.clone(), settings.params.clone(), settings.concurrency, settings.queue_timeout)
}

/// Opens a database that a server made, to change it: what is given out is noted.
async fn open_existing(config: &Config) -> Result<Store, StoreError> {
    let store = open(&config.database, OpenMode::ExistingOnly).await?;
    store.keep_marks(recovery::mark_directory(&config.database, &config.signing).as_ref(), OpenMode::ExistingOnly).await?;
    Ok(store)
}

async fn open(database: &Database, mode: OpenMode) -> Result<Store, StoreError> {
    let pooler = if database.behind_pooler { Pooler::Transaction } else { Pooler::Auto };
    let postgres = PostgresOptions { pooler, listen_url: database.listen_url.as_ref().map(ExposeSecret::expose_secret) };
    Store::open_with(database.url.expose_secret(), database.max_connections, database.timeout, mode, postgres).await
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // So that a restart need not wait for the old connections to be forgotten.
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(http::SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listen().map_err(|error| StartError::Listen(address, error))
}
