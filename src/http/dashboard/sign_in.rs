//! `/sign-in` and `/sign-out`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;
use url::Url;

use super::super::body::Form;
use super::super::error::ApiError;
use super::super::{State, cookie, login};
use super::frame;
use super::mistakes::sentence;
use super::visit::{Visit, page, see_other};
use crate::domain::secret_filter::{holds_secret, masked};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    /// Where to go on.
    next: &'a str,
    username: &'a str,
    /// Why it did not work.
    error: Option<&'a str>,
    /// What was just done.
    notice: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct SignInQuery {
    next: Option<String>,
}

/// The form, empty. Who is signed in already goes on.
pub(super) async fn show(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::<SignInQuery>::from_query(request.query_string()).map(Query::into_inner).unwrap_or_default();
    let next = own_path(query.next.as_deref().unwrap_or("/"));
    if let Some(cookie) = cookie::presented(&state, &request)
        && state.authenticator.authenticate_cookie(&cookie).await.is_ok()
    {
        return Ok(see_other(next));
    }
    let notice = frame::notice(request.query_string());
    page(StatusCode::OK, &SignIn { next, username: "", error: None, notice })
}

/// Signs in, and goes on. The form is shown again, but without the password, where that did not work.
pub(super) async fn sign_in(state: Data<State>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    // Nobody is to be signed in by another site's form, as somebody else than they think.
    if !cookie::same_origin(&state, &request) {
        return Err(cookie::cross_site());
    }
    let mut form = Form::read_credentials(&request, payload, state.limits).await?;
    let next = form.take("next")?.unwrap_or_default();
    let username = form.get("username").unwrap_or_default().to_owned();
    match login::sign_in(&state, &request, &mut form).await {
        Ok(()) => Ok(see_other(own_path(&next))),
        Err(error) => {
            let (status, error) = (error.status(), sentence(error.detail()));
            // People paste keys into the wrong field.
            let username = masked(&username);
            page(status, &SignIn { next: own_path(&next), username: &username, error: Some(&error), notice: None })
        }
    }
}

/// Signs out.
pub(super) async fn sign_out(visit: Visit) -> Result<HttpResponse, ApiError> {
    visit.call.state.sessions.sign_out(&visit.call.caller, visit.call.origin.clone()).await?;
    visit.call.end_cookie().await?;
    visit.call.state.follower.confirm().await;
    Ok(see_other("/sign-in?notice=signed_out"))
}

/// A path of ours, or else the first page: nobody is sent anywhere else.
fn own_path(next: &str) -> &str {
    let own = Url::parse("http://own.invalid/").is_ok_and(|own| own.join(next).is_ok_and(|target| target.origin() == own.origin()));
    // A browser drops tabs and line ends, and takes a backslash for a slash; so does `Url`.
    // Nor is a key written into a page, or into another address.
    let own = own && !holds_secret(next);
    if own && next.starts_with('/') && !next.contains(|c: char| c.is_control() || c == '\\') { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_paths_are_gone_on_to() {
        for path in ["/", "/service-accounts?q=a%20b&show=all", "/teams/x#y", "/sign-in"] {
            assert_eq!(own_path(path), path);
        }
        for path in [
            "",
            "//example.com",
            "/\\example.com",
            "\\\\example.com",
            "https://example.com/",
            "/\t/example.com",
            "javascript:alert(1)",
            "teams",
            "/a\r\nb",
        ] {
            assert_eq!(own_path(path), "/", "{path}");
        }
    }
}
