//! `/service-accounts`: the list, and the making of one.

use std::time::Duration;

use actix_web::HttpResponse;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::body::Form;
use super::super::error::ApiError;
use super::api_keys::show_key;
use super::expiration::Expiration;
use super::frame::Frame;
use super::link::{Pager, link};
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::{Visit, to};
use crate::domain::access::{Level, Place};
use crate::domain::api_key::RawApiKey;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::{KeyDetails, ServiceAccount, Workspace};
use crate::domain::id::Reference;
use crate::domain::name::{Invalid, Name, parse_description};
use crate::domain::permission::{CatalogueEntry, Permission};
use crate::domain::role::Role;
use crate::domain::time::Timestamp;
use crate::service::{FirstAccess, NewAccount, NewGiven, NewKey, Page, Reach};
use crate::store::{AccountFilter, WorkspaceFilter};

const UNUSED_DAYS: u64 = 90;
const EXPIRING_DAYS: u64 = 30;
const SECONDS_A_DAY: u64 = 86_400;

/// The name of the key that is made together with its account.
const DEFAULT_KEY: &str = "default";

/// What the form sends for the whole organization.
const EVERYWHERE: &str = "*";

/// All that there are of what a form lets people choose from: catalogues and lists of workspaces end here.
const ALL: Page = Page { after: uuid::Uuid::nil(), limit: 500 };

#[derive(Deserialize)]
struct ListQuery {
    search: Option<String>,
    show: Option<String>,
    cursor: Option<String>,
}

const ACCOUNTS: &str = "/service-accounts";

#[derive(Template)]
#[template(path = "service_accounts.html")]
struct ListView<'a> {
    frame: &'a Frame,
    search: String,
    /// The filter that counts.
    show: &'static str,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    /// Whether there is anything in the column of workspaces that the visitor may see.
    shows_reach: bool,
    may_create: bool,
    pager: Pager,
}

/// One of the filters, of which one counts at a time.
struct Tab {
    label: &'static str,
    href: String,
    current: bool,
}

struct Row {
    account: ServiceAccount,
    reach: Reach,
    last_used: Option<Moment>,
    expires: Option<Moment>,
}

/// `show=` and what the tab is called.
const TABS: [(&str, &str); 5] =
    [("all", "All"), ("active", "Active"), ("inactive", "Deactivated"), ("unused", "Unused for 90 days"), ("expiring", "Key expires within 30 days")];

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let show = TABS.iter().map(|(show, _)| *show).find(|show| query.show.as_deref() == Some(show)).unwrap_or("all");
    let search = query.search.unwrap_or_default().trim().to_owned();
    let days = |days: u64| Duration::from_secs(days * SECONDS_A_DAY);
    let filter = AccountFilter {
        search: Some(search.clone()),
        active: if show == "all" { None } else { Some(show != "inactive") },
        // What was made a moment ago is not unused for long.
        unused_since: (show == "unused").then(|| visit.now.minus(days(UNUSED_DAYS))),
        created_before: (show == "unused").then(|| visit.now.minus(days(UNUSED_DAYS))),
        expiring_after: (show == "expiring").then_some(visit.now),
        expiring_before: (show == "expiring").then(|| visit.now.plus(days(EXPIRING_DAYS))),
        ..AccountFilter::default()
    };
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_accounts(&visit.call.caller, &filter, asked.page()).await?;
    let page = asked.answer(found, |account| account.id.0, |account| account);
    let shows_reach = visit.may(&Permission::ROLES_READ);
    let reach = if shows_reach { visit.management().list_reach(&visit.call.caller, &page.items).await? } else { Vec::new() };
    let expiries = visit.management().list_next_expiries(&page.items).await?;
    let (mut reach, mut expiries) = (reach.into_iter(), expiries.into_iter());
    let rows = page.items.into_iter().map(|account| row(&visit, account, reach.next().unwrap_or_default(), expiries.next().flatten()));
    let narrowed = |show: &'static str| [("search", search.as_str()), ("show", if show == "all" { "" } else { show })];
    visit.show(&ListView {
        frame: &visit.frame,
        tabs: TABS.iter().map(|(other, label)| Tab { label, href: link(ACCOUNTS, &narrowed(other)), current: *other == show }).collect(),
        rows: rows.collect(),
        shows_reach,
        may_create: visit.may(&Permission::SERVICE_ACCOUNTS_MANAGE),
        pager: Pager::new(ACCOUNTS, &narrowed(show), "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        show,
        search: search.clone(),
    })
}

fn row(visit: &Visit, account: ServiceAccount, reach: Reach, expires: Option<Timestamp>) -> Row {
    let last_used = account.last_use.as_ref().map(|last| visit.moment(last.at));
    Row { reach, last_used, expires: expires.map(|at| visit.moment(at)), account }
}

#[derive(Template)]
#[template(path = "service_account_new.html")]
struct NewView<'a> {
    frame: &'a Frame,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
    offer: &'a Offer,
}

/// What the visitor can give to a new account.
struct Offer {
    workspaces: Vec<Workspace>,
    organization_roles: Vec<Role>,
    workspace_roles: Vec<Role>,
    permissions: Vec<CatalogueEntry>,
    /// Whether they may make keys.
    keys: bool,
    /// Whether they can give something in the whole organization.
    everywhere: bool,
}

impl Offer {
    fn access(&self) -> bool {
        self.everywhere || !self.workspaces.is_empty()
    }
}

/// What was entered into the form.
struct Entered {
    name: String,
    description: String,
    /// `none`, `role` or `permissions`.
    access: String,
    workspace: String,
    role: String,
    permissions: Vec<String>,
    default_key: bool,
    expiration: Expiration,
}

impl Entered {
    fn holds(&self, permission: &Permission) -> bool {
        self.permissions.iter().any(|name| name == permission.as_str())
    }

    fn read(form: &mut Form, visit: &Visit) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self {
            name: take("name")?,
            description: take("description")?,
            access: take("access")?,
            workspace: take("workspace")?,
            role: take("role")?,
            default_key: !take("default_key")?.is_empty(),
            permissions: form.take_all("permissions"),
            expiration: Expiration::read(form, visit.call.caller.organization().key_policy)?,
        })
    }

    fn parse(&self) -> Result<(NewAccount, Option<FirstAccess>, Option<NewKey>), ApiError> {
        let mut fields = Fields::default();
        let name = fields.check("name", Name::parse(&self.name));
        let description = fields.check("description", parse_description(&self.description));
        // An organization's role names no workspace; permissions are not to reach everywhere by mistake.
        let workspace = Some(self.workspace.as_str()).filter(|workspace| !workspace.is_empty() && *workspace != EVERYWHERE).map(Reference::from);
        if self.access == "permissions" && self.workspace.is_empty() {
            fields.check::<()>("workspace", Err(Invalid("must be chosen".to_owned())));
        }
        let given = match self.access.as_str() {
            "role" if self.role.is_empty() => fields.check("role", Err(Invalid("must be chosen".to_owned()))),
            "role" => Some(NewGiven::Role(Reference::from(self.role.as_str()))),
            "permissions" if self.permissions.is_empty() => fields.check("permissions", Err(Invalid("must be chosen: at least one".to_owned()))),
            "permissions" => fields.permissions("permissions", Some(&self.permissions)).map(NewGiven::Permissions),
            _ => None,
        };
        let expires_in_days = if self.default_key { self.expiration.parse(&mut fields) } else { None };
        let account = name.zip(description).map(|(name, description)| NewAccount {
            name,
            description,
            labels: Labels::default(),
            claims: CustomClaims::default(),
            exchanges_per_minute: None,
        });
        let account = fields.finish_with(account)?;
        let key = self.default_key.then(|| NewKey { name: Name::from_stored(DEFAULT_KEY.to_owned()), expires_in_days });
        Ok((account, given.map(|given| FirstAccess { given, workspace }), key))
    }
}

/// What can be chosen: only what the visitor holds, and where they may give it.
async fn offer(visit: &Visit) -> Result<Offer, ApiError> {
    let (caller, management) = (&visit.call.caller, visit.management());
    let may_give = |place: Place| caller.access.holds(&Permission::ROLES_MANAGE, place);
    let keys = visit.may(&Permission::API_KEYS_MANAGE);
    let mut offer = Offer {
        workspaces: Vec::new(),
        organization_roles: Vec::new(),
        workspace_roles: Vec::new(),
        permissions: Vec::new(),
        keys,
        everywhere: may_give(Place::Organization),
    };
    if !caller.access.holds_somewhere(&Permission::ROLES_MANAGE) || !caller.access.holds_somewhere(&Permission::ROLES_READ) {
        return Ok(Offer { everywhere: false, ..offer });
    }
    if visit.may(&Permission::WORKSPACES_READ) {
        offer.workspaces = management.list_workspaces(caller, &WorkspaceFilter::default(), ALL).await?;
        offer.workspaces.retain(|workspace| may_give(Place::Workspace(workspace.id)));
    }
    let places: Vec<_> = offer.workspaces.iter().map(|workspace| Place::Workspace(workspace.id)).collect();
    for role in management.list_roles(caller, ALL).await? {
        match role.level {
            Level::Organization if offer.everywhere && caller.access.covers_at(Place::Organization, &role.grant) => {
                offer.organization_roles.push(role);
            }
            Level::Workspace if places.iter().any(|place| caller.access.covers_at(*place, &role.grant)) => offer.workspace_roles.push(role),
            _ => {}
        }
    }
    offer.permissions = management.list_permissions(caller, ALL).await?;
    offer.permissions.retain(|entry| places.iter().any(|place| caller.access.holds(&entry.name, *place)));
    Ok(offer)
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    let offer = offer(&visit).await?;
    let only = if let [only] = offer.workspaces.as_slice() { only.slug.to_string() } else { String::new() };
    let entered = Entered {
        name: String::new(),
        description: String::new(),
        access: "none".to_owned(),
        workspace: only,
        role: String::new(),
        permissions: Vec::new(),
        default_key: offer.keys,
        expiration: Expiration::offer(visit.call.caller.organization().key_policy),
    };
    visit.show(&NewView { frame: &visit.frame, entered: &entered, mistakes: &Mistakes::default(), offer: &offer })
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let mut form = visit.form().await?;
    let entered = Entered::read(&mut form, &visit)?;
    match make(&visit, &entered).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mistakes = Mistakes::of(error, "name")?;
            let view = NewView { frame: &visit.frame, entered: &entered, mistakes: &mistakes, offer: &offer(&visit).await? };
            visit.show_with(mistakes.status(), &view)
        }
    }
}

async fn make(visit: &Visit, entered: &Entered) -> Result<HttpResponse, ApiError> {
    let (account, access, key) = entered.parse()?;
    let made = visit.management().create_account(&visit.call.caller, account, access, key, visit.call.origin.clone()).await;
    let render = |(account, key): (ServiceAccount, Option<(KeyDetails, RawApiKey)>)| match key {
        Some((details, raw)) => show_key(visit, &account, &details, &raw),
        None => to(&format!("/service-accounts/{}", account.id)),
    };
    visit.commit(made, "created", render).await
}
