//! `/permissions`: the organization's catalogue, and Hourpass's own.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::body::Form;
use super::super::error::ApiError;
use super::confirm::Question;
use super::edit::{Edit, Text};
use super::frame::Frame;
use super::link::Pager;
use super::mistakes::Mistakes;
use super::visit::{Visit, to};
use crate::domain::id::Reference;
use crate::domain::name::parse_description;
use crate::domain::permission::{BuiltIn, CatalogueEntry, HOURPASS, Permission};
use crate::service::NewPermission;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "permissions.html")]
struct ListView<'a> {
    frame: &'a Frame,
    rows: Vec<CatalogueEntry>,
    own: &'static [BuiltIn],
    pager: Pager,
    may_manage: bool,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_permissions(&visit.call.caller, asked.page()).await?;
    let page = asked.answer(found, |entry| entry.id.0, |entry| entry);
    visit.show(&ListView {
        frame: &visit.frame,
        rows: page.items,
        own: HOURPASS,
        pager: Pager::new("/permissions", &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        may_manage: visit.may(&Permission::ROLES_MANAGE),
    })
}

#[derive(Template)]
#[template(path = "permission_form.html")]
struct FormView<'a> {
    frame: &'a Frame,
    /// The permission that is described anew; nothing where one is added.
    entry: Option<&'a CatalogueEntry>,
    entered_name: &'a str,
    description: &'a str,
    /// Of a change: what the form showed.
    shown: &'a str,
    mistakes: &'a Mistakes,
}

fn show_form(
    visit: &Visit,
    entry: Option<&CatalogueEntry>,
    entered: (&str, &str),
    shown: &str,
    mistakes: &Mistakes,
) -> Result<HttpResponse, ApiError> {
    let status = if mistakes.any() { mistakes.status() } else { StatusCode::OK };
    visit.show_with(status, &FormView { frame: &visit.frame, entry, entered_name: entered.0, description: entered.1, shown, mistakes })
}

fn texts(entry: &CatalogueEntry) -> Vec<Text> {
    vec![("description", entry.description.clone())]
}

fn read(form: &mut Form) -> Result<(String, String), ApiError> {
    Ok((form.take("name")?.unwrap_or_default(), form.take("description")?.unwrap_or_default()))
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    show_form(&visit, None, ("", ""), "", &Mistakes::default())
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let (name, description) = read(&mut visit.form().await?)?;
    let made = async {
        let mut fields = Fields::default();
        let parsed = fields.check("name", Permission::parse(name.trim())).zip(fields.check("description", parse_description(&description)));
        let wanted = fields.finish_with(parsed.map(|(name, description)| NewPermission { name, description }))?;
        let made = visit.management().create_permission(&visit.call.caller, wanted, visit.call.origin.clone()).await;
        visit.commit(made, "created", |_| to("/permissions")).await
    };
    match made.await {
        Ok(response) => Ok(response),
        Err(error) => show_form(&visit, None, (&name, &description), "", &Mistakes::of(error, "name")?),
    }
}

async fn find(visit: &Visit, permission: &Path<String>) -> Result<CatalogueEntry, ApiError> {
    Ok(visit.management().find_permission(&visit.call.caller, &Reference::from(permission.as_str())).await?)
}

pub(super) async fn edit(visit: Visit, permission: Path<String>) -> Result<HttpResponse, ApiError> {
    let entry = find(&visit, &permission).await?;
    show_form(&visit, Some(&entry), (entry.name.as_str(), &entry.description), &Edit::of(texts(&entry)).shown(), &Mistakes::default())
}

pub(super) async fn save(mut visit: Visit, permission: Path<String>) -> Result<HttpResponse, ApiError> {
    let entry = find(&visit, &permission).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&entry))?;
    let saved = async {
        let mut fields = Fields::default();
        let parsed = fields.optional("description", edit.changed("description"), parse_description);
        fields.finish()?;
        let reference = Reference::Id(entry.id.0);
        Ok::<_, ApiError>(visit.management().update_permission(&visit.call.caller, &reference, parsed, visit.call.origin.clone()).await?)
    };
    match saved.await {
        Ok(_) => Ok(visit.done("/permissions", "saved").await),
        Err(error) => show_form(&visit, Some(&entry), (entry.name.as_str(), &edit.text("description")), &edit.shown(), &Mistakes::of(error, "name")?),
    }
}

fn deletion(entry: &CatalogueEntry) -> Question {
    Question {
        title: format!("Delete permission {}?", entry.name),
        about: vec![
            "New tokens do not name it any more. Workspaces that ask for it then refuse what it allowed.".to_owned(),
            "Only a permission that is in no role, and was given to nobody, can be deleted.".to_owned(),
        ],
        button: format!("Delete {}", entry.name),
        back: "/permissions".to_owned(),
        back_label: "Permissions".to_owned(),
        danger: true,
    }
}

pub(super) async fn confirm_delete(visit: Visit, permission: Path<String>) -> Result<HttpResponse, ApiError> {
    deletion(&find(&visit, &permission).await?).ask(&visit)
}

pub(super) async fn delete(visit: Visit, permission: Path<String>) -> Result<HttpResponse, ApiError> {
    let entry = find(&visit, &permission).await?;
    match visit.management().delete_permission(&visit.call.caller, &Reference::Id(entry.id.0), visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done("/permissions", "deleted").await),
        Err(error) => deletion(&entry).refuse(&visit, error.into()),
    }
}
