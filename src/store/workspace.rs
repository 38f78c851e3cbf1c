//! Workspaces.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Store, StoreError, Tx};
use crate::domain::entity::Workspace;
use crate::domain::id::{OrganizationId, Reference, WorkspaceId};
use crate::domain::name::{Audience, Name, Slug, WorkspaceUrl};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, organization_id, slug, name, url, audience, token_lifetime_seconds, signing_algorithm, created_at FROM workspaces WHERE ",
            $where
        )
    };
}

statements! {
    INSERT = "INSERT INTO workspaces (id, organization_id, slug, name, url, audience, token_lifetime_seconds, signing_algorithm, created_at, host) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    FIND_BY_ID = select!("organization_id = $1 AND id = $2");
    FIND_BY_SLUG = select!("organization_id = $1 AND slug = $2");
    FIND_BY_AUDIENCE = select!("organization_id = $1 AND audience = $2");
    FIND_BY_HOST = select!("organization_id = $1 AND host = $2");
}

#[derive(FromRow)]
struct WorkspaceRow {
    id: Uuid,
    organization_id: Uuid,
    slug: String,
    name: String,
    url: Option<String>,
    audience: String,
    token_lifetime_seconds: i64,
    signing_algorithm: String,
    created_at: i64,
}

impl TryFrom<WorkspaceRow> for Workspace {
    type Error = StoreError;

    fn try_from(row: WorkspaceRow) -> Result<Self, StoreError> {
        let signing_algorithm: SigningAlgorithm =
            row.signing_algorithm.parse().map_err(|_| StoreError::Corrupt(format!("workspaces.signing_algorithm {:?}", row.signing_algorithm)))?;
        Ok(Self {
            id: WorkspaceId(row.id),
            organization_id: OrganizationId(row.organization_id),
            slug: Slug::from_stored(row.slug),
            name: Name::from_stored(row.name),
            url: row.url.map(WorkspaceUrl::from_stored),
            audience: Audience::from_stored(row.audience),
            token_lifetime_seconds: row.token_lifetime_seconds,
            signing_algorithm,
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}

impl Store {
    /// Finds a workspace of an organization by its id or slug.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_workspace(&self, organization: OrganizationId, reference: &Reference) -> Result<Option<Workspace>, StoreError> {
        let row = match reference {
            Reference::Id(id) => {
                on!(Db, &self.read, |pool| sqlx::query_as::<_, WorkspaceRow>(FIND_BY_ID).bind(organization.0).bind(*id).fetch_optional(pool).await)
            }
            Reference::Name(slug) => return self.find_workspace_where(FIND_BY_SLUG, organization, slug).await,
        }?;
        row.map(Workspace::try_from).transpose()
    }

    /// Finds the workspace of an organization that has this audience.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_workspace_by_audience(&self, organization: OrganizationId, audience: &str) -> Result<Option<Workspace>, StoreError> {
        self.find_workspace_where(FIND_BY_AUDIENCE, organization, audience).await
    }

    /// Finds the workspace of an organization that is reached at this host (and port, where it is not the scheme's own).
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_workspace_by_host(&self, organization: OrganizationId, host: &str) -> Result<Option<Workspace>, StoreError> {
        self.find_workspace_where(FIND_BY_HOST, organization, host).await
    }

    async fn find_workspace_where(&self, sql: &'static str, organization: OrganizationId, text: &str) -> Result<Option<Workspace>, StoreError> {
        let row = on!(Db, &self.read, |pool| sqlx::query_as::<_, WorkspaceRow>(sql).bind(organization.0).bind(text).fetch_optional(pool).await)?;
        row.map(Workspace::try_from).transpose()
    }
}

impl Tx {
    /// Makes a workspace.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its slug, URL or audience is taken.
    pub async fn insert_workspace(&mut self, workspace: &Workspace) -> Result<(), StoreError> {
        on!(Self, self, |tx| sqlx::query(INSERT)
            .bind(workspace.id.0)
            .bind(workspace.organization_id.0)
            .bind(workspace.slug.as_str())
            .bind(workspace.name.as_str())
            .bind(workspace.url.as_ref().map(WorkspaceUrl::as_str))
            .bind(workspace.audience.as_str())
            .bind(workspace.token_lifetime_seconds)
            .bind(workspace.signing_algorithm.as_str())
            .bind(workspace.created_at.as_micros())
            .bind(workspace.url.as_ref().map(WorkspaceUrl::host))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }
}
