//! The socket of a connection, as the dispatcher sees it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::web::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::chunks::ChunkedEnd;
use super::head::HeadEnd;
use super::phase::{Connection, Reading};

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16_384;

/// A socket that hands over one head at a time, and a body only while a handler waits for it.
pub(super) struct Stream {
    /// `None` only while it is dropped.
    socket: Option<TcpStream>,
    connection: Rc<Connection>,
    /// What arrived together with a head, and was not handed over yet.
    ahead: BytesMut,
    head_end: HeadEnd,
    chunked_end: ChunkedEnd,
    /// How much of the current head was handed over.
    head_length: usize,
    /// The turn in which a complete head, or a piece of a body, was handed over. The next one has to wait until the
    /// dispatcher has looked at it.
    handed_over: Option<u64>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, connection: Rc<Connection>) -> Self {
        Self {
            socket: Some(socket),
            connection,
            ahead: BytesMut::new(),
            head_end: HeadEnd::default(),
            chunked_end: ChunkedEnd::default(),
            head_length: 0,
            handed_over: None,
        }
    }

    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether something could be read at once. If not, the task is woken when something can.
    fn is_readable(&mut self, context: &mut Context<'_>) -> bool {
        let readable = |socket: &TcpStream, context: &mut Context<'_>| socket.poll_read_ready(context).is_ready();
        !self.ahead.is_empty() || self.socket.as_ref().is_none_or(|socket| readable(socket, context))
    }

    fn read_head(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        if self.ahead.is_empty() {
            ready!(self.socket()?.poll_read(context, buffer))?;
        } else {
            let most = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead.split_to(most));
        }
        let arrived = buffer.filled().get(start..).unwrap_or_default();
        if arrived.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.connection.head_arrived();
        if let Some(end) = self.head_end.find(arrived) {
            self.take_back(buffer, start + end);
            // A body may follow.
            self.chunked_end = ChunkedEnd::default();
            self.head_length = 0;
            self.handed_over = Some(self.connection.turn());
        } else {
            self.head_length += arrived.len();
            if self.head_length > MAX_HEAD {
                self.connection.head_too_large();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps what stands in the buffer after `end` for later.
    fn take_back(&mut self, buffer: &mut ReadBuf<'_>, end: usize) {
        let mut rest = BytesMut::from(buffer.filled().get(end..).unwrap_or_default());
        if !rest.is_empty() {
            rest.unsplit(std::mem::take(&mut self.ahead));
            self.ahead = rest;
            buffer.set_filled(end);
        }
    }

    fn read_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>, most: usize, chunked: bool) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let most = most.min(buffer.remaining());
        let arrived = if self.ahead.is_empty() {
            let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(most));
            ready!(self.socket()?.poll_read(context, &mut piece))?;
            let arrived = piece.filled().len();
            buffer.advance(arrived);
            arrived
        } else {
            let most = most.min(self.ahead.len());
            buffer.put_slice(&self.ahead.split_to(most));
            most
        };
        if chunked {
            if let Some(end) = self.chunked_end.find(buffer.filled().get(start..).unwrap_or_default()) {
                self.take_back(buffer, start + end);
                self.connection.last_chunk_arrived();
            }
        } else {
            self.connection.body_arrived(arrived);
        }
        self.handed_over = Some(self.connection.turn());
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let reading = this.connection.reading();
        if reading == Reading::Paused {
            if this.is_readable(context) {
                this.connection.leave_unread();
            }
            return Poll::Pending;
        }
        if this.handed_over == Some(this.connection.turn()) {
            if this.is_readable(context) {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        match reading {
            Reading::Body { most, chunked } => this.read_body(context, buffer, most, chunked),
            _ => this.read_head(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.socket()?.poll_write(context, bytes);
        match &written {
            Poll::Ready(Ok(written)) => this.connection.written(*written),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.connection.write_blocked(),
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.socket()?.poll_flush(context))?;
        // The dispatcher flushes when its own buffer is empty.
        this.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_shutdown(context)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.connection.give_socket(socket);
        }
    }
}
