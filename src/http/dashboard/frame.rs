//! What is around every page: who is signed in, where they can go, and what was just done.

use actix_web::{HttpRequest, web};
use url::form_urlencoded;
use uuid::Uuid;

use super::super::State;
use crate::domain::permission::Permission;
use crate::service::{Caller, Principal};

/// What was just done: the code in the query of the page that is shown after it, and the text. A text never comes from the query itself.
const NOTICES: &[(&str, &str)] = &[
    ("created", "Created."),
    ("saved", "Your changes are saved."),
    ("deleted", "Deleted."),
    ("activated", "Activated."),
    ("deactivated", "Deactivated. Its keys and tokens count no more."),
    ("revoked", "Its tokens count no more."),
    ("given", "Given. It counts at once."),
    ("taken", "Taken back. It counts at once."),
    ("added", "Added."),
    ("removed", "Removed."),
    ("ended", "Ended."),
    ("extended", "Extended."),
    ("imported", "Imported. Whoever holds the key can use it at once."),
    ("key_deactivated", "The key is deactivated. It and its tokens count no more."),
    ("key_deleted", "The key is deleted. It and its tokens count no more."),
    ("compromised", "The key is marked as compromised. It and its tokens count no more."),
    ("old_ended", "The old value is ended. It and its tokens count no more."),
    ("old_extended", "The old value works on for as long as you chose."),
    ("published", "The next key is published. It takes over by itself, and nothing stops."),
    ("withdrawn", "Withdrawn. Another key signs, and what the old one signed counts no more."),
    ("others_ended", "All other sessions are ended."),
    ("signed_out", "You are signed out."),
    ("person_deactivated", "Deactivated. They are signed out everywhere."),
    ("password_set", "Your password is set. Sign in with your email address and the new password."),
    ("password_changed", "Your password is changed. Sign in with the new one."),
];

/// Where one can go: path, name, icon, and what one has to hold somewhere.
const LINKS: &[(&str, &str, &str, Option<Permission>)] = &[
    ("/", "Overview", "home", None),
    ("/service-accounts", "Service accounts", "bot", Some(Permission::SERVICE_ACCOUNTS_READ)),
    ("/teams", "Teams", "team", Some(Permission::TEAMS_READ)),
    ("/roles", "Roles", "shield", Some(Permission::ROLES_READ)),
    ("/people", "People", "person", Some(Permission::USERS_READ)),
    ("/workspaces", "Workspaces", "box", Some(Permission::WORKSPACES_READ)),
    ("/audit", "Audit", "list", Some(Permission::AUDIT_READ)),
    ("/signing-keys", "Signing keys", "pen", Some(Permission::SIGNING_KEYS_MANAGE)),
    ("/organization", "Organization", "building", None),
    ("/sessions", "My sessions", "clock", None),
    ("/docs", "API", "code", None),
];

/// What is around a page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) organization: String,
    /// Who is signed in.
    pub(super) visitor: String,
    /// Whether that is a service account.
    pub(super) bot: bool,
    /// What the forms of this page are sent with, so that one that is sent twice is answered twice and done once.
    pub(super) form_key: String,
    pub(super) links: Vec<Link>,
    pub(super) notice: Option<&'static str>,
    /// How many servers have confirmed what was just done, and how many there are, where there is more than one.
    pub(super) confirmed: Option<(u16, u16)>,
}

/// A link of the navigation.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) href: &'static str,
    pub(super) label: &'static str,
    pub(super) icon: &'static str,
    /// `aria-current`: `page` where it is this page, `true` where it is around this page; else empty.
    pub(super) current: &'static str,
}

impl Frame {
    /// Around the page that `request` asks for.
    pub(super) fn new(request: &HttpRequest, caller: &Caller) -> Self {
        let (visitor, bot) = match &caller.principal {
            Principal::ServiceAccount(credential) => (credential.account.name.to_string(), true),
            Principal::User(credential) => (credential.holder.user.email.to_string(), false),
        };
        let allowed = LINKS.iter().filter(|(_, _, _, needed)| needed.as_ref().is_none_or(|needed| caller.access.holds_somewhere(needed)));
        let links = allowed.map(|&(href, label, icon, _)| Link { href, label, icon, current: current(href, request.path()) });
        let query = request.query_string();
        Self {
            organization: caller.organization().name.to_string(),
            visitor,
            bot,
            form_key: form_key(request),
            links: links.collect(),
            notice: notice(query),
            confirmed: parameter(query, "confirmed").zip(parameter(query, "servers")),
        }
    }
}

fn form_key(request: &HttpRequest) -> String {
    let mut bytes = [0; 16];
    if let Some(state) = request.app_data::<web::Data<State>>() {
        state.sources.random().fill(&mut bytes);
    }
    Uuid::from_bytes(bytes).simple().to_string()
}

impl Frame {
    /// Whether the visitor may go to this page of the navigation.
    pub(super) fn leads_to(&self, path: &str) -> bool {
        self.links.iter().any(|link| link.href == path)
    }

    /// This page of the navigation, or the overview where the visitor may not go there.
    pub(super) fn back_to<'a>(&self, path: &'a str) -> &'a str {
        if self.leads_to(path) { path } else { "/" }
    }
}

fn current(href: &str, path: &str) -> &'static str {
    match path.strip_prefix(href) {
        Some("") => "page",
        Some(rest) if href != "/" && rest.starts_with('/') => "true",
        _ => "",
    }
}

/// A number of the query; anything else in its place is nothing.
fn parameter(query: &str, name: &str) -> Option<u16> {
    form_urlencoded::parse(query.as_bytes()).find(|(other, _)| other == name)?.1.parse().ok()
}

pub(super) fn notice(query: &str) -> Option<&'static str> {
    let (_, code) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "notice")?;
    NOTICES.iter().find(|(known, _)| *known == code).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_of_a_page_knows_the_pages_in_it() {
        let table =
            [("/", "/", "page"), ("/", "/teams", ""), ("/teams", "/teams", "page"), ("/teams", "/teams/x", "true"), ("/teams", "/teamsters", "")];
        for (href, path, expected) in table {
            assert_eq!(current(href, path), expected, "{href} {path}");
        }
    }

    #[test]
    fn a_notice_is_one_of_ours() {
        assert_eq!(notice("a=b&notice=deleted"), Some("Deleted."));
        assert_eq!(notice("notice=<b>hello</b>"), None);
        assert_eq!((parameter("notice=saved&confirmed=2", "confirmed"), parameter("confirmed=all", "confirmed")), (Some(2), None));
    }
}
