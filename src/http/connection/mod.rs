//! Connections: each one is bounded in time and in memory, whatever its peer does.
//!
//! actix-web bounds the head of a connection's first request and nothing else. It keeps a connection whose chunked
//! body never ends, waits for ever for a peer that reads nothing, and reads pipelined requests ahead without a limit.
//! So the socket that it gets is a [`stream::Stream`] of ours, and a future of ours runs its dispatcher:
//!
//! - [`phase`] knows what a connection is doing, and until when it may.
//! - [`stream`] hands over one head at a time, a body only while a handler asks for it, and nothing while an answer
//!   cannot be written. So neither requests nor bodies nor answers pile up.
//! - [`tracked`] tells the connection when a request begins, when its body was read to its end, and when the answer is
//!   complete. It closes the connection if the answer comes before the end of the body, and divides large answers.
//! - [`admission`] limits the number of connections, in all and per address.
//!
//! May not know: routes, use cases.

mod admission;
mod chunks;
mod head;
mod phase;
mod stream;
mod tracked;

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use actix_http::{Extensions, HttpService, KeepAlive, Protocol, Request};
use actix_service::{IntoServiceFactory, Service, apply_fn_factory, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use self::admission::Admission;
pub use self::admission::ConnectionMetrics;
use self::phase::{Connection, Ending};
use self::stream::Stream;
use super::State;

/// How much of an answer the dispatcher buffers before it writes.
const WRITE_BUFFER: usize = 8_192;
/// How long the peer of a connection that is being closed may take to close it, too. What it sends meanwhile is read and
/// discarded: a socket that is closed with unread data in it is reset, and a reset can overtake the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much is read and discarded at most.
const MAX_LINGER_BYTES: usize = 16 << 20;
/// What the kernel buffers of an answer, in bytes. It would go up to 4 MiB by itself for a peer that reads nothing.
pub const SEND_BUFFER: u32 = 64 << 10;

/// Bounds on connections. The times for bodies and answers are in [`super::Limits`].
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// The longest time for the head of a request.
    pub head_timeout: Duration,
    /// The longest time between an answer and the next request.
    pub idle_timeout: Duration,
    /// The longest time for which the peer may read nothing of an answer.
    pub write_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address; `None` for any number.
    pub max_per_address: Option<usize>,
    /// Networks whose addresses are exempt from the limit per address.
    pub exempt: Vec<IpNet>,
    /// Sockets that may be open at once, refused ones included.
    pub max_sockets: usize,
}

/// What all connections share.
struct Shared {
    settings: ConnectionSettings,
    request_timeout: Duration,
    admission: Arc<Admission>,
    metrics: ConnectionMetrics,
    stopping: Arc<Stopping>,
}

/// Tells every connection that the server stops.
#[derive(Debug, Default)]
pub struct Stopping {
    begun: AtomicBool,
    told: Notify,
}

impl Stopping {
    /// Closes idle connections, and every other one after its current answer.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }
}

/// Starts to serve the routes and pages on `listener`.
///
/// # Errors
/// If the threads cannot be started.
pub fn serve(
    listener: TcpListener,
    state: web::Data<State>,
    settings: ConnectionSettings,
    workers: usize,
    shutdown_grace: Duration,
) -> io::Result<(Server, Arc<Stopping>)> {
    let stopping = Arc::<Stopping>::default();
    let metrics = state.metrics.connections.clone();
    let shared = Arc::new(Shared {
        admission: Arc::new(Admission::new(&settings, metrics.clone())),
        request_timeout: state.limits.request_timeout,
        metrics,
        stopping: Arc::clone(&stopping),
        settings,
    });
    // Each worker counts for itself. Beyond this number, connections wait in the backlog.
    let sockets = (shared.settings.max_sockets / workers.max(1)).max(1);
    let factory = move || {
        let state = state.clone();
        let app = App::new().app_data(state).wrap(from_fn(super::every_request)).configure(super::routes).configure(super::pages);
        let app = map_config(app.into_factory(), |()| AppConfig::default());
        let app = apply_fn_factory(app, |request: Request, app: &_| tracked::answer(request, app));
        let http = HttpService::build()
            // The times are bounded here and not there.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::ZERO)
            .h1_write_buffer_size(WRITE_BUFFER)
            .on_connect_ext(|stream: &Stream, data: &mut Extensions| drop(data.insert(Rc::clone(stream.connection()))))
            .finish(app);
        let shared = Arc::clone(&shared);
        apply_fn_factory(http, move |socket: TcpStream, http: &_| {
            let running = admit(socket, &shared, http);
            async {
                running.await;
                Ok(())
            }
        })
    };
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(sockets)
        .disable_signals()
        // In whole seconds; `Application::run_until` keeps the exact bound.
        .shutdown_timeout(shutdown_grace.as_secs().saturating_add(1))
        .listen("hourpass", listener, factory)?
        .run();
    Ok((server, stopping))
}

/// Admits a connection or refuses it. The returned future lasts as long as the connection.
fn admit<H>(socket: TcpStream, shared: &Arc<Shared>, http: &H) -> impl Future<Output = ()> + use<H>
where
    H: Service<(Stream, Protocol, Option<std::net::SocketAddr>), Response = ()>,
{
    let peer = socket.peer_addr().ok();
    let admitted = shared.admission.admit(peer.map(|peer| peer.ip()));
    let started = match admitted {
        Ok(admitted) => {
            let connection = Rc::new(Connection::new(Arc::clone(shared), admitted));
            let dispatcher = http.call((Stream::new(socket, Rc::clone(&connection)), Protocol::Http1, peer));
            Ok((connection, Box::pin(dispatcher)))
        }
        Err(refused) => Err((socket, refused)),
    };
    async move {
        match started {
            Ok((connection, dispatcher)) => run(&connection, dispatcher).await,
            Err((socket, refused)) => {
                let _not_told = timeout(LINGER, send(&socket, refused)).await;
            }
        }
    }
}

/// Runs the dispatcher of a connection until it ends, or the connection has to.
async fn run<D: Future>(connection: &Rc<Connection>, mut dispatcher: std::pin::Pin<Box<D>>) {
    {
        let stopping = Arc::clone(&connection.shared().stopping);
        let mut stop = pin!(stopping.told.notified());
        // It hears of what was told from here on, and of nothing before.
        stop.as_mut().enable();
        let mut told = stopping.begun.load(Ordering::SeqCst);
        if told {
            connection.stop();
        }
        let mut timer = pin!(sleep_until(connection.deadline()));
        std::future::poll_fn(|context| {
            if !told && stop.as_mut().poll(context).is_ready() {
                told = true;
                connection.stop();
            }
            connection.enter(context.waker());
            if dispatcher.as_mut().poll(context).is_ready() || connection.is_ending() {
                return Poll::Ready(());
            }
            loop {
                let deadline = connection.deadline();
                // A timer that fires too early costs less than one that is set anew with every request.
                if deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                if connection.expire(Instant::now()) {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(connection.deadline());
            }
        })
        .await;
    }
    // It gives the socket back.
    drop(dispatcher);
    if let Some(socket) = connection.take_socket() {
        close(socket, connection.ending()).await;
    }
}

/// Closes a socket so that the peer gets what was written to it, unless it took too long to read that.
async fn close(socket: TcpStream, ending: Ending) {
    match ending {
        Ending::Reset => {
            // What the kernel still holds for the peer is dropped, too.
            let _as_usual = socket.set_zero_linger();
            return;
        }
        Ending::Answer(answer) => {
            let _not_told = timeout(LINGER, send(&socket, answer)).await;
        }
        Ending::Close => {}
    }
    let mut socket = socket;
    let shut = std::future::poll_fn(|context| tokio::io::AsyncWrite::poll_shutdown(std::pin::Pin::new(&mut socket), context)).await;
    if shut.is_ok() {
        let _given_up = timeout(LINGER, discard(&socket)).await;
    }
}

/// Writes an answer that fits into any socket's buffer.
async fn send(socket: &TcpStream, answer: &str) {
    let mut rest = answer.as_bytes();
    while !rest.is_empty() && socket.writable().await.is_ok() {
        match socket.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Reads until the peer closes the connection.
async fn discard(socket: &TcpStream) {
    let mut buffer = vec![0; 8_192];
    let mut left = MAX_LINGER_BYTES;
    while left > 0 && socket.readable().await.is_ok() {
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
