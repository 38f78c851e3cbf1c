//! What is asked before something is ended: a page that says what will stop, with one button that does it.

use actix_web::HttpResponse;
use askama::Template;

use super::super::error::ApiError;
use super::frame::Frame;
use super::visit::Visit;

/// A question.
pub(super) struct Question<'a> {
    /// What is to be done, as the title of the page: `Delete acme?`.
    pub(super) title: String,
    /// What will happen, a paragraph each.
    pub(super) texts: Vec<String>,
    /// Where the form goes.
    pub(super) action: String,
    /// What the button says, with the name of the thing in it: `Delete acme`.
    pub(super) button: String,
    /// Where to go otherwise, and what that is called.
    pub(super) back: (&'a str, &'a str),
}

#[derive(Template)]
#[template(path = "ask.html")]
struct View<'a> {
    frame: &'a Frame,
    question: Question<'a>,
}

/// The page.
pub(super) fn ask(visit: &Visit, question: Question<'_>) -> Result<HttpResponse, ApiError> {
    visit.show(&View { frame: &visit.frame, question })
}
