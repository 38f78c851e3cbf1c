//! What a connection is doing, and until when it may.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Shared;
use super::admission::{Admitted, Expired};

/// A handler answers within `server.request_timeout` by itself. This much later the connection is closed without an answer.
const HANDLER_GRACE: Duration = Duration::from_secs(5);
/// What a peer has to read of an answer within `server.write_timeout`, in bytes.
const LEAST_PROGRESS: usize = 4_096;
/// How much of a body is handed over at a time.
const PIECE: u64 = 16_384;

const HEAD_TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const HEAD_TOO_LARGE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next request has arrived.
    Waiting,
    /// Part of a head has arrived.
    Head,
    /// A handler is at work.
    Handling,
    /// The answer is being sent.
    Answering,
}

/// The body of the current request.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// There is none, or nobody reads the rest.
    Done,
    /// `left` bytes have not arrived yet; `None` if it is chunked. A handler waits for them if `wanted`.
    Unread { left: Option<u64>, wanted: bool },
}

/// What may be read from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A head.
    Head,
    /// So many bytes of a body. It is chunked, and ends by itself, if `chunked`.
    Body { most: usize, chunked: bool },
    /// Nothing.
    Paused,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// After what was written.
    Close,
    /// With this answer.
    Answer(&'static str),
    /// At once: the peer does not read.
    Reset,
}

/// An answer that cannot be written on.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    deadline: Instant,
    written: usize,
}

/// A connection, as seen by the socket, by the request that it carries and by the future that ends it. All three belong to
/// one task.
pub(super) struct Connection {
    shared: Arc<Shared>,
    admitted: Admitted,
    phase: Cell<Phase>,
    deadline: Cell<Instant>,
    /// Whether no request has begun yet.
    fresh: Cell<bool>,
    body: Cell<Body>,
    blocked: Cell<Option<Blocked>>,
    /// Bytes of the current answer that only this connection holds.
    held: Cell<usize>,
    /// Whether it is closed after the current answer.
    closing: Cell<bool>,
    ending: Cell<Option<Ending>>,
    /// How many times the dispatcher was polled.
    turn: Cell<u64>,
    /// Whether there is something to read that was not read because of [`Reading::Paused`].
    unread: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    socket: RefCell<Option<TcpStream>>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, admitted: Admitted) -> Self {
        let deadline = Instant::now() + shared.settings.head_timeout;
        Self {
            shared,
            admitted,
            phase: Cell::new(Phase::Waiting),
            deadline: Cell::new(deadline),
            fresh: Cell::new(true),
            body: Cell::new(Body::Done),
            blocked: Cell::new(None),
            held: Cell::new(0),
            closing: Cell::new(false),
            ending: Cell::new(None),
            turn: Cell::new(0),
            unread: Cell::new(false),
            waker: RefCell::new(None),
            socket: RefCell::new(None),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The dispatcher is about to be polled.
    pub(super) fn enter(&self, waker: &Waker) {
        self.turn.set(self.turn.get().wrapping_add(1));
        match &mut *self.waker.borrow_mut() {
            Some(own) => own.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Identifies a poll of the dispatcher.
    pub(super) fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// Until when the connection may go on as it is.
    pub(super) fn deadline(&self) -> Instant {
        self.blocked.get().map_or(self.deadline.get(), |blocked| blocked.deadline)
    }

    /// Ends the connection if its time is up, and returns whether it is.
    pub(super) fn expire(&self, now: Instant) -> bool {
        if now < self.deadline() {
            return false;
        }
        if let Some(blocked) = self.blocked.get() {
            if blocked.written >= LEAST_PROGRESS {
                self.blocked.set(Some(Blocked { deadline: now + self.shared.settings.write_timeout, written: 0 }));
                return false;
            }
            self.end(Ending::Reset, Expired::Write);
        } else {
            match self.phase.get() {
                Phase::Waiting if self.fresh.get() => self.end(Ending::Close, Expired::Head),
                Phase::Waiting => self.end(Ending::Close, Expired::Idle),
                Phase::Head => self.end(Ending::Answer(HEAD_TOO_SLOW), Expired::Head),
                Phase::Handling | Phase::Answering => self.end(Ending::Reset, Expired::Answer),
            }
        }
        true
    }

    fn end(&self, ending: Ending, why: Expired) {
        self.ending.set(Some(ending));
        self.shared.metrics.expired(why);
    }

    /// Whether the dispatcher is not to be polled again.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending.get().unwrap_or(Ending::Close)
    }

    /// The server stops.
    pub(super) fn stop(&self) {
        self.closing.set(true);
        if self.phase.get() == Phase::Waiting && self.blocked.get().is_none() {
            self.ending.set(Some(Ending::Close));
        }
    }

    /// Takes the socket that the dispatcher gave back.
    pub(super) fn take_socket(&self) -> Option<TcpStream> {
        self.socket.borrow_mut().take()
    }

    pub(super) fn give_socket(&self, socket: TcpStream) {
        *self.socket.borrow_mut() = Some(socket);
    }
}

/// Reading.
impl Connection {
    pub(super) fn reading(&self) -> Reading {
        if self.blocked.get().is_some() {
            return Reading::Paused;
        }
        match (self.phase.get(), self.body.get()) {
            (Phase::Waiting | Phase::Head, _) if !self.closing.get() || self.phase.get() == Phase::Head => Reading::Head,
            (Phase::Handling, Body::Unread { left, wanted: true }) if left != Some(0) => {
                let most = usize::try_from(left.unwrap_or(PIECE).min(PIECE)).unwrap_or(usize::MAX);
                Reading::Body { most, chunked: left.is_none() }
            }
            _ => Reading::Paused,
        }
    }

    /// Something was there to be read, and was not.
    pub(super) fn leave_unread(&self) {
        self.unread.set(true);
    }

    fn resume_reading(&self) {
        if self.unread.take()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Part of a head has arrived.
    pub(super) fn head_arrived(&self) {
        if self.phase.replace(Phase::Head) == Phase::Waiting && !self.fresh.get() {
            self.deadline.set(Instant::now() + self.shared.settings.head_timeout);
        }
    }

    /// A head is larger than any that is accepted.
    pub(super) fn head_too_large(&self) {
        self.ending.set(Some(Ending::Answer(HEAD_TOO_LARGE)));
    }

    /// Part of a body has arrived.
    pub(super) fn body_arrived(&self, bytes: usize) {
        if let Body::Unread { left: Some(left), wanted } = self.body.get() {
            let left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            self.body.set(Body::Unread { left: Some(left), wanted });
        }
    }

    /// All of a chunked body has arrived.
    pub(super) fn last_chunk_arrived(&self) {
        if let Body::Unread { wanted, .. } = self.body.get() {
            self.body.set(Body::Unread { left: Some(0), wanted });
        }
    }

    /// A handler waits for more of the body, or no longer does.
    pub(super) fn want_body(&self, wanted: bool) {
        if let Body::Unread { left, .. } = self.body.get() {
            self.body.set(Body::Unread { left, wanted });
            if wanted {
                self.resume_reading();
            }
        }
    }

    /// The body was read to its end.
    pub(super) fn body_complete(&self) {
        self.body.set(Body::Done);
    }
}

/// Requests and their answers.
impl Connection {
    /// A request goes to its handler.
    pub(super) fn begin(&self) {
        self.fresh.set(false);
        self.phase.set(Phase::Handling);
        self.body.set(Body::Done);
        self.deadline.set(Instant::now() + self.shared.request_timeout + HANDLER_GRACE);
    }

    /// The request has a body, of `length` bytes, or else chunked.
    pub(super) fn expect_body(&self, length: Option<u64>) {
        self.body.set(Body::Unread { left: length, wanted: false });
    }

    /// The handler has answered. Returns whether the connection is closed after the answer.
    pub(super) fn respond(&self, body_timed_out: bool) -> bool {
        self.phase.set(Phase::Answering);
        self.deadline.set(Instant::now() + self.shared.request_timeout);
        if body_timed_out {
            self.shared.metrics.expired(Expired::Body);
        }
        let unread = matches!(self.body.replace(Body::Done), Body::Unread { .. });
        // If there are nearly too many connections, each serves one request.
        let closing = self.closing.get() || unread || self.admitted.is_crowded();
        self.closing.set(closing);
        closing
    }

    /// Part of the answer goes to the dispatcher.
    pub(super) fn answer_progressed(&self) {
        self.deadline.set(Instant::now() + self.shared.request_timeout);
    }

    /// Counts bytes of the current answer that nobody else holds.
    pub(super) fn hold(&self, bytes: usize) {
        let before = self.held.replace(bytes);
        self.admitted.hold(before, bytes);
    }

    /// The answer is complete, or given up.
    pub(super) fn answered(&self) {
        self.hold(0);
        self.phase.set(Phase::Waiting);
        self.deadline.set(Instant::now() + self.shared.settings.idle_timeout);
        self.resume_reading();
    }
}

/// Writing.
impl Connection {
    /// The socket takes no more for now.
    pub(super) fn write_blocked(&self) {
        if self.blocked.get().is_none() {
            self.blocked.set(Some(Blocked { deadline: Instant::now() + self.shared.settings.write_timeout, written: 0 }));
        }
        if self.held.get() > 0 && self.admitted.is_too_much_held() {
            self.end(Ending::Reset, Expired::Memory);
        }
    }

    pub(super) fn written(&self, bytes: usize) {
        if let Some(blocked) = self.blocked.get() {
            self.blocked.set(Some(Blocked { written: blocked.written + bytes, ..blocked }));
        }
    }

    /// All that was there to be written is written.
    pub(super) fn flushed(&self) {
        if self.blocked.take().is_some() {
            let settings = &self.shared.settings;
            let time = if self.phase.get() == Phase::Waiting { settings.idle_timeout } else { self.shared.request_timeout };
            self.deadline.set(Instant::now() + time);
            self.resume_reading();
        }
        if self.closing.get() && self.phase.get() == Phase::Waiting {
            self.ending.set(Some(Ending::Close));
        }
    }
}
