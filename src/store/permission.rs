//! Catalogues of permissions.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine};
use crate::domain::id::{OrganizationId, PermissionId};
use crate::domain::permission::{CatalogueEntry, Permission};
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO permissions (id, organization_id, name, description, created_at) VALUES ($1, $2, $3, $4, $5)";
    UPDATE = "UPDATE permissions SET description = $2 WHERE id = $1";
    DELETE = "DELETE FROM permissions WHERE id = $1";
    FIND_BY_ID = "SELECT id, organization_id, name, description, created_at FROM permissions WHERE organization_id = $1 AND id = $2";
    FIND_BY_NAME = "SELECT id, organization_id, name, description, created_at FROM permissions WHERE organization_id = $1 AND name = $2";
    LIST = "SELECT id, organization_id, name, description, created_at FROM permissions WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    LIST_NAMES = "SELECT name FROM permissions WHERE organization_id = $1 ORDER BY id";
    COUNT = "SELECT count(*) FROM permissions WHERE organization_id = $1";
}

#[derive(FromRow)]
struct PermissionRow {
    id: Uuid,
    organization_id: Uuid,
    name: String,
    description: String,
    created_at: i64,
}

impl From<PermissionRow> for CatalogueEntry {
    fn from(row: PermissionRow) -> Self {
        Self {
            id: PermissionId(row.id),
            organization_id: OrganizationId(row.organization_id),
            name: Permission::from_stored(row.name),
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

reads! {
    /// Finds an entry of an organization's catalogue by its id.
    fn find_permission_by_id(organization: OrganizationId, id: Uuid) -> Option<CatalogueEntry> = |connection| {
        Ok(sqlx::query_as::<_, PermissionRow>(FIND_BY_ID).bind(organization.0).bind(id).fetch_optional(connection).await?.map(CatalogueEntry::from))
    };
    /// Finds an entry of an organization's catalogue by its name.
    fn find_permission_by_name(organization: OrganizationId, name: &str) -> Option<CatalogueEntry> = |connection| {
        Ok(sqlx::query_as::<_, PermissionRow>(FIND_BY_NAME).bind(organization.0).bind(name).fetch_optional(connection).await?.map(CatalogueEntry::from))
    };
    /// Lists an organization's catalogue in the order of ids: at most `limit` of those after `after`.
    fn list_permissions(organization: OrganizationId, after: Uuid, limit: i64) -> Vec<CatalogueEntry> = |connection| {
        let rows = sqlx::query_as::<_, PermissionRow>(LIST).bind(organization.0).bind(after).bind(limit).fetch_all(connection).await?;
        Ok(rows.into_iter().map(CatalogueEntry::from).collect())
    };
    /// All that an organization's workspaces know.
    fn list_catalogue(organization: OrganizationId) -> Vec<Permission> = |connection| {
        let names = sqlx::query_scalar::<_, String>(LIST_NAMES).bind(organization.0).fetch_all(connection).await?;
        Ok(names.into_iter().map(Permission::from_stored).collect())
    };
    /// How many permissions an organization's workspaces know.
    fn count_catalogue(organization: OrganizationId) -> i64 = |connection| {
        Ok(sqlx::query_scalar(COUNT).bind(organization.0).fetch_one(connection).await?)
    };
}

writes! {
    /// Adds an entry to a catalogue.
    fn insert_permission(entry: &CatalogueEntry) [changes entry.organization_id.0] =
        INSERT(entry.id.0, entry.organization_id.0, entry.name.as_str(), &entry.description, entry.created_at.as_micros());
    /// Replaces the description of an entry.
    fn update_permission(entry: &CatalogueEntry) = UPDATE(entry.id.0, &entry.description);
    /// Takes an entry out of a catalogue.
    fn delete_permission(organization: OrganizationId, id: PermissionId) [changes organization.0] = DELETE(id.0);
}
