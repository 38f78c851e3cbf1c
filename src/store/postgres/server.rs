//! One server of a URL: how to connect to it, and what it says of itself.
//!
//! Whether a session is ours alone is proven, not guessed: a start-up option sets a value that nobody else knows, and the
//! session is asked for it. PostgreSQL answers with the value. A pooler refuses the option, or drops it, or answers from
//! a session that was opened for somebody else; then the value is missing.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use url::Url;

use crate::store::StoreError;

/// Parameters that a `postgres:` URL may have. sqlx would take any other, and log it with its value, which may be a password.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "target_session_attrs",
];
/// The values of `target_session_attrs` that mean what Hourpass needs.
const WRITABLE: [&str; 2] = ["read-write", "primary"];

const STATE: &str = "SELECT coalesce(current_setting('hourpass.session', true), ''), \
                     NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off', current_database()::TEXT";

/// One of the servers that a URL names.
#[derive(Clone)]
pub(super) struct Server {
    /// Without start-up options, which poolers refuse.
    pub base: PgConnectOptions,
    /// Host and port, for messages. The password is in no message.
    pub name: String,
}

/// What was learned of a server.
pub(super) enum Said {
    /// It takes writes.
    TakesWrites,
    /// It takes none: a stand-by, or made read-only.
    ReadOnly,
    /// The session is not ours alone.
    Pooler,
    /// It did not answer in time.
    Silent,
    /// It cannot be used.
    Failed(sqlx::Error),
}

impl Said {
    /// The rest of a sentence that begins with the server's name.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::TakesWrites => "takes writes".to_owned(),
            Self::ReadOnly => "takes no writes (a stand-by, or made read-only)".to_owned(),
            Self::Pooler => "is a connection pooler".to_owned(),
            Self::Silent => "does not answer in time".to_owned(),
            Self::Failed(sqlx::Error::Database(error)) => format!("says: {}", error.message()),
            Self::Failed(sqlx::Error::Io(error)) => format!("cannot be reached: {error}"),
            Self::Failed(error) => format!("cannot be used: {error}"),
        }
    }
}

impl Said {
    /// Whether the server has no database of this name.
    pub(super) fn is_unknown_database(&self) -> bool {
        matches!(self, Self::Failed(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000"))
    }
}

/// A URL taken apart, of which the middle names one or several servers.
struct Parts<'a> {
    before: &'a str,
    hosts: &'a str,
    after: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let begin = url.find("://")? + 3;
        let (_, rest) = url.split_at_checked(begin)?;
        let (authority, after) = rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len()))?;
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        let (before, _) = url.split_at_checked(url.len() - after.len() - hosts.len())?;
        Some(Self { before, hosts, after })
    }
}

/// The part of a URL that names the servers.
pub(in crate::store) fn hosts(url: &str) -> Option<&str> {
    Parts::of(url).map(|parts| parts.hosts)
}

/// The same URL with other servers.
pub(in crate::store) fn with_hosts(url: &str, hosts: &str) -> Option<String> {
    Parts::of(url).map(|Parts { before, after, .. }| format!("{before}{hosts}{after}"))
}

/// Reads a URL that may name several servers, `postgres://user@one:5432,two:5433/database`.
pub(super) fn parse(setting: &str, url: &str) -> Result<Vec<Server>, StoreError> {
    // The URL itself stays out of every message: it may hold a password.
    let refused = |why: String| StoreError::Refused(format!("{setting} {why}"));
    let Parts { before, hosts, after } = Parts::of(url).ok_or_else(|| refused("must begin with postgres://".to_owned()))?;
    let mut servers = Vec::new();
    for host in hosts.split(',') {
        let mut parsed = Url::parse(&format!("{before}{host}{after}")).map_err(|error| refused(format!("cannot be read: {error}")))?;
        if let Some((unknown, _)) = parsed.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
            return Err(refused(format!("has the parameter {unknown}; there are: {}", PARAMETERS.join(", "))));
        }
        let (attributes, others): (Vec<_>, Vec<_>) = parsed.query_pairs().into_owned().partition(|(name, _)| name == "target_session_attrs");
        if attributes.iter().any(|(_, value)| !WRITABLE.contains(&value.as_str())) {
            return Err(refused("has a target_session_attrs that is neither read-write nor primary: Hourpass has to write".to_owned()));
        }
        if others.iter().any(|(name, value)| ["host", "hostaddr", "port"].contains(&name.as_str()) && value.contains(',')) {
            return Err(refused(
                "names several servers in a parameter; name them before the path, as in postgres://user@one:5432,two:5432/database".to_owned(),
            ));
        }
        if !attributes.is_empty() {
            parsed.set_query(None);
            if !others.is_empty() {
                parsed.query_pairs_mut().extend_pairs(others);
            }
        }
        let base = PgConnectOptions::from_str(parsed.as_str()).map_err(|error| refused(format!("cannot be read: {error}")))?;
        // sqlx would send extra_float_digits, which poolers refuse. Nothing here is a float.
        let base = base.application_name("hourpass").extra_float_digits(None);
        let name = base.get_socket().map_or_else(|| format!("{}:{}", base.get_host(), base.get_port()), |socket| socket.display().to_string());
        servers.push(Server { base, name });
    }
    Ok(servers)
}

impl Server {
    /// For a session of our own, which proves itself by `session`. With time limits if given.
    pub(super) fn own_session(&self, session: &str, timeout: Option<Duration>) -> PgConnectOptions {
        let options = self.base.clone().options([("client_min_messages", "warning"), ("hourpass.session", session)]);
        let Some(timeout) = timeout else { return options };
        let milliseconds = timeout.as_millis().to_string();
        options.options([
            ("lock_timeout", milliseconds.as_str()),
            ("statement_timeout", &milliseconds),
            // A node that hangs, or has lost its network, in a transaction holds up all others no longer than this.
            ("idle_in_transaction_session_timeout", &milliseconds),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ])
    }

    /// Connects and asks. `session`: what proves that the session is ours alone, or nothing if it need not be.
    pub(super) async fn ask(&self, session: Option<&str>, within: Duration) -> Said {
        let options = session.map_or_else(|| self.base.clone(), |session| self.own_session(session, Some(within)));
        let asking = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            let row = sqlx::raw_sql(STATE).fetch_one(&mut connection).await?;
            let state: (String, bool) = (row.try_get(0)?, row.try_get(1)?);
            connection.close().await?;
            Ok::<_, sqlx::Error>(state)
        };
        match tokio::time::timeout(within, asking).await {
            Err(_) => Said::Silent,
            Ok(Ok((told, _))) if session.is_some_and(|session| session != told) => Said::Pooler,
            Ok(Ok((_, true))) => Said::TakesWrites,
            Ok(Ok((_, false))) => Said::ReadOnly,
            Ok(Err(sqlx::Error::Database(error))) if session.is_some() && refuses_options(error.code().as_deref()) => Said::Pooler,
            Ok(Err(error)) => Said::Failed(error),
        }
    }
}

/// Whether an answer at start-up is about the start-up options: protocol violation (PgBouncer), feature not supported
/// (Amazon's proxy), or a parameter that is unknown or has a bad value.
fn refuses_options(code: Option<&str>) -> bool {
    code.is_some_and(|code| ["08P01", "0A", "22", "42"].iter().any(|class| code.starts_with(class)))
}

/// Refuses a connection whose session is not ours alone: the way to the database has changed since the start.
pub(super) async fn prove_own_session(connection: &mut PgConnection, session: &str) -> Result<(), sqlx::Error> {
    let row = sqlx::raw_sql(STATE).fetch_one(connection).await?;
    if row.try_get::<String, _>(0)? == session {
        return Ok(());
    }
    let why = "the way to the database leads through a connection pooler now, and did not at the start; restart this node";
    Err(sqlx::Error::Configuration(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> Vec<String> {
        parse("database.url", url).unwrap().into_iter().map(|server| server.name).collect()
    }

    #[test]
    fn several_servers_are_read() {
        let url = "postgres://ada:p%40ss,word@one:5433,[::1]:6000,three/db?target_session_attrs=read-write&sslmode=disable";
        assert_eq!(names(url), ["one:5433", "[::1]:6000", "three:5432"]);
        let servers = parse("database.url", url).unwrap();
        assert!(servers.iter().all(|server| server.base.get_username() == "ada" && server.base.get_database() == Some("db")));
        assert_eq!(names("postgres://ada@one/db"), ["one:5432"]);
    }

    #[test]
    fn servers_of_a_url_are_exchanged() {
        for (url, servers) in [("postgres://one:p@one:1,two:2/one?a=b", "one:1,two:2"), ("postgres:///db?host=/run", ""), ("postgres://one", "one")] {
            assert_eq!(hosts(url), Some(servers));
            assert_eq!(with_hosts(&with_hosts(url, "x").unwrap(), servers).as_deref(), Some(url));
        }
    }

    #[test]
    fn bad_url_is_refused_without_its_password() {
        for (url, why) in [
            ("postgres://ada:hunter2@one,two:x/db", "cannot be read"),
            ("postgres://ada:hunter2@one/db?target_session_attrs=any", "neither read-write nor primary"),
            ("postgres://ada:hunter2@one/db?host=a,b", "several servers in a parameter"),
            ("postgres://ada:hunter2@one,two/db?options=hunter2", "has the parameter options"),
        ] {
            let Err(error) = parse("database.url", url) else { panic!("{url}") };
            assert!(error.to_string().contains(why) && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
