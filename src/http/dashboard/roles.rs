//! `/roles`: named sets of permissions, built-in and the organization's own.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::api::roles::level;
use super::super::body::Form;
use super::super::error::ApiError;
use super::confirm::Question;
use super::edit::{BOXES, Edit, Text, lines};
use super::frame::Frame;
use super::given::{self, GivenList};
use super::link::Pager;
use super::mistakes::Mistakes;
use super::permission_boxes::PermissionBoxes;
use super::visit::{Visit, to};
use crate::domain::access::Place;
use crate::domain::id::Reference;
use crate::domain::name::{Name, parse_description};
use crate::domain::permission::Permission;
use crate::domain::role::Role;
use crate::service::{AssignmentQuery, NewRole, RoleChange};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    given: Option<String>,
}

/// A role, as it is shown.
struct Shown {
    role: Role,
    built_in: bool,
    permissions: Vec<String>,
}

impl From<Role> for Shown {
    fn from(role: Role) -> Self {
        let words = |name: &str| match name {
            "*" => "everything".to_owned(),
            "*.read" => "everything that only reads".to_owned(),
            other => other.to_owned(),
        };
        Self { built_in: role.organization_id.is_none(), permissions: role.grant.names().map(words).collect(), role }
    }
}

#[derive(Template)]
#[template(path = "roles.html")]
struct ListView<'a> {
    frame: &'a Frame,
    rows: Vec<Shown>,
    pager: Pager,
    may_manage: bool,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_roles(&visit.call.caller, asked.page()).await?;
    let page = asked.answer(found, |role| role.id.0, Shown::from);
    visit.show(&ListView {
        frame: &visit.frame,
        rows: page.items,
        pager: Pager::new("/roles", &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        may_manage: visit.may(&Permission::ROLES_MANAGE),
    })
}

#[derive(Template)]
#[template(path = "role_form.html")]
struct FormView<'a> {
    frame: &'a Frame,
    /// The role that is changed; nothing where one is made.
    role: Option<&'a Role>,
    entered: &'a Entered,
    boxes: PermissionBoxes,
    mistakes: &'a Mistakes,
}

/// What was entered into the form.
#[derive(Default)]
struct Entered {
    name: String,
    description: String,
    level: String,
    permissions: Vec<String>,
    /// Of a change: what the form showed.
    shown: String,
}

impl Entered {
    fn read(form: &mut Form) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        let (name, description, level) = (take("name")?, take("description")?, take("level")?);
        Ok(Self { name, description, level, permissions: form.take_all(BOXES), shown: String::new() })
    }

    fn of(role: &Role, edit: &Edit) -> Self {
        let permissions = edit.text(BOXES).lines().map(str::to_owned).collect();
        Self { name: edit.text("name"), description: edit.text("description"), level: role.level.to_string(), permissions, shown: edit.shown() }
    }

    fn parse_new(&self) -> Result<NewRole, ApiError> {
        let mut fields = Fields::default();
        let name = fields.check("name", Name::parse(&self.name));
        let description = fields.check("description", parse_description(&self.description));
        let level = fields.check("level", level(&self.level));
        let permissions = fields.permissions("permissions", Some(&self.permissions)).unwrap_or_default();
        let wanted = name.zip(description).zip(level).map(|((name, description), level)| NewRole { name, description, level, permissions });
        fields.finish_with(wanted)
    }
}

fn texts(role: &Role) -> Vec<Text> {
    let permissions = lines(role.grant.names().map(str::to_owned).collect());
    vec![("name", role.name.to_string()), ("description", role.description.clone()), (BOXES, permissions)]
}

fn parse_change(edit: &Edit) -> Result<RoleChange, ApiError> {
    let mut fields = Fields::default();
    let permissions: Option<Vec<_>> = edit.changed(BOXES).map(|text| text.lines().map(str::to_owned).collect());
    let change = RoleChange {
        name: fields.optional("name", edit.changed("name"), Name::parse),
        description: fields.optional("description", edit.changed("description"), parse_description),
        permissions: fields.permissions(BOXES, permissions.as_deref()),
    };
    fields.finish()?;
    Ok(change)
}

async fn show_form(visit: &Visit, role: Option<&Role>, entered: &Entered, mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    // Nobody puts more into a role than they hold in the whole organization.
    let held = |permission: &Permission| visit.call.caller.access.holds(permission, Place::Organization);
    let boxes = PermissionBoxes::new(visit, &entered.permissions, held).await?;
    let status = if mistakes.any() { mistakes.status() } else { StatusCode::OK };
    visit.show_with(status, &FormView { frame: &visit.frame, role, entered, boxes, mistakes })
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered = Entered { level: "workspace".to_owned(), ..Entered::default() };
    show_form(&visit, None, &entered, &Mistakes::default()).await
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered = Entered::read(&mut visit.form().await?)?;
    let made = async {
        let wanted = entered.parse_new()?;
        let made = visit.management().create_role(&visit.call.caller, wanted, visit.call.origin.clone()).await;
        visit.commit(made, "created", |role| to(&format!("/roles/{}", role.id))).await
    };
    match made.await {
        Ok(response) => Ok(response),
        Err(error) => show_form(&visit, None, &entered, &Mistakes::of(error, "name")?).await,
    }
}

async fn find(visit: &Visit, role: &Path<String>) -> Result<Role, ApiError> {
    Ok(visit.management().find_role(&visit.call.caller, &Reference::from(role.as_str())).await?)
}

/// One that can be changed.
async fn find_own(visit: &Visit, role: &Path<String>) -> Result<Role, ApiError> {
    let role = find(visit, role).await?;
    if role.organization_id.is_none() {
        return Err(ApiError::new("built_in", format!("role {} is built in and stays as it is; make a role of your own", role.name)));
    }
    Ok(role)
}

pub(super) async fn edit(visit: Visit, role: Path<String>) -> Result<HttpResponse, ApiError> {
    let role = find_own(&visit, &role).await?;
    show_form(&visit, Some(&role), &Entered::of(&role, &Edit::of(texts(&role))), &Mistakes::default()).await
}

pub(super) async fn save(mut visit: Visit, role: Path<String>) -> Result<HttpResponse, ApiError> {
    let role = find_own(&visit, &role).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&role))?;
    if let Some(mistakes) = edit.conflict() {
        return show_form(&visit, Some(&role), &Entered::of(&role, &edit), &mistakes).await;
    }
    let saved = async {
        let (reference, change) = (Reference::Id(role.id.0), parse_change(&edit)?);
        Ok::<_, ApiError>(visit.management().update_role(&visit.call.caller, &reference, change, visit.call.origin.clone()).await?)
    };
    match saved.await {
        Ok(role) => Ok(visit.done(&format!("/roles/{}", role.id), "saved").await),
        Err(error) => show_form(&visit, Some(&role), &Entered::of(&role, &edit), &Mistakes::of(error, "name")?).await,
    }
}

#[derive(Template)]
#[template(path = "role.html")]
struct RoleView<'a> {
    frame: &'a Frame,
    shown: &'a Shown,
    /// Who holds it, as far as the visitor may see that.
    given: Option<GivenList>,
    may_manage: bool,
    may_give: bool,
}

pub(super) async fn show(visit: Visit, role: Path<String>) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let shown = Shown::from(find(&visit, &role).await?);
    let id = shown.role.id;
    let given = if visit.may(&Permission::ROLES_READ) {
        let wanted = AssignmentQuery { role: Some(Reference::Id(id.0)), ..AssignmentQuery::default() };
        Some(given::list(&visit, &wanted, query.given.as_deref(), &format!("/roles/{id}")).await?)
    } else {
        None
    };
    visit.show(&RoleView {
        frame: &visit.frame,
        given,
        may_manage: visit.may(&Permission::ROLES_MANAGE) && !shown.built_in,
        may_give: visit.call.caller.access.holds_somewhere(&Permission::ROLES_MANAGE),
        shown: &shown,
    })
}

fn deletion(role: &Role) -> Question {
    Question {
        title: format!("Delete role {}?", role.name),
        about: vec!["Only a role that nobody holds can be deleted. If somebody holds it, take it back first: its page lists who does.".to_owned()],
        button: format!("Delete {}", role.name),
        back: format!("/roles/{}", role.id),
        back_label: role.name.to_string(),
        danger: true,
    }
}

pub(super) async fn confirm_delete(visit: Visit, role: Path<String>) -> Result<HttpResponse, ApiError> {
    deletion(&find_own(&visit, &role).await?).ask(&visit)
}

pub(super) async fn delete(visit: Visit, role: Path<String>) -> Result<HttpResponse, ApiError> {
    let role = find_own(&visit, &role).await?;
    match visit.management().delete_role(&visit.call.caller, &Reference::Id(role.id.0), visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done("/roles", "deleted").await),
        Err(error) => deletion(&role).refuse(&visit, error.into()),
    }
}
