//! What can go wrong with the database, in the words that a use case decides by.

use std::time::Duration;

use sqlx::error::ErrorKind;

/// A failure of the database. That nothing was found is not one: it is `Ok(None)`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something unique is taken. Holds what the engine calls it, which names the column.
    #[error("taken: {0}")]
    Conflict(String),
    /// The database cannot be reached, is full, or stays locked: worth trying again.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The connection was lost while the database committed, and the database could not be asked later what it did: the change was made, or it was not.
    #[error("the connection to the database was lost while it committed, so that the change may have been made; look before you repeat it: {0}")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// A row holds what no version of this program writes.
    #[error("the database holds what it should not: {0}")]
    Corrupt(String),
    /// The database is not one that this program may work on; the sentence says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// Anything else: a bug.
    #[error("the database refused a statement: {0}")]
    Driver(#[source] sqlx::Error),
}

impl StoreError {
    /// The stable code of an answer that ends with this failure.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Conflict(_) | Self::Corrupt(_) | Self::Refused(_) | Self::Driver(_) => "internal_error",
        }
    }

    /// Whether another transaction held a lock for too long.
    #[must_use]
    pub fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03"))
    }

    /// This node's view of the changes is so old.
    #[must_use]
    pub fn stale(age: Duration) -> Self {
        Self::Unavailable(sqlx::Error::Io(std::io::Error::other(format!("the changes of other nodes were last seen {} ms ago", age.as_millis()))))
    }

    /// The database did not answer in time.
    #[must_use]
    pub fn timed_out() -> Self {
        Self::Unavailable(sqlx::Error::Io(std::io::Error::other("the database did not answer in time")))
    }

    /// What an answer was made of has changed while it was made.
    #[must_use]
    pub fn changed_meanwhile() -> Self {
        Self::Unavailable(sqlx::Error::Io(std::io::Error::other("what the answer was made of has changed meanwhile")))
    }

    /// The failure of a read that somebody else made for several.
    #[must_use]
    pub fn of_another(error: &Self) -> Self {
        let copy = |error: &sqlx::Error| sqlx::Error::Io(std::io::Error::other(error.to_string()));
        match error {
            Self::Conflict(what) => Self::Conflict(what.clone()),
            Self::Unavailable(error) => Self::Unavailable(copy(error)),
            Self::OutcomeUnknown(error) => Self::OutcomeUnknown(copy(error)),
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
            Self::Refused(why) => Self::Refused(why.clone()),
            Self::Driver(error) => Self::Driver(copy(error)),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(database) if database.kind() == ErrorKind::UniqueViolation => {
                let constraint = database.constraint().map_or_else(|| database.message().to_owned(), str::to_owned);
                Self::Conflict(constraint)
            }
            E::Database(database) if is_passing(database.code().as_deref()) => Self::Unavailable(error),
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::BeginFailed => Self::Unavailable(error),
            E::ColumnDecode { .. } | E::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Driver(error),
        }
    }
}

/// Whether an engine's error code speaks of a state that can pass by itself, not of the statement.
///
/// SQLite: the primary result code is the low byte: BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL. PostgreSQL: the classes 08 (connection),
/// 40 (rolled back for another's sake), 53 (out of resources), 55P03 (lock not available), 57014 (took too long), 57P (shut down or cut off), 58 (system error), 3D000 (no such database), 28 (refused as a user), 25P03 (idle in a transaction for too long), and 25006
/// (read-only, as on a stand-by).
fn is_passing(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    match code.parse::<u32>() {
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xFF, 5 | 6 | 7 | 8 | 10 | 13 | 14 | 15),
        _ => ["08", "28", "3D000", "40", "53", "55P03", "57014", "57P", "58", "25006", "25P03"].iter().any(|class| code.starts_with(class)),
    }
}

#[cfg(test)]
mod tests {
    use super::is_passing;

    #[test]
    fn codes_of_both_engines_are_told_apart() {
        for passing in ["5", "10", "13", "778", "08006", "40001", "53300", "57014", "57P01", "25006", "25P03", "3D000", "28P01"] {
            assert!(is_passing(Some(passing)), "{passing}");
        }
        for lasting in ["1", "19", "2067", "42601", "22003", "23503"] {
            assert!(!is_passing(Some(lasting)), "{lasting}");
        }
        assert!(!is_passing(None));
    }
}
