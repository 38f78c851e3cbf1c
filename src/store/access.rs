//! Who holds which role where.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Store, StoreError, Tx};
use crate::domain::access::Assignment;
use crate::domain::id::{OrganizationId, RoleAssignmentId, ServiceAccountId, UserId, WorkspaceId};
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO role_assignments (id, organization_id, service_account_id, user_id, role, workspace_id, created_at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7)";
    LIST_OF_SERVICE_ACCOUNT = "SELECT role, workspace_id FROM role_assignments WHERE service_account_id = $1 ORDER BY id";
    LIST_OF_USER = "SELECT role, workspace_id FROM role_assignments WHERE user_id = $1 ORDER BY id";
}

/// Who can hold a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A machine.
    ServiceAccount(ServiceAccountId),
    /// A person.
    User(UserId),
}

#[derive(FromRow)]
struct AssignmentRow {
    role: String,
    workspace_id: Option<Uuid>,
}

impl TryFrom<AssignmentRow> for Assignment {
    type Error = StoreError;

    fn try_from(row: AssignmentRow) -> Result<Self, StoreError> {
        let role = row.role.parse().map_err(|_| StoreError::Corrupt(format!("role_assignments.role {:?}", row.role)))?;
        Ok(Self { role, workspace: row.workspace_id.map(WorkspaceId) })
    }
}

impl Holder {
    fn list(self) -> (&'static str, Uuid) {
        match self {
            Self::ServiceAccount(id) => (LIST_OF_SERVICE_ACCOUNT, id.0),
            Self::User(id) => (LIST_OF_USER, id.0),
        }
    }
}

impl Store {
    /// Lists the roles that someone holds.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_assignments(&self, holder: Holder) -> Result<Vec<Assignment>, StoreError> {
        let (sql, id) = holder.list();
        let rows = on!(Db, &self.read, |pool| sqlx::query_as::<_, AssignmentRow>(sql).bind(id).fetch_all(pool).await)?;
        rows.into_iter().map(Assignment::try_from).collect()
    }
}

impl Tx {
    /// Lists the roles that someone holds, in this transaction.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_assignments(&mut self, holder: Holder) -> Result<Vec<Assignment>, StoreError> {
        let (sql, id) = holder.list();
        let rows = on!(Self, self, |tx| sqlx::query_as::<_, AssignmentRow>(sql).bind(id).fetch_all(&mut **tx).await)?;
        rows.into_iter().map(Assignment::try_from).collect()
    }

    /// Gives someone a role.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_assignment(
        &mut self,
        id: RoleAssignmentId,
        organization: OrganizationId,
        holder: Holder,
        assignment: Assignment,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (account, user) = match holder {
            Holder::ServiceAccount(id) => (Some(id.0), None),
            Holder::User(id) => (None, Some(id.0)),
        };
        on!(Self, self, |tx| sqlx::query(INSERT)
            .bind(id.0)
            .bind(organization.0)
            .bind(account)
            .bind(user)
            .bind(assignment.role.name())
            .bind(assignment.workspace.map(|id| id.0))
            .bind(now.as_micros())
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }
}
