//! Permissions to choose from, as boxes in groups: those of the organization's catalogue, and Hourpass's own.

use super::super::error::ApiError;
use super::visit::Visit;
use crate::domain::access::Level;
use crate::domain::permission::{HOURPASS, Permission};
use crate::service::Page;

/// All that there are: catalogues end before.
pub(super) const ALL: Page = Page { after: uuid::Uuid::nil(), limit: 500 };

/// The permissions about one resource.
pub(super) struct Group {
    pub(super) resource: String,
    pub(super) boxes: Vec<PermissionBox>,
}

pub(super) struct PermissionBox {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) checked: bool,
}

/// Both parts.
pub(super) struct PermissionBoxes {
    /// What can be done at workspaces.
    pub(super) catalogue: Vec<Group>,
    /// What can be done at Hourpass itself.
    pub(super) own: Vec<Group>,
}

impl PermissionBoxes {
    /// Those that `offered` lets through, with those of these names checked. Checked ones are always there, so that an edit does not drop them unseen.
    pub(super) async fn new(visit: &Visit, checked: &[String], offered: impl Fn(&Permission) -> bool) -> Result<Self, ApiError> {
        let is_checked = |permission: &Permission| checked.iter().any(|name| name == permission.as_str());
        let mut entries = visit.management().list_permissions(&visit.call.caller, ALL).await?;
        let catalogue = entries.iter().filter(|entry| offered(&entry.name) || is_checked(&entry.name)).map(|entry| {
            let own = entry.name.built_in().map(|own| format!(" In the whole organization also: {}", own.description)).unwrap_or_default();
            (&entry.name, format!("{}{own}", entry.description))
        });
        let catalogue = grouped(catalogue, is_checked);
        entries.retain(|entry| entry.name.built_in().is_some());
        let own = HOURPASS.iter().filter(|it| it.narrowest != Level::Platform && !entries.iter().any(|entry| entry.name == it.permission));
        let own = own.filter(|it| offered(&it.permission) || is_checked(&it.permission)).map(|it| {
            let narrowest = match it.narrowest {
                Level::Workspace => " Not in single projects.",
                Level::Project => "",
                Level::Platform | Level::Organization => " Only in the whole organization.",
            };
            (&it.permission, format!("{}{narrowest}", it.description))
        });
        Ok(Self { catalogue, own: grouped(own, is_checked) })
    }

    /// Whether there is nothing to choose from.
    pub(super) fn is_empty(&self) -> bool {
        self.catalogue.is_empty() && self.own.is_empty()
    }
}

/// In groups by resource, in the order in which the resources come first.
fn grouped<'a>(permissions: impl Iterator<Item = (&'a Permission, String)>, is_checked: impl Fn(&Permission) -> bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (permission, description) in permissions {
        let resource = permission.as_str().split('.').next().unwrap_or_default();
        let it = PermissionBox { name: permission.to_string(), description, checked: is_checked(permission) };
        match groups.iter_mut().find(|group| group.resource == resource) {
            Some(group) => group.boxes.push(it),
            None => groups.push(Group { resource: resource.to_owned(), boxes: vec![it] }),
        }
    }
    groups
}
