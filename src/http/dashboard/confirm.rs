//! What is asked before something ends: a page that names it and says what will stop, with one button that does it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;

use super::super::error::ApiError;
use super::frame::Frame;
use super::mistakes::Mistakes;
use super::visit::Visit;
use crate::service::LeftBehindCount;

/// A question, which is answered by a `POST` to its own path.
pub(super) struct Question {
    /// It names the thing: `Delete team data?`
    pub(super) title: String,
    /// What will happen, a sentence each.
    pub(super) about: Vec<String>,
    /// It names the thing, too: `Delete data`
    pub(super) button: String,
    /// Where one goes on without doing it.
    pub(super) back: String,
    pub(super) back_label: String,
    /// Whether something is taken away.
    pub(super) danger: bool,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct View<'a> {
    frame: &'a Frame,
    question: &'a Question,
    mistakes: &'a Mistakes,
    /// What would end with it, because it was made for others.
    left: LeftBehindCount,
}

impl Question {
    /// Shows it.
    pub(super) fn ask(&self, visit: &Visit) -> Result<HttpResponse, ApiError> {
        self.ask_leaving(visit, LeftBehindCount::default())
    }

    /// Shows it with how much is left behind, which the visitor may keep.
    pub(super) fn ask_leaving(&self, visit: &Visit, left: LeftBehindCount) -> Result<HttpResponse, ApiError> {
        self.show(visit, StatusCode::OK, &Mistakes::default(), left)
    }

    /// Shows it again, with why it was not done.
    pub(super) fn refuse(&self, visit: &Visit, error: ApiError) -> Result<HttpResponse, ApiError> {
        self.refuse_leaving(visit, error, LeftBehindCount::default())
    }

    /// Shows it again, with why it was not done and with how much is left behind.
    pub(super) fn refuse_leaving(&self, visit: &Visit, error: ApiError, left: LeftBehindCount) -> Result<HttpResponse, ApiError> {
        let mistakes = Mistakes::of(error, "name")?;
        self.show(visit, mistakes.status(), &mistakes, left)
    }

    fn show(&self, visit: &Visit, status: StatusCode, mistakes: &Mistakes, left: LeftBehindCount) -> Result<HttpResponse, ApiError> {
        visit.show_with(status, &View { frame: &visit.frame, question: self, mistakes, left })
    }
}

/// Whether the visitor keeps what was made for others.
pub(super) async fn keeps(visit: &mut Visit) -> Result<bool, ApiError> {
    Ok(visit.form().await?.take("keep_credentials")?.is_some())
}
