//! Requests and answers that tell their connection how far they are.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::{ConnectionType, HttpMessage, Payload, Request, Response, StatusCode};
use actix_service::Service;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Bytes;

use super::phase::Connection;
use crate::http::error::ApiError;

/// How much of an answer goes to the dispatcher at a time. It copies what it gets.
const PIECE: usize = 8_192;

/// Gives a request to the app.
///
/// # Errors
/// If the connection is unknown, which cannot be.
pub(super) fn answer<A>(mut request: Request, app: &A) -> impl Future<Output = Result<Response<AnswerBody>, actix_web::Error>> + use<A>
where
    A: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
{
    let started = match request.conn_data::<Rc<Connection>>().cloned() {
        Some(connection) => {
            connection.begin();
            let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            // A body that is neither of known length nor chunked ends with the connection.
            let length = if request.chunked().unwrap_or(false) { None } else { Some(length.unwrap_or(u64::MAX)) };
            match request.take_payload() {
                Payload::None => {}
                payload => {
                    connection.expect_body(length);
                    let payload = RequestBody { payload, connection: Rc::clone(&connection) };
                    *request.payload() = Payload::Stream { payload: Box::pin(payload) };
                }
            }
            Ok((app.call(request), connection))
        }
        None => Err(ApiError::new("internal_error", "the server was put together wrongly")),
    };
    async move {
        let (answering, connection) = started?;
        let mut response = match answering.await {
            Ok(response) => Response::from(response),
            Err(error) => Response::from(error),
        };
        if connection.respond(response.status() == StatusCode::REQUEST_TIMEOUT) {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok(response.map_body(|_, body| AnswerBody { body, rest: Bytes::new(), connection }))
    }
}

/// The body of a request: tells its connection when a handler waits for it, and when it is complete.
struct RequestBody {
    payload: Payload,
    connection: Rc<Connection>,
}

impl futures_util::Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.payload).poll_next(context);
        match &next {
            Poll::Pending => this.connection.want_body(true),
            Poll::Ready(Some(_)) => this.connection.want_body(false),
            Poll::Ready(None) => this.connection.body_complete(),
        }
        next
    }
}

/// The body of an answer, in pieces. Its end is the end of the answer.
pub(super) struct AnswerBody {
    body: BoxBody,
    rest: Bytes,
    connection: Rc<Connection>,
}

impl MessageBody for AnswerBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_next(context)) {
                Some(Ok(bytes)) => {
                    // What is part of the program, or is kept for all, takes no memory of its own.
                    let own = bytes.len() > PIECE && bytes.is_unique();
                    this.connection.hold(if own { bytes.len() } else { 0 });
                    this.rest = bytes;
                }
                end => return Poll::Ready(end),
            }
        }
        this.connection.answer_progressed();
        let piece = this.rest.split_to(PIECE.min(this.rest.len()));
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.connection.answered();
    }
}
