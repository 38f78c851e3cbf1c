//! What would stop if an account or a key were taken away: the preview before it is.

use std::time::Duration;

use super::{LeftBehindCount, Management, ManagementError};
use crate::domain::entity::LastUse;
use crate::domain::id::{ApiKeyId, Reference};
use crate::service::Caller;
use crate::store::{Exchanges, ExchangesOf, Member, Root};

const DAY: Duration = Duration::from_hours(24);
/// No token lives longer.
const LONGEST_TOKEN: Duration = Duration::from_hours(1);

/// Who uses an account or a key.
#[derive(Clone, Debug)]
pub struct Impact {
    /// Exchanges in the last 24 hours.
    pub exchanges: Exchanges,
    /// Tokens that count now.
    pub outstanding_tokens: i64,
    /// The last use of whichever kind.
    pub last_use: Option<LastUse>,
    /// What would end with it: what was made for others.
    pub left_behind: LeftBehindCount,
}

impl Management {
    /// Who uses an account, or one of its keys.
    ///
    /// # Errors
    /// Where the caller may not, or there is none.
    pub async fn impact(&self, caller: &Caller, account: &Reference, key: Option<&Reference>) -> Result<Impact, ManagementError> {
        let account = self.find_account(caller, account).await?;
        let root = |key: Option<ApiKeyId>| key.map_or(Root::principal(Member::ServiceAccount(account.id)), |key| Root::deactivated(key, account.id));
        let (key, last_use) = match key {
            Some(key) => {
                let details = self.key_of(&account, key).await?;
                (Some(details.key.id), details.key.last_use)
            }
            None => (None, account.last_use.clone()),
        };
        let now = self.sources.now();
        let of = ExchangesOf { organization: account.organization_id, account: account.id, key };
        Ok(Impact {
            exchanges: self.store.count_exchanges(of, now.minus(DAY)).await?,
            outstanding_tokens: self.store.count_outstanding_tokens(of, now.minus(LONGEST_TOKEN), now).await?,
            last_use,
            left_behind: self.count_left_behind(root(key)).await?,
        })
    }
}
