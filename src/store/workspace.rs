//! Workspaces.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Store, StoreError, Tx};
use crate::domain::attributes::{CustomClaims, Labels};
use crate::domain::entity::Workspace;
use crate::domain::id::{OrganizationId, Reference, WorkspaceId};
use crate::domain::name::{Audience, Name, Slug, WorkspaceUrl};
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, organization_id, slug, name, url, audience, token_lifetime_seconds, signing_algorithm, previous_signing_algorithm, labels, claims, created_at FROM workspaces WHERE ",
            $where
        )
    };
}

statements! {
    INSERT = "INSERT INTO workspaces (id, organization_id, slug, name, url, audience, token_lifetime_seconds, signing_algorithm, created_at, host, labels, claims) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    UPDATE = "UPDATE workspaces SET name = $2, url = $3, host = $4, audience = $5, token_lifetime_seconds = $6, signing_algorithm = $7, labels = $8, \
              claims = $9, previous_signing_algorithm = $10 WHERE id = $1";
    DELETE_LABELS = "DELETE FROM labels WHERE owner_id = $1";
    DELETE = "DELETE FROM workspaces WHERE id = $1";
    COUNT = "SELECT count(*) FROM workspaces WHERE organization_id = $1";
    LIST = select!(
        "organization_id = $1 AND id > $2 AND (slug = $4 OR CAST($4 AS TEXT) IS NULL) AND (CAST($5 AS TEXT) IS NULL \
         OR EXISTS (SELECT 1 FROM labels l WHERE l.owner_id = workspaces.id AND l.name = $5 AND l.value = $6)) ORDER BY id LIMIT $3"
    );
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
    previous_signing_algorithm: Option<String>,
    #[sqlx(try_from = "String")]
    labels: Labels,
    #[sqlx(try_from = "String")]
    claims: CustomClaims,
    created_at: i64,
}

impl TryFrom<WorkspaceRow> for Workspace {
    type Error = StoreError;

    fn try_from(row: WorkspaceRow) -> Result<Self, StoreError> {
        let algorithm = |name: &str, text: String| text.parse().map_err(|_| StoreError::Corrupt(format!("workspaces.{name} {text:?}")));
        let signing_algorithm: SigningAlgorithm = algorithm("signing_algorithm", row.signing_algorithm)?;
        let previous_signing_algorithm = row.previous_signing_algorithm.map(|text| algorithm("previous_signing_algorithm", text)).transpose()?;
        Ok(Self {
            id: WorkspaceId(row.id),
            organization_id: OrganizationId(row.organization_id),
            slug: Slug::from_stored(row.slug),
            name: Name::from_stored(row.name),
            url: row.url.map(WorkspaceUrl::from_stored),
            audience: Audience::from_stored(row.audience),
            token_lifetime_seconds: row.token_lifetime_seconds,
            signing_algorithm,
            previous_signing_algorithm,
            labels: row.labels,
            claims: row.claims,
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}

/// Which workspaces a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceFilter {
    /// The one of this slug.
    pub slug: Option<String>,
    /// Those with this label: its name and value.
    pub label: Option<(String, String)>,
}

reads! {
    /// Finds a workspace of an organization by its id.
    fn find_workspace_by_id(organization: OrganizationId, id: Uuid) -> Option<Workspace> = |connection| {
        let row = sqlx::query_as::<_, WorkspaceRow>(FIND_BY_ID).bind(organization.0).bind(id).fetch_optional(connection).await?;
        row.map(Workspace::try_from).transpose()
    };
    /// Finds a workspace of an organization by its slug.
    fn find_workspace_by_slug(organization: OrganizationId, slug: &str) -> Option<Workspace> = |connection| {
        let row = sqlx::query_as::<_, WorkspaceRow>(FIND_BY_SLUG).bind(organization.0).bind(slug).fetch_optional(connection).await?;
        row.map(Workspace::try_from).transpose()
    };
    /// Finds the workspace of an organization that has this audience.
    fn find_workspace_by_audience(organization: OrganizationId, audience: &str) -> Option<Workspace> = |connection| {
        let row = sqlx::query_as::<_, WorkspaceRow>(FIND_BY_AUDIENCE).bind(organization.0).bind(audience).fetch_optional(connection).await?;
        row.map(Workspace::try_from).transpose()
    };
    /// Finds the workspace of an organization that is reached at this host (and port, where it is not the scheme's own).
    fn find_workspace_by_host(organization: OrganizationId, host: &str) -> Option<Workspace> = |connection| {
        let row = sqlx::query_as::<_, WorkspaceRow>(FIND_BY_HOST).bind(organization.0).bind(host).fetch_optional(connection).await?;
        row.map(Workspace::try_from).transpose()
    };
    /// Lists the workspaces of an organization in the order of their ids: at most `limit` of those after `after`.
    fn list_workspaces(organization: OrganizationId, filter: &WorkspaceFilter, after: Uuid, limit: i64) -> Vec<Workspace> = |connection| {
        let rows = sqlx::query_as::<_, WorkspaceRow>(LIST)
            .bind(organization.0)
            .bind(after)
            .bind(limit)
            .bind(filter.slug.as_deref())
            .bind(filter.label.as_ref().map(|(name, _)| name))
            .bind(filter.label.as_ref().map(|(_, value)| value))
            .fetch_all(connection)
            .await?;
        rows.into_iter().map(Workspace::try_from).collect()
    };
    /// How many workspaces an organization has.
    fn count_workspaces(organization: OrganizationId) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT).bind(organization.0).fetch_one(connection).await?)
    };
}

impl Store {
    /// Finds a workspace of an organization by its id or slug.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_workspace(&self, organization: OrganizationId, reference: &Reference) -> Result<Option<Workspace>, StoreError> {
        match reference {
            Reference::Id(id) => self.find_workspace_by_id(organization, *id).await,
            Reference::Name(slug) => self.find_workspace_by_slug(organization, slug).await,
        }
    }
}

impl Tx {
    /// Makes a workspace.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its slug, URL or audience is taken.
    pub async fn insert_workspace(&mut self, workspace: &Workspace) -> Result<(), StoreError> {
        on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
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
            .bind(workspace.labels.to_json())
            .bind(workspace.claims.to_json())
            .execute(&mut **tx)
            .await
            .map(drop))?;
        self.replace_labels(workspace.id.0, workspace.organization_id, &workspace.labels).await
    }

    /// Deletes a workspace, in which nothing may be.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_workspace(&mut self, organization: OrganizationId, id: WorkspaceId, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(organization.0);
        self.retire_workspace_slug(id, now).await?;
        for sql in [DELETE_LABELS, DELETE] {
            on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(id.0).execute(&mut **tx).await.map(drop))?;
        }
        Ok(())
    }

    /// Replaces all that can change of a workspace.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its URL or audience is taken.
    pub async fn update_workspace(&mut self, workspace: &Workspace) -> Result<(), StoreError> {
        self.note_change(workspace.organization_id.0);
        on!(Engine, &mut self.engine, |tx| sqlx::query(UPDATE)
            .bind(workspace.id.0)
            .bind(workspace.name.as_str())
            .bind(workspace.url.as_ref().map(WorkspaceUrl::as_str))
            .bind(workspace.url.as_ref().map(WorkspaceUrl::host))
            .bind(workspace.audience.as_str())
            .bind(workspace.token_lifetime_seconds)
            .bind(workspace.signing_algorithm.as_str())
            .bind(workspace.labels.to_json())
            .bind(workspace.claims.to_json())
            .bind(workspace.previous_signing_algorithm.map(SigningAlgorithm::as_str))
            .execute(&mut **tx)
            .await
            .map(drop))?;
        self.replace_labels(workspace.id.0, workspace.organization_id, &workspace.labels).await
    }
}
