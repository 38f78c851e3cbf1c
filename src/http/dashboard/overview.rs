//! `/`: what needs a look, how much is going on, and whether the servers are well.

use std::time::Duration;

use actix_web::HttpResponse;
use askama::Template;
use uuid::Uuid;

use super::super::error::ApiError;
use super::chart::{self, Chart, grouped};
use super::frame::Frame;
use super::moment::Moment;
use super::visit::Visit;
use super::words;
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::service::{EventQuery, Overview, Principal};
use crate::store::{Node, StoredEvent};

/// As the filters of the list have it.
const UNUSED_DAYS: u32 = 90;
const EXPIRING_DAYS: u32 = 30;
const REFUSALS: u16 = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct View<'a> {
    frame: &'a Frame,
    may_create: bool,
    may_make_keys: bool,
    issuer: &'a str,
    accounts: Option<Accounts>,
    refusals: Option<Vec<Refusal>>,
    /// How old this node's view of the changes is.
    view_age: String,
    /// The nodes, for whoever looks after them.
    nodes: Option<Vec<NodeRow>>,
    you: You,
}

struct Accounts {
    figures: Vec<Figure>,
    expiring: Vec<Expiring>,
    chart: Chart,
    /// Whether there are none but perhaps the first.
    beginning: bool,
}

/// A number, and where it leads.
struct Figure {
    count: String,
    label: &'static str,
    href: &'static str,
    warning: bool,
}

struct Expiring {
    account_id: Uuid,
    account: String,
    key: String,
    at: Moment,
}

struct Refusal {
    at: Moment,
    actor: String,
    bot: bool,
    /// The account's page, where the visitor may see it.
    href: Option<String>,
    what: String,
    why: String,
    address: Option<String>,
}

struct NodeRow {
    url: String,
    this: bool,
    lag: String,
    behind: bool,
    seen: String,
}

/// Who the visitor is, and what they hold.
struct You {
    since: Moment,
    /// What they may do in the whole organization or on the platform, with what it means.
    permissions: Vec<(String, &'static str)>,
    /// How many workspaces and projects they hold more in.
    parts: usize,
}

pub(super) async fn show(visit: Visit) -> Result<HttpResponse, ApiError> {
    let accounts = if visit.may(&Permission::SERVICE_ACCOUNTS_READ) { Some(accounts(&visit).await?) } else { None };
    let refusals = if visit.may(&Permission::AUDIT_READ) { Some(refusals(&visit).await?) } else { None };
    let state = &visit.call.state;
    visit.show(&View {
        frame: &visit.frame,
        may_create: visit.may(&Permission::SERVICE_ACCOUNTS_MANAGE),
        may_make_keys: visit.may(&Permission::API_KEYS_MANAGE),
        issuer: state.issuer.trim_end_matches('/'),
        accounts,
        refusals,
        view_age: age(state.follower.view_age()),
        nodes: if visit.may(&Permission::PLATFORM_MANAGE) { Some(nodes(&visit).await) } else { None },
        you: you(&visit),
    })
}

async fn accounts(visit: &Visit) -> Result<Accounts, ApiError> {
    let Overview { accounts, expiring_keys } = visit.management().overview(&visit.call.caller, UNUSED_DAYS, EXPIRING_DAYS).await?;
    let figure = |count: i64, label, href, warning| Figure { count: grouped(count), label, href, warning: warning && count > 0 };
    let expiring = expiring_keys.into_iter().map(|key| Expiring {
        account_id: key.account_id,
        account: key.account_name,
        key: key.key_name,
        at: visit.moment(Timestamp::from_micros(key.expires_at)),
    });
    Ok(Accounts {
        figures: vec![
            figure(accounts.active, "active service accounts", "/service-accounts?show=active", false),
            figure(accounts.inactive, "deactivated", "/service-accounts?show=inactive", false),
            figure(accounts.expiring, "with a key that expires within 30 days", "/service-accounts?show=expiring", true),
            figure(accounts.unused, "unused for 90 days", "/service-accounts?show=unused", true),
        ],
        expiring: expiring.collect(),
        chart: chart::of_organization(visit).await?,
        beginning: accounts.active + accounts.inactive <= 1,
    })
}

async fn refusals(visit: &Visit) -> Result<Vec<Refusal>, ApiError> {
    let log = &visit.call.state.audit_log;
    let selection = log.select(&visit.call.caller, EventQuery { outcome: Some("denied"), ..EventQuery::default() })?;
    let found = log.page(&selection, None, REFUSALS).await?;
    Ok(found.into_iter().map(|event| refusal(visit, event)).collect())
}

fn refusal(visit: &Visit, event: StoredEvent) -> Refusal {
    let bot = event.actor_kind == "service_account";
    Refusal {
        at: visit.moment(Timestamp::from_micros(event.occurred_at)),
        href: event.actor_id.filter(|_| bot && visit.may(&Permission::SERVICE_ACCOUNTS_READ)).map(|id| format!("/service-accounts/{id}")),
        actor: event.actor_name,
        bot,
        what: format!("{} {}", words::action(&event.action), if event.target_kind == "hourpass" { "Hourpass" } else { &event.target_name }),
        why: event.reason.as_deref().map(words::reason).unwrap_or_default().to_owned(),
        address: event.address,
    }
}

async fn nodes(visit: &Visit) -> Vec<NodeRow> {
    let follower = &visit.call.state.follower;
    let row = |(node, lag): (Node, i64)| NodeRow {
        this: follower.is_this(&node),
        url: node.url,
        behind: lag > 0,
        lag: match lag {
            0 => "Up to date".to_owned(),
            1 => "1 change behind".to_owned(),
            lag => format!("{} changes behind", grouped(lag)),
        },
        seen: match Duration::from_micros(u64::try_from(node.silent).unwrap_or(0)).as_secs() {
            0 => "just now".to_owned(),
            seconds => format!("{seconds} s ago"),
        },
    };
    follower.nodes().await.into_iter().map(row).collect()
}

fn age(age: Duration) -> String {
    format!("{}.{} s", age.as_secs(), age.subsec_millis() / 100)
}

fn you(visit: &Visit) -> You {
    let caller = &visit.call.caller;
    let since = match &caller.principal {
        Principal::ServiceAccount(credential) => credential.account.created_at,
        Principal::User(credential) => credential.holder.user.created_at,
    };
    let described = |permission: Permission| (permission.to_string(), permission.built_in().map_or("", |built_in| built_in.description));
    You {
        since: visit.moment(since),
        permissions: caller.access.at_hourpass().into_iter().map(described).collect(),
        parts: caller.access.at_parts_of_hourpass().len(),
    }
}
