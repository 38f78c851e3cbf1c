//! Every route, in one table: what it needs and what it does. The router, the documentation and the tests are made from it.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Route, guard};

use super::api::{
    access, api_keys, audit_events, organizations, permissions, projects, role_assignments, roles, service_accounts, sessions, signing_keys, teams,
    users, workspaces,
};
use super::{dashboard::PAGES, health, login, me, metrics, status_lists, well_known};
use crate::domain::permission::Permission;

/// What a caller has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: anybody may ask.
    Nothing,
    /// Any credential that counts.
    Credential,
    /// A credential, and this permission: at the place that the request is about.
    Permission(Permission),
}

/// A route.
#[derive(Debug)]
pub struct RouteSpec {
    /// The method. `GET` answers `HEAD`, too.
    pub method: &'static str,
    /// The path, with the names of its parameters in braces.
    pub path: &'static str,
    /// What a caller has to have.
    pub needs: Needs,
    /// What it does, for people.
    pub summary: &'static str,
}

/// What the route or page of this pattern needs, for this method.
pub(super) fn needs(method: &Method, path: &str) -> Option<&'static Needs> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let route = ROUTES.iter().find(|route| route.path == path && route.method == method).map(|route| &route.needs);
    route.or_else(|| PAGES.iter().find(|page| page.path == path && page.method == method).map(|page| &page.needs))
}

pub(super) fn on(method: &str) -> Route {
    match method {
        // Reads, so HEAD is answered, too (RFC 9110, section 9.3.2).
        "GET" => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
        "POST" => web::post(),
        "PATCH" => web::patch(),
        _ => web::delete(),
    }
}

macro_rules! table {
    ($($path:literal { $($method:ident $handler:path, $needs:expr, $summary:literal;)+ })+) => {
        /// Every route.
        pub static ROUTES: &[RouteSpec] = &[$($(
            RouteSpec { method: stringify!($method), path: $path, needs: $needs, summary: $summary },
        )+)+];

        /// Puts every route in its place.
        pub fn routes(config: &mut ServiceConfig) {
            $(config.service(web::resource($path)$(.route(on(stringify!($method)).to($handler)))+);)+
        }
    };
}

use Needs::{Credential, Nothing};

const fn may(permission: Permission) -> Needs {
    Needs::Permission(permission)
}

table! {
    "/auth/login" { POST login::auth_login, Nothing, "the exchange: an API key, or a person's password, for a token"; }
    "/auth/logout" { POST login::logout, Credential, "ends the sign-in that asks, and its tokens"; }
    "/api/v1/login" { POST login::workspace_login, Nothing, "the exchange, for a workspace"; }
    "/workspaces/{workspace}/api/v1/login" { POST login::workspace_login_by_path, Nothing, "the same, for the workspace in the path"; }
    "/users/me" { GET me::me, Credential, "who is calling, and what they may do at Hourpass"; }
    "/users/me/password" { POST users::change_password, Credential, "a new password: `old_password`, `password`; ends the person's other sign-ins, and this one in a browser"; }
    "/users/me/sessions" { GET sessions::list, Credential, "the caller's own sign-ins, the newest first"; }
    "/users/me/sessions/end_others" { POST sessions::end_others, Credential, "end them all but the one that asks"; }
    "/users/me/sessions/{session}" { DELETE sessions::end, Credential, "end one, and its tokens"; }
    "/api/v1/organizations" {
        GET organizations::list, Credential, "the caller's own; with `platform.manage`, all";
        POST organizations::create, may(Permission::PLATFORM_MANAGE), "make: `slug`, `name`?, `admin_email`? (invites its first administrator)";
    }
    "/api/v1/organizations/{organization}" {
        GET organizations::get, Credential, "one that the caller may see";
        PATCH organizations::change, may(Permission::ORGANIZATIONS_MANAGE), "the caller's own: `name`, `api_key_max_days`, `api_key_default_days`";
        DELETE organizations::delete, may(Permission::PLATFORM_MANAGE), "another than the caller's, without workspaces and service accounts";
    }
    "/api/v1/workspaces" {
        GET workspaces::list, may(Permission::WORKSPACES_READ), "list; filters `slug`, `label`";
        POST workspaces::create, may(Permission::WORKSPACES_MANAGE),
            "make: `slug`, `name`?, `url`?, `audience`?, `token_lifetime_seconds`?, `signing_algorithm`?, `labels`?, `claims`?";
    }
    "/api/v1/workspaces/{workspace}" {
        GET workspaces::get, may(Permission::WORKSPACES_READ), "one";
        PATCH workspaces::change, may(Permission::WORKSPACES_MANAGE),
            "`name`, `url`, `audience`, `token_lifetime_seconds`, `signing_algorithm`, `labels`, `claims`";
        DELETE workspaces::delete, may(Permission::WORKSPACES_MANAGE), "one without projects, in which nothing is given";
    }
    "/api/v1/workspaces/{workspace}/projects" {
        GET projects::list, may(Permission::WORKSPACES_READ), "list";
        POST projects::create, may(Permission::PROJECTS_MANAGE), "make: `slug`, `name`?, `description`?";
    }
    "/api/v1/workspaces/{workspace}/projects/{project}" {
        GET projects::get, may(Permission::WORKSPACES_READ), "one";
        PATCH projects::change, may(Permission::PROJECTS_MANAGE), "`name`, `description`";
        DELETE projects::delete, may(Permission::PROJECTS_MANAGE), "one in which nothing is given";
    }
    "/api/v1/service_accounts" {
        GET service_accounts::list, may(Permission::SERVICE_ACCOUNTS_READ), "list; filters below";
        POST service_accounts::create, may(Permission::SERVICE_ACCOUNTS_MANAGE),
            "make: `name`, `description`?, `labels`?, `claims`?; `default_key`?, `expires_in_days`? (with `api_keys.manage`); `workspace` and `permissions`? (with `roles.manage` there)";
    }
    "/api/v1/service_accounts/{account}" {
        GET service_accounts::get, may(Permission::SERVICE_ACCOUNTS_READ), "one";
        PATCH service_accounts::change, may(Permission::SERVICE_ACCOUNTS_MANAGE), "`name`, `description`, `active`, `labels`, `claims`";
        DELETE service_accounts::delete, may(Permission::SERVICE_ACCOUNTS_MANAGE), "for good, with its keys and roles";
    }
    "/api/v1/service_accounts/{account}/impact" { GET service_accounts::impact, may(Permission::SERVICE_ACCOUNTS_READ), "what would stop"; }
    "/api/v1/service_accounts/{account}/revoke_tokens" {
        POST service_accounts::revoke_tokens, may(Permission::SERVICE_ACCOUNTS_MANAGE), "end all tokens; keys go on working";
    }
    "/api/v1/service_accounts/{account}/api_keys" {
        GET api_keys::list, may(Permission::SERVICE_ACCOUNTS_READ), "list; filters `name`, `active`";
        POST api_keys::create, may(Permission::API_KEYS_MANAGE),
            "make: `name`, `expires_in_days`?; or import: `name`, `sha256`, `hint`?, `expires_in_days`?";
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}" {
        GET api_keys::get, may(Permission::SERVICE_ACCOUNTS_READ), "one";
        PATCH api_keys::change, may(Permission::API_KEYS_MANAGE), "`name`, `active`, `expires_in_days`, `retain_minutes`";
        DELETE api_keys::delete, may(Permission::API_KEYS_MANAGE), "for good";
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/impact" { GET api_keys::impact, may(Permission::SERVICE_ACCOUNTS_READ), "what would stop"; }
    "/api/v1/service_accounts/{account}/api_keys/{key}/rotate" {
        POST api_keys::rotate, may(Permission::API_KEYS_MANAGE), "a new value: `retain_minutes`?, `expires_in_days`?";
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/revoke_tokens" {
        POST api_keys::revoke_tokens, may(Permission::API_KEYS_MANAGE), "end its tokens; the key goes on working";
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/compromised" {
        POST api_keys::compromise, may(Permission::API_KEYS_MANAGE), "end it for good, and mark it";
    }
    "/api/v1/api_keys/report" { POST api_keys::report, Nothing, "`{\"key\": \"...\"}`: whoever holds a leaked key ends it"; }
    "/api/v1/permissions" {
        GET permissions::list, may(Permission::ROLES_READ), "the organization's catalogue; with `built_in=true`, Hourpass's own";
        POST permissions::create, may(Permission::ROLES_MANAGE), "add: `name`, `description`?";
    }
    "/api/v1/permissions/{permission}" {
        GET permissions::get, may(Permission::ROLES_READ), "one";
        PATCH permissions::change, may(Permission::ROLES_MANAGE), "`description`";
        DELETE permissions::delete, may(Permission::ROLES_MANAGE), "one that is in no role and was not given";
    }
    "/api/v1/roles" {
        GET roles::list, may(Permission::ROLES_READ), "list, the built-in ones first";
        POST roles::create, may(Permission::ROLES_MANAGE), "make: `name`, `level`, `permissions`, `description`?";
    }
    "/api/v1/roles/{role}" {
        GET roles::get, may(Permission::ROLES_READ), "one";
        PATCH roles::change, may(Permission::ROLES_MANAGE), "`name`, `description`, `permissions`";
        DELETE roles::delete, may(Permission::ROLES_MANAGE), "one that nobody holds";
    }
    "/api/v1/role_assignments" {
        GET role_assignments::list, may(Permission::ROLES_READ),
            "list; filters `service_account`, `user`, `team`, `role`, `workspace`, `project`";
        POST role_assignments::create, may(Permission::ROLES_MANAGE),
            "give: `role` or `permissions`, to `service_account`, `user` or `team`, in `workspace`?, `project`?";
    }
    "/api/v1/role_assignments/{assignment}" {
        GET role_assignments::get, may(Permission::ROLES_READ), "one";
        DELETE role_assignments::delete, may(Permission::ROLES_MANAGE), "take back";
    }
    "/api/v1/teams" {
        GET teams::list, may(Permission::TEAMS_READ), "list; with `service_account` or `user`, those that they are in";
        POST teams::create, may(Permission::TEAMS_MANAGE), "make: `name`, `description`?";
    }
    "/api/v1/teams/{team}" {
        GET teams::get, may(Permission::TEAMS_READ), "one";
        PATCH teams::change, may(Permission::TEAMS_MANAGE), "`name`, `description`";
        DELETE teams::delete, may(Permission::TEAMS_MANAGE), "for good, with what it was given";
    }
    "/api/v1/teams/{team}/members" {
        GET teams::list_members, may(Permission::TEAMS_READ), "list";
        POST teams::add_member, may(Permission::TEAMS_MANAGE), "add `service_account` or `user`";
    }
    "/api/v1/teams/{team}/members/{member}" { DELETE teams::remove_member, may(Permission::TEAMS_MANAGE), "remove; `{member}` is an id"; }
    "/api/v1/users" {
        GET users::list, may(Permission::USERS_READ), "list; filters `email`, `active`, `invited`";
        POST users::create, may(Permission::USERS_MANAGE), "make: `email`, `name`?, `password`?; without a password, invite";
    }
    "/api/v1/users/{user}" {
        GET users::get, may(Permission::USERS_READ), "one";
        PATCH users::change, may(Permission::USERS_MANAGE), "`email`, `name`, `active`";
        DELETE users::delete, may(Permission::USERS_MANAGE), "for good, with their roles and sign-ins";
    }
    "/api/v1/users/{user}/invite" { POST users::invite, may(Permission::USERS_MANAGE), "a link with which they set a password"; }
    "/api/v1/invitations/accept" { POST users::accept, Nothing, "whoever was invited sets a password: `invitation`, `password`"; }
    "/api/v1/access" {
        GET access::get, Credential, "who may do what, and why: `principal`, `workspace`?, `project`?; about others with `audit.read`";
    }
    "/api/v1/explain" {
        POST access::explain, Credential,
            "whether a key or token works, and why not: `credential`, `workspace`?, `project`?, `permission`?; about others' with `audit.read`";
    }
    "/api/v1/audit_events" { GET audit_events::list, may(Permission::AUDIT_READ), "list, newest first; filters below"; }
    "/api/v1/audit_events/export" { GET audit_events::export, may(Permission::AUDIT_READ), "the same, all of it, as NDJSON"; }
    "/api/v1/signing_keys" { GET signing_keys::list, may(Permission::SIGNING_KEYS_MANAGE), "list, with the state of each"; }
    "/api/v1/signing_keys/rotate" {
        POST signing_keys::rotate, may(Permission::SIGNING_KEYS_MANAGE),
            "another key: `algorithm`?, `now`?; with `now`, the one that signs is withdrawn, and all its tokens end";
    }
    "/status-lists" { GET status_lists::aggregation, Nothing, "where the status lists are"; }
    "/status-lists/{list}" { GET status_lists::get, Nothing, "a status list: which credentials' tokens count no more (a JWT)"; }
    "/.well-known/jwks.json" { GET well_known::jwks, Nothing, "the public keys in use"; }
    "/.well-known/oauth-authorization-server" { GET well_known::authorization_server, Nothing, "metadata (RFC 8414)"; }
    "/.well-known/openid-configuration" { GET well_known::openid_configuration, Nothing, "the same, for OpenID Connect clients"; }
    "/healthz" { GET health::live, Nothing, "it lives"; }
    "/readyz" { GET health::ready, Nothing, "it can do its work"; }
    "/metrics" { GET metrics::metrics, Nothing, "counts and durations of answers, for Prometheus"; }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_route() {
        let document = include_str!("../../docs/api.md");
        let table = ROUTES.iter().map(|route| {
            let needs = match &route.needs {
                Nothing => "–".to_owned(),
                Credential => "any credential".to_owned(),
                Needs::Permission(permission) => format!("`{permission}`"),
            };
            format!("| `{} {}` | {needs} | {} |\n", route.method, route.path, route.summary)
        });
        let table: String = table.collect();
        assert!(document.contains(&format!("| endpoint | needs | what |\n|---|---|---|\n{table}\n")), "docs/api.md has to hold:\n{table}");
    }
}
