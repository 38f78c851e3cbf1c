//! Settings: read from the embedded defaults, a file and the environment, and checked before anything starts.

mod layers;
mod sections;

use std::ffi::OsString;
use std::path::Path;

pub use layers::{ConfigError, Layers};
pub use sections::{ApiKeys, Audit, Bootstrap, Cache, Database, Log, LogFormat, Passwords, Server, Sessions, Signing, Staleness, StatusList, Users};

/// Every setting.
#[derive(Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[signing]`
    pub signing: Signing,
    /// `[api_keys]`
    pub api_keys: ApiKeys,
    /// `[audit]`
    pub audit: Audit,
    /// `[passwords]`
    pub passwords: Passwords,
    /// `[staleness]`
    pub staleness: Staleness,
    /// `[status_list]`
    pub status_list: StatusList,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[cache]`
    pub cache: Cache,
    /// `[users]`
    pub users: Users,
    /// `[bootstrap]`
    pub bootstrap: Bootstrap,
    /// `[log]`
    pub log: Log,
    /// What looks like a mistake but need not be one: to be logged.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the defaults, `file` and then `environment` (names and values).
    ///
    /// # Errors
    /// One line that names the setting, where it stands, and what it should be.
    pub fn load(file: Option<&Path>, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut layers = Layers::defaults()?;
        if let Some(path) = file {
            layers.add_file(path)?;
        }
        let warnings = layers.add_environment(environment)?;
        Ok(Self {
            server: Server::read(&layers)?,
            database: Database::read(&layers)?,
            signing: Signing::read(&layers)?,
            api_keys: ApiKeys::read(&layers)?,
            audit: Audit::read(&layers)?,
            passwords: Passwords::read(&layers)?,
            staleness: Staleness::read(&layers)?,
            status_list: StatusList::read(&layers)?,
            sessions: Sessions::read(&layers)?,
            cache: Cache::read(&layers)?,
            users: Users::read(&layers)?,
            bootstrap: Bootstrap::read(&layers)?,
            log: Log::read(&layers)?,
            warnings,
        })
    }
}
