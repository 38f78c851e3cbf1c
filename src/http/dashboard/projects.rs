//! `/workspaces/{workspace}/projects`: parts of a workspace, as places for roles.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::body::Form;
use super::super::error::ApiError;
use super::confirm::Question;
use super::edit::{Edit, Text};
use super::frame::Frame;
use super::given::{self, GivenList};
use super::mistakes::Mistakes;
use super::moment::Moment;
use super::visit::{Visit, to};
use super::workspaces;
use crate::domain::access::Place;
use crate::domain::entity::Project;
use crate::domain::id::Reference;
use crate::domain::name::{Name, Slug, parse_description};
use crate::domain::permission::Permission;
use crate::service::{AssignmentQuery, NewProject, ProjectChange};

#[derive(Template)]
#[template(path = "project_form.html")]
struct FormView<'a> {
    frame: &'a Frame,
    /// The project that is changed; nothing where one is made.
    project: Option<&'a Project>,
    /// Where it is made.
    workspace: String,
    back: String,
    entered: &'a Entered,
    mistakes: &'a Mistakes,
}

/// What was entered into the form.
#[derive(Default)]
struct Entered {
    slug: String,
    name: String,
    description: String,
    /// Of a change: what the form showed.
    shown: String,
}

impl Entered {
    fn read(form: &mut Form) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        Ok(Self { slug: take("slug")?, name: take("name")?, description: take("description")?, shown: String::new() })
    }

    fn of(project: &Project, edit: &Edit) -> Self {
        Self { slug: project.slug.to_string(), name: edit.text("name"), description: edit.text("description"), shown: edit.shown() }
    }

    fn parse_new(&self) -> Result<NewProject, ApiError> {
        let mut fields = Fields::default();
        let slug = fields.check("slug", Slug::parse(&self.slug));
        let name = Some(self.name.as_str()).filter(|name| !name.trim().is_empty());
        let name = fields.optional("name", name, Name::parse);
        let description = fields.check("description", parse_description(&self.description));
        fields.finish_with(slug.zip(description).map(|(slug, description)| NewProject { slug, name, description }))
    }
}

fn texts(project: &Project) -> Vec<Text> {
    vec![("name", project.name.to_string()), ("description", project.description.clone())]
}

fn parse_change(edit: &Edit) -> Result<ProjectChange, ApiError> {
    let mut fields = Fields::default();
    let change = ProjectChange {
        name: fields.optional("name", edit.changed("name"), Name::parse),
        description: fields.optional("description", edit.changed("description"), parse_description),
    };
    fields.finish()?;
    Ok(change)
}

fn path_of(project: &Project) -> String {
    format!("/workspaces/{}/projects/{}", project.workspace_id, project.id)
}

fn show_form(visit: &Visit, view: &FormView) -> Result<HttpResponse, ApiError> {
    visit.show_with(if view.mistakes.any() { view.mistakes.status() } else { StatusCode::OK }, view)
}

fn form_of_new<'a>(visit: &'a Visit, workspace: &crate::domain::entity::Workspace, entered: &'a Entered, mistakes: &'a Mistakes) -> FormView<'a> {
    let back = format!("/workspaces/{}", workspace.id);
    FormView { frame: &visit.frame, project: None, workspace: workspace.name.to_string(), back, entered, mistakes }
}

fn form_of<'a>(visit: &'a Visit, project: &'a Project, entered: &'a Entered, mistakes: &'a Mistakes) -> FormView<'a> {
    FormView { frame: &visit.frame, project: Some(project), workspace: String::new(), back: path_of(project), entered, mistakes }
}

pub(super) async fn new(visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let workspace = workspaces::find(&visit, &workspace).await?;
    show_form(&visit, &form_of_new(&visit, &workspace, &Entered::default(), &Mistakes::default()))
}

pub(super) async fn create(mut visit: Visit, workspace: Path<String>) -> Result<HttpResponse, ApiError> {
    let workspace = workspaces::find(&visit, &workspace).await?;
    let entered = Entered::read(&mut visit.form().await?)?;
    let made = async {
        let (reference, wanted) = (Reference::Id(workspace.id.0), entered.parse_new()?);
        let made = visit.management().create_project(&visit.call.caller, &reference, wanted, visit.call.origin.clone()).await;
        visit.commit(made, "created", |project| to(&path_of(&project))).await
    };
    match made.await {
        Ok(response) => Ok(response),
        Err(error) => show_form(&visit, &form_of_new(&visit, &workspace, &entered, &Mistakes::of(error, "slug")?)),
    }
}

async fn find(visit: &Visit, path: &Path<(String, String)>) -> Result<Project, ApiError> {
    let (workspace, project) = (Reference::from(path.0.as_str()), Reference::from(path.1.as_str()));
    Ok(visit.management().find_project(&visit.call.caller, &workspace, &project).await?)
}

/// How use cases name it.
fn references(project: &Project) -> (Reference, Reference) {
    (Reference::Id(project.workspace_id.0), Reference::Id(project.id.0))
}

pub(super) async fn edit(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let project = find(&visit, &path).await?;
    show_form(&visit, &form_of(&visit, &project, &Entered::of(&project, &Edit::of(texts(&project))), &Mistakes::default()))
}

pub(super) async fn save(mut visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let project = find(&visit, &path).await?;
    let edit = Edit::read(&mut visit.form().await?, texts(&project))?;
    let saved = async {
        let ((workspace, id), change) = (references(&project), parse_change(&edit)?);
        Ok::<_, ApiError>(visit.management().update_project(&visit.call.caller, &workspace, &id, change, visit.call.origin.clone()).await?)
    };
    match saved.await {
        Ok(project) => Ok(visit.done(&path_of(&project), "saved").await),
        Err(error) => show_form(&visit, &form_of(&visit, &project, &Entered::of(&project, &edit), &Mistakes::of(error, "name")?)),
    }
}

#[derive(Deserialize)]
pub(super) struct ShowQuery {
    given: Option<String>,
}

#[derive(Template)]
#[template(path = "project.html")]
struct ProjectView<'a> {
    frame: &'a Frame,
    project: &'a Project,
    made: Moment,
    /// The workspace's name, where the visitor may see it.
    workspace: Option<String>,
    given: Option<GivenList>,
    may_change: bool,
    may_delete: bool,
    may_give: bool,
}

pub(super) async fn show(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let query: ShowQuery = visit.query().await?;
    let project = find(&visit, &path).await?;
    let (whole, place) = (Place::Workspace(project.workspace_id), Place::Project(project.workspace_id, project.id));
    let access = &visit.call.caller.access;
    let (workspace_id, id) = references(&project);
    let workspace = if access.holds(&Permission::WORKSPACES_READ, whole) {
        Some(visit.management().find_workspace(&visit.call.caller, &workspace_id).await?.name.to_string())
    } else {
        None
    };
    let given = if access.holds(&Permission::ROLES_READ, place) {
        let wanted = AssignmentQuery { workspace: Some(workspace_id), project: Some(id), ..AssignmentQuery::default() };
        Some(given::list(&visit, &wanted, query.given.as_deref(), &path_of(&project)).await?)
    } else {
        None
    };
    visit.show(&ProjectView {
        frame: &visit.frame,
        made: visit.moment(project.created_at),
        workspace,
        given,
        may_change: access.holds(&Permission::PROJECTS_MANAGE, place),
        may_delete: access.holds(&Permission::PROJECTS_MANAGE, whole),
        may_give: access.holds(&Permission::ROLES_MANAGE, place),
        project: &project,
    })
}

fn deletion(project: &Project) -> Question {
    Question {
        title: format!("Delete project {}?", project.name),
        about: vec!["Only a project in which nothing is given can be deleted. What the workspace itself keeps of it is not touched.".to_owned()],
        button: format!("Delete {}", project.name),
        back: path_of(project),
        back_label: project.name.to_string(),
        danger: true,
    }
}

pub(super) async fn confirm_delete(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    deletion(&find(&visit, &path).await?).ask(&visit)
}

pub(super) async fn delete(visit: Visit, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let project = find(&visit, &path).await?;
    let (workspace, id) = references(&project);
    match visit.management().delete_project(&visit.call.caller, &workspace, &id, visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done(&format!("/workspaces/{}", project.workspace_id), "deleted").await),
        Err(error) => deletion(&project).refuse(&visit, error.into()),
    }
}
