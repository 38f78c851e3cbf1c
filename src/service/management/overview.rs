//! What an organization should look at: accounts by their state, and keys that are about to expire.

use std::time::Duration;

use super::{Management, ManagementError, require};
use crate::domain::access::Place;
use crate::domain::permission::Permission;
use crate::service::Caller;
use crate::store::{AccountCounts, ExpiringKey};

const DAY: Duration = Duration::from_hours(24);
/// At most so many of the keys that expire next are listed.
const EXPIRING: i64 = 5;

/// What an organization should look at.
#[derive(Clone, Debug)]
pub struct Overview {
    /// How many accounts there are of which kind.
    pub accounts: AccountCounts,
    /// The keys that expire next.
    pub expiring_keys: Vec<ExpiringKey>,
}

impl Management {
    /// Counts accounts, those that are older than `unused_days` and unused for as long and those with a key that expires within `expiring_days` among them, and lists the keys that expire next.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn overview(&self, caller: &Caller, unused_days: u32, expiring_days: u32) -> Result<Overview, ManagementError> {
        require(caller, &Permission::SERVICE_ACCOUNTS_READ, Place::Organization)?;
        let (organization, now) = (caller.organization().id, self.sources.now());
        let soon = now.plus(DAY * expiring_days);
        Ok(Overview {
            accounts: self.store.count_account_states(organization, now.minus(DAY * unused_days), (now, soon)).await?,
            expiring_keys: self.store.list_expiring_keys(organization, (now, soon), EXPIRING).await?,
        })
    }

    /// How many keys that work live longer than the organization allows for new ones, because they were made before: for ever, or beyond that from now on. Nothing where it allows any.
    ///
    /// # Errors
    /// Where the caller may not.
    pub async fn count_keys_beyond_policy(&self, caller: &Caller) -> Result<Option<i64>, ManagementError> {
        require(caller, &Permission::SERVICE_ACCOUNTS_READ, Place::Organization)?;
        let Some(days) = caller.organization().key_policy.max_days else { return Ok(None) };
        let latest = self.sources.now().plus(DAY * u32::from(days));
        Ok(Some(self.store.count_keys_outliving(caller.organization().id, latest).await?))
    }
}
