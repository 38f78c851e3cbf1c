//! The OpenAPI document: made from the table of routes, so that none can be missing, and from the types that the handlers read and write.
//!
//! `docs/openapi.json` holds it, and the tests compare both; they also hold every answer that they get against it.

mod operation;
mod problems;
mod schemas;
mod shape;
mod vocabulary;

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::path::{HttpMethod, Paths};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Flow, Http, HttpAuthScheme, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, Server, Tag};

use super::cached::Cached;
use super::routes::ROUTES;
use crate::domain::permission::HOURPASS;
use problems::{LoginProblem, Problem, Problems};
use schemas::Schemas;

pub(super) use shape::{Shape, confirms, ends, gives, lists, makes, publishes, removes, sends, serves};
pub(super) use vocabulary::{holder_kind, null, role_permissions};

/// The ways to say who one is, by their names in the document.
const SIGN_IN: &str = "api_key_or_password";
const BEARER: &str = "bearer";
const SESSION: &str = "session";

/// The groups of operations: the module of the handlers, the name of the group, and what it is about.
const TAGS: &[(&str, &str, &str)] = &[
    ("login", "Sign in", "The exchange of an API key, or a person's password, for a token."),
    ("me", "Sign in", ""),
    ("sessions", "Sign in", ""),
    ("service_accounts", "Service accounts", "Identities of machines."),
    ("api_keys", "API keys", "Credentials of service accounts: made, rotated with retention, ended."),
    ("teams", "Teams", "Groups of service accounts and people: what is given to a team, its members hold."),
    ("users", "People", "People, their invitations and passwords."),
    ("roles", "Roles and permissions", "Who may do what, and where."),
    ("permissions", "Roles and permissions", ""),
    ("role_assignments", "Roles and permissions", ""),
    ("access", "Roles and permissions", ""),
    ("organizations", "Organizations", "Tenants: one never sees another."),
    ("workspaces", "Workspaces and projects", "What tokens are for, and its parts."),
    ("projects", "Workspaces and projects", ""),
    ("audit_events", "Audit trail", "Who did what, and who was refused."),
    ("signing_keys", "Signing keys", "The keys that tokens are signed with."),
    ("status_lists", "For validators", "What a resource service reads to check tokens offline."),
    ("well_known", "For validators", ""),
    ("health", "Operation", "For whoever runs this server."),
    ("metrics", "Operation", ""),
    ("openapi", "This document", "What you are reading, for programs and people."),
    ("docs", "This document", ""),
];

/// The group that a handler belongs to.
fn tag(handler: &str) -> &'static str {
    let module = handler.split("::").next().unwrap_or_default();
    TAGS.iter().find(|tag| tag.0 == module).map_or("Other", |tag| tag.1)
}

const INTRODUCTION: &str = "\
Hourpass turns a long-lived API key into a one-hour token.

**Signing in.** A machine exchanges its API key at `POST /auth/login` (`password=<API key>`, nothing else) and sends the token as `Authorization: Bearer <token>`. \
On the page of this document, press *Authorize*: put an API key into *password* and leave *username* empty, or sign in with your email address and password. \
The API key itself is taken as a bearer credential, too. A sign-in from a browser also sets a cookie, so that the page stays signed in when it is loaded again, and so does the dashboard.

**Ids and names.** What stands in braces in a path is an id or a name (slug, email address); a text in the form of a UUID is an id. Times are RFC 3339 in UTC. \
Unknown fields and parameters are refused. In a PATCH, what is left out stays as it is. Every GET also answers HEAD.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`; any path may also be answered with 404 `not_found` and 405 `method_not_allowed`.";

/// The document, as it is served: JSON, for programs and, pretty-printed, for people.
static DOCUMENT: LazyLock<Cached> = LazyLock::new(|| Cached::new("application/json", document().into_bytes()));

/// The OpenAPI document as JSON, pretty-printed.
///
/// The same wherever and however often it is made: it changes with the code and with the version in Cargo.toml, and with nothing else.
#[must_use]
pub fn document() -> String {
    let mut text = build().0.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The document, and the schemas that two types of one name claim.
fn build() -> (OpenApi, Vec<String>) {
    let (mut schemas, mut problems, mut paths) = (Schemas::default(), Problems::default(), Paths::new());
    for route in ROUTES {
        let operation = operation::operation(route, &mut schemas, &mut problems);
        paths.add_path_operation(route.path, vec![method(route.method)], operation);
    }
    schemas.answer::<Problem>();
    schemas.answer::<LoginProblem>();
    let (schemas, clashes) = schemas.into_inner();
    let mut components = Components::builder().schemas_from_iter(schemas);
    for (name, response) in problems.0 {
        components = components.response(name, response);
    }
    for (name, header) in operation::headers() {
        components = components.header(name, header);
    }
    for (name, parameter) in operation::shared_parameters() {
        components = components.parameter(name, parameter);
    }
    for (name, scheme) in security_schemes() {
        components = components.security_scheme(name, scheme);
    }
    let mut document = OpenApi::new(info(), paths);
    document.components = Some(components.build());
    document.servers = Some(vec![Server::new("/")]);
    document.tags = Some(tags());
    (document, clashes)
}

fn info() -> Info {
    let license = License::builder().name("Apache-2.0 OR MIT").identifier(Some(env!("CARGO_PKG_LICENSE"))).build();
    Info::builder().title("Hourpass").version(env!("CARGO_PKG_VERSION")).description(Some(INTRODUCTION)).license(Some(license)).build()
}

fn tags() -> Vec<Tag> {
    // The first of a group speaks for it.
    let described = TAGS.iter().filter(|tag| !tag.2.is_empty());
    described.map(|(_, name, what)| Tag::builder().name(*name).description(Some(*what)).build()).collect()
}

fn method(name: &str) -> HttpMethod {
    match name {
        "POST" => HttpMethod::Post,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn security_schemes() -> [(&'static str, SecurityScheme); 3] {
    let scopes: Scopes = HOURPASS.iter().map(|it| (it.permission.as_str(), it.description)).collect();
    let password = Flow::Password(Password::new("/auth/login", scopes));
    let sign_in = "An API key in the field *password*, with *username* empty; or a person's email address and password. *client_id* and *client_secret* do not count. \
                   Without a scope, the token stands for all that you may do.";
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("API key or JWT")
        .description(Some("An API key, or an access token for Hourpass."));
    let session =
        "Set by signing in from a browser, so that there is nothing to enter here: `__Host-hourpass` where this server is reached by https.";
    [
        (SIGN_IN, SecurityScheme::OAuth2(OAuth2::with_description([password], sign_in))),
        (BEARER, SecurityScheme::Http(bearer.build())),
        (SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description("hourpass", session)))),
    ]
}

/// `GET /openapi.json`.
pub(super) async fn get(request: HttpRequest) -> HttpResponse {
    DOCUMENT.answer(&request, HttpResponse::Ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

    #[test]
    fn the_document_in_docs_is_the_one_that_is_served() {
        let made = document();
        if std::env::var_os("HOURPASS_MAKE_OPENAPI").is_some() {
            std::fs::write(PATH, &made).unwrap();
        }
        let there = std::fs::read_to_string(PATH).unwrap_or_default();
        let differs =
            made.lines().zip(there.lines()).position(|(made, there)| made != there).unwrap_or(made.lines().count().min(there.lines().count()));
        assert!(
            made == there,
            "docs/openapi.json is not what the code makes, from line {} on. Where the code is right, renew it, and look at what git says has changed:\n    \
             HOURPASS_MAKE_OPENAPI=1 cargo test --all-features --lib openapi",
            differs + 1
        );
    }

    #[test]
    fn the_document_is_the_same_each_time() {
        assert_eq!(document(), document());
    }

    /// Tests and the program are compiled with different features of `serde_json`, which decide in which order an object has its members.
    #[test]
    fn the_order_of_examples_does_not_depend_on_what_else_is_compiled() {
        fn check(value: &serde_json::Value) {
            for (name, member) in value.as_object().into_iter().flatten() {
                if ["example", "examples", "value"].contains(&name.as_str()) {
                    assert_eq!(member.to_string(), schemas::sorted(member).to_string());
                }
                check(member);
            }
            value.as_array().into_iter().flatten().for_each(check);
        }
        check(&serde_json::from_str(&document()).unwrap());
    }

    #[test]
    fn no_two_types_have_one_name() {
        assert_eq!(build().1, Vec::<String>::new());
    }

    #[test]
    fn every_operation_has_a_group_and_a_name_of_its_own() {
        let ids: BTreeSet<_> = ROUTES.iter().map(|route| operation::operation_id(route.handler)).collect();
        assert_eq!(ids.len(), ROUTES.len());
        for route in ROUTES {
            assert_ne!(tag(route.handler), "Other", "{}: name its module in TAGS", route.handler);
        }
    }

    #[test]
    fn all_that_the_rows_name_is_known() {
        let known: BTreeSet<_> = super::super::CODES.iter().map(|row| row.0).collect();
        for route in ROUTES {
            assert!(route.shape.codes.iter().all(|code| known.contains(code)), "{} {} names a code that is not in CODES", route.method, route.path);
        }
        for path in ROUTES.iter().map(|route| route.path) {
            assert!(operation::names(path).all(operation::is_described), "{path}: describe its parameters in operation::PARAMETERS");
        }
    }
}
