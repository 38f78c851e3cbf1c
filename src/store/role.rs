//! Roles that organizations made.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, StoreError};
use crate::domain::access::Grant;
use crate::domain::id::{OrganizationId, RoleId};
use crate::domain::name::Name;
use crate::domain::permission::{Permission, from_scope, to_scope};
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

statements! {
    INSERT = "INSERT INTO roles (id, organization_id, name, description, level, permissions, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    UPDATE = "UPDATE roles SET name = $2, description = $3, permissions = $4 WHERE id = $1";
    DELETE = "DELETE FROM roles WHERE id = $1";
    FIND_BY_ID = "SELECT id, organization_id, name, description, level, permissions, created_at FROM roles WHERE organization_id = $1 AND id = $2";
    FIND_BY_NAME = "SELECT id, organization_id, name, description, level, permissions, created_at FROM roles WHERE organization_id = $1 AND name = $2";
    LIST = "SELECT id, organization_id, name, description, level, permissions, created_at FROM roles WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    // A permission's name holds nothing that replace would take for a part of another: it stands between spaces.
    FIND_WITH = "SELECT name FROM roles WHERE organization_id = $1 \
                 AND replace(' ' || permissions || ' ', ' ' || $2 || ' ', '') <> ' ' || permissions || ' ' ORDER BY id LIMIT 1";
}

#[derive(FromRow)]
struct RoleRow {
    id: Uuid,
    organization_id: Uuid,
    name: String,
    description: String,
    level: String,
    permissions: String,
    created_at: i64,
}

impl TryFrom<RoleRow> for Role {
    type Error = StoreError;

    fn try_from(row: RoleRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: RoleId(row.id),
            organization_id: Some(OrganizationId(row.organization_id)),
            name: Name::from_stored(row.name),
            description: row.description,
            level: row.level.parse().map_err(|_| StoreError::Corrupt(format!("roles.level {:?}", row.level)))?,
            grant: Grant::these(from_scope(&row.permissions)),
            created_at: Some(Timestamp::from_micros(row.created_at)),
        })
    }
}

fn permissions(role: &Role) -> String {
    to_scope(&role.grant.named).unwrap_or_default()
}

reads! {
    /// Finds a role that an organization made by its id.
    fn find_role_by_id(organization: OrganizationId, id: Uuid) -> Option<Role> = |connection| {
        let row = sqlx::query_as::<_, RoleRow>(FIND_BY_ID).bind(organization.0).bind(id).fetch_optional(connection).await?;
        row.map(Role::try_from).transpose()
    };
    /// Finds a role that an organization made by its name.
    fn find_role_by_name(organization: OrganizationId, name: &str) -> Option<Role> = |connection| {
        let row = sqlx::query_as::<_, RoleRow>(FIND_BY_NAME).bind(organization.0).bind(name).fetch_optional(connection).await?;
        row.map(Role::try_from).transpose()
    };
    /// Lists the roles that an organization made in the order of their ids: at most `limit` of those after `after`.
    fn list_roles(organization: OrganizationId, after: Uuid, limit: i64) -> Vec<Role> = |connection| {
        let rows = sqlx::query_as::<_, RoleRow>(LIST).bind(organization.0).bind(after).bind(limit).fetch_all(connection).await?;
        rows.into_iter().map(Role::try_from).collect()
    };
    /// The name of a role that holds this permission.
    fn find_role_with(organization: OrganizationId, permission: &Permission) -> Option<String> = |connection| {
        Ok(sqlx::query_scalar(FIND_WITH).bind(organization.0).bind(permission.as_str()).fetch_optional(connection).await?)
    };
}

writes! {
    /// Makes a role.
    fn insert_role(organization: OrganizationId, role: &Role, now: Timestamp) = INSERT(
        role.id.0, organization.0, role.name.as_str(), &role.description, role.level.as_str(), permissions(role), now.as_micros()
    );
    /// Replaces name, description and permissions of a role.
    fn update_role(organization: OrganizationId, role: &Role) [changes organization.0] = UPDATE(role.id.0, role.name.as_str(), &role.description, permissions(role));
    /// Deletes a role, which nobody may hold.
    fn delete_role(id: RoleId) = DELETE(id.0);
}
