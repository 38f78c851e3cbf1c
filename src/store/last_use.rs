//! When and from where keys were last used: many uses with three statements, one for each table that keeps the last use.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use uuid::Uuid;

use super::{StoreError, Tx, dialect};
use crate::domain::entity::LastUse;
use crate::domain::id::{ApiKeyId, KeyValueId, ServiceAccountId};

/// A use of a key.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// The account that the key belongs to.
    pub account: ServiceAccountId,
    /// The key.
    pub key: ApiKeyId,
    /// The value that was presented.
    pub value: KeyValueId,
    /// When and from where.
    pub last: Arc<LastUse>,
}

/// The tables that keep a last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Accounts,
    Keys,
    Values,
}

/// The newest uses, in the order of their ids: of each row one, because a statement updates a row once.
fn newest<'a, I: Copy + Eq + Hash + Ord>(uses: &[&'a KeyUse], id: impl Fn(&KeyUse) -> I, as_uuid: impl Fn(I) -> Uuid) -> Vec<(Uuid, &'a LastUse)> {
    let mut newest: HashMap<I, &LastUse> = HashMap::with_capacity(uses.len());
    for it in uses {
        newest.entry(id(it)).and_modify(|last| *last = if last.at < it.last.at { &it.last } else { last }).or_insert(&it.last);
    }
    let mut rows: Vec<_> = newest.into_iter().map(|(id, last)| (as_uuid(id), last)).collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    rows
}

impl Tx {
    /// Notes uses, where they are later than those noted, except for uses of accounts that somebody else is just changing: they are not waited for. Returns those accounts.
    /// The uses of an account that was deleted go nowhere.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn set_last_uses(&mut self, uses: &[KeyUse]) -> Result<BTreeSet<ServiceAccountId>, StoreError> {
        let accounts: BTreeSet<ServiceAccountId> = uses.iter().map(|it| it.account).collect();
        let busy = dialect::lock_accounts(self, &accounts).await?;
        let free: Vec<&KeyUse> = uses.iter().filter(|it| !busy.contains(&it.account)).collect();
        if !free.is_empty() {
            // All accounts first: their rows are what others lock before they touch a key.
            dialect::set_last_uses(self, Table::Accounts, &newest(&free, |it| it.account, |id| id.0)).await?;
            dialect::set_last_uses(self, Table::Keys, &newest(&free, |it| it.key, |id| id.0)).await?;
            dialect::set_last_uses(self, Table::Values, &newest(&free, |it| it.value, |id| id.0)).await?;
        }
        Ok(busy)
    }
}
