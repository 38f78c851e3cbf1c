//! `/organization`: the visitor's own. `/organizations`: all, for whoever manages the platform.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::body::Form;
use super::super::error::ApiError;
use super::chart::grouped;
use super::confirm::Question;
use super::edit::{Edit, Text};
use super::frame::Frame;
use super::link::Pager;
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::{Visit, to};
use crate::domain::entity::{KeyPolicy, Organization};
use crate::domain::id::Reference;
use crate::domain::name::{Email, Invalid, Name, Slug};
use crate::domain::permission::Permission;
use crate::service::{Invitation, NewOrganization, OrganizationChange};

const OWN: &str = "/organization";
const ALL: &str = "/organizations";

#[derive(Template)]
#[template(path = "organization.html")]
struct OwnView<'a> {
    frame: &'a Frame,
    organization: &'a Organization,
    made: Moment,
    /// How many keys live longer than is allowed now, where the visitor may see keys and there is a maximum.
    beyond: Option<String>,
    entered: &'a Policy,
    mistakes: &'a Mistakes,
    may_change: bool,
    may_see_all: bool,
}

/// What was entered of one's own organization.
struct Policy {
    name: String,
    max_days: String,
    default_days: String,
    /// What the form showed.
    shown: String,
}

impl Policy {
    fn of(edit: &Edit) -> Self {
        let (max_days, default_days) = (edit.text("api_key_max_days"), edit.text("api_key_default_days"));
        Self { name: edit.text("name"), max_days, default_days, shown: edit.shown() }
    }
}

fn texts(organization: &Organization) -> Vec<Text> {
    let text = |days: Option<u16>| days.map(|days| days.to_string()).unwrap_or_default();
    let KeyPolicy { max_days, default_days } = organization.key_policy;
    vec![("name", organization.name.to_string()), ("api_key_max_days", text(max_days)), ("api_key_default_days", text(default_days))]
}

fn parse_change(edit: &Edit) -> Result<OrganizationChange, ApiError> {
    let mut fields = Fields::default();
    let change = OrganizationChange {
        name: fields.optional("name", edit.changed("name"), Name::parse),
        api_key_max_days: edit.changed("api_key_max_days").and_then(|text| days(&mut fields, "api_key_max_days", text)),
        api_key_default_days: edit.changed("api_key_default_days").and_then(|text| days(&mut fields, "api_key_default_days", text)),
    };
    fields.finish()?;
    Ok(change)
}

/// A number of days, or nothing for no limit.
fn days(fields: &mut Fields, field: &'static str, text: &str) -> Option<Option<u16>> {
    let wrong = || Invalid(format!("must be a number of days from 1 to {}, or empty", KeyPolicy::LIMIT));
    let number = |text: &str| text.parse().ok().filter(|days| (1..=KeyPolicy::LIMIT).contains(days)).ok_or_else(wrong);
    let text = text.trim();
    if text.is_empty() { Some(None) } else { fields.check(field, number(text)).map(Some) }
}

pub(super) async fn own(visit: Visit) -> Result<HttpResponse, ApiError> {
    show_own(&visit, &Policy::of(&Edit::of(texts(visit.call.caller.organization()))), &Mistakes::default()).await
}

async fn show_own(visit: &Visit, entered: &Policy, mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    let organization = visit.call.caller.organization();
    let counts = visit.may(&Permission::SERVICE_ACCOUNTS_READ);
    let beyond = if counts { visit.management().count_keys_beyond_policy(&visit.call.caller).await? } else { None };
    let view = OwnView {
        frame: &visit.frame,
        organization,
        made: visit.moment(organization.created_at),
        beyond: beyond.filter(|count| *count > 0).map(grouped),
        entered,
        mistakes,
        may_change: visit.may(&Permission::ORGANIZATIONS_MANAGE),
        may_see_all: visit.may(&Permission::PLATFORM_MANAGE),
    };
    visit.show_with(mistakes.status(), &view)
}

pub(super) async fn change(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let edit = Edit::read(&mut visit.form().await?, texts(visit.call.caller.organization()))?;
    match do_change(&visit, &edit).await {
        Ok(()) => Ok(visit.done(OWN, "saved").await),
        Err(error) => show_own(&visit, &Policy::of(&edit), &Mistakes::of(error, "name")?).await,
    }
}

async fn do_change(visit: &Visit, edit: &Edit) -> Result<(), ApiError> {
    let (change, own) = (parse_change(edit)?, Reference::Id(visit.call.caller.organization().id.0));
    visit.management().update_organization(&visit.call.caller, &own, change, visit.call.origin.clone()).await?;
    Ok(())
}

#[derive(Deserialize)]
struct ListQuery {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "organizations.html")]
struct ListView<'a> {
    frame: &'a Frame,
    rows: Vec<Row>,
    pager: Pager,
}

struct Row {
    organization: Organization,
    made: Moment,
    own: bool,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_organizations(&visit.call.caller, asked.page()).await?;
    let own = visit.call.caller.organization().id;
    let page = asked.answer(
        found,
        |organization| organization.id.0,
        |organization| Row { made: visit.moment(organization.created_at), own: organization.id == own, organization },
    );
    let pager = Pager::new(ALL, &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref());
    visit.show(&ListView { frame: &visit.frame, rows: page.items, pager })
}

#[derive(Template)]
#[template(path = "organization_new.html")]
struct NewView<'a> {
    frame: &'a Frame,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
}

/// What was entered of a new organization.
#[derive(Default)]
struct Entered {
    slug: String,
    name: String,
    admin_email: String,
}

impl Entered {
    fn read(form: &mut Form) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self { slug: take("slug")?, name: take("name")?, admin_email: take("admin_email")? })
    }

    fn parse(&self) -> Result<NewOrganization, ApiError> {
        let mut fields = Fields::default();
        let said = |text: &'_ str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let slug = fields.check("slug", Slug::parse(self.slug.trim()));
        let name = fields.optional("name", said(&self.name).as_deref(), Name::parse);
        let admin_email = fields.optional("admin_email", said(&self.admin_email).as_deref(), Email::parse);
        fields.finish_with(slug.map(|slug| NewOrganization { slug, name, admin_email }))
    }
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    visit.show(&NewView { frame: &visit.frame, entered: &Entered::default(), mistakes: &Mistakes::default() })
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered = Entered::read(&mut visit.form().await?)?;
    match make(&visit, &entered).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mistakes = Mistakes::of(error, "slug")?;
            visit.show_with(mistakes.status(), &NewView { frame: &visit.frame, entered: &entered, mistakes: &mistakes })
        }
    }
}

async fn make(visit: &Visit, entered: &Entered) -> Result<HttpResponse, ApiError> {
    let made = visit.management().create_organization(&visit.call.caller, entered.parse()?, visit.call.origin.clone()).await;
    let render = |(organization, invitation): (Organization, Option<Invitation>)| match invitation {
        Some(invitation) => show_invitation(visit, &organization, &entered.admin_email, &invitation),
        None => to(ALL),
    };
    visit.commit(made, "created", render).await
}

#[derive(Template)]
#[template(path = "organization_made.html")]
struct MadeView<'a> {
    frame: &'a Frame,
    organization: &'a Organization,
    email: &'a str,
    /// Where an invitation is accepted.
    page: String,
    secret: &'a str,
    until: Moment,
}

/// The page that shows the invitation of its first administrator: this once.
fn show_invitation(visit: &Visit, organization: &Organization, email: &str, invitation: &Invitation) -> Result<HttpResponse, ApiError> {
    let page = format!("{}/invitation", visit.call.state.issuer.trim_end_matches('/'));
    let (secret, until) = (invitation.secret.expose(), visit.moment(invitation.expires_at));
    visit.show_with(StatusCode::CREATED, &MadeView { frame: &visit.frame, organization, email, page, secret, until })
}

pub(super) async fn ask_to_delete(visit: Visit, organization: Path<String>) -> Result<HttpResponse, ApiError> {
    deletion(&find(&visit, &organization).await?).ask(&visit)
}

async fn find(visit: &Visit, organization: &Path<String>) -> Result<Organization, ApiError> {
    Ok(visit.management().find_organization(&visit.call.caller, &Reference::from(organization.as_str())).await?)
}

fn deletion(organization: &Organization) -> Question {
    Question {
        title: format!("Delete {}?", organization.name),
        about: vec![
            format!(
                "The organization {} is deleted for good, with its people, teams, roles and permissions. Its audit events stay.",
                organization.slug
            ),
            "Nothing is done while it has workspaces or service accounts: one of its administrators has to delete those first.".to_owned(),
        ],
        button: format!("Delete {}", organization.name),
        back: ALL.to_owned(),
        back_label: "Organizations".to_owned(),
        danger: true,
    }
}

pub(super) async fn delete(visit: Visit, organization: Path<String>) -> Result<HttpResponse, ApiError> {
    let organization = find(&visit, &organization).await?;
    match visit.management().delete_organization(&visit.call.caller, &Reference::Id(organization.id.0), visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done(ALL, "deleted").await),
        Err(error) => deletion(&organization).refuse(&visit, error.into()),
    }
}
