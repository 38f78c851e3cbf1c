//! Connections to PostgreSQL.
//!
//! Two things stand between this program and a server, and both are handled here so that no statement has to know:
//!
//! - **A pooler.** In transaction mode a pooler (PgBouncer and its kind) lends a server's session to another client as
//!   soon as a transaction ends. So through a pooler nothing of a session is used: every statement runs in a
//!   transaction, unnamed, with its time limits set by `SET LOCAL`. On a session of our own, statements stay prepared
//!   and the limits are start-up options. See [`server`] for how the two are told apart.
//! - **A failover.** One of several servers takes writes. [`Route`] knows which; when a connection fails or answers
//!   that it is read-only, it looks for the server that takes writes, and then all connections are replaced. A pool
//!   alone would keep connections to a demoted server for ever, because they answer pings.

mod migrate;
mod route;
mod server;

use std::fmt;
use std::future::ready;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgListener, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr, Transaction};
use tokio::time::{sleep, timeout};

use super::changes::Changes;
use super::last_write::LastWrite;
use super::{OpenMode, Pooler, StoreError};

use route::Route;

pub(super) use server::{hosts, with_hosts};

/// After this long without a connection, it is asked whether the server is still the one that takes writes.
const SLOW: Duration = Duration::from_millis(500);
/// How long connections that were replaced may take to close.
const CLOSING: Duration = Duration::from_secs(5);
/// Without a notification for this long, the connection that listens is opened again: nobody is told of a connection that
/// something on the way has forgotten.
const SILENCE: Duration = Duration::from_secs(30);

/// How to reach PostgreSQL.
pub(super) struct Settings<'a> {
    /// `database.url`.
    pub url: &'a str,
    /// `database.listen_url`, if set.
    pub listen_url: Option<&'a str>,
    /// `database.pooler`.
    pub pooler: Pooler,
    /// The greatest number of connections for requests.
    pub connections: u32,
    /// The longest wait for a connection, a lock or a statement.
    pub timeout: Duration,
}

/// A pool of connections to whichever server takes writes.
#[derive(Clone)]
pub struct Pg {
    route: Arc<Route>,
    slot: Arc<RwLock<Slot>>,
    connections: u32,
}

/// The pool in use, and which generation of the route its connections belong to.
struct Slot {
    generation: u64,
    pool: PgPool,
}

/// Opens two pools, for requests and for following changes, and brings the tables up to date.
pub(super) async fn open(settings: &Settings<'_>, mode: OpenMode, last_write: Arc<LastWrite>) -> Result<(Pg, Pg), StoreError> {
    let route = Route::find(settings, last_write).await?;
    migrate::run(&route, mode).await?;
    // One for reading what changed, one for saying how far this node is. In session mode a pooler gives each a session of
    // the server for as long as it is open, of which there may be few.
    let watching = if route.is_pooled() { 1 } else { 2 };
    Ok((Pg::new(&route, settings.connections), Pg::new(&route, watching)))
}

impl Pg {
    fn new(route: &Arc<Route>, connections: u32) -> Self {
        let slot = Slot { generation: route.generation(), pool: pool(route, connections) };
        Self { route: Arc::clone(route), slot: Arc::new(RwLock::new(slot)), connections }
    }

    /// The pool of the route's generation. The first to ask after a failover replaces the pool.
    fn current(&self) -> (u64, PgPool) {
        let generation = self.route.generation();
        {
            let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
            if slot.generation == generation || slot.pool.is_closed() {
                return (slot.generation, slot.pool.clone());
            }
        }
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot.generation != generation {
            let old = std::mem::replace(&mut *slot, Slot { generation, pool: pool(&self.route, self.connections) });
            // Whoever waits for one of its connections is woken and asks here again. Connections that hang are not
            // waited for.
            tokio::spawn(async move { timeout(CLOSING, old.pool.close()).await });
        }
        (slot.generation, slot.pool.clone())
    }

    /// Lends a connection.
    async fn acquire(&self) -> Result<(u64, PoolConnection<Postgres>), sqlx::Error> {
        loop {
            let (generation, pool) = self.current();
            let mut acquiring = pin!(pool.acquire());
            let quick = tokio::select! {
                biased;
                acquired = &mut acquiring => Some(acquired),
                () = sleep(SLOW) => None,
            };
            let acquired = if let Some(acquired) = quick {
                acquired
            } else {
                self.route.suspect(generation);
                tokio::select! {
                    biased;
                    acquired = &mut acquiring => acquired,
                    () = self.route.changed(generation) => continue,
                }
            };
            return match acquired {
                Err(sqlx::Error::PoolClosed) if generation != self.current().0 => continue,
                acquired => self.route.note(generation, acquired).map(|connection| (generation, connection)),
            };
        }
    }

    /// Lends a connection for statements of one transaction each. It is not to be kept through a pooler, where each
    /// statement would begin a transaction: see [`Pg::is_pooled`].
    pub(super) async fn connection(&self) -> Result<PgSession, sqlx::Error> {
        let (generation, connection) = self.acquire().await?;
        Ok(PgSession { route: Arc::clone(&self.route), generation, lent: Lent::Connection(connection) })
    }

    /// Begins a transaction, with its time limits in force.
    pub(super) async fn begin(&self) -> Result<PgTx, sqlx::Error> {
        let (generation, connection) = self.acquire().await?;
        let begun = self.route.bounded(generation, Transaction::begin(connection, Some(self.route.begin()))).await?;
        Ok(PgTx(PgSession { route: Arc::clone(&self.route), generation, lent: Lent::Transaction(begun) }))
    }

    /// How long a connection is waited for.
    #[must_use]
    pub fn acquire_timeout(&self) -> Duration {
        self.route.timeout()
    }

    /// Whether the connections lead through a pooler.
    pub(super) fn is_pooled(&self) -> bool {
        self.route.is_pooled()
    }

    /// Says that the server was silent for too long.
    pub(super) fn suspect(&self) {
        self.route.suspect(self.route.generation());
    }

    /// How many times all connections were replaced.
    pub(super) fn replacements(&self) -> u64 {
        self.route.generation()
    }

    /// Wakes whoever follows the changes when another node has made one, until the connection breaks. Never on a
    /// connection of a pool: `LISTEN` belongs to a session.
    pub(super) async fn listen(&self, channel: &str, changes: &Changes) -> Result<(), StoreError> {
        let Some(options) = self.route.listening().await? else { return std::future::pending().await };
        let generation = self.route.generation();
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.route.timeout()).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        changes.set_hearing(true);
        // What was changed before is not announced.
        changes.wake();
        let heard = async {
            while let Ok(heard) = timeout(SILENCE, listener.try_recv()).await {
                if heard?.is_none() {
                    break;
                }
                changes.wake();
            }
            Ok::<_, sqlx::Error>(())
        };
        let ended = tokio::select! {
            ended = heard => ended,
            () = self.route.changed(generation) => Ok(()),
        };
        changes.set_hearing(false);
        drop(listener);
        tokio::spawn(async move { timeout(CLOSING, pool.close()).await });
        Ok(ended?)
    }

    /// Closes every connection when those in use are done.
    pub(super) async fn close(&self) {
        let pool = self.slot.read().unwrap_or_else(PoisonError::into_inner).pool.clone();
        pool.close().await;
    }

    async fn all<'q, E: Execute<'q, Postgres> + 'q>(&self, query: E) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error> {
        if self.is_pooled() {
            let mut tx = self.begin().await?;
            let found = tx.all(query).await?;
            tx.commit().await?;
            return Ok(found);
        }
        self.connection().await?.all(query).await
    }

    async fn optional<'q, E: Execute<'q, Postgres> + 'q>(&self, query: E) -> Result<Option<PgRow>, sqlx::Error> {
        if self.is_pooled() {
            let mut tx = self.begin().await?;
            let found = tx.optional(query).await?;
            tx.commit().await?;
            return Ok(found);
        }
        self.connection().await?.optional(query).await
    }
}

fn pool(route: &Arc<Route>, connections: u32) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(route.timeout());
    let options = route.options();
    if route.is_pooled() {
        return pool.connect_lazy_with(options);
    }
    let session = route.session().to_owned();
    pool.after_connect(move |connection, _| {
        let session = session.clone();
        Box::pin(async move { server::prove_own_session(connection, &session).await })
    })
    .connect_lazy_with(options)
}

impl fmt::Debug for Pg {
    /// Without the options of a connection, which hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pg").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// A lent connection, or one in a transaction.
pub struct PgSession {
    route: Arc<Route>,
    generation: u64,
    lent: Lent,
}

enum Lent {
    Connection(PoolConnection<Postgres>),
    Transaction(Transaction<'static, Postgres>),
}

/// A transaction. Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub struct PgTx(PgSession);

impl PgTx {
    /// Commits.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        let PgSession { route, generation, lent } = self.0;
        match lent {
            Lent::Transaction(tx) => route.bounded(generation, tx.commit()).await,
            Lent::Connection(_) => Ok(()),
        }
    }
}

impl Deref for PgTx {
    type Target = PgSession;

    fn deref(&self) -> &PgSession {
        &self.0
    }
}

impl DerefMut for PgTx {
    fn deref_mut(&mut self) -> &mut PgSession {
        &mut self.0
    }
}

impl PgSession {
    async fn all<'q, E: Execute<'q, Postgres> + 'q>(&mut self, query: E) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error> {
        let query = Statement { query, named: !self.route.is_pooled() };
        match &mut self.lent {
            Lent::Connection(connection) => self.route.bounded(self.generation, connection.fetch_many(query).try_collect()).await,
            Lent::Transaction(tx) => self.route.bounded(self.generation, tx.fetch_many(query).try_collect()).await,
        }
    }

    async fn optional<'q, E: Execute<'q, Postgres> + 'q>(&mut self, query: E) -> Result<Option<PgRow>, sqlx::Error> {
        let query = Statement { query, named: !self.route.is_pooled() };
        match &mut self.lent {
            Lent::Connection(connection) => self.route.bounded(self.generation, connection.fetch_optional(query)).await,
            Lent::Transaction(tx) => self.route.bounded(self.generation, tx.fetch_optional(query)).await,
        }
    }
}

impl fmt::Debug for PgSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PgSession").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// A statement as it is sent: under a name, so that it is parsed once a connection; or without, because the session that
/// would know the name is lent to others.
struct Statement<E> {
    query: E,
    named: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.named && self.query.persistent()
    }
}

fn rows<'e>(
    found: impl Future<Output = Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error>> + Send + 'e,
) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>> {
    Box::pin(stream::once(found).map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten())
}

impl<'c> Executor<'c> for &Pg {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let this = self.clone();
        rows(async move { this.all(query).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let this = self.clone();
        Box::pin(async move { this.optional(query).await })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        let this = self.clone();
        Box::pin(async move {
            this.route.refuse_names()?;
            this.acquire().await?.1.prepare_with(sql, parameters).await
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        let this = self.clone();
        Box::pin(async move {
            this.route.refuse_names()?;
            this.acquire().await?.1.describe(sql).await
        })
    }
}

impl<'c> Executor<'c> for &'c mut PgSession {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        rows(self.all(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.optional(query))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        if let Err(error) = self.route.refuse_names() {
            return Box::pin(ready(Err(error)));
        }
        match &mut self.lent {
            Lent::Connection(connection) => connection.prepare_with(sql, parameters),
            Lent::Transaction(tx) => tx.prepare_with(sql, parameters),
        }
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        if let Err(error) = self.route.refuse_names() {
            return Box::pin(ready(Err(error)));
        }
        match &mut self.lent {
            Lent::Connection(connection) => connection.describe(sql),
            Lent::Transaction(tx) => tx.describe(sql),
        }
    }
}
