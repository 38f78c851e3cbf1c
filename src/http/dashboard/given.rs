//! What was given to whom and where, as the pages of holders, roles and places list it.

use super::super::api::page::Asked;
use super::super::error::ApiError;
use super::link::Pager;
use super::moment::Moment;
use super::visit::Visit;
use crate::domain::access::{Given, Place};
use crate::domain::entity::Team;
use crate::domain::id::{Reference, RoleAssignmentId};
use crate::domain::permission::Permission;
use crate::service::{AssignmentQuery, HolderReference, Page};
use crate::store::{AccountFilter, Holder, StoredAssignment, UserFilter};

/// As many as one page of a list shows at most.
const MANY: Page = Page { after: uuid::Uuid::nil(), limit: 200 };

/// Something that was given.
pub(super) struct GivenRow {
    pub(super) id: RoleAssignmentId,
    /// The role's page and name; without one, single permissions were given.
    pub(super) role: Option<(String, String)>,
    pub(super) permissions: Vec<String>,
    pub(super) place: String,
    pub(super) place_href: Option<String>,
    pub(super) holder: String,
    pub(super) holder_href: Option<String>,
    pub(super) bot: bool,
    pub(super) is_team: bool,
    /// The team's page and name, where it comes through a team.
    pub(super) team: Option<(String, String)>,
    pub(super) since: Moment,
    pub(super) may_take: bool,
}

/// A page of what was given.
pub(super) struct GivenList {
    pub(super) rows: Vec<GivenRow>,
    pub(super) pager: Pager,
}

impl GivenRow {
    fn new(visit: &Visit, stored: StoredAssignment, team: Option<&Team>) -> Self {
        let place = stored.assignment.place;
        let (role, permissions) = match &stored.assignment.given {
            Given::Role(role) => (Some((format!("/roles/{}", role.id), role.name.to_string())), Vec::new()),
            Given::Permissions(permissions) => (None, permissions.iter().map(ToString::to_string).collect()),
        };
        let (place_name, place_href) = where_it_counts(visit, place, stored.workspace.as_deref(), stored.project.as_deref());
        Self {
            id: stored.assignment.id,
            role,
            permissions,
            place: place_name,
            place_href,
            holder_href: page_for(visit, stored.holder),
            bot: matches!(stored.holder, Holder::ServiceAccount(_)),
            is_team: matches!(stored.holder, Holder::Team(_)),
            holder: stored.holder_name,
            team: team.map(|team| (format!("/teams/{}", team.id), team.name.to_string())),
            since: visit.moment(stored.created_at),
            // What comes through a team is taken back at the team.
            may_take: team.is_none() && visit.call.caller.access.holds(&Permission::ROLES_MANAGE, place),
        }
    }
}

/// What the place is called, and its page, where the visitor may see that.
pub(super) fn where_it_counts(visit: &Visit, place: Place, workspace: Option<&str>, project: Option<&str>) -> (String, Option<String>) {
    let workspace = workspace.unwrap_or_default();
    let page = |href: String| Some(href).filter(|_| visit.call.caller.access.holds(&Permission::WORKSPACES_READ, place));
    match place {
        Place::Platform => ("Whole platform".to_owned(), None),
        Place::Organization => ("Whole organization".to_owned(), None),
        Place::Workspace(id) => (format!("Workspace {workspace}"), page(format!("/workspaces/{id}"))),
        Place::Project(id, project_id) => {
            (format!("Project {} in {workspace}", project.unwrap_or_default()), page(format!("/workspaces/{id}/projects/{project_id}")))
        }
    }
}

/// The page of whoever holds something.
pub(super) fn page_of(holder: Holder) -> String {
    match holder {
        Holder::ServiceAccount(id) => format!("/service-accounts/{id}"),
        Holder::User(id) => format!("/people/{id}"),
        Holder::Team(id) => format!("/teams/{id}"),
    }
}

/// The same, where the visitor may see it.
pub(super) fn page_for(visit: &Visit, holder: Holder) -> Option<String> {
    let needed = match holder {
        Holder::ServiceAccount(_) => Permission::SERVICE_ACCOUNTS_READ,
        Holder::User(_) => Permission::USERS_READ,
        Holder::Team(_) => Permission::TEAMS_READ,
    };
    visit.may(&needed).then(|| page_of(holder))
}

/// A page of what was given, for the page at `path`; `cursor` is what it was asked for as `given`.
pub(super) async fn list(visit: &Visit, query: &AssignmentQuery, cursor: Option<&str>, path: &str) -> Result<GivenList, ApiError> {
    let asked = Asked::parse(None, cursor)?;
    let found = visit.management().list_given(&visit.call.caller, query, asked.page()).await?;
    let page = asked.answer(found, |stored| stored.assignment.id.0, |stored| GivenRow::new(visit, stored, None));
    Ok(GivenList { rows: page.items, pager: Pager::new(path, &[], "given", cursor, page.next_cursor.as_deref()) })
}

/// What reaches an account or a person through the teams that they are in.
pub(super) async fn through(visit: &Visit, teams: &[Team]) -> Result<Vec<GivenRow>, ApiError> {
    let mut rows = Vec::new();
    for team in teams {
        let query = AssignmentQuery { holder: Some(HolderReference::Team(Reference::Id(team.id.0))), ..AssignmentQuery::default() };
        let found = visit.management().list_given(&visit.call.caller, &query, MANY).await?;
        rows.extend(found.into_iter().map(|stored| GivenRow::new(visit, stored, Some(team))));
    }
    Ok(rows)
}

/// Names that a field for a holder may propose: of those that the visitor may see, the first ones.
pub(super) async fn proposals(visit: &Visit, teams: bool) -> Result<Vec<String>, ApiError> {
    let (caller, management) = (&visit.call.caller, visit.management());
    let mut names = Vec::new();
    if visit.may(&Permission::SERVICE_ACCOUNTS_READ) {
        let found = management.list_accounts(caller, &AccountFilter::default(), MANY).await?;
        names.extend(found.into_iter().map(|account| account.name.to_string()));
    }
    if visit.may(&Permission::USERS_READ) {
        let found = management.list_users(caller, &UserFilter::default(), MANY).await?;
        names.extend(found.into_iter().map(|user| user.email.to_string()));
    }
    if teams && visit.may(&Permission::TEAMS_READ) {
        names.extend(management.list_teams(caller, None, MANY).await?.into_iter().map(|team| team.name.to_string()));
    }
    Ok(names)
}
