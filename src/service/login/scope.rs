//! What a token is asked to say, of what its holder may do.

use std::collections::BTreeSet;

use super::LoginError;
use crate::domain::access::Place;
use crate::domain::permission::Permission;

/// Permissions for one receiver.
#[derive(Default)]
pub(super) struct Held {
    /// In the whole of it.
    pub(super) whole: Vec<Permission>,
    /// In parts of it only.
    pub(super) parts: Vec<(Place, Vec<Permission>)>,
    /// Whether this is what was asked for, and not all that is held.
    pub(super) narrowed: bool,
}

/// Those of the permissions held that `scope` asks for.
pub(super) fn narrow(held: Held, scope: Option<&str>) -> Result<Held, LoginError> {
    let asked: BTreeSet<&str> = scope.unwrap_or_default().split_ascii_whitespace().collect();
    if asked.is_empty() {
        return Ok(held);
    }
    let all = || held.whole.iter().chain(held.parts.iter().flat_map(|(_, permissions)| permissions));
    let beyond: Vec<&str> = asked.iter().filter(|name| !all().any(|permission| permission.as_str() == **name)).copied().collect();
    if !beyond.is_empty() {
        return Err(LoginError::InvalidScope(beyond.join(" ")));
    }
    let left = |permissions: Vec<Permission>| permissions.into_iter().filter(|permission| asked.contains(permission.as_str())).collect::<Vec<_>>();
    let parts = held.parts.into_iter().map(|(place, permissions)| (place, left(permissions)));
    Ok(Held { whole: left(held.whole), parts: parts.filter(|(_, permissions)| !permissions.is_empty()).collect(), narrowed: true })
}
