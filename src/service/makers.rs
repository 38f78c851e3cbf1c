//! On whose rights a credential depends: who made it for somebody else knows it, and so it never does more than they may do now.

use crate::domain::access::{Access, Assignment, Place};
use crate::store::{Holder, MadeBy, StoreError};

/// What a credential that somebody else made may do.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// What its owner may do, and those who made it.
    pub(super) access: Access,
    /// Whether that is less than its owner may do.
    pub(super) bounded: bool,
}

/// Looks at those on whose rights a credential depends as they are now; `list` lists what someone was given. Nothing: one of them is gone, deactivated, or may not make such a credential any
/// more, and it does not count.
///
/// # Errors
/// Where the database fails.
pub(super) async fn judge(
    owners: Access,
    makers: &[MadeBy],
    mut list: impl AsyncFnMut(Holder) -> Result<Vec<Assignment>, StoreError>,
) -> Result<Option<Judged>, StoreError> {
    let mut judged = Judged { access: owners, bounded: false };
    for maker in makers {
        let theirs = Access::of(&list(maker.principal.holder()).await?);
        if !maker.active || !theirs.holds(maker.needed(), Place::Organization) {
            return Ok(None);
        }
        // The owner may have been given more since, or the maker less: whoever knows the credential gains nothing by it.
        if !theirs.covers(&judged.access) {
            judged = Judged { access: judged.access.shared(&theirs), bounded: true };
        }
    }
    Ok(Some(judged))
}

/// Whether somebody else's password counts for its owner, who may do this much. One that does less than its owner may is of no use to anybody but the maker.
///
/// # Errors
/// Where the database fails.
pub(super) async fn password_counts(
    owners: Access,
    makers: &[MadeBy],
    list: impl AsyncFnMut(Holder) -> Result<Vec<Assignment>, StoreError>,
) -> Result<bool, StoreError> {
    Ok(judge(owners, makers, list).await?.is_some_and(|judged| !judged.bounded))
}
