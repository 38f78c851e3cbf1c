//! A visit: someone who is signed in asks for a page.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use askama::Template;
use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::super::body::Form;
use super::super::credential::Call;
use super::super::error::ApiError;
use super::super::kept::Kept;
use super::super::routes::Needs;
use super::PAGES;
use super::frame::Frame;
use super::moment::Moment;
use crate::domain::access::Place;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::{Management, ManagementError, Propagation, Uncommitted};

/// Nothing but our own files, no inline script or style, and no frame around us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Someone who is signed in and holds, somewhere, what the page needs. The form is not read yet.
pub(super) struct Visit {
    /// The same as for the API.
    pub(super) call: Call,
    /// What is around the page.
    pub(super) frame: Frame,
    /// The present, from which times are told.
    pub(super) now: Timestamp,
}

impl Visit {
    /// The use cases.
    pub(super) fn management(&self) -> &Management {
        &self.call.state.management
    }

    /// Whether the visitor may do this in the whole organization, or, where it is about the platform, there. What they may not do is not offered.
    pub(super) fn may(&self, permission: &Permission) -> bool {
        self.call.caller.access.holds(permission, Place::at_hourpass(permission))
    }

    /// A time, as it is shown.
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment::new(at, self.now)
    }

    /// Reads the form. To be called once.
    pub(super) async fn form(&mut self) -> Result<Form, ApiError> {
        self.call.form().await
    }

    /// Reads the parameters of the query. Unlike at the API, unknown ones do no harm: a link may have a notice in it.
    pub(super) async fn query<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        self.call.query().await
    }

    /// Answers with a page.
    #[expect(clippy::unused_self, reason = "who shows a page has been let in")]
    pub(super) fn show(&self, view: &impl Template) -> Result<HttpResponse, ApiError> {
        page(StatusCode::OK, view)
    }

    /// Answers with a page and this status, such as that of a form with mistakes. What is not there is an error instead: the middleware makes its page.
    #[expect(clippy::unused_self, reason = "who shows a page has been let in")]
    pub(super) fn show_with(&self, status: StatusCode, view: &impl Template) -> Result<HttpResponse, ApiError> {
        page(status, view)
    }

    /// Commits what a use case made, and answers with the page or the redirection that `render` makes of it, when the other nodes have confirmed it. The same form
    /// sent again is answered with the same page: what is shown once is not lost by a reload.
    pub(super) async fn commit<T>(
        &self,
        made: Result<Uncommitted<T>, ManagementError>,
        notice: &str,
        render: impl FnOnce(T) -> Result<HttpResponse, ApiError>,
    ) -> Result<HttpResponse, ApiError> {
        let kept = Kept::commit(made, render).await?;
        if let Some(path) = kept.location() {
            return Ok(self.done(path, notice).await);
        }
        self.call.state.follower.confirm().await;
        Ok(kept.answer())
    }

    /// Reads the form where one was sent: only for its Idempotency-Key.
    pub(super) async fn optional_form(&mut self) -> Result<(), ApiError> {
        self.call.optional_form().await
    }

    /// After a change: sends the visitor on, with a notice, when the other nodes have confirmed it, and with how many did where there are others.
    pub(super) async fn done(&self, path: &str, notice: &str) -> HttpResponse {
        let Propagation { live_nodes, confirmed } = self.call.state.follower.confirm().await;
        let servers = if live_nodes > 1 { format!("&confirmed={confirmed}&servers={live_nodes}") } else { String::new() };
        let path = if self.may_open(path) { path } else { "/" };
        see_other(&format!("{path}?notice={notice}{servers}"))
    }

    /// Whether the page of this path would be shown to the visitor: who may change something may not always see it.
    fn may_open(&self, path: &str) -> bool {
        let access = &self.call.caller.access;
        let parts: Vec<_> = path.split('/').collect();
        let fits = |pattern: &str| {
            let names: Vec<_> = pattern.split('/').collect();
            names.len() == parts.len() && names.iter().zip(&parts).all(|(name, part)| name.starts_with('{') || name == part)
        };
        let page = PAGES.iter().find(|page| page.method == "GET" && fits(page.path));
        let Some(Needs::Permission(needed)) = page.map(|page| &page.needs) else { return true };
        match parts.as_slice() {
            // Its list shows what there is to see.
            ["", "workspaces"] => access.holds_somewhere(needed),
            ["", "workspaces", workspace] => workspace.parse().is_ok_and(|id| access.holds(needed, Place::Workspace(id))),
            ["", "workspaces", workspace, "projects", project] => {
                let place = workspace.parse().ok().zip(project.parse().ok()).map(|(workspace, project)| Place::Project(workspace, project));
                place.is_some_and(|place| access.holds(needed, place))
            }
            _ => self.may(needed),
        }
    }
}

impl FromRequest for Visit {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, call) = (request.clone(), Call::from_request(request, payload));
        Box::pin(async move {
            let call = call.await?;
            let frame = request.extensions().get::<Frame>().cloned();
            let frame = frame.unwrap_or_else(|| Frame::new(&request, &call.caller));
            let now = call.state.sources.now();
            Ok(Self { call, frame, now })
        })
    }
}

/// A page, with the headers that keep it safe.
pub(in crate::http) fn page(status: StatusCode, view: &impl Template) -> Result<HttpResponse, ApiError> {
    let html = view.render().map_err(|error| ApiError::from_internal(&error))?;
    let mut response = HttpResponse::build(status);
    for header in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "same-origin"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.insert_header(header);
    }
    Ok(response.body(html))
}

/// A redirection to a path of ours, for [`Visit::commit`].
#[expect(clippy::unnecessary_wraps, reason = "what renders an answer may fail")]
pub(super) fn to(path: &str) -> Result<HttpResponse, ApiError> {
    Ok(see_other(path))
}

/// To be asked for with `GET`, whatever the method was.
pub(in crate::http) fn see_other(target: &str) -> HttpResponse {
    // A header is ASCII.
    let target = utf8_percent_encode(target, CONTROLS).to_string();
    HttpResponse::SeeOther().insert_header((LOCATION, target)).insert_header((CACHE_CONTROL, "no-store")).finish()
}
