//! Which server takes writes, and when that has changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use sqlx::postgres::PgConnectOptions;
use sqlx::{SqlSafeStr, SqlStr};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::Settings;
use super::server::{Said, Server, parse};
use crate::store::last_write::LastWrite;
use crate::store::{Pooler, StoreError, existing};

/// How long a server may take to say whether it takes writes.
const ASKING: Duration = Duration::from_secs(2);
/// The same at the start, where nobody waits for an answer to a request.
const ASKING_AT_START: Duration = Duration::from_secs(15);
/// How long the other servers may take when one has said that it takes writes.
const OTHERS: Duration = Duration::from_millis(300);
/// How long it takes until the servers are asked again while none takes writes, and until connections may be replaced
/// again.
const AGAIN: Duration = Duration::from_millis(200);
/// How much longer than the server a statement is waited for here, so that the server's own answer comes first.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the server that takes writes.
pub(super) struct Route {
    servers: Vec<Server>,
    /// Where notifications are listened for; nothing if they are not.
    listen: Option<Vec<Server>>,
    pooled: bool,
    /// What proves that a session is ours alone.
    session: String,
    timeout: Duration,
    begin: SqlStr,
    current: watch::Sender<Current>,
    trouble: Arc<Trouble>,
    last_write: Arc<LastWrite>,
}

/// The server in use. Another generation means that all connections from before are to be closed.
#[derive(Clone, Copy)]
struct Current {
    generation: u64,
    server: usize,
}

/// What wakes the task that looks for the server that takes writes.
#[derive(Default)]
struct Trouble {
    noted: Notify,
    /// Whether connections are known to be of no use, and not only slow.
    certain: AtomicBool,
}

impl Route {
    /// Finds the server that takes writes, and whether a pooler is before it.
    pub(super) async fn find(settings: &Settings<'_>, last_write: Arc<LastWrite>) -> Result<Arc<Self>, StoreError> {
        let servers = parse("database.url", settings.url)?;
        let listen = settings.listen_url.map(|url| parse("database.listen_url", url)).transpose()?;
        let session = Uuid::new_v4().to_string();
        let within = settings.timeout.max(ASKING_AT_START);
        let mut said = match settings.pooler {
            Pooler::Auto => ask(&servers, Some(&session), within).await,
            Pooler::Transaction => Vec::new(),
        };
        let pooled = settings.pooler == Pooler::Transaction || said.iter().any(|said| matches!(said, Said::Pooler));
        if pooled {
            said = ask(&servers, None, within).await;
        }
        let Some(server) = choose(&said, 0) else { return Err(none_takes_writes(&servers, &said)) };
        match (&listen, pooled) {
            (None, true) => tracing::info!(
                "database.url leads through a connection pooler: changes of other nodes are looked for, and not listened for; to listen, set \
                 database.listen_url to PostgreSQL itself"
            ),
            (Some(listen), _) => check_listening(listen, &session).await?,
            (None, false) => {}
        }
        let listen = listen.or_else(|| (!pooled).then(|| servers.clone()));
        let begin = if pooled { begin_with_limits(settings.timeout) } else { SqlStr::from_static("BEGIN") };
        let trouble = Arc::new(Trouble::default());
        let route = Arc::new(Self {
            servers,
            listen,
            pooled,
            session,
            timeout: settings.timeout,
            begin,
            current: watch::Sender::new(Current { generation: 0, server }),
            trouble: Arc::clone(&trouble),
            last_write,
        });
        tokio::spawn(keep(Arc::downgrade(&route), trouble));
        Ok(route)
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Refuses to prepare a statement by name through a pooler: the name would stay in a session that others get.
    pub(super) fn refuse_names(&self) -> Result<(), sqlx::Error> {
        if self.pooled { Err(sqlx::Error::Configuration("statements have no names through a connection pooler".into())) } else { Ok(()) }
    }

    pub(super) fn session(&self) -> &str {
        &self.session
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn begin(&self) -> SqlStr {
        self.begin.clone()
    }

    /// Which set of connections is in use: another one after each failover.
    pub(super) fn generation(&self) -> u64 {
        self.current.borrow().generation
    }

    /// Waits until another set of connections is in use.
    pub(super) async fn changed(&self, generation: u64) {
        let mut current = self.current.subscribe();
        let _sender_is_ours = current.wait_for(|current| current.generation != generation).await;
    }

    fn server(&self) -> Option<&Server> {
        self.servers.get(self.current.borrow().server)
    }

    /// How to connect to the server that takes writes.
    pub(super) fn options(&self) -> PgConnectOptions {
        let options = |server: &Server| if self.pooled { server.base.clone() } else { server.own_session(&self.session, Some(self.timeout)) };
        self.server().map_or_else(PgConnectOptions::new, options)
    }

    /// As [`Route::options`], for what may take as long as it likes.
    pub(super) fn patient_options(&self) -> PgConnectOptions {
        let options = |server: &Server| if self.pooled { server.base.clone() } else { server.own_session(&self.session, None) };
        self.server().map_or_else(PgConnectOptions::new, options)
    }

    /// How to connect for listening, on a session that is ours alone; nothing if that is not possible.
    pub(super) async fn listening(&self) -> Result<Option<PgConnectOptions>, StoreError> {
        let Some(servers) = &self.listen else { return Ok(None) };
        let said = ask(servers, Some(&self.session), ASKING).await;
        match choose(&said, 0).and_then(|server| servers.get(server)) {
            Some(server) => Ok(Some(server.own_session(&self.session, Some(self.timeout)))),
            None => Err(none_takes_writes(servers, &said)),
        }
    }

    /// Waits for a statement, but not for ever: a server that has vanished from the network says nothing.
    pub(super) async fn bounded<T>(&self, generation: u64, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let result = match timeout(self.timeout + PATIENCE, work).await {
            Ok(result) => result,
            Err(_) => Err(sqlx::Error::Io(std::io::Error::other("PostgreSQL did not answer in time"))),
        };
        self.note(generation, result)
    }

    /// Takes in how something went on a connection of this generation.
    pub(super) fn note<T>(&self, generation: u64, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &result {
            match verdict(error) {
                Verdict::Useless => self.raise(generation, true),
                Verdict::Slow => self.raise(generation, false),
                Verdict::Fine => {}
            }
        }
        result
    }

    /// Has it looked whether the server still takes writes.
    pub(super) fn suspect(&self, generation: u64) {
        self.raise(generation, false);
    }

    fn raise(&self, generation: u64, certain: bool) {
        self.last_write.failed();
        // What connections from before say is known already.
        if generation == self.generation() {
            self.trouble.certain.fetch_or(certain, Ordering::Relaxed);
            self.trouble.noted.notify_one();
        }
    }

    fn replace_connections(&self, server: usize) {
        self.current.send_modify(|current| *current = Current { generation: current.generation + 1, server });
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        // Ends the task that looks after it.
        self.trouble.noted.notify_one();
    }
}

/// What an error says of its connection.
enum Verdict {
    /// Nothing: the statement failed, not the connection.
    Fine,
    /// There was no connection to be had in time, perhaps because of the load.
    Slow,
    /// The connection is of no use, and others of its age are probably not either.
    Useless,
}

fn verdict(error: &sqlx::Error) -> Verdict {
    use sqlx::Error as E;
    match error {
        // Read-only; connection lost; shut down, cut off or starting; a database or a user that is gone.
        E::Database(error) if error.code().is_some_and(|code| ["25006", "08", "57P", "3D000", "28"].iter().any(|class| code.starts_with(class))) => {
            Verdict::Useless
        }
        E::Io(_) | E::Tls(_) | E::Protocol(_) => Verdict::Useless,
        E::PoolTimedOut => Verdict::Slow,
        _ => Verdict::Fine,
    }
}

/// Begins a transaction and sets its limits, with one round trip.
fn begin_with_limits(timeout: Duration) -> SqlStr {
    #[expect(clippy::disallowed_types, reason = "a number is put into a statement that takes no values")]
    use sqlx::AssertSqlSafe;

    let milliseconds = timeout.as_millis();
    let limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    let set = limits.map(|limit| format!("; SET LOCAL {limit} = {milliseconds}"));
    AssertSqlSafe(format!("BEGIN{}", set.concat())).into_sql_str()
}

/// Asks all servers at once. When one takes writes, the others have little time left to answer.
async fn ask(servers: &[Server], session: Option<&str>, within: Duration) -> Vec<Said> {
    let mut said: Vec<Said> = servers.iter().map(|_| Said::Silent).collect();
    let mut asking: FuturesUnordered<_> =
        servers.iter().enumerate().map(|(index, server)| async move { (index, server.ask(session, within).await) }).collect();
    let mut left = within;
    while let Ok(Some((index, answer))) = timeout(left, asking.next()).await {
        if matches!(answer, Said::TakesWrites) {
            left = OTHERS;
        }
        if let Some(slot) = said.get_mut(index) {
            *slot = answer;
        }
    }
    said
}

/// The server to use: the one in use if it takes writes, else the first that does.
fn choose(said: &[Said], current: usize) -> Option<usize> {
    let takes_writes = |said: &Said| matches!(said, Said::TakesWrites);
    if said.get(current).is_some_and(takes_writes) { Some(current) } else { said.iter().position(takes_writes) }
}

fn sentences(servers: &[Server], said: &[Said]) -> String {
    let each: Vec<_> = servers.iter().zip(said).map(|(server, said)| format!("{} {}", server.name, said.sentence())).collect();
    each.join("; ")
}

fn none_takes_writes(servers: &[Server], said: &[Said]) -> StoreError {
    if let Some((server, _)) = servers.iter().zip(said).find(|(_, said)| said.is_unknown_database()) {
        let place = existing::describe_postgres(&server.base);
        return StoreError::Refused(format!("there is no {place}; correct database.url, or create the database with createdb. Nothing was made"));
    }
    StoreError::Refused(format!("the database is not available: {}", sentences(servers, said)))
}

/// A setting that can never work stops the start; a server that is away does not.
async fn check_listening(servers: &[Server], session: &str) -> Result<(), StoreError> {
    let said = ask(servers, Some(session), ASKING).await;
    if said.iter().any(|said| matches!(said, Said::Pooler)) {
        let why =
            "database.listen_url leads through a connection pooler, which does not pass notifications on; name PostgreSQL itself, or leave it empty";
        return Err(StoreError::Refused(why.to_owned()));
    }
    if choose(&said, 0).is_none() {
        tracing::warn!(servers = sentences(servers, &said), "not listening for changes yet, only looking for them");
    }
    Ok(())
}

/// Looks for the server that takes writes whenever there is trouble, until the route is dropped.
#[expect(clippy::disallowed_methods, reason = "how long an outage lasts is measured on the monotonic clock")]
async fn keep(route: Weak<Route>, trouble: Arc<Trouble>) {
    loop {
        trouble.noted.notified().await;
        let began = Instant::now();
        let mut told = false;
        loop {
            let Some(route) = route.upgrade() else { return };
            let session = (!route.pooled).then_some(route.session.as_str());
            let said = ask(&route.servers, session, ASKING).await;
            let current = route.current.borrow().server;
            if let Some(server) = choose(&said, current) {
                let certain = trouble.certain.swap(false, Ordering::Relaxed);
                if certain || told || server != current {
                    route.replace_connections(server);
                    let name = route.server().map_or("", |server| server.name.as_str());
                    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(server = name, milliseconds, "connections to PostgreSQL failed; all were replaced, and the server takes writes");
                }
                break;
            }
            if !told {
                let servers = sentences(&route.servers, &said);
                tracing::error!(servers, "no PostgreSQL takes writes; what has to write is refused with 503 until one does");
                told = true;
            }
            drop(route);
            sleep(AGAIN).await;
        }
        sleep(AGAIN).await;
    }
}
