//! `/service-accounts/{account}`: the account, and what is done to it as a whole.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::error::ApiError;
use super::activity::{self, Activity};
use super::api_keys::KeyRow;
use super::chart::{self, Chart};
use super::confirm::keeps;
use super::edit::{Edit, Text};
use super::ending::{DEACTIVATE_ACCOUNT, DELETE_ACCOUNT, END_TOKENS_OF_ACCOUNT};
use super::frame::Frame;
use super::given::{self, GivenList, GivenRow};
use super::link::Pager;
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::used::Used;
use super::visit::Visit;
use crate::domain::attributes::CustomClaims;
use crate::domain::entity::{KeyDetails, ServiceAccount, Team};
use crate::domain::id::Reference;
use crate::domain::name::{Invalid, Name, parse_description};
use crate::domain::permission::Permission;
use crate::service::{AccountChange, AssignmentQuery, HolderReference, Page};
use crate::store::{Holder, KeyFilter};

/// As many teams as are shown.
const TEAMS: Page = Page { after: uuid::Uuid::nil(), limit: 200 };

#[derive(Deserialize)]
struct PageQuery {
    cursor: Option<String>,
    given: Option<String>,
}

/// What the visitor may do with an account.
#[derive(Clone, Copy)]
pub(super) struct Rights {
    /// Change and end it.
    pub(super) manage: bool,
    /// Change and end its keys.
    pub(super) keys: bool,
    /// Whether they may all that it may: what gives it more life is theirs to do.
    pub(super) covers: bool,
}

impl Rights {
    async fn of(visit: &Visit, account: &ServiceAccount) -> Result<Self, ApiError> {
        Ok(Self {
            manage: visit.may(&Permission::SERVICE_ACCOUNTS_MANAGE),
            keys: visit.may(&Permission::API_KEYS_MANAGE),
            covers: visit.management().covers(&visit.call.caller, Holder::ServiceAccount(account.id)).await?,
        })
    }
}

#[derive(Template)]
#[template(path = "service_account.html")]
struct AccountView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    rights: Rights,
    created: Moment,
    used: Option<Used>,
    /// As JSON, where there are any.
    claims: Option<String>,
    chart: Chart,
    keys: Vec<KeyRow>,
    pager: Pager,
    /// What it was given, where the visitor may see that.
    given: Option<GivenList>,
    /// What comes through teams.
    through: Vec<GivenRow>,
    may_give: bool,
    /// Its teams, where the visitor may see them.
    teams: Option<Vec<Team>>,
    may_join: bool,
    activity: Option<Activity>,
}

pub(super) async fn find(visit: &Visit, account: &str) -> Result<ServiceAccount, ApiError> {
    Ok(visit.management().find_account(&visit.call.caller, &Reference::from(account)).await?)
}

pub(super) fn path_of(account: &ServiceAccount) -> String {
    format!("/service-accounts/{}", account.id)
}

pub(super) async fn show(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let query: PageQuery = visit.query().await?;
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_keys(&visit.call.caller, &Reference::Id(account.id.0), &KeyFilter::default(), asked.page()).await?;
    let page = asked.answer(found, |details: &KeyDetails| details.key.id.0, |details| details);
    let rights = Rights::of(&visit, &account).await?;
    let teams = teams(&visit, &account).await?;
    let (given, through) = if visit.may(&Permission::ROLES_READ) {
        let wanted = AssignmentQuery { holder: Some(as_holder(&account)), ..AssignmentQuery::default() };
        let given = given::list(&visit, &wanted, query.given.as_deref(), &path_of(&account)).await?;
        (Some(given), given::through(&visit, teams.as_deref().unwrap_or_default()).await?)
    } else {
        (None, Vec::new())
    };
    let keys: Vec<_> = page.items.iter().map(|details| details.key.id).collect();
    let standings = visit.management().list_standings(&account, &page.items).await?;
    let rows = page.items.into_iter().zip(standings).map(|(details, standing)| KeyRow::new(&visit, &account, details, standing, rights)).collect();
    visit.show(&AccountView {
        frame: &visit.frame,
        rights,
        created: visit.moment(account.created_at),
        used: Used::new(&visit, account.last_use.as_ref()),
        claims: (account.claims != CustomClaims::default()).then(|| pretty(&account.claims)),
        chart: chart::of_account(&visit, &account).await?,
        keys: rows,
        pager: Pager::new(&path_of(&account), &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        given,
        through,
        may_give: visit.call.caller.access.holds_somewhere(&Permission::ROLES_MANAGE),
        teams,
        may_join: visit.may(&Permission::TEAMS_MANAGE),
        activity: activity::of_account(&visit, &account, &keys).await?,
        account: &account,
    })
}

fn as_holder(account: &ServiceAccount) -> HolderReference {
    HolderReference::ServiceAccount(Reference::Id(account.id.0))
}

async fn teams(visit: &Visit, account: &ServiceAccount) -> Result<Option<Vec<Team>>, ApiError> {
    if !visit.may(&Permission::TEAMS_READ) {
        return Ok(None);
    }
    Ok(Some(visit.management().list_teams(&visit.call.caller, Some(&as_holder(account)), TEAMS).await?))
}

#[derive(Template)]
#[template(path = "service_account_edit.html")]
struct EditView<'a> {
    frame: &'a Frame,
    account: &'a ServiceAccount,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
    /// Whether the visitor may say what its tokens say.
    may_claim: bool,
}

/// What was entered into the form.
struct Entered {
    name: String,
    description: String,
    /// A label a line: `name=value`.
    labels: String,
    /// A JSON object, or nothing.
    claims: String,
    /// A number, or nothing.
    exchanges_per_minute: String,
    /// What the form showed.
    shown: String,
}

impl Entered {
    fn of(edit: &Edit) -> Self {
        let names = ["name", "description", "labels", "claims", "exchanges_per_minute"];
        let [name, description, labels, claims, exchanges_per_minute] = names.map(|name| edit.text(name));
        Self { name, description, labels, claims, exchanges_per_minute, shown: edit.shown() }
    }
}

fn texts(account: &ServiceAccount, may_claim: bool) -> Vec<Text> {
    let labels: Vec<_> = account.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let claims = if account.claims == CustomClaims::default() { String::new() } else { pretty(&account.claims) };
    let mut texts = vec![("name", account.name.to_string()), ("description", account.description.clone()), ("labels", labels.join("\n"))];
    texts.push(("exchanges_per_minute", account.exchanges_per_minute.map_or_else(String::new, |most| most.to_string())));
    texts.extend(may_claim.then_some(("claims", claims)));
    texts
}

fn parse_change(edit: &Edit) -> Result<AccountChange, ApiError> {
    let mut fields = Fields::default();
    let labels = fields.optional("labels", edit.changed("labels"), parse_labels);
    let claims = fields.optional("claims", edit.changed("claims"), parse_claims);
    // What is no number is out of range.
    let exchanges = edit.changed("exchanges_per_minute").map(str::trim);
    let exchanges = exchanges.map(|text| if text.is_empty() { None } else { Some(text.parse().unwrap_or(0)) });
    let change = AccountChange {
        name: fields.optional("name", edit.changed("name"), Name::parse),
        description: fields.optional("description", edit.changed("description"), parse_description),
        active: None,
        labels: fields.labels(labels),
        claims: fields.claims(claims),
        keep_credentials: false,
        exchanges_per_minute: fields.exchanges(exchanges),
    };
    fields.finish()?;
    Ok(change)
}

/// Claims as people read them.
fn pretty(claims: &CustomClaims) -> String {
    serde_json::to_string_pretty(claims).unwrap_or_default()
}

fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let mut labels = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| Invalid("must be name=value, one a line, such as team=data".to_owned()))?;
        if labels.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
            return Err(Invalid(format!("has {} more than once", name.trim())));
        }
    }
    Ok(labels)
}

fn parse_claims(text: &str) -> Result<BTreeMap<String, Value>, Invalid> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let wrong = |error: serde_json::Error| Invalid(format!("must be a JSON object, such as {{\"https://example.com/tier\": \"gold\"}}: {error}"));
    serde_json::from_str(text).map_err(wrong)
}

async fn may_claim(visit: &Visit, account: &ServiceAccount) -> Result<bool, ApiError> {
    Ok(visit.may(&Permission::ROLES_MANAGE) && visit.management().covers(&visit.call.caller, Holder::ServiceAccount(account.id)).await?)
}

pub(super) async fn edit(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let may_claim = may_claim(&visit, &account).await?;
    show_form(&visit, &account, &Edit::of(texts(&account, may_claim)), &Mistakes::default(), may_claim)
}

fn show_form(visit: &Visit, account: &ServiceAccount, edit: &Edit, mistakes: &Mistakes, may_claim: bool) -> Result<HttpResponse, ApiError> {
    let view = EditView { frame: &visit.frame, account, entered: &Entered::of(edit), mistakes, may_claim };
    visit.show_with(mistakes.status(), &view)
}

pub(super) async fn save(mut visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let may_claim = may_claim(&visit, &account).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&account, may_claim))?;
    if let Some(mistakes) = edit.conflict() {
        return show_form(&visit, &account, &edit, &mistakes, may_claim);
    }
    let saved = match parse_change(&edit) {
        Ok(change) => update(&visit, &account, change).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(()) => Ok(visit.done(&path_of(&account), "saved").await),
        Err(error) => {
            let mistakes = Mistakes::of(error, "name")?;
            show_form(&visit, &account, &edit, &mistakes, may_claim)
        }
    }
}

async fn update(visit: &Visit, account: &ServiceAccount, change: AccountChange) -> Result<(), ApiError> {
    let account = Reference::Id(account.id.0);
    visit.management().update_account(&visit.call.caller, &account, change, visit.call.origin.clone()).await?;
    Ok(())
}

pub(super) async fn ask_deactivate(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    DEACTIVATE_ACCOUNT.ask(&visit, &account, None).await
}

pub(super) async fn deactivate(mut visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let keep_credentials = keeps(&mut visit).await?;
    update(&visit, &account, AccountChange { active: Some(false), keep_credentials, ..AccountChange::default() }).await?;
    Ok(visit.done(&path_of(&account), "deactivated").await)
}

pub(super) async fn activate(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    update(&visit, &account, AccountChange { active: Some(true), ..AccountChange::default() }).await?;
    Ok(visit.done(&path_of(&account), "activated").await)
}

pub(super) async fn ask_end_tokens(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    END_TOKENS_OF_ACCOUNT.ask(&visit, &account, None).await
}

pub(super) async fn end_tokens(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    visit.management().revoke_account_tokens(&visit.call.caller, &Reference::Id(account.id.0), visit.call.origin.clone()).await?;
    Ok(visit.done(&path_of(&account), "revoked").await)
}

pub(super) async fn ask_delete(visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    DELETE_ACCOUNT.ask(&visit, &account, None).await
}

pub(super) async fn delete(mut visit: Visit, account: Path<String>) -> Result<HttpResponse, ApiError> {
    let account = find(&visit, &account).await?;
    let keep = keeps(&mut visit).await?;
    visit.management().delete_account(&visit.call.caller, &Reference::Id(account.id.0), keep, visit.call.origin.clone()).await?;
    Ok(visit.done("/service-accounts", "deleted").await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lines() {
        let read = parse_labels("team=data\r\n\n  cost-centre = 47=11 \nempty=").unwrap();
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [("cost-centre", "47=11"), ("empty", ""), ("team", "data")].map(|(a, b)| (a.into(), b.into()))
        );
        assert!(parse_labels("team").is_err() && parse_labels("a=1\na=2").is_err());
        assert_eq!(parse_labels(" \r\n").unwrap().len(), 0);
        assert!(parse_claims("").unwrap().is_empty() && parse_claims("[]").is_err());
    }
}
