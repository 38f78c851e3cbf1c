//! `/docs`: Swagger UI with the OpenAPI document, shipped in the program. It asks no other host, and keeps no token beyond the page.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use utoipa_swagger_ui::Config;

use super::cached::Cached;
use super::error::ApiError;
use super::{State, cookie};

/// Only what comes from here, but for pictures that stand in the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

const NOBODY: &str = include_str!("../../static/docs/index.html");

/// The page, for who is not signed in.
static PAGE: LazyLock<Cached> = LazyLock::new(|| Cached::new("text/html; charset=utf-8", NOBODY));

/// The page, for who is: it asks who that is. The other does not, because the answer would be an error on the browser's console.
static PAGE_OF_CALLER: LazyLock<Cached> =
    LazyLock::new(|| Cached::new("text/html; charset=utf-8", NOBODY.replace(">Not signed in<", " data-signed-in><")));

/// Our own files, and those of Swagger UI that the page needs.
static FILES: LazyLock<Vec<(&str, Cached)>> = LazyLock::new(|| {
    let own = [
        ("docs.js", Cached::new(JAVASCRIPT, include_str!("../../static/docs/docs.js"))),
        ("docs.css", Cached::new(CSS, include_str!("../../static/docs/docs.css"))),
    ];
    let theirs = [("swagger-ui-bundle.js", JAVASCRIPT), ("swagger-ui.css", CSS), ("favicon-32x32.png", "image/png")];
    let theirs = theirs.into_iter().filter_map(|(name, media)| {
        let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json"))).ok()??;
        Some((name, Cached::new(media, file.bytes.into_owned())))
    });
    own.into_iter().chain(theirs).collect()
});

fn safe() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_SECURITY_POLICY, POLICY)).insert_header((REFERRER_POLICY, "same-origin"));
    answer
}

/// `GET /docs`.
pub(super) async fn page(state: Data<State>, request: HttpRequest) -> HttpResponse {
    let signed_in = match cookie::presented(&state, &request) {
        Some(cookie) => state.authenticator.authenticate_cookie(&cookie).await.is_ok(),
        None => false,
    };
    if signed_in { PAGE_OF_CALLER.answer(&request, safe()) } else { PAGE.answer(&request, safe()) }
}

/// `GET /docs/{file}`.
pub(super) async fn file(name: Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let found = FILES.iter().find(|(known, _)| *known == name.as_str());
    let (_, file) = found.ok_or_else(|| ApiError::new("not_found", format!("there is no file {name} here")))?;
    Ok(file.answer(&request, safe()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_page_names_is_there() {
        let page = NOBODY;
        assert_eq!(page.matches(">Not signed in<").count(), 1);
        let named: Vec<_> = page.split("\"/docs/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(named.len(), FILES.len(), "{named:?}");
        assert!(named.iter().all(|name| FILES.iter().any(|(file, _)| file == name)), "{named:?}");
        for forbidden in ["<script>", "<style", " style=", " onclick=", "//cdn", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}
