//! `/workspaces`: what tokens are for.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::super::api::fields::Fields;
use super::super::api::page::Asked;
use super::super::api::workspaces::{algorithm, lifetime};
use super::super::body::Form;
use super::super::error::ApiError;
use super::confirm::Question;
use super::edit::{Edit, Text};
use super::frame::Frame;
use super::given::{self, GivenList};
use super::link::Pager;
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::permission_boxes::ALL;
use super::visit::{Visit, to};
use crate::domain::access::Place;
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::{Project, Workspace};
use crate::domain::id::Reference;
use crate::domain::name::{Audience, Invalid, Name, Slug, WorkspaceUrl};
use crate::domain::permission::Permission;
use crate::domain::signing::SigningAlgorithm;
use crate::service::{AssignmentQuery, NewWorkspace, WorkspaceChange};
use crate::store::WorkspaceFilter;

/// What the visitor may see of workspaces: all of them, or single ones, and projects of others.
#[derive(Default)]
pub(super) struct Reachable {
    pub(super) workspaces: Vec<Workspace>,
    pub(super) projects: Vec<Project>,
}

/// All that the visitor may see; where they may see all, as many as forms offer.
pub(super) async fn reachable(visit: &Visit) -> Result<Reachable, ApiError> {
    if visit.may(&Permission::WORKSPACES_READ) {
        let workspaces = visit.management().list_workspaces(&visit.call.caller, &WorkspaceFilter::default(), ALL).await?;
        return Ok(Reachable { workspaces, projects: Vec::new() });
    }
    parts(visit).await
}

/// The single workspaces and projects that the visitor may see.
async fn parts(visit: &Visit) -> Result<Reachable, ApiError> {
    let (caller, management) = (&visit.call.caller, visit.management());
    let mut found = Reachable::default();
    for (place, _) in caller.access.at_parts_of_hourpass() {
        let (Some(workspace), true) = (place.workspace(), caller.access.holds(&Permission::WORKSPACES_READ, place)) else { continue };
        let workspace = Reference::Id(workspace.0);
        match place.project() {
            Some(project) if !found.workspaces.iter().any(|it| Some(it.id) == place.workspace()) => {
                found.projects.push(management.find_project(caller, &workspace, &Reference::Id(project.0)).await?);
            }
            Some(_) => {}
            None => found.workspaces.push(management.find_workspace(caller, &workspace).await?),
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    search: Option<String>,
}

#[derive(Template)]
#[template(path = "workspaces.html")]
struct ListView<'a> {
    frame: &'a Frame,
    rows: Vec<Workspace>,
    projects: Vec<Project>,
    pager: Pager,
    search: String,
    /// Whether the visitor may see all of them, and so look for some.
    all: bool,
    may_create: bool,
}

pub(super) async fn list(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: ListQuery = visit.query().await?;
    let all = visit.may(&Permission::WORKSPACES_READ);
    let search = query.search.unwrap_or_default().trim().to_owned();
    let (found, pager) = if all {
        let label = search.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let slug = Some(search.to_lowercase()).filter(|slug| !slug.is_empty() && label.is_none());
        let asked = Asked::parse(None, query.cursor.as_deref())?;
        let workspaces = visit.management().list_workspaces(&visit.call.caller, &WorkspaceFilter { slug, label }, asked.page()).await?;
        let page = asked.answer(workspaces, |workspace| workspace.id.0, |workspace| workspace);
        let pager = Pager::new("/workspaces", &[("search", &search)], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref());
        (Reachable { workspaces: page.items, projects: Vec::new() }, pager)
    } else {
        (parts(&visit).await?, Pager::new("/workspaces", &[], "cursor", None, None))
    };
    let Reachable { workspaces: rows, projects } = found;
    visit.show(&ListView { frame: &visit.frame, rows, projects, pager, search, all, may_create: visit.may(&Permission::WORKSPACES_MANAGE) })
}

#[derive(Template)]
#[template(path = "workspace_form.html")]
struct FormView<'a> {
    frame: &'a Frame,
    /// The workspace that is changed; nothing where one is made.
    workspace: Option<&'a Workspace>,
    /// Whether the visitor may change what concerns the other workspaces, too.
    receiver: bool,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
}

/// What was entered into the form.
#[derive(Default)]
struct Entered {
    slug: String,
    name: String,
    url: String,
    audience: String,
    token_lifetime_seconds: String,
    signing_algorithm: String,
    /// `name=value`, a line each.
    labels: String,
    /// A JSON object.
    claims: String,
    /// Of a change: what the form showed.
    shown: String,
}

/// A lifetime as a form has it.
fn seconds(fields: &mut Fields, text: &str) -> Option<i64> {
    let text = text.trim();
    // What is no number is out of the range, too.
    if text.is_empty() { None } else { lifetime(fields, Some(text.parse().unwrap_or(0))) }
}

/// Labels as a form has them, a line each.
fn parse_labels(fields: &mut Fields, text: &str) -> Option<Labels> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let wrong = |line: &str| Invalid(format!("must be lines of the form name=value; {line:?} is none"));
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').ok_or_else(|| wrong(line))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    let labels = fields.check("labels", lines.map(pair).collect::<Result<BTreeMap<_, _>, Invalid>>());
    fields.labels(labels)
}

/// Claims as a form has them.
fn parse_claims(fields: &mut Fields, text: &str) -> Option<CustomClaims> {
    if text.trim().is_empty() {
        return Some(CustomClaims::default());
    }
    let wrong = |error: serde_json::Error| Invalid(format!("must be a JSON object, such as {{\"https://example.com/tier\": \"gold\"}}: {error}"));
    let claims = fields.check("claims", serde_json::from_str::<BTreeMap<String, Value>>(text).map_err(wrong));
    fields.claims(claims)
}

impl Entered {
    fn of(workspace: &Workspace, edit: &Edit) -> Self {
        Self {
            slug: workspace.slug.to_string(),
            name: edit.text("name"),
            url: edit.text("url"),
            audience: edit.text("audience"),
            token_lifetime_seconds: edit.text("token_lifetime_seconds"),
            signing_algorithm: edit.text("signing_algorithm"),
            labels: edit.text("labels"),
            claims: edit.text("claims"),
            shown: edit.shown(),
        }
    }

    fn read(form: &mut Form) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self {
            slug: take("slug")?,
            name: take("name")?,
            url: take("url")?,
            audience: take("audience")?,
            token_lifetime_seconds: take("token_lifetime_seconds")?,
            signing_algorithm: take("signing_algorithm")?,
            labels: take("labels")?,
            claims: take("claims")?,
            shown: String::new(),
        })
    }

    fn parse_new(&self) -> Result<NewWorkspace, ApiError> {
        let mut fields = Fields::default();
        let some = |text: &'_ str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let slug = fields.check("slug", Slug::parse(&self.slug));
        let name = fields.optional("name", some(&self.name).as_deref(), Name::parse);
        let url = fields.optional("url", some(&self.url).as_deref(), WorkspaceUrl::parse);
        let audience = fields.optional("audience", some(&self.audience).as_deref(), Audience::parse);
        let token_lifetime = Duration::from_secs(seconds(&mut fields, &self.token_lifetime_seconds).unwrap_or(3_600).unsigned_abs());
        let signing_algorithm = algorithm(&mut fields, some(&self.signing_algorithm).as_deref()).unwrap_or(SigningAlgorithm::Es256);
        let labels = parse_labels(&mut fields, &self.labels).unwrap_or_default();
        let claims = parse_claims(&mut fields, &self.claims).unwrap_or_default();
        fields.finish_with(slug.map(|slug| NewWorkspace { slug, name, url, audience, signing_algorithm, token_lifetime, labels, claims }))
    }
}

fn texts(workspace: &Workspace, receiver: bool) -> Vec<Text> {
    let labels: Vec<_> = workspace.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut texts = vec![
        ("name", workspace.name.to_string()),
        ("token_lifetime_seconds", workspace.token_lifetime_seconds.to_string()),
        ("signing_algorithm", workspace.signing_algorithm.to_string()),
        ("labels", labels.join("\n")),
        ("claims", claims_text(workspace)),
    ];
    if receiver {
        let url = workspace.url.as_ref().map(ToString::to_string).unwrap_or_default();
        texts.extend([("url", url), ("audience", workspace.audience.to_string())]);
    }
    texts
}

fn parse_change(edit: &Edit) -> Result<WorkspaceChange, ApiError> {
    let mut fields = Fields::default();
    let url = |text: &str| Some(text.trim()).filter(|url| !url.is_empty()).map(WorkspaceUrl::parse).transpose();
    let change = WorkspaceChange {
        name: fields.optional("name", edit.changed("name"), Name::parse),
        url: fields.optional("url", edit.changed("url"), url),
        audience: fields.optional("audience", edit.changed("audience"), |text| Audience::parse(text.trim())),
        token_lifetime_seconds: edit.changed("token_lifetime_seconds").and_then(|text| seconds(&mut fields, text)),
        signing_algorithm: algorithm(&mut fields, edit.changed("signing_algorithm")),
        labels: edit.changed("labels").and_then(|text| parse_labels(&mut fields, text)),
        claims: edit.changed("claims").and_then(|text| parse_claims(&mut fields, text)),
    };
    fields.finish()?;
    Ok(change)
}

/// Claims as people write them; nothing where there are none.
fn claims_text(workspace: &Workspace) -> String {
    if workspace.claims == CustomClaims::default() { String::new() } else { serde_json::to_string_pretty(&workspace.claims).unwrap_or_default() }
}

fn show_form(visit: &Visit, workspace: Option<&Workspace>, entered: &Entered, mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    let status = if mistakes.any() { mistakes.status() } else { StatusCode::OK };
    let receiver = visit.may(&Permission::WORKSPACES_MANAGE);
    visit.show_with(status, &FormView { frame: &visit.frame, workspace, receiver, entered, mistakes })
}

/// The field that is meant where the use case says that something is taken.
fn taken_field(error: &ApiError) -> &'static str {
    if error.detail().contains("audience") {
        "audience"
    } else if error.detail().contains("host") {
        "url"
    } else {
        "slug"
    }
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered = Entered { token_lifetime_seconds: "3600".to_owned(), signing_algorithm: "ES256".to_owned(), ..Entered::default() };
    show_form(&visit, None, &entered, &Mistakes::default())
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let entered = Entered::read(&mut visit.form().await?)?;
    let made = async {
        let wanted = entered.parse_new()?;
        let made = visit.management().create_workspace(&visit.call.caller, &visit.call.state.signing, wanted, visit.call.origin.clone()).await;
        visit.commit(made, "created", |workspace| to(&format!("/workspaces/{}", workspace.id))).await
    };
    match made.await {
        Ok(response) => Ok(response),
        Err(error) => {
            let field = taken_field(&error);
            show_form(&visit, None, &entered, &Mistakes::of(error, field)?)
        }
    }
}

pub(super) async fn find(visit: &Visit, workspace: &str) -> Result<Workspace, ApiError> {
    Ok(visit.management().find_workspace(&visit.call.caller, &Reference::from(workspace)).await?)
}

pub(super) async fn edit(visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let workspace = find(&visit, &workspace).await?;
    let edit = Edit::of(texts(&workspace, visit.may(&Permission::WORKSPACES_MANAGE)));
    show_form(&visit, Some(&workspace), &Entered::of(&workspace, &edit), &Mistakes::default())
}

pub(super) async fn save(mut visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let workspace = find(&visit, &workspace).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&workspace, visit.may(&Permission::WORKSPACES_MANAGE)))?;
    if let Some(mistakes) = edit.conflict() {
        return show_form(&visit, Some(&workspace), &Entered::of(&workspace, &edit), &mistakes);
    }
    let saved = async {
        let change = parse_change(&edit)?;
        let reference = Reference::Id(workspace.id.0);
        Ok::<_, ApiError>(
            visit.management().update_workspace(&visit.call.caller, &visit.call.state.signing, &reference, change, visit.call.origin.clone()).await?,
        )
    };
    match saved.await {
        Ok(workspace) => Ok(visit.done(&format!("/workspaces/{}", workspace.id), "saved").await),
        Err(error) => {
            let field = taken_field(&error);
            show_form(&visit, Some(&workspace), &Entered::of(&workspace, &edit), &Mistakes::of(error, field)?)
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ShowQuery {
    cursor: Option<String>,
    given: Option<String>,
}

#[derive(Template)]
#[template(path = "workspace.html")]
#[expect(clippy::struct_excessive_bools, reason = "what the visitor may do here is four independent answers")]
struct WorkspaceView<'a> {
    frame: &'a Frame,
    workspace: &'a Workspace,
    made: Moment,
    /// From when on its tokens are signed as it says, if that is to come.
    effective: Option<Moment>,
    claims: String,
    curl: String,
    projects: Vec<Project>,
    pager: Pager,
    given: Option<GivenList>,
    may_change: bool,
    may_delete: bool,
    may_add_project: bool,
    may_give: bool,
}

pub(super) async fn show(visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let query: ShowQuery = visit.query().await?;
    let workspace = find(&visit, &workspace).await?;
    let keys = visit.call.state.signing.keys().await?;
    let (id, place) = (Reference::Id(workspace.id.0), Place::Workspace(workspace.id));
    let holds = |permission: &Permission| visit.call.caller.access.holds(permission, place);
    let path = format!("/workspaces/{}", workspace.id);
    let asked = Asked::parse(None, query.cursor.as_deref())?;
    let found = visit.management().list_projects(&visit.call.caller, &id, asked.page()).await?;
    let page = asked.answer(found, |project| project.id.0, |project| project);
    let given = if holds(&Permission::ROLES_READ) {
        let wanted = AssignmentQuery { workspace: Some(id), ..AssignmentQuery::default() };
        Some(given::list(&visit, &wanted, query.given.as_deref(), &path).await?)
    } else {
        None
    };
    let issuer = visit.call.state.issuer.trim_end_matches('/');
    visit.show(&WorkspaceView {
        frame: &visit.frame,
        made: visit.moment(workspace.created_at),
        effective: keys.awaited(workspace.signing_algorithm, visit.call.state.sources.now()).map(|at| visit.moment(at)),
        claims: claims_text(&workspace),
        // The double quotes have the shell put the key in.
        curl: format!("curl -d \"password=$HOURPASS_API_KEY\" -d workspace={} {issuer}/auth/login", workspace.slug),
        projects: page.items,
        pager: Pager::new(&path, &[], "cursor", query.cursor.as_deref(), page.next_cursor.as_deref()),
        given,
        may_change: holds(&Permission::WORKSPACES_MANAGE),
        may_delete: visit.may(&Permission::WORKSPACES_MANAGE),
        may_add_project: holds(&Permission::PROJECTS_MANAGE),
        may_give: holds(&Permission::ROLES_MANAGE),
        workspace: &workspace,
    })
}

fn deletion(workspace: &Workspace) -> Question {
    Question {
        title: format!("Delete workspace {}?", workspace.name),
        about: vec![
            format!(
                "Nobody gets a token for {} any more. Those that were issued are good until they expire, after an hour at most.",
                workspace.audience
            ),
            "Only a workspace without projects, and in which nothing is given, can be deleted.".to_owned(),
        ],
        button: format!("Delete {}", workspace.name),
        back: format!("/workspaces/{}", workspace.id),
        back_label: workspace.name.to_string(),
        danger: true,
    }
}

pub(super) async fn confirm_delete(visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    deletion(&find(&visit, &workspace).await?).ask(&visit)
}

pub(super) async fn delete(visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let workspace = find(&visit, &workspace).await?;
    match visit.management().delete_workspace(&visit.call.caller, &Reference::Id(workspace.id.0), visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done("/workspaces", "deleted").await),
        Err(error) => deletion(&workspace).refuse(&visit, error.into()),
    }
}
