//! Bounds a credential by the rights of its makers. A maker knows the credential, so the credential never does more than the
//! maker may do now.

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

/// Judges a credential by the current state of all its makers. `list` returns the role assignments of a principal.
///
/// Returns `None` if one of the makers is deleted or deactivated, or no longer has the permission to make such a credential:
/// then the credential is refused.
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
        // The owner may have got more rights since, or the maker may have lost some. The maker gains nothing from either.
        if !theirs.covers(&judged.access) {
            judged = Judged { access: judged.access.shared(&theirs), bounded: true };
        }
    }
    Ok(Some(judged))
}

/// Returns whether a password that somebody else set is accepted. `owners` is what its owner may do. A password is never
/// bounded: whoever signs in with it could change it, and would then have all rights of the owner.
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
