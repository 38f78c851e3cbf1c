//! The limit of open files, and how many connections it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::StartError;
use crate::config::{Database, Server};

/// Files open beside connections and the database: the listener, the program's own pipes, event queues, the log.
const OTHER_FILES: usize = 64;
/// Files of one connection of the pool: with SQLite, the database, its log and its index.
const FILES_PER_DATABASE_CONNECTION: usize = 3;
/// With fewer connections, a start is refused.
const FEWEST_CONNECTIONS: usize = 32;

/// How many connections the server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connections {
    /// At once.
    pub(super) in_all: usize,
    /// From one address; `None` for any number.
    pub(super) per_address: Option<usize>,
    /// Sockets at once, with those that are about to be refused.
    pub(super) sockets: usize,
}

/// Raises the limit of open files as far as the system allows, and lowers the limits of connections to what it leaves.
///
/// # Errors
/// If it leaves too few.
pub(super) fn reserve(server: &Server, database: &Database) -> Result<Connections, StartError> {
    fit(server.max_connections, server.max_connections_per_address, database.max_connections, raise())
}

/// Raises the soft limit to the hard one. Returns the limit that is in force; `None` if there is none.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err() {
        return limit.current;
    }
    limit.maximum
}

fn fit(in_all: usize, per_address: Option<usize>, database_connections: u32, files: Option<u64>) -> Result<Connections, StartError> {
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let pool = usize::try_from(database_connections).unwrap_or(usize::MAX).saturating_add(1);
    let others = pool.saturating_mul(FILES_PER_DATABASE_CONNECTION).saturating_add(OTHER_FILES);
    // An eighth is for sockets that are about to be refused.
    let sockets = |connections: usize| connections.saturating_add(connections / 8).saturating_add(1);
    let left = files.saturating_sub(others);
    if sockets(in_all) <= left {
        return Ok(Connections { in_all, per_address, sockets: sockets(in_all) });
    }
    let lowered = left / 9 * 8;
    if lowered < FEWEST_CONNECTIONS.min(in_all) {
        return Err(StartError::OpenFiles { files, needed: others.saturating_add(sockets(in_all)) });
    }
    // One address must not be able to take all that is left.
    let lowered_per_address = per_address.map(|most| most.min(lowered.div_ceil(2)));
    tracing::warn!(
        open_files = files,
        max_connections = lowered,
        max_connections_per_address = lowered_per_address,
        "the limit of open files is too low for server.max_connections = {in_all}, so that fewer connections are taken; raise it to {} (ulimit -n, LimitNOFILE=)",
        others.saturating_add(sockets(in_all)),
    );
    Ok(Connections { in_all: lowered, per_address: lowered_per_address, sockets: left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_limit_of_open_files() {
        let high = Connections { in_all: 8_192, per_address: Some(1_024), sockets: 9_217 };
        assert_eq!(fit(8_192, Some(1_024), 10, None).unwrap(), high);
        assert_eq!(fit(8_192, Some(1_024), 10, Some(1_048_576)).unwrap(), high);
        let low = fit(8_192, Some(1_024), 10, Some(1_024)).unwrap();
        assert_eq!(low, Connections { in_all: 824, per_address: Some(412), sockets: 927 });
        assert_eq!(fit(8_192, None, 10, Some(1_024)).unwrap().per_address, None);
        let error = fit(8_192, Some(1_024), 10, Some(128)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the limit of open files is 128, which leaves too few for connections; raise it to 9314 (ulimit -n, LimitNOFILE=), or lower server.max_connections and database.max_connections"
        );
    }

    #[test]
    fn soft_limit_is_raised_to_the_hard_one() {
        let limit = raise();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
        assert_eq!(getrlimit(Resource::Nofile).maximum, limit);
    }
}
