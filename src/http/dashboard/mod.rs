//! The dashboard: pages for people, rendered here, that work without scripts. They do what the API does, by the same use cases and with the same checks.
//!
//! # How to add a page
//!
//! 1. **A row in the table below**, [`PAGES`]: path, method, handler, and what the visitor has to have. `GET` shows, `POST` takes a form, and nothing else
//!    exists. The extractor [`Visit`](visit::Visit) refuses whoever lacks it, before the form is read; whether they hold it at the right place is for the use
//!    case. Paths are in the plural and with dashes (`/service-accounts/{account}/keys/new`); the link in the navigation is in `frame.rs`.
//! 2. **A handler** in the file of its subject: `async fn show(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError>`. It calls use cases with
//!    `&visit.call.caller` (`visit.management()`), puts what it found into a *view*, and ends with `visit.show(&view)`. Errors go up with `?`: the middleware
//!    makes a page of them, with the same status as the API, and sends whoever is not signed in to `/sign-in`.
//! 3. **A view**: a struct with `#[derive(Template)]`, a field `frame: &'a Frame`, and texts, ready to be shown. What the visitor may not do is not offered:
//!    a `bool` of the view, from `visit.may(&Permission::…)`, says so. Times are a [`Moment`](moment::Moment), made by `visit.moment(at)`.
//! 4. **A template** that begins like `templates/service_accounts.html`: `{% extends "layout.html" %}`, `{% import "components.html" as ui %}`, blocks `title`
//!    and `main`. Components are macros, each with a comment: `{{ ui::badge("good", "active") }}`, or with contents,
//!    `{% call ui::page_header("Teams", "…") %}<a …>{% endcall %}`. askama escapes all values; `|safe` is never used. No `style` attribute, no inline script:
//!    the Content-Security-Policy would block them. Whatever is missing in `static/app.css` goes there, by its variables, for both themes.
//! 5. **A form**: `let mut form = visit.form().await?`, then a struct of the *entered texts* (so that they can be shown again), checked by the parsers of the
//!    API ([`Fields`](super::api::fields::Fields)). Where that or the use case fails, [`Mistakes::of`](mistakes::Mistakes::of) takes the error, or hands on what no one can mend, and the
//!    form is shown again with `visit.show_with(mistakes.status(), &view)`. On success `visit.done("/teams", "created").await` waits for the other nodes and
//!    redirects (303) with a notice, whose text is in `frame::NOTICES`. A password or key is never shown again in a form.
//!    A form that changes something is an [`Edit`](edit::Edit): it says what it showed (`ui::shown`), and only what was changed in it is changed.
//!    Before something ends, a page asks: [`Question`](confirm::Question), shown by `GET` and answered by a `POST` to the same path.
//! 6. **A test** in `tests/dashboard.rs`. All rows of the table are asked there without a credential and without the permission, by themselves.
//!
//! May not know: SQL, the rules of who may do what.

mod account_teams;
mod activity;
mod api_keys;
mod assets;
mod audit;
mod chart;
mod confirm;
mod edit;
mod ending;
mod error_page;
mod expiration;
mod frame;
mod given;
mod invitation;
mod key_rotation;
mod link;
mod mistakes;
mod moment;
mod organizations;
mod overview;
mod people;
mod permission_boxes;
mod permissions;
mod projects;
mod retention;
mod role_assignments;
mod roles;
mod service_account;
mod service_accounts;
mod sessions;
pub(super) mod sign_in;
mod signing_keys;
mod teams;
mod used;
pub(super) mod visit;
mod words;
mod workspaces;

use actix_web::web::{self, ServiceConfig};

use super::routes::{Needs, on};
use crate::domain::permission::Permission;

pub(super) use error_page::{error_page, is_page, remember};

/// A page, or what a page needs.
#[derive(Debug)]
pub struct PageSpec {
    /// `GET`, which answers `HEAD`, too, or `POST`.
    pub method: &'static str,
    /// The path, with the names of its parameters in braces.
    pub path: &'static str,
    /// What a visitor has to have.
    pub needs: Needs,
}

macro_rules! pages {
    ($($path:literal { $($method:ident $handler:path, $needs:expr;)+ })+) => {
        /// Every page.
        pub static PAGES: &[PageSpec] = &[$($(PageSpec { method: stringify!($method), path: $path, needs: $needs },)+)+];

        /// Puts every page in its place.
        pub fn pages(config: &mut ServiceConfig) {
            $(config.service(web::resource($path)$(.route(on(stringify!($method)).to($handler)))+);)+
        }
    };
}

use Needs::{Credential, Nothing};

const fn may(permission: Permission) -> Needs {
    Needs::Permission(permission)
}

pages! {
    "/" { GET overview::show, Credential; }
    "/static/{name}" { GET assets::get, Nothing; }
    "/sign-in" {
        GET sign_in::show, Nothing;
        POST sign_in::sign_in, Nothing;
    }
    "/sign-out" { POST sign_in::sign_out, Credential; }
    "/service-accounts" { GET service_accounts::list, may(Permission::SERVICE_ACCOUNTS_READ); }
    "/service-accounts/new" {
        GET service_accounts::new, may(Permission::SERVICE_ACCOUNTS_MANAGE);
        POST service_accounts::create, may(Permission::SERVICE_ACCOUNTS_MANAGE);
    }
    "/service-accounts/{account}" { GET service_account::show, may(Permission::SERVICE_ACCOUNTS_READ); }
    "/service-accounts/{account}/edit" {
        GET service_account::edit, may(Permission::SERVICE_ACCOUNTS_MANAGE);
        POST service_account::save, may(Permission::SERVICE_ACCOUNTS_MANAGE);
    }
    "/service-accounts/{account}/activate" { POST service_account::activate, may(Permission::SERVICE_ACCOUNTS_MANAGE); }
    "/service-accounts/{account}/deactivate" {
        GET service_account::ask_deactivate, may(Permission::SERVICE_ACCOUNTS_MANAGE);
        POST service_account::deactivate, may(Permission::SERVICE_ACCOUNTS_MANAGE);
    }
    "/service-accounts/{account}/end-tokens" {
        GET service_account::ask_end_tokens, may(Permission::SERVICE_ACCOUNTS_MANAGE);
        POST service_account::end_tokens, may(Permission::SERVICE_ACCOUNTS_MANAGE);
    }
    "/service-accounts/{account}/delete" {
        GET service_account::ask_delete, may(Permission::SERVICE_ACCOUNTS_MANAGE);
        POST service_account::delete, may(Permission::SERVICE_ACCOUNTS_MANAGE);
    }
    "/service-accounts/{account}/keys/new" {
        GET api_keys::new, may(Permission::API_KEYS_MANAGE);
        POST api_keys::create, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/import" {
        GET api_keys::new_import, may(Permission::API_KEYS_MANAGE);
        POST api_keys::import, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/activate" { POST api_keys::activate, may(Permission::API_KEYS_MANAGE); }
    "/service-accounts/{account}/keys/{key}/rotate" {
        GET key_rotation::ask_rotate, may(Permission::API_KEYS_MANAGE);
        POST key_rotation::rotate, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/retained" {
        GET key_rotation::ask_retained, may(Permission::API_KEYS_MANAGE);
        POST key_rotation::retain, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/edit" {
        GET api_keys::edit, may(Permission::API_KEYS_MANAGE);
        POST api_keys::save, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/deactivate" {
        GET api_keys::ask_deactivate, may(Permission::API_KEYS_MANAGE);
        POST api_keys::deactivate, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/end-tokens" {
        GET api_keys::ask_end_tokens, may(Permission::API_KEYS_MANAGE);
        POST api_keys::end_tokens, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/compromised" {
        GET api_keys::ask_compromise, may(Permission::API_KEYS_MANAGE);
        POST api_keys::compromise, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/keys/{key}/delete" {
        GET api_keys::ask_delete, may(Permission::API_KEYS_MANAGE);
        POST api_keys::delete, may(Permission::API_KEYS_MANAGE);
    }
    "/service-accounts/{account}/teams/new" {
        GET account_teams::new, may(Permission::TEAMS_MANAGE);
        POST account_teams::add, may(Permission::TEAMS_MANAGE);
    }
    "/service-accounts/{account}/teams/{team}/remove" {
        GET account_teams::ask_remove, may(Permission::TEAMS_MANAGE);
        POST account_teams::remove, may(Permission::TEAMS_MANAGE);
    }
    "/teams" { GET teams::list, may(Permission::TEAMS_READ); }
    "/teams/new" {
        GET teams::new, may(Permission::TEAMS_MANAGE);
        POST teams::create, may(Permission::TEAMS_MANAGE);
    }
    "/teams/{team}" { GET teams::show, may(Permission::TEAMS_READ); }
    "/teams/{team}/edit" {
        GET teams::edit, may(Permission::TEAMS_MANAGE);
        POST teams::save, may(Permission::TEAMS_MANAGE);
    }
    "/teams/{team}/delete" {
        GET teams::confirm_delete, may(Permission::TEAMS_MANAGE);
        POST teams::delete, may(Permission::TEAMS_MANAGE);
    }
    "/teams/{team}/members" { POST teams::add_member, may(Permission::TEAMS_MANAGE); }
    "/teams/{team}/members/{member}/remove" {
        GET teams::confirm_remove, may(Permission::TEAMS_MANAGE);
        POST teams::remove_member, may(Permission::TEAMS_MANAGE);
    }
    "/roles" { GET roles::list, may(Permission::ROLES_READ); }
    "/roles/new" {
        GET roles::new, may(Permission::ROLES_MANAGE);
        POST roles::create, may(Permission::ROLES_MANAGE);
    }
    "/roles/{role}" { GET roles::show, may(Permission::ROLES_READ); }
    "/roles/{role}/edit" {
        GET roles::edit, may(Permission::ROLES_MANAGE);
        POST roles::save, may(Permission::ROLES_MANAGE);
    }
    "/roles/{role}/delete" {
        GET roles::confirm_delete, may(Permission::ROLES_MANAGE);
        POST roles::delete, may(Permission::ROLES_MANAGE);
    }
    "/permissions" { GET permissions::list, may(Permission::ROLES_READ); }
    "/permissions/new" {
        GET permissions::new, may(Permission::ROLES_MANAGE);
        POST permissions::create, may(Permission::ROLES_MANAGE);
    }
    "/permissions/{permission}/edit" {
        GET permissions::edit, may(Permission::ROLES_MANAGE);
        POST permissions::save, may(Permission::ROLES_MANAGE);
    }
    "/permissions/{permission}/delete" {
        GET permissions::confirm_delete, may(Permission::ROLES_MANAGE);
        POST permissions::delete, may(Permission::ROLES_MANAGE);
    }
    "/role-assignments/new" {
        GET role_assignments::new, may(Permission::ROLES_MANAGE);
        POST role_assignments::create, may(Permission::ROLES_MANAGE);
    }
    "/role-assignments/{assignment}/delete" {
        GET role_assignments::confirm_delete, may(Permission::ROLES_MANAGE);
        POST role_assignments::delete, may(Permission::ROLES_MANAGE);
    }
    "/people" { GET people::list, may(Permission::USERS_READ); }
    "/people/new" {
        GET people::new, may(Permission::USERS_MANAGE);
        POST people::create, may(Permission::USERS_MANAGE);
    }
    "/people/{user}" { GET people::show, may(Permission::USERS_READ); }
    "/people/{user}/edit" {
        GET people::edit, may(Permission::USERS_MANAGE);
        POST people::save, may(Permission::USERS_MANAGE);
    }
    "/people/{user}/invite" {
        GET people::confirm_invite, may(Permission::USERS_MANAGE);
        POST people::invite, may(Permission::USERS_MANAGE);
    }
    "/people/{user}/deactivate" {
        GET people::confirm_deactivate, may(Permission::USERS_MANAGE);
        POST people::deactivate, may(Permission::USERS_MANAGE);
    }
    "/people/{user}/activate" {
        GET people::confirm_activate, may(Permission::USERS_MANAGE);
        POST people::activate, may(Permission::USERS_MANAGE);
    }
    "/people/{user}/delete" {
        GET people::confirm_delete, may(Permission::USERS_MANAGE);
        POST people::delete, may(Permission::USERS_MANAGE);
    }
    "/invitation" {
        GET invitation::show, Nothing;
        POST invitation::accept, Nothing;
    }
    "/workspaces" { GET workspaces::list, may(Permission::WORKSPACES_READ); }
    "/workspaces/new" {
        GET workspaces::new, may(Permission::WORKSPACES_MANAGE);
        POST workspaces::create, may(Permission::WORKSPACES_MANAGE);
    }
    "/workspaces/{workspace}" { GET workspaces::show, may(Permission::WORKSPACES_READ); }
    "/workspaces/{workspace}/edit" {
        GET workspaces::edit, may(Permission::WORKSPACES_MANAGE);
        POST workspaces::save, may(Permission::WORKSPACES_MANAGE);
    }
    "/workspaces/{workspace}/delete" {
        GET workspaces::confirm_delete, may(Permission::WORKSPACES_MANAGE);
        POST workspaces::delete, may(Permission::WORKSPACES_MANAGE);
    }
    "/workspaces/{workspace}/projects/new" {
        GET projects::new, may(Permission::PROJECTS_MANAGE);
        POST projects::create, may(Permission::PROJECTS_MANAGE);
    }
    "/workspaces/{workspace}/projects/{project}" { GET projects::show, may(Permission::WORKSPACES_READ); }
    "/workspaces/{workspace}/projects/{project}/edit" {
        GET projects::edit, may(Permission::PROJECTS_MANAGE);
        POST projects::save, may(Permission::PROJECTS_MANAGE);
    }
    "/workspaces/{workspace}/projects/{project}/delete" {
        GET projects::confirm_delete, may(Permission::PROJECTS_MANAGE);
        POST projects::delete, may(Permission::PROJECTS_MANAGE);
    }
    "/audit" { GET audit::list, may(Permission::AUDIT_READ); }
    "/signing-keys" { GET signing_keys::list, may(Permission::SIGNING_KEYS_MANAGE); }
    "/signing-keys/{algorithm}/rotate" { POST signing_keys::rotate, may(Permission::SIGNING_KEYS_MANAGE); }
    "/signing-keys/{algorithm}/withdraw" {
        GET signing_keys::ask_to_withdraw, may(Permission::SIGNING_KEYS_MANAGE);
        POST signing_keys::withdraw, may(Permission::SIGNING_KEYS_MANAGE);
    }
    "/organization" {
        GET organizations::own, Credential;
        POST organizations::change, may(Permission::ORGANIZATIONS_MANAGE);
    }
    "/organizations" { GET organizations::list, may(Permission::PLATFORM_MANAGE); }
    "/organizations/new" {
        GET organizations::new, may(Permission::PLATFORM_MANAGE);
        POST organizations::create, may(Permission::PLATFORM_MANAGE);
    }
    "/organizations/{organization}/delete" {
        GET organizations::ask_to_delete, may(Permission::PLATFORM_MANAGE);
        POST organizations::delete, may(Permission::PLATFORM_MANAGE);
    }
    "/sessions" { GET sessions::list, Credential; }
    "/sessions/end-others" {
        GET sessions::ask_to_end_others, Credential;
        POST sessions::end_others, Credential;
    }
    "/sessions/password" { POST sessions::change_password, Credential; }
    "/sessions/{session}/end" {
        GET sessions::ask_to_end, Credential;
        POST sessions::end, Credential;
    }
}
