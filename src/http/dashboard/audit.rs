//! `/audit`: who did what, newest first; with filters, a live tail and an export.

use actix_web::HttpResponse;
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::error::ApiError;
use super::frame::Frame;
use super::link::{Pager, link};
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::Visit;
use super::words;
use crate::domain::audit::Action;
use crate::domain::id::Reference;
use crate::domain::name::Invalid;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::{ActionFilter, EventQuery};
use crate::store::StoredEvent;

const PATH: &str = "/audit";
const EXPORT: &str = "/api/v1/audit_events/export";

/// What was entered. A form sends every field, those left empty as empty texts.
#[derive(Default, Deserialize)]
struct Entered {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    cursor: Option<String>,
}

impl Entered {
    fn parse(&self) -> Result<EventQuery, ApiError> {
        let mut fields = Fields::default();
        let outcome = |text: &str| {
            ["granted", "denied"].into_iter().find(|known| *known == text).ok_or_else(|| Invalid("must be granted or denied".to_owned()))
        };
        let query = EventQuery {
            actor: said(&self.actor).map(Reference::from),
            target: said(&self.target).map(Reference::from),
            action: fields.optional("action", said(&self.action), ActionFilter::parse),
            outcome: fields.optional("outcome", said(&self.outcome), outcome),
            since: fields.optional("since", said(&self.since), time),
            until: fields.optional("until", said(&self.until), time),
        };
        fields.finish()?;
        Ok(query)
    }

    /// The filters at `path`, with the times as the API takes them.
    fn href(&self, path: &str, cursor: Option<&str>) -> String {
        let rfc = |text: &str| said(text).map(|text| time(text).map_or_else(|_| text.to_owned(), |time| time.to_string())).unwrap_or_default();
        let (since, until) = (rfc(&self.since), rfc(&self.until));
        let all = [
            ("actor", self.actor.trim()),
            ("target", self.target.trim()),
            ("action", &self.action),
            ("outcome", &self.outcome),
            ("since", &since),
            ("until", &until),
            ("cursor", cursor.unwrap_or_default()),
        ];
        link(path, &all)
    }

    /// Whether this action, or all of this resource, are asked for.
    fn chose(&self, action: &str) -> bool {
        self.action == action
    }

    /// Whether anything is left out.
    fn filters(&self) -> bool {
        [&self.actor, &self.target, &self.action, &self.outcome, &self.since, &self.until].into_iter().any(|text| said(text).is_some())
    }
}

fn said(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// RFC 3339, or as browsers send what was chosen (HTML, section 2.3.5.5): without a zone, which is UTC here.
fn time(text: &str) -> Result<Timestamp, Invalid> {
    let wrong = || Invalid("must be a day and a time, such as 2026-01-31T12:00 (UTC)".to_owned());
    [text.to_owned(), format!("{text}Z"), format!("{text}:00Z")].iter().find_map(|text| Timestamp::parse(text).ok()).ok_or_else(wrong)
}

/// As the field for a time shows it; what is no time as it was sent.
fn local(text: &str) -> String {
    let time = said(text).and_then(|text| time(text).ok()).and_then(|time| DateTime::<Utc>::from_timestamp_micros(time.as_micros()));
    time.map_or_else(|| text.to_owned(), |time| time.format("%Y-%m-%dT%H:%M").to_string())
}

#[derive(Template)]
#[template(path = "audit.html")]
struct View<'a> {
    frame: &'a Frame,
    entered: &'a Entered,
    since: String,
    until: String,
    mistakes: &'a Mistakes,
    /// What the filter on actions offers: `resource` for all of them, and each one, by resource.
    groups: Vec<Group>,
    rows: Vec<Row>,
    pager: Pager,
    /// Where all that was found can be had.
    export: String,
    filters: bool,
}

/// The actions of a resource.
struct Group {
    resource: &'static str,
    name: String,
    actions: Vec<(&'static str, String)>,
}

/// An event, ready to be shown.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) at: Moment,
    pub(super) actor: Party,
    pub(super) what: String,
    pub(super) target: Party,
    /// Why it was refused, where it was.
    pub(super) refused: Option<String>,
    pub(super) address: Option<String>,
    /// What is seldom looked at, with its name.
    pub(super) facts: Vec<(&'static str, String)>,
    /// What was set, changed or asked.
    pub(super) details: Option<String>,
}

/// Who did it, or what it was done to.
pub(super) struct Party {
    pub(super) name: String,
    pub(super) bot: bool,
    /// Its page, where it has one that the visitor may see.
    pub(super) href: Option<String>,
}

impl Party {
    fn new(visit: &Visit, kind: &str, id: Option<uuid::Uuid>, name: String) -> Self {
        let folder = match kind {
            "service_account" if visit.may(&Permission::SERVICE_ACCOUNTS_READ) => Some("service-accounts"),
            "user" if visit.may(&Permission::USERS_READ) => Some("people"),
            _ => None,
        };
        let name = if kind == "hourpass" { "Hourpass".to_owned() } else { name };
        Self { name, bot: kind == "service_account", href: folder.zip(id).map(|(folder, id)| format!("/{folder}/{id}")) }
    }
}

impl Row {
    /// Of this event.
    pub(super) fn new(visit: &Visit, event: StoredEvent) -> Self {
        let expires = event.token_expires_at.map(|at| Timestamp::from_micros(at).to_string());
        let facts = [
            ("Event", Some(event.id.to_string())),
            ("At", Some(Timestamp::from_micros(event.occurred_at).to_string())),
            ("Action", Some(event.action.clone())),
            ("Reason", event.reason.clone()),
            ("Request", event.request_id.map(|id| id.to_string())),
            ("Program", event.user_agent),
            ("Actor", event.actor_id.map(|id| id.to_string())),
            ("API key", event.api_key_id.map(|id| id.to_string())),
            ("Sign-in", event.session_id.map(|id| id.to_string())),
            ("Target", event.target_id.map(|id| id.to_string())),
            ("Token expires", expires),
        ];
        Self {
            id: event.id.to_string(),
            at: visit.moment(Timestamp::from_micros(event.occurred_at)),
            what: words::action(&event.action).to_owned(),
            actor: Party::new(visit, &event.actor_kind, event.actor_id, event.actor_name),
            target: Party::new(visit, &event.target_kind, event.target_id, event.target_name),
            refused: (event.outcome != "granted").then(|| event.reason.as_deref().map(words::reason).unwrap_or_default().to_owned()),
            address: event.address,
            facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            details: event.details.as_deref().and_then(pretty),
        }
    }
}

/// JSON with a line for each member; nothing where there are none.
fn pretty(json: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    if value.as_object().is_some_and(serde_json::Map::is_empty) { None } else { serde_json::to_string_pretty(&value).ok() }
}

/// Every action, by resource, in the order of the words.
fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for action in Action::ALL {
        let (resource, verb) = action.as_str().split_once('.').unwrap_or((action.as_str(), ""));
        if groups.last().is_none_or(|group| group.resource != resource) {
            groups.push(Group { resource, name: spaced(resource), actions: Vec::new() });
        }
        if let Some(group) = groups.last_mut() {
            group.actions.push((action.as_str(), format!("{}: {}", group.name, spaced(verb).to_lowercase())));
        }
    }
    groups
}

/// `api_key` as *Api key*, but for *API key*.
fn spaced(word: &str) -> String {
    let text = word.replace('_', " ");
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str()).replace("Api key", "API key")
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered: Entered = visit.query().await?;
    let mut view = View {
        frame: &visit.frame,
        since: local(&entered.since),
        until: local(&entered.until),
        mistakes: &Mistakes::default(),
        groups: groups(),
        rows: Vec::new(),
        pager: Pager { next: None, is_later: entered.cursor.is_some(), first: entered.href(PATH, None) },
        export: entered.href(EXPORT, None),
        filters: entered.filters(),
        entered: &entered,
    };
    let query = match entered.parse() {
        Ok(query) => query,
        Err(error) => {
            let mistakes = Mistakes::of(error, "")?;
            view.mistakes = &mistakes;
            return visit.show_with(mistakes.status(), &view);
        }
    };
    let asked = Asked::parse(None, entered.cursor.as_deref())?;
    let log = &visit.call.state.audit_log;
    let selection = log.select(&visit.call.caller, query)?;
    let page = asked.page();
    // Newest first, so the cursor is where the next page has to end; without one it is nil.
    let found = log.page(&selection, Some(page.after).filter(|cursor| !cursor.is_nil()), page.limit).await?;
    let page = asked.answer(found, |event| event.id, |event| Row::new(&visit, event));
    view.rows = page.items;
    view.pager.next = page.next_cursor.map(|cursor| entered.href(PATH, Some(&cursor)));
    visit.show(&view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_browsers_and_as_the_api_send_them() {
        for text in ["2026-01-31T12:00", "2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00"] {
            assert_eq!(time(text).map(|time| time.to_string()), Ok("2026-01-31T12:00:00Z".to_owned()), "{text}");
            assert_eq!(local(text), "2026-01-31T12:00");
        }
        assert!(time("yesterday").is_err());
        assert_eq!(local("yesterday"), "yesterday");
    }

    #[test]
    fn filters_are_kept_in_links_and_empty_ones_left_out() {
        let entered = Entered { actor: " ci & co ".to_owned(), since: "2026-01-31T12:00".to_owned(), ..Entered::default() };
        assert_eq!(entered.href(EXPORT, None), "/api/v1/audit_events/export?actor=ci+%26+co&since=2026-01-31T12%3A00%3A00Z");
        assert_eq!(Entered::default().href(PATH, None), "/audit");
        assert!(entered.filters() && !Entered::default().filters());
    }

    #[test]
    fn every_action_can_be_chosen() {
        let groups = groups();
        assert_eq!(groups.iter().map(|group| group.actions.len()).sum::<usize>(), Action::ALL.len());
        assert!(groups.iter().any(|group| group.name == "API key" && group.actions.contains(&("api_key.rotate", "API key: rotate".to_owned()))));
        let resources: std::collections::BTreeSet<_> = groups.iter().map(|group| group.resource).collect();
        assert_eq!(resources.len(), groups.len());
    }
}
