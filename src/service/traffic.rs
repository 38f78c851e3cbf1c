//! How many exchanges there were, over time: for charts.
//!
//! An hour or a day that is over is counted once and then held, so that a chart that is looked at again counts the present hour only.

use std::time::Duration;

use moka::sync::Cache;

use super::Sources;
use super::authentication::Caller;
use super::management::{ManagementError, require};
use crate::domain::access::Place;
use crate::domain::entity::ServiceAccount;
use crate::domain::id::{OrganizationId, ServiceAccountId};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;
use crate::store::{Store, Tally};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// How long after its end a time is taken for complete: an event may be written a little after the moment that it bears, and clocks differ.
const SETTLED: Duration = Duration::from_mins(5);
/// How many counts are held: those of some hundred charts.
const HELD: u64 = 20_000;

/// What a chart shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last 24 hours, by the hour; the last is the present one.
    Day,
    /// The last 30 days (UTC), by the day; the last is today.
    Month,
}

/// The exchanges of an hour or a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// When it begins.
    pub from: Timestamp,
    /// How many there were.
    pub tally: Tally,
}

/// Whose exchanges, from when on, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stretch {
    organization: OrganizationId,
    account: Option<ServiceAccountId>,
    from: Timestamp,
    length: Duration,
}

/// Counts exchanges.
#[derive(Clone, Debug)]
pub struct Traffic {
    store: Store,
    sources: Sources,
    held: Cache<Stretch, Tally>,
}

impl Traffic {
    /// Of this database.
    #[must_use]
    pub fn new(store: Store, sources: Sources) -> Self {
        Self { store, sources, held: Cache::new(HELD) }
    }

    /// The exchanges of the caller's organization, or of one of its accounts.
    ///
    /// # Errors
    /// Where the caller may not see service accounts.
    pub async fn count(&self, caller: &Caller, account: Option<&ServiceAccount>, span: Span) -> Result<Vec<Counted>, ManagementError> {
        require(caller, &Permission::SERVICE_ACCOUNTS_READ, Place::Organization)?;
        let (organization, account) = (caller.organization().id, account.map(|account| account.id));
        let (now, mut counted) = (self.sources.now(), Vec::new());
        let (length, steps) = match span {
            Span::Day => (HOUR, 24),
            Span::Month => (DAY, 30),
        };
        let last = floor(now, length);
        for step in (0..steps).rev() {
            let stretch = Stretch { organization, account, from: last.minus(length * step), length };
            counted.push(Counted { from: stretch.from, tally: self.tally(stretch, now).await? });
        }
        Ok(counted)
    }

    async fn tally(&self, stretch: Stretch, now: Timestamp) -> Result<Tally, ManagementError> {
        if let Some(tally) = self.held.get(&stretch) {
            return Ok(tally);
        }
        let Stretch { organization, account, from, length } = stretch;
        let until = from.plus(length);
        if length > HOUR && until > now.minus(SETTLED) {
            // Of a day that is not over, the hours that are over are held.
            let mut sum = Tally::default();
            for hour in (0..24).map(|hour| from.plus(HOUR * hour)).take_while(|hour| *hour <= now) {
                let tally = Box::pin(self.tally(Stretch { from: hour, length: HOUR, ..stretch }, now)).await?;
                (sum.granted, sum.refused) = (sum.granted + tally.granted, sum.refused + tally.refused);
            }
            return Ok(sum);
        }
        let tally = self.store.tally_exchanges(organization, account, (from, until)).await?;
        if until <= now.minus(SETTLED) {
            self.held.insert(stretch, tally);
        }
        Ok(tally)
    }
}

/// The beginning of the hour or day (UTC) that `time` is in.
fn floor(time: Timestamp, length: Duration) -> Timestamp {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(1).max(1);
    Timestamp::from_seconds(time.as_seconds().div_euclid(seconds).saturating_mul(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_begin_where_clocks_have_them() {
        let time = Timestamp::parse("2026-01-31T13:45:10Z").unwrap();
        assert_eq!(floor(time, HOUR).to_string(), "2026-01-31T13:00:00Z");
        assert_eq!(floor(time, DAY).to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(floor(floor(time, DAY), DAY), floor(time, DAY));
    }
}
