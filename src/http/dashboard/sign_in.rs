//! `/sign-in`: the form.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Query;
use askama::Template;
use serde::Deserialize;
use url::Url;

use super::super::error::ApiError;
use super::visit::page;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    /// Where to go on.
    next: &'a str,
    username: &'a str,
    /// Why it did not work.
    error: Option<&'a str>,
}

#[derive(Deserialize)]
pub(super) struct SignInQuery {
    next: Option<String>,
}

/// The form, empty.
pub(super) async fn show(query: Query<SignInQuery>) -> Result<HttpResponse, ApiError> {
    form(StatusCode::OK, query.next.as_deref().unwrap_or("/"), "", None)
}

/// The form, as it was sent, but without the password: with why it did not work.
pub(in crate::http) fn form(status: StatusCode, next: &str, username: &str, error: Option<&str>) -> Result<HttpResponse, ApiError> {
    page(status, &SignIn { next: own_path(next), username, error })
}

/// A path of ours, or else the first page: nobody is sent anywhere else.
pub(in crate::http) fn own_path(next: &str) -> &str {
    let own = Url::parse("http://own.invalid/").is_ok_and(|own| own.join(next).is_ok_and(|target| target.origin() == own.origin()));
    // A browser drops tabs and line ends, and takes a backslash for a slash; so does `Url`.
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
