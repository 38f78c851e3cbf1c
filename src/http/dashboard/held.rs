//! What an account holds, itself and through its teams.

use super::super::error::ApiError;
use super::visit::Visit;
use crate::domain::access::{Given, Place};
use crate::domain::entity::{ServiceAccount, Team};
use crate::domain::id::{Reference, RoleAssignmentId};
use crate::domain::permission::Permission;
use crate::service::{AssignmentQuery, HolderReference, Page};
use crate::store::StoredAssignment;

/// As much as is shown of what one holder was given.
const SHOWN: Page = Page { after: uuid::Uuid::nil(), limit: 200 };

/// Something that is held.
pub(super) struct HeldRow {
    pub(super) id: RoleAssignmentId,
    /// The page and the name of the role; without one, single permissions were given.
    pub(super) role: Option<(String, String)>,
    pub(super) permissions: Vec<String>,
    pub(super) place: String,
    pub(super) place_href: Option<String>,
    /// The page and the name of the team that it comes through.
    pub(super) team: Option<(String, String)>,
    pub(super) may_take: bool,
}

/// Nothing where the visitor may not see it.
pub(super) async fn of(visit: &Visit, account: &ServiceAccount, teams: Option<&[Team]>) -> Result<Option<Vec<HeldRow>>, ApiError> {
    if !visit.may(&Permission::ROLES_READ) {
        return Ok(None);
    }
    let mut rows = given(visit, HolderReference::ServiceAccount(Reference::Id(account.id.0)), None).await?;
    for team in teams.unwrap_or_default() {
        rows.extend(given(visit, HolderReference::Team(Reference::Id(team.id.0)), Some(team)).await?);
    }
    Ok(Some(rows))
}

async fn given(visit: &Visit, holder: HolderReference, team: Option<&Team>) -> Result<Vec<HeldRow>, ApiError> {
    let query = AssignmentQuery { holder: Some(holder), ..AssignmentQuery::default() };
    let found = visit.management().list_given(&visit.call.caller, &query, SHOWN).await?;
    Ok(found.into_iter().map(|stored| row(visit, stored, team)).collect())
}

fn row(visit: &Visit, stored: StoredAssignment, team: Option<&Team>) -> HeldRow {
    let place = stored.assignment.place;
    let (place_name, place_href) = whereabouts(&stored);
    let (role, permissions) = match stored.assignment.given {
        Given::Role(role) => (Some((format!("/roles/{}", role.id), role.name.to_string())), Vec::new()),
        Given::Permissions(permissions) => (None, permissions.iter().map(ToString::to_string).collect()),
    };
    HeldRow {
        id: stored.assignment.id,
        role,
        permissions,
        place: place_name,
        place_href,
        team: team.map(|team| (format!("/teams/{}", team.id), team.name.to_string())),
        // What comes through a team is taken back at the team.
        may_take: team.is_none() && visit.call.caller.access.holds(&Permission::ROLES_MANAGE, place),
    }
}

/// What the place is called, and its page.
fn whereabouts(stored: &StoredAssignment) -> (String, Option<String>) {
    let workspace = stored.workspace.as_deref().unwrap_or_default();
    match stored.assignment.place {
        Place::Platform => ("Whole platform".to_owned(), None),
        Place::Organization => ("Whole organization".to_owned(), None),
        Place::Workspace(id) => (format!("Workspace {workspace}"), Some(format!("/workspaces/{id}"))),
        Place::Project(id, _) => {
            (format!("Project {} in {workspace}", stored.project.as_deref().unwrap_or_default()), Some(format!("/workspaces/{id}")))
        }
    }
}
