//! Organizations.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Ended, Engine, StoreError, Tx, dialect};
use crate::domain::entity::{KeyPolicy, Organization};
use crate::domain::id::OrganizationId;
use crate::domain::name::{Name, Slug};
use crate::domain::time::Timestamp;

/// The columns of [`OrganizationRow`], of a table called `o`.
macro_rules! organization_columns {
    () => {
        "o.id AS organization_id, o.slug AS organization_slug, o.name AS organization_name, \
         o.api_key_max_days AS organization_api_key_max_days, o.api_key_default_days AS organization_api_key_default_days, \
         o.created_at AS organization_created_at"
    };
}
pub(super) use organization_columns;

statements! {
    FIND_FIRST = "SELECT id FROM organizations ORDER BY id LIMIT 1";
    INSERT = "INSERT INTO organizations (id, slug, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    COUNT = "SELECT count(*) FROM organizations";
    UPDATE = "UPDATE organizations SET name = $2, api_key_max_days = $3, api_key_default_days = $4 WHERE id = $1";
    // Changes nothing, and makes others who would change it wait.
    LOCK = "UPDATE organizations SET name = name WHERE id = $1";
    LIST = concat!("SELECT ", organization_columns!(), " FROM organizations o WHERE o.id > $1 ORDER BY o.id LIMIT $2");
    DELETE_MEMBERS = "DELETE FROM team_members WHERE team_id IN (SELECT id FROM teams WHERE organization_id = $1)";
    DELETE_ASSIGNMENTS = "DELETE FROM role_assignments WHERE organization_id = $1";
    DELETE_TEAMS = "DELETE FROM teams WHERE organization_id = $1";
    DELETE_ROLES = "DELETE FROM roles WHERE organization_id = $1";
    DELETE_CATALOGUE = "DELETE FROM permissions WHERE organization_id = $1";
    DELETE_SESSIONS = "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE organization_id = $1)";
    DELETE_INVITATIONS = "DELETE FROM invitations WHERE user_id IN (SELECT id FROM users WHERE organization_id = $1)";
    DELETE_MAKERS = "DELETE FROM makers WHERE owner_id IN (SELECT id FROM users WHERE organization_id = $1)";
    DELETE_USERS = "DELETE FROM users WHERE organization_id = $1";
    DELETE = "DELETE FROM organizations WHERE id = $1";
    FIND_BY_ID = concat!("SELECT ", organization_columns!(), " FROM organizations o WHERE o.id = $1");
    FIND_BY_SLUG = concat!("SELECT ", organization_columns!(), " FROM organizations o WHERE o.slug = $1");
}

#[derive(FromRow)]
pub(super) struct OrganizationRow {
    organization_id: Uuid,
    organization_slug: String,
    organization_name: String,
    organization_api_key_max_days: Option<i64>,
    organization_api_key_default_days: Option<i64>,
    organization_created_at: i64,
}

impl From<OrganizationRow> for Organization {
    fn from(row: OrganizationRow) -> Self {
        Self {
            id: OrganizationId(row.organization_id),
            slug: Slug::from_stored(row.organization_slug),
            name: Name::from_stored(row.organization_name),
            key_policy: KeyPolicy { max_days: days(row.organization_api_key_max_days), default_days: days(row.organization_api_key_default_days) },
            created_at: Timestamp::from_micros(row.organization_created_at),
        }
    }
}

/// Stored from a `u16`; anything else never was.
fn days(stored: Option<i64>) -> Option<u16> {
    stored.and_then(|days| u16::try_from(days).ok())
}

reads! {
    /// Finds an organization by its slug.
    fn find_organization(slug: &str) -> Option<Organization> = |connection| {
        Ok(sqlx::query_as::<_, OrganizationRow>(FIND_BY_SLUG).bind(slug).fetch_optional(connection).await?.map(Organization::from))
    };
    /// Finds an organization by its id.
    fn find_organization_by_id(id: Uuid) -> Option<Organization> = |connection| {
        Ok(sqlx::query_as::<_, OrganizationRow>(FIND_BY_ID).bind(id).fetch_optional(connection).await?.map(Organization::from))
    };
    /// Lists all organizations in the order of their ids: at most `limit` of those after `after`.
    fn list_organizations(after: Uuid, limit: i64) -> Vec<Organization> = |connection| {
        let rows = sqlx::query_as::<_, OrganizationRow>(LIST).bind(after).bind(limit).fetch_all(connection).await?;
        Ok(rows.into_iter().map(Organization::from).collect())
    };
}

writes! {
    /// The rows of an organization.
    fn delete_rows_of_organization(id: OrganizationId) [changes id.0] =
        DELETE_MEMBERS(id.0), DELETE_ASSIGNMENTS(id.0), DELETE_TEAMS(id.0), DELETE_ROLES(id.0), DELETE_CATALOGUE(id.0), DELETE_SESSIONS(id.0),
        DELETE_INVITATIONS(id.0), DELETE_MAKERS(id.0), DELETE_USERS(id.0), DELETE(id.0);
}

impl Tx {
    /// The organization that was made first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_first_organization(&mut self) -> Result<Option<OrganizationId>, StoreError> {
        let id: Option<Uuid> = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(FIND_FIRST).fetch_optional(&mut **tx).await)?;
        Ok(id.map(OrganizationId))
    }

    /// Deletes an organization with its people, teams, roles and catalogue. It may have neither workspaces nor service accounts.
    ///
    /// # Errors
    /// Where it has, and where the database fails.
    pub async fn delete_organization(&mut self, id: OrganizationId, now: Timestamp) -> Result<(), StoreError> {
        self.end_status(Ended::Organization(id), now).await?;
        self.delete_rows_of_organization(id).await
    }

    /// Reads an organization, and keeps others from changing it until the transaction ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn lock_organization(&mut self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        let row = on!(Engine, &mut self.engine, |tx| {
            sqlx::query(LOCK).bind(id.0).execute(&mut **tx).await?;
            sqlx::query_as::<_, OrganizationRow>(FIND_BY_ID).bind(id.0).fetch_optional(&mut **tx).await?
        });
        Ok(row.map(Organization::from))
    }

    /// Keeps others from changing who may do what in an organization until the transaction ends, and lets them change all else.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn share_organization(&mut self, id: OrganizationId) -> Result<(), StoreError> {
        dialect::share_organization(self, id).await
    }

    /// Replaces the name and the key policy of an organization.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn update_organization(&mut self, organization: &Organization) -> Result<(), StoreError> {
        self.note_change(organization.id.0);
        on!(Engine, &mut self.engine, |tx| sqlx::query(UPDATE)
            .bind(organization.id.0)
            .bind(organization.name.as_str())
            .bind(organization.key_policy.max_days.map(i64::from))
            .bind(organization.key_policy.default_days.map(i64::from))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Makes the first organization of an empty database. `false`: the database is not empty, or another node is just making it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_first_organization(&mut self, organization: &Organization) -> Result<bool, StoreError> {
        let count: i64 = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(COUNT).fetch_one(&mut **tx).await)?;
        if count > 0 {
            return Ok(false);
        }
        self.insert_organization(organization).await
    }

    /// Makes an organization. `false`: its slug is taken. Of several transactions that do so at once, one goes through, and the others wait for its end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_organization(&mut self, organization: &Organization) -> Result<bool, StoreError> {
        let rows = on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
            .bind(organization.id.0)
            .bind(organization.slug.as_str())
            .bind(organization.name.as_str())
            .bind(organization.created_at.as_micros())
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }
}
