//! `/role-assignments`: giving a role or permissions, to whomever and wherever, and taking it back. Where one comes from says what is chosen already:
//! `/role-assignments/new?service_account=…`, or `user`, or `team`; with `role`, `workspace` and `project`, those, too.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;

use super::super::api::fields::Fields;
use super::super::body::Form;
use super::super::error::ApiError;
use super::confirm::Question;
use super::frame::Frame;
use super::given::{page_for, page_of, proposals, where_it_counts};
use super::mistakes::Mistakes;
use super::permission_boxes::{ALL, PermissionBoxes};
use super::visit::{Visit, to};
use super::workspaces::{Reachable, reachable};
use crate::domain::access::{Given, Level, Place};
use crate::domain::id::{Reference, RoleAssignmentId};
use crate::domain::name::Invalid;
use crate::domain::permission::Permission;
use crate::domain::role::Role;
use crate::service::{HolderReference, NewAssignment, NewGiven};
use crate::store::{Holder, StoredAssignment};

/// What the form sends for the whole organization.
const EVERYWHERE: &str = "*";

/// Of so many workspaces the projects are offered, too; there is a link to the form on the page of each project.
const WITH_PROJECTS: usize = 30;

#[derive(Deserialize)]
pub(super) struct NewQuery {
    service_account: Option<String>,
    user: Option<String>,
    team: Option<String>,
    role: Option<String>,
    workspace: Option<String>,
    project: Option<String>,
}

impl NewQuery {
    /// Whom it is about, where that is chosen already: the kind, and the id or name.
    fn holder(&self) -> Option<(&'static str, &str)> {
        let named = [("service_account", &self.service_account), ("user", &self.user), ("team", &self.team)];
        named.into_iter().find_map(|(kind, text)| text.as_deref().filter(|text| !text.is_empty()).map(|text| (kind, text)))
    }
}

/// Whom it is given to, where that is chosen already.
struct Chosen {
    name: String,
    href: String,
}

#[derive(Template)]
#[template(path = "role_assignment_new.html")]
struct NewView<'a> {
    frame: &'a Frame,
    chosen: Option<&'a Chosen>,
    entered: &'a Entered,
    offer: Offer,
    mistakes: &'a Mistakes,
}

/// What was entered into the form.
struct Entered {
    kind: String,
    holder: String,
    /// `role` or `permissions`.
    access: String,
    role: String,
    permissions: Vec<String>,
    /// `*`, the id of a workspace, or the ids of a workspace and a project of it with a slash between.
    place: String,
}

impl Entered {
    fn read(form: &mut Form, query: &NewQuery) -> Result<Self, ApiError> {
        let mut take = |name: &str| form.take(name).map(Option::unwrap_or_default);
        let (kind, holder) = (take("kind")?, take("holder")?);
        let (kind, holder) = query.holder().map_or((kind, holder), |(kind, holder)| (kind.to_owned(), holder.to_owned()));
        Ok(Self { kind, holder, access: take("access")?, role: take("role")?, place: take("place")?, permissions: form.take_all("permissions") })
    }

    fn holder(&self) -> HolderReference {
        let reference = Reference::from(self.holder.trim());
        match self.kind.as_str() {
            "user" => HolderReference::User(reference),
            "team" => HolderReference::Team(reference),
            _ => HolderReference::ServiceAccount(reference),
        }
    }

    fn parse(&self) -> Result<NewAssignment, ApiError> {
        let mut fields = Fields::default();
        let chosen = |there: bool| if there { Ok(()) } else { Err(Invalid("must be chosen".to_owned())) };
        fields.check("holder", chosen(!self.holder.trim().is_empty()));
        fields.check("place", chosen(!self.place.is_empty()));
        let given = if self.access == "permissions" {
            let some = fields
                .check("permissions", if self.permissions.is_empty() { Err(Invalid("must be chosen: at least one".to_owned())) } else { Ok(()) });
            some.and_then(|()| fields.permissions("permissions", Some(&self.permissions))).map(NewGiven::Permissions)
        } else {
            fields.check("role", chosen(!self.role.is_empty()));
            Some(NewGiven::Role(Reference::from(self.role.as_str())))
        };
        let (workspace, project) = match self.place.split_once('/') {
            Some((workspace, project)) => (Some(Reference::from(workspace)), Some(Reference::from(project))),
            None => (Some(self.place.as_str()).filter(|place| *place != EVERYWHERE).map(Reference::from), None),
        };
        let wanted = given.map(|given| NewAssignment { given, holder: self.holder(), workspace, project });
        fields.finish_with(wanted)
    }
}

/// What can be chosen: only what the visitor holds, and where they may give it.
struct Offer {
    everywhere: bool,
    places: Vec<PlaceGroup>,
    roles: Vec<(&'static str, Vec<Role>)>,
    boxes: PermissionBoxes,
    holders: Vec<String>,
}

/// A workspace and its projects.
struct PlaceGroup {
    label: String,
    options: Vec<(String, String)>,
}

/// The places at which the visitor may give something, and these as people choose them.
async fn places(visit: &Visit, query: &NewQuery) -> Result<(Vec<Place>, Vec<PlaceGroup>), ApiError> {
    let caller = &visit.call.caller;
    let mut places = Vec::new();
    let mut groups = Vec::new();
    let Reachable { workspaces, projects } = reachable(visit).await?;
    for (index, workspace) in workspaces.iter().enumerate() {
        let (id, place) = (workspace.id, Place::Workspace(workspace.id));
        if !caller.access.holds(&Permission::ROLES_MANAGE, place) {
            continue;
        }
        places.push(place);
        let mut options = vec![(id.to_string(), "Whole workspace".to_owned())];
        let asked_for = query.workspace.as_deref().is_some_and(|asked| asked == id.to_string() || asked == workspace.slug.as_str());
        if index < WITH_PROJECTS || asked_for {
            for project in visit.management().list_projects(caller, &Reference::Id(id.0), ALL).await? {
                places.push(Place::Project(id, project.id));
                options.push((format!("{id}/{}", project.id), format!("Project {}", project.name)));
            }
        }
        groups.push(PlaceGroup { label: workspace.name.to_string(), options });
    }
    // Projects of workspaces that the visitor does not see.
    let single = projects.iter().filter(|it| caller.access.holds(&Permission::ROLES_MANAGE, Place::Project(it.workspace_id, it.id)));
    let single: Vec<_> = single.map(|it| (Place::Project(it.workspace_id, it.id), format!("{}/{}", it.workspace_id, it.id), it)).collect();
    if !single.is_empty() {
        places.extend(single.iter().map(|(place, _, _)| *place));
        let options = single.into_iter().map(|(_, value, project)| (value, format!("Project {}", project.name))).collect();
        groups.push(PlaceGroup { label: "Single projects".to_owned(), options });
    }
    Ok((places, groups))
}

async fn offer(visit: &Visit, query: &NewQuery, entered: &Entered) -> Result<Offer, ApiError> {
    let caller = &visit.call.caller;
    let everywhere = caller.access.holds(&Permission::ROLES_MANAGE, Place::Organization);
    let (mut places, groups) = places(visit, query).await?;
    places.extend(everywhere.then_some(Place::Organization));
    if caller.access.holds(&Permission::ROLES_MANAGE, Place::Platform) {
        places.push(Place::Platform);
    }
    let may_read = caller.access.holds_somewhere(&Permission::ROLES_READ);
    let mut of_level = [
        (Level::Workspace, "In a workspace", Vec::new()),
        (Level::Project, "In a project", Vec::new()),
        (Level::Organization, "In the whole organization", Vec::new()),
        (Level::Platform, "On the whole platform (choose: whole organization)", Vec::new()),
    ];
    let roles = if may_read { visit.management().list_roles(caller, ALL).await? } else { Vec::new() };
    for role in roles {
        let can = places.iter().any(|place| place.level() == role.level && caller.access.covers_at(*place, &role.grant));
        if let Some((_, _, list)) = of_level.iter_mut().find(|(level, _, _)| can && *level == role.level) {
            list.push(role);
        }
    }
    let held = |permission: &Permission| places.iter().any(|place| *place != Place::Platform && caller.access.holds(permission, *place));
    Ok(Offer {
        everywhere: everywhere || places.contains(&Place::Platform),
        places: groups,
        roles: of_level.into_iter().filter(|(_, _, roles)| !roles.is_empty()).map(|(_, label, roles)| (label, roles)).collect(),
        boxes: PermissionBoxes::new(visit, &entered.permissions, held).await?,
        holders: if query.holder().is_none() { proposals(visit, true).await? } else { Vec::new() },
    })
}

/// Whom the link to the form was about.
async fn chosen(visit: &Visit, query: &NewQuery) -> Result<Option<Chosen>, ApiError> {
    let Some((kind, text)) = query.holder() else { return Ok(None) };
    let (caller, management, reference) = (&visit.call.caller, visit.management(), Reference::from(text));
    // Who may not read about them may still give them something.
    let chosen = match kind {
        "user" if visit.may(&Permission::USERS_READ) => {
            let user = management.find_user(caller, &reference).await?;
            Chosen { href: page_of(Holder::User(user.id)), name: user.email.to_string() }
        }
        "team" if visit.may(&Permission::TEAMS_READ) => {
            let team = management.find_team(caller, &reference).await?;
            Chosen { href: page_of(Holder::Team(team.id)), name: format!("team {}", team.name) }
        }
        "service_account" if visit.may(&Permission::SERVICE_ACCOUNTS_READ) => {
            let account = management.find_account(caller, &reference).await?;
            Chosen { href: page_of(Holder::ServiceAccount(account.id)), name: account.name.to_string() }
        }
        _ => Chosen { href: "/".to_owned(), name: text.to_owned() },
    };
    Ok(Some(chosen))
}

async fn show(visit: &Visit, query: &NewQuery, entered: &Entered, mistakes: &Mistakes) -> Result<HttpResponse, ApiError> {
    let chosen = chosen(visit, query).await?;
    let view = NewView { frame: &visit.frame, chosen: chosen.as_ref(), entered, offer: offer(visit, query, entered).await?, mistakes };
    visit.show_with(if mistakes.any() { mistakes.status() } else { StatusCode::OK }, &view)
}

pub(super) async fn new(visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: NewQuery = visit.query().await?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let place = match (&query.workspace, &query.project) {
        (Some(workspace), Some(project)) => format!("{workspace}/{project}"),
        (Some(workspace), None) => workspace.clone(),
        (None, _) => String::new(),
    };
    let entered = Entered {
        kind: "service_account".to_owned(),
        holder: String::new(),
        access: "role".to_owned(),
        role: text(&query.role),
        permissions: Vec::new(),
        place,
    };
    show(&visit, &query, &entered, &Mistakes::default()).await
}

pub(super) async fn create(mut visit: Visit) -> Result<HttpResponse, ApiError> {
    let query: NewQuery = visit.query().await?;
    let entered = Entered::read(&mut visit.form().await?, &query)?;
    let given = async {
        let wanted = entered.parse()?;
        let made = visit.management().assign(&visit.call.caller, wanted, visit.call.origin.clone()).await;
        visit.commit(made, "given", |made| to(&after(&visit, &made))).await
    };
    match given.await {
        Ok(response) => Ok(response),
        Err(error) => show(&visit, &query, &entered, &Mistakes::of(error, "holder")?).await,
    }
}

/// Where one goes on: to the page of whoever holds it, where the visitor may see that.
fn after(visit: &Visit, stored: &StoredAssignment) -> String {
    let place = || where_it_counts(visit, stored.assignment.place, None, None).1;
    page_for(visit, stored.holder).or_else(place).unwrap_or_else(|| "/".to_owned())
}

async fn find(visit: &Visit, id: &Path<String>) -> Result<StoredAssignment, ApiError> {
    let nowhere = || ApiError::new("not_found", "there is nothing of this id that was given; it may have been taken back");
    let id: RoleAssignmentId = id.parse().map_err(|_| nowhere())?;
    Ok(visit.management().get_assignment(&visit.call.caller, id).await?)
}

fn taking(visit: &Visit, stored: &StoredAssignment) -> Question {
    let holder = &stored.holder_name;
    let what = match &stored.assignment.given {
        Given::Role(role) => role.name.to_string(),
        Given::Permissions(permissions) => permissions.iter().map(Permission::as_str).collect::<Vec<_>>().join(", "),
    };
    let (place, _) = where_it_counts(visit, stored.assignment.place, stored.workspace.as_deref(), stored.project.as_deref());
    let members = if matches!(stored.holder, Holder::Team(_)) { "Each member of the team" } else { holder.as_str() };
    Question {
        title: format!("Take back {what} from {holder}?"),
        about: vec![
            format!("It was given here: {place}."),
            format!(
                "{members} loses it at once at Hourpass. Tokens for workspaces that were issued before keep what they say until they expire, after an hour at most."
            ),
            "What comes by another role or another team stays.".to_owned(),
        ],
        button: format!("Take back {what}"),
        back: after(visit, stored),
        back_label: holder.clone(),
        danger: true,
    }
}

pub(super) async fn confirm_delete(visit: Visit, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let stored = find(&visit, &id).await?;
    taking(&visit, &stored).ask(&visit)
}

pub(super) async fn delete(visit: Visit, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let stored = find(&visit, &id).await?;
    match visit.management().unassign(&visit.call.caller, stored.assignment.id, visit.call.origin.clone()).await {
        Ok(()) => Ok(visit.done(&after(&visit, &stored), "taken").await),
        Err(error) => taking(&visit, &stored).refuse(&visit, error.into()),
    }
}
