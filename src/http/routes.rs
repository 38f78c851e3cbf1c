//! Every route, in one table: what it needs and what it does. The router, the documentation and the tests are made from it.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Route, guard};

use super::api::{
    access, api_keys, audit_events, organizations, permissions, projects, role_assignments, roles, service_accounts, sessions, signing_keys, teams,
    users, workspaces,
};
use super::dashboard::PAGES;
use super::openapi::{self, Shape, confirms, ends, gives, lists, makes, publishes, removes, sends, serves};
use super::{docs, health, login, me, metrics, status_lists, well_known};
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
    /// The handler, as `module::function`: what the OpenAPI document calls it.
    pub(super) handler: &'static str,
    /// What goes in and what comes out, for the OpenAPI document.
    pub(super) shape: Shape,
}

impl RouteSpec {
    /// Whether a repeat with the same Idempotency-Key is answered as the first request was.
    #[must_use]
    pub const fn takes_idempotency_key(&self) -> bool {
        self.shape.once
    }
}

/// What the route or page of this pattern needs, for this method.
pub(super) fn needs(method: &Method, path: &str) -> Option<&'static Needs> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let route = ROUTES.iter().find(|route| route.path == path && route.method == method).map(|route| &route.needs);
    route.or_else(|| PAGES.iter().find(|page| page.path == path && page.method == method).map(|page| &page.needs))
}

/// Whether the route of this pattern takes an Idempotency-Key for this method.
pub(super) fn takes_idempotency_key(method: &Method, path: &str) -> bool {
    ROUTES.iter().any(|route| route.path == path && route.method == method.as_str() && route.takes_idempotency_key())
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
    ($($path:literal { $($method:ident $handler:path, $needs:expr, $summary:literal, $shape:expr;)+ })+) => {
        /// Every route.
        pub static ROUTES: &[RouteSpec] = &[$($(
            RouteSpec { method: stringify!($method), path: $path, needs: $needs, summary: $summary, handler: stringify!($handler), shape: $shape },
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

// A row is the method and the handler, what a caller has to have, what it does, and its shape: how it answers (`gives::<Body>()`, `makes`, `lists`,
// `confirms`, `ends`, ...), whether it takes an Idempotency-Key (`.once()`; `makes` implies it), with what it reads (`.query::<Q>()`, `.takes::<Body>()`, `.may_take`, `.form`) and the codes of the errors that nothing else in the
// row implies (`.or(&[...])`). Bodies and queries derive `ToSchema`, with a comment on each field and, where names repeat, `#[schema(as = Name)]`.
// After a change: `HOURPASS_MAKE_OPENAPI=1 cargo test --all-features --lib openapi` renews docs/openapi.json. A new module of handlers goes into
// `openapi::TAGS`, a new parameter of a path into `openapi::operation::PARAMETERS`; tests say so.
table! {
    "/auth/login" {
        POST login::auth_login, Nothing, "the exchange: an API key, or a person's password, for a token",
            gives::<login::AuthLoginAnswer>().with(&["set-cookie"]).form::<login::LoginForm>();
    }
    "/auth/logout" {
        POST login::logout, Credential, "ends the sign-in that asks, and its tokens",
            ends().with(&["hourpass-propagation", "set-cookie"]);
    }
    "/api/v1/login" {
        POST login::workspace_login, Nothing, "the exchange, for a workspace",
            gives::<login::WorkspaceLoginAnswer>().form::<login::LoginForm>();
    }
    "/workspaces/{workspace}/api/v1/login" {
        POST login::workspace_login_by_path, Nothing, "the same, for the workspace in the path",
            gives::<login::WorkspaceLoginAnswer>().form::<login::LoginForm>();
    }
    "/users/me" {
        GET me::me, Credential, "who is calling, and what they may do at Hourpass",
            gives::<me::Me>();
    }
    "/users/me/password" {
        POST users::change_password, Credential, "a new password: `old_password`, `password`; ends the person's other sign-ins, and this one in a browser",
            ends().takes::<users::PasswordBody>().or(&["not_a_person", "wrong_password", "too_many_requests"]);
    }
    "/users/me/sessions" {
        GET sessions::list, Credential, "the caller's own sign-ins, the newest first",
            lists::<sessions::SessionBody>().or(&["access_denied"]);
    }
    "/users/me/sessions/end_others" {
        POST sessions::end_others, Credential, "end them all but the one that asks",
            ends().or(&["access_denied"]);
    }
    "/users/me/sessions/{session}" {
        DELETE sessions::end, Credential, "end one, and its tokens",
            ends().or(&["access_denied"]);
    }
    "/api/v1/organizations" {
        GET organizations::list, Credential, "the caller's own; with `platform.manage`, all",
            lists::<organizations::OrganizationBody>().query::<organizations::ListQuery>();
        POST organizations::create, may(Permission::PLATFORM_MANAGE), "make: `slug`, `name`?, `admin_email`? (invites its first administrator)",
            makes::<organizations::CreatedBody>().takes::<organizations::CreateBody>().or(&["name_taken"]);
    }
    "/api/v1/organizations/{organization}" {
        GET organizations::get, Credential, "one that the caller may see",
            gives::<organizations::OrganizationBody>();
        PATCH organizations::change, may(Permission::ORGANIZATIONS_MANAGE), "the caller's own: `name`, `api_key_max_days`, `api_key_default_days`",
            gives::<organizations::OrganizationBody>().takes::<organizations::ChangeBody>();
        DELETE organizations::delete, may(Permission::PLATFORM_MANAGE), "another than the caller's, without workspaces and service accounts",
            removes().or(&["in_use"]);
    }
    "/api/v1/workspaces" {
        GET workspaces::list, may(Permission::WORKSPACES_READ), "list; filters `slug`, `label`",
            lists::<workspaces::WorkspaceBody>().query::<workspaces::ListQuery>();
        POST workspaces::create, may(Permission::WORKSPACES_MANAGE),
            "make: `slug`, `name`?, `url`?, `audience`?, `token_lifetime_seconds`?, `signing_algorithm`?, `labels`?, `claims`?",
            makes::<workspaces::WorkspaceBody>().takes::<workspaces::CreateBody>().or(&["name_taken"]);
    }
    "/api/v1/workspaces/{workspace}" {
        GET workspaces::get, may(Permission::WORKSPACES_READ), "one",
            gives::<workspaces::WorkspaceBody>();
        PATCH workspaces::change, may(Permission::WORKSPACES_MANAGE),
            "`name`, `url`, `audience`, `token_lifetime_seconds`, `signing_algorithm`, `labels`, `claims`",
            gives::<workspaces::WorkspaceBody>().takes::<workspaces::ChangeBody>().or(&["name_taken"]);
        DELETE workspaces::delete, may(Permission::WORKSPACES_MANAGE), "one without projects, in which nothing is given",
            removes().or(&["in_use"]);
    }
    "/api/v1/workspaces/{workspace}/projects" {
        GET projects::list, may(Permission::WORKSPACES_READ), "list",
            lists::<projects::ProjectBody>().query::<projects::ListQuery>();
        POST projects::create, may(Permission::PROJECTS_MANAGE), "make: `slug`, `name`?, `description`?",
            makes::<projects::ProjectBody>().takes::<projects::CreateBody>().or(&["name_taken"]);
    }
    "/api/v1/workspaces/{workspace}/projects/{project}" {
        GET projects::get, may(Permission::WORKSPACES_READ), "one",
            gives::<projects::ProjectBody>();
        PATCH projects::change, may(Permission::PROJECTS_MANAGE), "`name`, `description`",
            gives::<projects::ProjectBody>().takes::<projects::ChangeBody>();
        DELETE projects::delete, may(Permission::PROJECTS_MANAGE), "one in which nothing is given",
            removes().or(&["in_use"]);
    }
    "/api/v1/service_accounts" {
        GET service_accounts::list, may(Permission::SERVICE_ACCOUNTS_READ), "list; filters below",
            lists::<service_accounts::ServiceAccountBody>().query::<service_accounts::ListQuery>();
        POST service_accounts::create, may(Permission::SERVICE_ACCOUNTS_MANAGE),
            "make: `name`, `description`?, `labels`?, `claims`?, `exchanges_per_minute`?; `default_key`?, `expires_in_days`? (with `api_keys.manage`); `workspace` and `permissions`? (with `roles.manage` there)",
            makes::<service_accounts::CreatedBody>().takes::<service_accounts::CreateBody>().or(&["not_found", "name_taken"]);
    }
    "/api/v1/service_accounts/{account}" {
        GET service_accounts::get, may(Permission::SERVICE_ACCOUNTS_READ), "one",
            gives::<service_accounts::ServiceAccountBody>();
        PATCH service_accounts::change, may(Permission::SERVICE_ACCOUNTS_MANAGE),
            "`name`, `description`, `active`, `labels`, `claims`, `exchanges_per_minute`; with `active: false`, `keep_credentials`?",
            confirms::<service_accounts::ServiceAccountBody>().takes::<service_accounts::ChangeBody>().or(&["name_taken"]);
        DELETE service_accounts::delete, may(Permission::SERVICE_ACCOUNTS_MANAGE), "for good, with its keys and roles; `?keep_credentials=true`",
            ends().query::<service_accounts::DeletionQuery>();
    }
    "/api/v1/service_accounts/{account}/impact" {
        GET service_accounts::impact, may(Permission::SERVICE_ACCOUNTS_READ), "what would stop",
            gives::<service_accounts::ImpactBody>();
    }
    "/api/v1/service_accounts/{account}/revoke_tokens" {
        POST service_accounts::revoke_tokens, may(Permission::SERVICE_ACCOUNTS_MANAGE), "end all tokens; keys go on working",
            confirms::<service_accounts::ServiceAccountBody>();
    }
    "/api/v1/service_accounts/{account}/api_keys" {
        GET api_keys::list, may(Permission::SERVICE_ACCOUNTS_READ), "list; filters `name`, `active`",
            lists::<api_keys::ApiKeyBody>().query::<api_keys::ListQuery>();
        POST api_keys::create, may(Permission::API_KEYS_MANAGE),
            "make: `name`, `expires_in_days`?; or import: `name`, `sha256`, `hint`?, `expires_in_days`?",
            makes::<api_keys::CreatedBody>().takes::<api_keys::CreateBody>().or(&["name_taken", "hash_taken", "account_inactive"]);
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}" {
        GET api_keys::get, may(Permission::SERVICE_ACCOUNTS_READ), "one",
            gives::<api_keys::ApiKeyBody>();
        PATCH api_keys::change, may(Permission::API_KEYS_MANAGE), "`name`, `active`, `expires_in_days`, `retain_minutes`; with `active: false`, `keep_credentials`?",
            confirms::<api_keys::ApiKeyBody>().takes::<api_keys::ChangeBody>().or(&["name_taken", "key_compromised", "nothing_retained"]);
        DELETE api_keys::delete, may(Permission::API_KEYS_MANAGE), "for good",
            ends();
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/impact" {
        GET api_keys::impact, may(Permission::SERVICE_ACCOUNTS_READ), "what would stop",
            gives::<service_accounts::ImpactBody>();
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/rotate" {
        POST api_keys::rotate, may(Permission::API_KEYS_MANAGE), "a new value: `retain_minutes`?, `expires_in_days`?",
            confirms::<api_keys::WithKey>().once().may_take::<api_keys::RotateBody>()
                .or(&["account_inactive", "key_inactive", "key_compromised", "rotated_meanwhile"]);
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/revoke_tokens" {
        POST api_keys::revoke_tokens, may(Permission::API_KEYS_MANAGE), "end its tokens; the key goes on working",
            confirms::<api_keys::ApiKeyBody>();
    }
    "/api/v1/service_accounts/{account}/api_keys/{key}/compromised" {
        POST api_keys::compromise, may(Permission::API_KEYS_MANAGE), "end it for good, and mark it",
            confirms::<api_keys::ApiKeyBody>();
    }
    "/api/v1/api_keys/report" {
        POST api_keys::report, Nothing, "`{\"key\": \"...\"}`: whoever holds a leaked key ends it",
            gives::<api_keys::ReportedBody>().takes::<api_keys::ReportBody>().or(&["invalid_credentials", "not_found", "too_many_requests"]);
    }
    "/api/v1/permissions" {
        GET permissions::list, may(Permission::ROLES_READ), "the organization's catalogue; with `built_in=true`, Hourpass's own",
            lists::<permissions::PermissionBody>().query::<permissions::ListQuery>();
        POST permissions::create, may(Permission::ROLES_MANAGE), "add: `name`, `description`?",
            makes::<permissions::PermissionBody>().takes::<permissions::CreateBody>().or(&["name_taken", "in_use"]);
    }
    "/api/v1/permissions/{permission}" {
        GET permissions::get, may(Permission::ROLES_READ), "one",
            gives::<permissions::PermissionBody>();
        PATCH permissions::change, may(Permission::ROLES_MANAGE), "`description`",
            gives::<permissions::PermissionBody>().takes::<permissions::ChangeBody>();
        DELETE permissions::delete, may(Permission::ROLES_MANAGE), "one that is in no role and was not given",
            removes().or(&["in_use"]);
    }
    "/api/v1/roles" {
        GET roles::list, may(Permission::ROLES_READ), "list, the built-in ones first",
            lists::<roles::RoleBody>().query::<roles::ListQuery>();
        POST roles::create, may(Permission::ROLES_MANAGE), "make: `name`, `level`, `permissions`, `description`?",
            makes::<roles::RoleBody>().takes::<roles::CreateBody>().or(&["name_taken"]);
    }
    "/api/v1/roles/{role}" {
        GET roles::get, may(Permission::ROLES_READ), "one",
            gives::<roles::RoleBody>();
        PATCH roles::change, may(Permission::ROLES_MANAGE), "`name`, `description`, `permissions`",
            confirms::<roles::RoleBody>().takes::<roles::ChangeBody>().or(&["name_taken", "built_in"]);
        DELETE roles::delete, may(Permission::ROLES_MANAGE), "one that nobody holds",
            removes().or(&["in_use", "built_in"]);
    }
    "/api/v1/role_assignments" {
        GET role_assignments::list, may(Permission::ROLES_READ), "list; filters `service_account`, `user`, `team`, `role`, `workspace`, `project`",
            lists::<role_assignments::AssignmentBody>().query::<role_assignments::ListQuery>().or(&["not_found"]);
        POST role_assignments::create, may(Permission::ROLES_MANAGE),
            "give: `role` or `permissions`, to `service_account`, `user` or `team`, in `workspace`?, `project`?",
            makes::<role_assignments::AssignmentBody>().takes::<role_assignments::CreateBody>().or(&["not_found", "in_use"]);
    }
    "/api/v1/role_assignments/{assignment}" {
        GET role_assignments::get, may(Permission::ROLES_READ), "one",
            gives::<role_assignments::AssignmentBody>();
        DELETE role_assignments::delete, may(Permission::ROLES_MANAGE), "take back",
            ends().or(&["last_administrator"]);
    }
    "/api/v1/teams" {
        GET teams::list, may(Permission::TEAMS_READ), "list; with `service_account` or `user`, those that they are in",
            lists::<teams::TeamBody>().query::<teams::ListQuery>().or(&["not_found"]);
        POST teams::create, may(Permission::TEAMS_MANAGE), "make: `name`, `description`?",
            makes::<teams::TeamBody>().takes::<teams::CreateBody>().or(&["name_taken"]);
    }
    "/api/v1/teams/{team}" {
        GET teams::get, may(Permission::TEAMS_READ), "one",
            gives::<teams::TeamBody>();
        PATCH teams::change, may(Permission::TEAMS_MANAGE), "`name`, `description`",
            gives::<teams::TeamBody>().takes::<teams::ChangeBody>().or(&["name_taken"]);
        DELETE teams::delete, may(Permission::TEAMS_MANAGE), "for good, with what it was given",
            ends().or(&["last_administrator"]);
    }
    "/api/v1/teams/{team}/members" {
        GET teams::list_members, may(Permission::TEAMS_READ), "list",
            lists::<teams::MemberBody>().query::<teams::MembersQuery>();
        POST teams::add_member, may(Permission::TEAMS_MANAGE), "add `service_account` or `user`",
            makes::<teams::MemberBody>().takes::<teams::MemberRequest>().or(&["not_found", "name_taken"]);
    }
    "/api/v1/teams/{team}/members/{member}" {
        DELETE teams::remove_member, may(Permission::TEAMS_MANAGE), "remove; `{member}` is an id",
            ends().or(&["last_administrator"]);
    }
    "/api/v1/users" {
        GET users::list, may(Permission::USERS_READ), "list; filters `email`, `active`, `invited`",
            lists::<users::UserBody>().query::<users::ListQuery>();
        POST users::create, may(Permission::USERS_MANAGE), "make: `email`, `name`?, `password`?; without a password, invite",
            makes::<users::InvitedBody>().takes::<users::CreateBody>().or(&["name_taken", "too_many_requests"]);
    }
    "/api/v1/users/{user}" {
        GET users::get, may(Permission::USERS_READ), "one",
            gives::<users::UserBody>();
        PATCH users::change, may(Permission::USERS_MANAGE), "`email`, `name`, `active`; with `active: false`, `keep_credentials`?",
            confirms::<users::UserBody>().takes::<users::ChangeBody>().or(&["name_taken", "last_administrator"]);
        DELETE users::delete, may(Permission::USERS_MANAGE), "for good, with their roles and sign-ins; `?keep_credentials=true`",
            ends().query::<service_accounts::DeletionQuery>().or(&["last_administrator"]);
    }
    "/api/v1/users/{user}/impact" {
        GET users::impact, may(Permission::USERS_READ), "what would stop",
            gives::<users::LeftBehindBody>();
    }
    "/api/v1/users/{user}/invite" {
        POST users::invite, may(Permission::USERS_MANAGE), "a link with which they set a password",
            gives::<users::InvitedBody>().once().or(&["in_use"]);
    }
    "/api/v1/invitations/accept" {
        POST users::accept, Nothing, "whoever was invited sets a password: `invitation`, `password`",
            gives::<users::UserBody>().takes::<users::AcceptBody>().or(&["invalid_invitation", "too_many_requests"]);
    }
    "/api/v1/access" {
        GET access::get, Credential, "who may do what, and why: `principal`, `workspace`?, `project`?; about others with `audit.read`",
            gives::<access::AccessBody>().query::<access::Query>().or(&["permission_denied", "not_found"]);
    }
    "/api/v1/explain" {
        POST access::explain, Credential,
            "whether a key or token works, and why not: `credential`, `workspace`?, `project`?, `permission`?; about others' with `audit.read`",
            gives::<access::ExplainAnswer>().takes::<access::ExplainBody>().or(&["permission_denied", "not_found"]);
    }
    "/api/v1/audit_events" {
        GET audit_events::list, may(Permission::AUDIT_READ), "list, newest first; filters below",
            lists::<audit_events::EventBody>().query::<audit_events::ListQuery>();
    }
    "/api/v1/audit_events/export" {
        GET audit_events::export, may(Permission::AUDIT_READ), "the same, all of it, as NDJSON",
            sends("application/x-ndjson").query::<audit_events::ListQuery>();
    }
    "/api/v1/signing_keys" {
        GET signing_keys::list, may(Permission::SIGNING_KEYS_MANAGE), "list, with the state of each",
            lists::<signing_keys::SigningKeyBody>();
    }
    "/api/v1/signing_keys/rotate" {
        POST signing_keys::rotate, may(Permission::SIGNING_KEYS_MANAGE),
            "another key: `algorithm`?, `now`?; with `now`, the one that signs is withdrawn, and all its tokens end",
            confirms::<signing_keys::RotatedBody>().once().may_take::<signing_keys::RotateBody>().or(&["rotated_meanwhile"]);
    }
    "/status-lists" {
        GET status_lists::aggregation, Nothing, "where the status lists are",
            publishes::<status_lists::AggregationBody>();
    }
    "/status-lists/{list}" {
        GET status_lists::get, Nothing, "a status list: which credentials' tokens count no more (a JWT)",
            serves("application/statuslist+jwt").or(&["not_acceptable", "not_implemented"]);
    }
    "/.well-known/jwks.json" {
        GET well_known::jwks, Nothing, "the public keys in use",
            publishes::<well_known::JwkSetBody>();
    }
    "/.well-known/oauth-authorization-server" {
        GET well_known::authorization_server, Nothing, "metadata (RFC 8414)",
            publishes::<well_known::Metadata>();
    }
    "/.well-known/openid-configuration" {
        GET well_known::openid_configuration, Nothing, "the same, for OpenID Connect clients",
            publishes::<well_known::Metadata>();
    }
    "/openapi.json" {
        GET openapi::get, Nothing, "the OpenAPI document",
            serves("application/json");
    }
    "/docs" {
        GET docs::page, Nothing, "the page of it: Swagger UI, to sign in and try",
            serves("text/html");
    }
    "/docs/{file}" {
        GET docs::file, Nothing, "the files of that page",
            serves("*/*");
    }
    "/healthz" {
        GET health::live, Nothing, "it lives",
            gives::<health::HealthBody>();
    }
    "/readyz" {
        GET health::ready, Nothing, "it can do its work",
            gives::<health::HealthBody>();
    }
    "/metrics" {
        GET metrics::metrics, Nothing, "counts and durations of answers, for Prometheus",
            sends("application/openmetrics-text");
    }
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
