//! The sections of the settings. What each means, and its default, stands in `config/default.toml`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use argon2::Params;
use ipnet::IpNet;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use super::{ConfigError, Layers};
use crate::domain::api_key::KeyPrefix;
use crate::domain::name::{Email, check_password, parse_origin};
use crate::domain::signing::Rotation;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// How requests are taken.
#[derive(Debug)]
pub struct Server {
    /// The address listened on.
    pub host: IpAddr,
    /// The port listened on; 0 for any.
    pub port: u16,
    /// The issuer, where it is not the address listened on.
    pub public_url: Option<String>,
    /// Threads; never 0.
    pub workers: usize,
    /// The greatest size of a body, in bytes.
    pub body_limit: usize,
    /// The longest time for the head of a request to arrive.
    pub head_timeout: Duration,
    /// The longest time for a body to arrive.
    pub body_timeout: Duration,
    /// The longest time for an answer.
    pub request_timeout: Duration,
    /// The longest time for which a client may read nothing of an answer.
    pub write_timeout: Duration,
    /// The longest time between an answer and the next request of a connection.
    pub idle_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address; `None` for any number.
    pub max_connections_per_address: Option<usize>,
    /// The longest time that a stop waits for requests.
    pub shutdown_grace: Duration,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Server {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            host: layers.parsed("server.host", |text| text.parse().map_err(|_| "must be an IP address, such as 127.0.0.1"))?,
            port: layers.number("server.port", 0..=65_535)?,
            public_url: match layers.optional("server.public_url")? {
                Some(_) => Some(layers.parsed("server.public_url", parse_origin)?),
                None => None,
            },
            workers: or_cores(layers.number("server.workers", 0..=1_024)?),
            body_limit: layers.number("server.body_limit", 1_024..=16_777_216)?,
            head_timeout: layers.duration("server.head_timeout", 100 * MILLISECOND..=10 * MINUTE)?,
            body_timeout: layers.duration("server.body_timeout", 100 * MILLISECOND..=10 * MINUTE)?,
            request_timeout: layers.duration("server.request_timeout", 100 * MILLISECOND..=10 * MINUTE)?,
            write_timeout: layers.duration("server.write_timeout", 100 * MILLISECOND..=10 * MINUTE)?,
            idle_timeout: layers.duration("server.idle_timeout", 100 * MILLISECOND..=10 * MINUTE)?,
            max_connections: layers.number("server.max_connections", 1..=1_000_000)?,
            max_connections_per_address: Some(layers.number("server.max_connections_per_address", 0..=1_000_000)?).filter(|most| *most > 0),
            shutdown_grace: layers.duration("server.shutdown_grace", Duration::ZERO..=10 * MINUTE)?,
            trusted_proxies: layers.parsed("server.trusted_proxies", parse_networks)?,
        })
    }
}

/// Where the data is.
#[derive(Debug)]
pub struct Database {
    /// With the password, so never printed.
    pub url: SecretString,
    /// The greatest number of connections.
    pub max_connections: u32,
    /// The longest wait for a connection or a lock.
    pub timeout: Duration,
    /// Where it is noted how much the database gave out, besides beside a SQLite file.
    pub mark_directory: Option<PathBuf>,
    /// Whether a pooler is known to be before PostgreSQL; else that is found out.
    pub behind_pooler: bool,
    /// PostgreSQL itself, for listening; with the password, so never printed.
    pub listen_url: Option<SecretString>,
}

impl Database {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let must = "must begin with sqlite:// or postgres://";
        let known = |text: &str| ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme));
        Ok(Self {
            url: layers.parsed("database.url", |text| if known(text) { Ok(text.into()) } else { Err(must) })?,
            max_connections: layers.number("database.max_connections", 1..=10_000)?,
            timeout: layers.duration("database.timeout", 100 * MILLISECOND..=MINUTE)?,
            mark_directory: layers.optional("database.mark_directory")?.map(PathBuf::from),
            behind_pooler: layers.parsed("database.pooler", |text| match text {
                "auto" => Ok(false),
                "transaction" => Ok(true),
                _ => Err("must be auto or transaction"),
            })?,
            listen_url: match layers.secret("database.listen_url")? {
                Some(_) => Some(layers.parsed("database.listen_url", |text| {
                    let postgres = ["postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme));
                    if postgres { Ok(SecretString::from(text)) } else { Err("must begin with postgres://") }
                })?),
                None => None,
            },
        })
    }
}

/// Where the master key is, and how long a signing key signs.
#[derive(Debug)]
pub struct Signing {
    /// The key itself.
    pub master_key: Option<SecretString>,
    /// A file that holds it.
    pub master_key_file: Option<PathBuf>,
    /// When signing keys take turns.
    pub rotation: Rotation,
}

impl Signing {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let this = Self {
            master_key: layers.secret("signing.master_key")?,
            master_key_file: layers.optional("signing.master_key_file")?.map(PathBuf::from),
            rotation: Rotation {
                every: match layers.text("signing.rotation")? {
                    "never" => None,
                    _ => Some(layers.duration("signing.rotation", 2 * 60 * MINUTE..=3_650 * 24 * 60 * MINUTE)?),
                },
                publish_ahead: layers.duration("signing.publish_ahead", MINUTE..=30 * 24 * 60 * MINUTE)?,
            },
        };
        if this.rotation.every.is_some_and(|every| this.rotation.publish_ahead > every / 2) {
            return layers.parsed("signing.publish_ahead", |_| Err("must be at most half of signing.rotation"));
        }
        if this.master_key.is_some() && this.master_key_file.is_some() {
            let both = "is set, and so is signing.master_key; set one of the two";
            return layers.parsed("signing.master_key_file", |_| Err(both));
        }
        Ok(this)
    }
}

/// How API keys are made and used.
#[derive(Debug)]
pub struct ApiKeys {
    /// What new keys begin with.
    pub prefix: KeyPrefix,
    /// Whether a key is accepted as Bearer.
    pub direct_use: bool,
    /// The longest time that an old value works after a rotation.
    pub max_retention: Duration,
    /// How many reports of leaked keys an address may send in a minute; without this, reports are switched off.
    pub reports_per_minute: Option<NonZeroU32>,
    /// How many exchanges a minute a service account may make on each node that has no limit of its own; without a number, as many as come.
    pub exchanges_per_minute: Option<NonZeroU32>,
}

impl ApiKeys {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let reports: u32 = layers.number("api_keys.reports_per_minute", 1..=1_000_000)?;
        Ok(Self {
            prefix: layers.parsed("api_keys.prefix", KeyPrefix::parse)?,
            direct_use: layers.boolean("api_keys.direct_use")?,
            max_retention: layers.duration("api_keys.max_retention", Duration::ZERO..=366 * 24 * 60 * MINUTE)?,
            exchanges_per_minute: NonZeroU32::new(layers.number("api_keys.exchanges_per_minute", 0..=1_000_000)?),
            reports_per_minute: NonZeroU32::new(reports).filter(|_| layers.boolean("api_keys.report") == Ok(true)),
        })
    }
}

/// What becomes of the audit trail.
#[derive(Debug)]
pub struct Audit {
    /// How long events are kept; without this, for ever.
    pub retention: Option<Duration>,
}

impl Audit {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let days: u64 = layers.number("audit.retention_days", 0..=36_500)?;
        Ok(Self { retention: (days > 0).then(|| Duration::from_hours(24 * days)) })
    }
}

/// How passwords are hashed.
#[derive(Debug)]
pub struct Passwords {
    /// What a new hash costs.
    pub params: Params,
    /// Hashes at once; never 0.
    pub concurrency: usize,
    /// The longest wait for a turn.
    pub queue_timeout: Duration,
    /// Wrong ones of one person from one address within a minute; without a number, as many as come.
    pub guesses_per_minute: Option<NonZeroU32>,
}

impl Passwords {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        // From what OWASP asks for upwards.
        let memory = layers.number("passwords.memory_kib", i64::from(Params::DEFAULT_M_COST)..=1_048_576)?;
        let passes = layers.number("passwords.passes", i64::from(Params::DEFAULT_T_COST)..=100)?;
        Ok(Self {
            params: Params::new(memory, passes, Params::DEFAULT_P_COST, None).unwrap_or_default(),
            concurrency: match layers.number("passwords.concurrency", 0..=1_024)? {
                0 => (or_cores(0) / 2).max(1),
                number => number,
            },
            queue_timeout: layers.duration("passwords.queue_timeout", MILLISECOND..=30 * SECOND)?,
            guesses_per_minute: NonZeroU32::new(layers.number("passwords.guesses_per_minute", 0..=1_000_000)?),
        })
    }
}

/// For how long a node may be wrong.
#[derive(Debug)]
pub struct Staleness {
    /// The greatest age of a node's view of what others changed.
    pub bound: Duration,
    /// The longest wait for the other nodes to confirm.
    pub confirm_wait: Duration,
}

impl Staleness {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            bound: layers.duration("staleness.bound", 100 * MILLISECOND..=MINUTE)?,
            confirm_wait: layers.duration("staleness.confirm_wait", Duration::ZERO..=10 * SECOND)?,
        })
    }
}

/// How status lists are served.
#[derive(Debug)]
pub struct StatusList {
    /// After what time a validator asks again.
    pub ttl: Duration,
    /// For how long it may go by a list.
    pub lifetime: Duration,
}

impl StatusList {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let this = Self {
            ttl: layers.duration("status_list.ttl", SECOND..=60 * MINUTE)?,
            lifetime: layers.duration("status_list.lifetime", 2 * SECOND..=2 * 60 * MINUTE)?,
        };
        if this.lifetime < 2 * this.ttl {
            return layers.parsed("status_list.lifetime", |_| Err("must be at least twice status_list.ttl"));
        }
        Ok(this)
    }
}

/// Sign-ins in a browser.
#[derive(Debug)]
pub struct Sessions {
    /// How long one may last in all, however much it is used.
    pub max_age: Duration,
}

impl Sessions {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self { max_age: layers.duration("sessions.max_age", 60 * MINUTE..=30 * 24 * 60 * MINUTE)? })
    }
}

/// What is held in memory.
#[derive(Debug)]
pub struct Cache {
    /// Of each kind of thing at most so many.
    pub entries: u64,
}

impl Cache {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self { entries: layers.number("cache.entries", 0..=100_000_000)? })
    }
}

/// How people come in.
#[derive(Debug)]
pub struct Users {
    /// How long an invitation counts.
    pub invitation_lifetime: Duration,
}

impl Users {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self { invitation_lifetime: layers.duration("users.invitation_lifetime", MINUTE..=366 * 24 * 60 * MINUTE)? })
    }
}

/// What the first start makes.
#[derive(Debug)]
pub struct Bootstrap {
    /// The administrator's address.
    pub admin_email: Email,
    /// The administrator's password, where it is not to be random.
    pub admin_password: Option<SecretString>,
}

impl Bootstrap {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            admin_email: layers.parsed("bootstrap.admin_email", Email::parse)?,
            admin_password: match layers.secret("bootstrap.admin_password")? {
                Some(password) => {
                    layers.parsed("bootstrap.admin_password", |_| check_password(&password))?;
                    Some(password)
                }
                None => None,
            },
        })
    }
}

/// The form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct Log {
    /// The form.
    pub format: LogFormat,
    /// A filter as `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
}

impl Log {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            format: layers.parsed("log.format", |text| match text {
                "pretty" => Ok(LogFormat::Pretty),
                "json" => Ok(LogFormat::Json),
                _ => Err("must be pretty or json"),
            })?,
            filter: layers.parsed("log.filter", |text| EnvFilter::try_new(text).map(|_| text.to_owned()))?,
        })
    }
}

/// Networks, or single addresses, with commas between them.
fn parse_networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |text: &str| {
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| format!("{text} is not a network, such as 10.0.0.0/8"))
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(network).collect()
}

fn or_cores(number: usize) -> usize {
    if number > 0 { number } else { std::thread::available_parallelism().map_or(1, usize::from) }
}
