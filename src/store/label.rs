//! The labels of accounts and workspaces, a row each, to find them by. What they carry is read from their own rows.

use uuid::Uuid;

use super::{Engine, StoreError, Tx};
use crate::domain::attributes::Labels;
use crate::domain::id::OrganizationId;

statements! {
    DELETE = "DELETE FROM labels WHERE owner_id = $1";
    INSERT = "INSERT INTO labels (owner_id, organization_id, name, value) VALUES ($1, $2, $3, $4)";
}

impl Tx {
    /// Replaces the labels that an account or a workspace is found by.
    ///
    /// # Errors
    /// Where the database fails.
    pub(super) async fn replace_labels(&mut self, owner: Uuid, organization: OrganizationId, labels: &Labels) -> Result<(), StoreError> {
        on!(Engine, &mut self.engine, |tx| {
            sqlx::query(DELETE).bind(owner).execute(&mut **tx).await?;
            for (name, value) in labels.iter() {
                sqlx::query(INSERT).bind(owner).bind(organization.0).bind(name).bind(value).execute(&mut **tx).await?;
            }
        });
        Ok(())
    }
}
