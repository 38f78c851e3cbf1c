//! Who was given what where.

use std::collections::BTreeSet;

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, StoreError};
use crate::domain::access::{Assignment, Given, Grant, Level, Place};
use crate::domain::id::{OrganizationId, ProjectId, RoleAssignmentId, RoleId, ServiceAccountId, TeamId, UserId, WorkspaceId};
use crate::domain::name::Name;
use crate::domain::permission::{Permission, from_scope, to_scope};
use crate::domain::role::{BUILT_IN, ORGANIZATION_ADMIN, Role};
use crate::domain::time::Timestamp;

/// The columns of [`AssignmentRow`], of the tables `g` (`role_assignments`), `r` (`roles`) and `t` (`teams`).
macro_rules! columns {
    () => {
        "g.id, g.role_id, g.permissions, g.level, g.workspace_id, g.project_id, r.organization_id AS role_organization_id, r.name AS role_name, \
         r.description AS role_description, r.level AS role_level, r.permissions AS role_permissions, r.created_at AS role_created_at, \
         t.id AS team_id, t.name AS team_name"
    };
}

/// What someone was given themselves (`$column` is theirs), and through teams.
macro_rules! list_held {
    ($column:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM role_assignments g LEFT JOIN roles r ON r.id = g.role_id LEFT JOIN teams t ON t.id = g.team_id WHERE g.",
            $column,
            " = $1 UNION ALL SELECT ",
            columns!(),
            " FROM team_members m JOIN role_assignments g ON g.team_id = m.team_id",
            " JOIN teams t ON t.id = m.team_id LEFT JOIN roles r ON r.id = g.role_id WHERE m.member_id = $1"
        )
    };
}

/// Assignments of an organization (`$1`), with who holds them.
macro_rules! select_given {
    ($where:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", g.service_account_id, g.user_id, g.team_id AS holder_team_id, COALESCE(a.name, u.email, t.name) AS holder_name,",
            " g.created_at, w.slug AS workspace_slug, p.slug AS project_slug",
            " FROM role_assignments g LEFT JOIN roles r ON r.id = g.role_id LEFT JOIN teams t ON t.id = g.team_id",
            " LEFT JOIN service_accounts a ON a.id = g.service_account_id LEFT JOIN users u ON u.id = g.user_id",
            " LEFT JOIN workspaces w ON w.id = g.workspace_id LEFT JOIN projects p ON p.id = g.project_id WHERE g.organization_id = $1",
            $where
        )
    };
}

statements! {
    INSERT = "INSERT INTO role_assignments (id, organization_id, service_account_id, user_id, team_id, role_id, permissions, level, workspace_id, \
              project_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    DELETE = "DELETE FROM role_assignments WHERE id = $1";
    LIST_OF_SERVICE_ACCOUNT = list_held!("service_account_id");
    LIST_OF_USER = list_held!("user_id");
    LIST_OF_TEAM = list_held!("team_id");
    FIND = select_given!(" AND g.id = $2");
    LIST = select_given!(
        " AND g.id > $2 AND (g.service_account_id = $4 OR g.user_id = $4 OR g.team_id = $4 OR $4 IS NULL) AND (g.role_id = $5 OR $5 IS NULL) \
         AND (g.workspace_id = $6 OR $6 IS NULL) AND (g.project_id = $7 OR $7 IS NULL) ORDER BY g.id LIMIT $3"
    );
    COUNT_OF_ROLE = "SELECT count(*) FROM role_assignments WHERE role_id = $1";
    COUNT_IN_WORKSPACE = "SELECT count(*) FROM role_assignments WHERE workspace_id = $1 AND (project_id = $2 OR $2 IS NULL)";
    COUNT_WITH = "SELECT count(*) FROM role_assignments WHERE organization_id = $1 AND permissions IS NOT NULL \
                  AND replace(' ' || permissions || ' ', ' ' || $2 || ' ', '') <> ' ' || permissions || ' '";
    COUNT_ADMINISTRATORS = "SELECT count(*) FROM users u WHERE u.organization_id = $1 AND u.active AND u.password_hash <> '' AND (\
                            EXISTS (SELECT 1 FROM role_assignments g WHERE g.user_id = u.id AND g.role_id = $2) \
                            OR EXISTS (SELECT 1 FROM team_members m JOIN role_assignments g ON g.team_id = m.team_id \
                            WHERE m.member_id = u.id AND g.role_id = $2))";
    DELETE_OF_ACCOUNT = "DELETE FROM role_assignments WHERE service_account_id = $1";
    DELETE_OF_USER = "DELETE FROM role_assignments WHERE user_id = $1";
    DELETE_MEMBERSHIPS = "DELETE FROM team_members WHERE member_id = $1";
}

/// Who can be given something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A machine.
    ServiceAccount(ServiceAccountId),
    /// A person.
    User(UserId),
    /// All members of a team.
    Team(TeamId),
}

impl Holder {
    fn list(self) -> (&'static str, Uuid) {
        match self {
            Self::ServiceAccount(id) => (LIST_OF_SERVICE_ACCOUNT, id.0),
            Self::User(id) => (LIST_OF_USER, id.0),
            Self::Team(id) => (LIST_OF_TEAM, id.0),
        }
    }

    /// The columns `service_account_id`, `user_id` and `team_id`.
    fn columns(self) -> [Option<Uuid>; 3] {
        match self {
            Self::ServiceAccount(id) => [Some(id.0), None, None],
            Self::User(id) => [None, Some(id.0), None],
            Self::Team(id) => [None, None, Some(id.0)],
        }
    }
}

#[derive(FromRow)]
struct AssignmentRow {
    id: Uuid,
    role_id: Option<Uuid>,
    permissions: Option<String>,
    level: String,
    workspace_id: Option<Uuid>,
    project_id: Option<Uuid>,
    role_organization_id: Option<Uuid>,
    role_name: Option<String>,
    role_description: Option<String>,
    role_level: Option<String>,
    role_permissions: Option<String>,
    role_created_at: Option<i64>,
    team_id: Option<Uuid>,
    team_name: Option<String>,
}

impl AssignmentRow {
    fn corrupt(&self, what: &str) -> StoreError {
        StoreError::Corrupt(format!("role_assignments.{what} of {}", self.id))
    }

    fn given(&self) -> Result<Given, StoreError> {
        let Some(id) = self.role_id.map(RoleId) else {
            return Ok(Given::Permissions(from_scope(self.permissions.as_deref().unwrap_or_default()).collect::<BTreeSet<_>>()));
        };
        if let Some(role) = BUILT_IN.iter().find(|role| role.id == id) {
            return Ok(Given::Role(role.clone()));
        }
        let level = self.role_level.as_deref().and_then(|level| level.parse::<Level>().ok()).ok_or_else(|| self.corrupt("role_id"))?;
        Ok(Given::Role(Role {
            id,
            organization_id: self.role_organization_id.map(OrganizationId),
            name: Name::from_stored(self.role_name.clone().unwrap_or_default()),
            description: self.role_description.clone().unwrap_or_default(),
            level,
            grant: Grant::these(from_scope(self.role_permissions.as_deref().unwrap_or_default())),
            created_at: self.role_created_at.map(Timestamp::from_micros),
        }))
    }

    fn place(&self) -> Result<Place, StoreError> {
        let (workspace, project) = (self.workspace_id.map(WorkspaceId), self.project_id.map(ProjectId));
        match (self.level.parse::<Level>(), workspace, project) {
            (Ok(Level::Platform), None, None) => Ok(Place::Platform),
            (Ok(Level::Organization), None, None) => Ok(Place::Organization),
            (Ok(Level::Workspace), Some(workspace), None) => Ok(Place::Workspace(workspace)),
            (Ok(Level::Project), Some(workspace), Some(project)) => Ok(Place::Project(workspace, project)),
            _ => Err(self.corrupt("level")),
        }
    }
}

impl TryFrom<AssignmentRow> for Assignment {
    type Error = StoreError;

    fn try_from(row: AssignmentRow) -> Result<Self, StoreError> {
        let (given, place) = (row.given()?, row.place()?);
        let team = row.team_id.zip(row.team_name).map(|(id, name)| (TeamId(id), Name::from_stored(name)));
        Ok(Self { id: RoleAssignmentId(row.id), given, place, team })
    }
}

/// An assignment, and who holds it.
#[derive(Clone, Debug)]
pub struct StoredAssignment {
    /// What was given where.
    pub assignment: Assignment,
    /// To whom.
    pub holder: Holder,
    /// Their name.
    pub holder_name: String,
    /// The slug of the workspace.
    pub workspace: Option<String>,
    /// The slug of the project.
    pub project: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

#[derive(FromRow)]
struct StoredRow {
    #[sqlx(flatten)]
    assignment: AssignmentRow,
    service_account_id: Option<Uuid>,
    user_id: Option<Uuid>,
    holder_team_id: Option<Uuid>,
    holder_name: String,
    workspace_slug: Option<String>,
    project_slug: Option<String>,
    created_at: i64,
}

impl TryFrom<StoredRow> for StoredAssignment {
    type Error = StoreError;

    fn try_from(row: StoredRow) -> Result<Self, StoreError> {
        let holder = match (row.service_account_id, row.user_id, row.holder_team_id) {
            (Some(id), None, None) => Holder::ServiceAccount(ServiceAccountId(id)),
            (None, Some(id), None) => Holder::User(UserId(id)),
            (None, None, Some(id)) => Holder::Team(TeamId(id)),
            _ => return Err(row.assignment.corrupt("holder")),
        };
        Ok(Self {
            assignment: row.assignment.try_into()?,
            holder,
            holder_name: row.holder_name,
            workspace: row.workspace_slug,
            project: row.project_slug,
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}

/// Which assignments a list is to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct AssignmentFilter {
    /// Those of this account, person or team themselves.
    pub holder: Option<Uuid>,
    /// Those of this role.
    pub role: Option<RoleId>,
    /// Those in this workspace and its projects.
    pub workspace: Option<WorkspaceId>,
    /// Those in this project.
    pub project: Option<ProjectId>,
}

reads! {
    /// Lists what someone was given, themselves and through teams.
    fn list_assignments(holder: Holder) -> Vec<Assignment> = |connection| {
        let (sql, id) = holder.list();
        let rows = sqlx::query_as::<_, AssignmentRow>(sql).bind(id).fetch_all(connection).await?;
        rows.into_iter().map(Assignment::try_from).collect()
    };
    /// Finds an assignment of an organization.
    fn find_assignment(organization: OrganizationId, id: RoleAssignmentId) -> Option<StoredAssignment> = |connection| {
        let row = sqlx::query_as::<_, StoredRow>(FIND).bind(organization.0).bind(id.0).fetch_optional(connection).await?;
        row.map(StoredAssignment::try_from).transpose()
    };
    /// Lists the assignments of an organization in the order of their ids: at most `limit` of those after `after`.
    fn list_given(organization: OrganizationId, filter: &AssignmentFilter, after: Uuid, limit: i64) -> Vec<StoredAssignment> = |connection| {
        let rows = sqlx::query_as::<_, StoredRow>(LIST)
            .bind(organization.0)
            .bind(after)
            .bind(limit)
            .bind(filter.holder)
            .bind(filter.role.map(|id| id.0))
            .bind(filter.workspace.map(|id| id.0))
            .bind(filter.project.map(|id| id.0))
            .fetch_all(connection)
            .await?;
        rows.into_iter().map(StoredAssignment::try_from).collect()
    };
    /// How many times a role is given.
    fn count_assignments_of_role(role: RoleId) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT_OF_ROLE).bind(role.0).fetch_one(connection).await?)
    };
    /// How much is given in a workspace and its projects, or in one of them.
    fn count_assignments_in(workspace: WorkspaceId, project: Option<ProjectId>) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT_IN_WORKSPACE).bind(workspace.0).bind(project.map(|id| id.0)).fetch_one(connection).await?)
    };
    /// How many times a permission is given without a role.
    fn count_assignments_with(organization: OrganizationId, permission: &Permission) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT_WITH).bind(organization.0).bind(permission.as_str()).fetch_one(connection).await?)
    };
    /// How many people can sign in and are Organization Admin.
    fn count_administrators(organization: OrganizationId) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT_ADMINISTRATORS).bind(organization.0).bind(ORGANIZATION_ADMIN.0).fetch_one(connection).await?)
    };
}

fn role_id(given: &Given) -> Option<Uuid> {
    if let Given::Role(role) = given { Some(role.id.0) } else { None }
}

fn permissions(given: &Given) -> Option<String> {
    if let Given::Permissions(permissions) = given { to_scope(permissions) } else { None }
}

writes! {
    /// Gives someone something.
    fn insert_assignment(id: RoleAssignmentId, organization: OrganizationId, holder: Holder, given: &Given, place: Place, now: Timestamp)
        [changes organization.0] = INSERT(
        id.0, organization.0, holder.columns()[0], holder.columns()[1], holder.columns()[2], role_id(given), permissions(given),
        place.level().as_str(), place.workspace().map(|id| id.0), place.project().map(|id| id.0), now.as_micros()
    );
    /// Takes something back.
    fn delete_assignment(organization: OrganizationId, id: RoleAssignmentId) [changes organization.0] = DELETE(id.0);
    /// Takes back all that an account was given, and ends its memberships.
    fn delete_access_of_service_account(id: ServiceAccountId) [changes id.0] = DELETE_OF_ACCOUNT(id.0), DELETE_MEMBERSHIPS(id.0);
    /// Takes back all that a person was given, and ends their memberships.
    fn delete_access_of_user(id: UserId) [changes id.0] = DELETE_OF_USER(id.0), DELETE_MEMBERSHIPS(id.0);
}
