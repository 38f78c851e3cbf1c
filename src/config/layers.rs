//! The layers that settings come from, one over the other.
//!
//! `config/default.toml` is also the schema: it holds every key, and the type of a default is the type of the setting. So a text from the environment is read
//! as what its default is, and a password made of digits stays a text.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use toml::{Table, Value};

const DEFAULTS: &str = include_str!("../../config/default.toml");
const ENVIRONMENT_PREFIX: &str = "HOURPASS_";

/// Why the settings cannot be used: one line for the person who starts the server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

struct Setting {
    value: Value,
    /// Where it comes from, as a person would look for it.
    source: String,
}

/// Every setting by its name, `section.key`.
pub struct Layers(BTreeMap<String, Setting>);

impl Layers {
    /// The defaults.
    ///
    /// # Errors
    /// Never, for the file is embedded and tested.
    pub fn defaults() -> Result<Self, ConfigError> {
        let table: Table = DEFAULTS.parse().map_err(|error| ConfigError(format!("config/default.toml: {error}")))?;
        let mut settings = BTreeMap::new();
        for (section, keys) in table {
            for (key, value) in keys.as_table().cloned().unwrap_or_default() {
                settings.insert(format!("{section}.{key}"), Setting { value, source: "the default".to_owned() });
            }
        }
        Ok(Self(settings))
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Lays a TOML file over it.
    ///
    /// # Errors
    /// Where it cannot be read, or holds an unknown key or a value of another type than the default's.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError(format!("the configuration file {file} cannot be read: {error}")))?;
        // The parser's own message quotes the line, which may hold a secret.
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1));
            ConfigError(format!("{file}, line {line}: {}", error.message()))
        })?;
        for (section, keys) in table {
            let Value::Table(keys) = keys else {
                return Err(ConfigError(format!("{file}: {section} stands outside a section; write it below a line such as [server]")));
            };
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let setting = self.0.get_mut(&name).ok_or_else(|| ConfigError(format!("{file}: there is no setting {name}; {LIST}")))?;
                if !value.same_type(&setting.value) {
                    return Err(ConfigError(format!(
                        "{file}: {name} must be of type {}, and is of type {}",
                        setting.value.type_str(),
                        value.type_str()
                    )));
                }
                *setting = Setting { value, source: file.to_string() };
            }
        }
        Ok(())
    }

    /// Lays environment variables over it. Returns warnings.
    ///
    /// Only names with a `__` are settings: Kubernetes sets variables such as `HOURPASS_PORT` for a service of that name.
    ///
    /// # Errors
    /// Where one names an unknown setting, or its text cannot be of the default's type.
    pub fn add_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<String>, ConfigError> {
        let mut warnings = Vec::new();
        for (variable, text) in environment {
            let variable = variable.to_string_lossy().into_owned();
            let Some(rest) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let text = text.into_string().map_err(|_| ConfigError(format!("{variable} is not UTF-8")))?;
            let Some((section, key)) = rest.split_once("__") else {
                if let Some(name) = self.names().find(|name| name.replace('.', "_").eq_ignore_ascii_case(rest)) {
                    warnings.push(format!("{variable} is not a setting and is ignored; for {name} set {}", variable_of(name)));
                }
                continue;
            };
            let name = format!("{section}.{key}").to_ascii_lowercase();
            let setting = self.0.get_mut(&name).ok_or_else(|| ConfigError(format!("{variable}: there is no setting {name}; {LIST}")))?;
            // Compose files and shells pass on what is not set as an empty text.
            if text.is_empty() {
                continue;
            }
            let value = match setting.value {
                Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
                Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
                _ => Some(Value::String(text)),
            };
            let value = value.ok_or_else(|| ConfigError(format!("{variable}: {name} must be of type {}", setting.value.type_str())))?;
            *setting = Setting { value, source: variable };
        }
        Ok(warnings)
    }

    fn get(&self, name: &str) -> Result<&Setting, ConfigError> {
        self.0.get(name).ok_or_else(|| ConfigError(format!("config/default.toml lacks {name}")))
    }

    fn wrong(&self, name: &str, why: &str) -> ConfigError {
        let source = self.0.get(name).map_or("", |setting| &setting.source);
        ConfigError(format!("{name} (from {source}) {why}"))
    }

    /// A text, as it stands.
    pub(super) fn text(&self, name: &str) -> Result<&str, ConfigError> {
        self.get(name)?.value.as_str().ok_or_else(|| self.wrong(name, "must be a text"))
    }

    /// A text, or nothing where it is empty.
    pub(super) fn optional(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        self.text(name).map(|text| (!text.is_empty()).then_some(text))
    }

    /// A secret, or nothing where it is empty.
    pub(super) fn secret(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        self.optional(name).map(|text| text.map(SecretString::from))
    }

    /// A text that `parse` understands; its error is the end of the sentence "`name` …".
    pub(super) fn parsed<T, E: ToString>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, ConfigError> {
        parse(self.text(name)?).map_err(|why| self.wrong(name, &why.to_string()))
    }

    /// A number within `range`.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str, range: RangeInclusive<i64>) -> Result<T, ConfigError> {
        let value = self.get(name)?.value.as_integer().filter(|value| range.contains(value));
        let outside = || self.wrong(name, &format!("must be a number from {} to {}", range.start(), range.end()));
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(outside)
    }

    /// A truth value.
    pub(super) fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        self.get(name)?.value.as_bool().ok_or_else(|| self.wrong(name, "must be true or false"))
    }

    /// A duration within `range`.
    pub(super) fn duration(&self, name: &str, range: RangeInclusive<Duration>) -> Result<Duration, ConfigError> {
        let duration = humantime::parse_duration(self.text(name)?).ok().filter(|duration| range.contains(duration));
        duration.ok_or_else(|| {
            let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            self.wrong(name, &format!("must be a duration from {least} to {most}, such as 10s"))
        })
    }
}

const LIST: &str = "config/default.toml lists all";

/// The environment variable of the setting `name`.
fn variable_of(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.replace('.', "__").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use secrecy::ExposeSecret;

    fn defaults() -> Layers {
        Layers::defaults().unwrap()
    }

    /// Another value that the setting takes.
    fn other(name: &str, default: &Value) -> Value {
        match default {
            Value::Boolean(value) => Value::Boolean(!value),
            // Not a likely number of cores, which is what 0 stands for.
            Value::Integer(value) => Value::Integer(value + 77),
            _ => Value::String(
                match name {
                    "server.host" => "::1",
                    "server.public_url" => "https://hourpass.example.com",
                    "bootstrap.admin_email" => "ada@example.com",
                    "bootstrap.admin_password" => "0012345678901234",
                    "api_keys.prefix" => "hp_test_",
                    "server.trusted_proxies" => "10.0.0.0/8, ::1/128",
                    "api_keys.max_retention" | "signing.rotation" => "7days",
                    "users.invitation_lifetime" => "9days",
                    "sessions.max_age" => "9h",
                    "staleness.bound" | "staleness.confirm_wait" | "status_list.ttl" => "7s",
                    "log.format" => "json",
                    "database.url" | "database.listen_url" => "postgres://localhost/hourpass",
                    "database.pooler" => "transaction",
                    "signing.master_key" => "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                    "signing.publish_ahead" => "7h",
                    "status_list.lifetime" => "7m",
                    name if name.ends_with("_timeout") || name.ends_with(".timeout") || name.ends_with("_grace") => "7s",
                    _ => "other",
                }
                .to_owned(),
            ),
        }
    }

    #[test]
    fn every_key_is_documented() {
        let mut documented = false;
        for line in DEFAULTS.lines() {
            match line {
                line if line.starts_with("# ") => documented = true,
                line if line.is_empty() || line.starts_with('[') => documented = false,
                line => assert!(documented, "{line} has no comment above it"),
            }
        }
    }

    #[test]
    fn every_key_is_accepted_from_a_file_and_from_the_environment() {
        let names: Vec<String> = defaults().names().map(str::to_owned).collect();
        assert!(names.len() > 15);
        for name in names {
            let value = other(&name, &defaults().0[&name].value);
            let (section, key) = name.split_once('.').unwrap();
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("hourpass.toml");
            std::fs::write(&path, format!("[{section}]\n{key} = {value}\n")).unwrap();
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let variable = (variable_of(&name).into(), text.into());

            let from_file = Config::load(Some(&path), []).unwrap_or_else(|error| panic!("{name} from a file: {error}"));
            let from_environment = Config::load(None, [variable]).unwrap_or_else(|error| panic!("{name} from the environment: {error}"));
            // A secret is redacted in the debug text, so that setting one still shows as Some; the URL is never unset.
            let shown = |config: Config| format!("{config:?} {}", config.database.url.expose_secret());
            let from_file = shown(from_file);
            assert_ne!(from_file, shown(Config::load(None, []).unwrap()), "{name} from a file changes nothing");
            assert_eq!(from_file, shown(from_environment), "{name}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hourpass.toml");
        std::fs::write(&path, "[server]\nport = 1\nhost = \"::1\"\n").unwrap();
        let config = Config::load(Some(&path), [("HOURPASS_SERVER__PORT".into(), "2".into())]).unwrap();
        assert_eq!((config.server.port, config.server.host.to_string()), (2, "::1".to_owned()));
    }

    #[test]
    fn mistakes_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hourpass.toml");
        let from_file = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(Some(&path), []).unwrap_err().to_string().replace(&path.display().to_string(), "FILE")
        };
        let from_environment = |variable: &str, text: &str| Config::load(None, [(variable.into(), text.into())]).unwrap_err().to_string();

        assert_eq!(from_file("[server]\nprot = 1"), "FILE: there is no setting server.prot; config/default.toml lists all");
        assert_eq!(from_file("port = 1"), "FILE: port stands outside a section; write it below a line such as [server]");
        assert_eq!(from_file("[server]\nport = \"1\""), "FILE: server.port must be of type integer, and is of type string");
        assert_eq!(from_file("[server]\nport = 70000"), "server.port (from FILE) must be a number from 0 to 65535");
        let damaged = from_file("[signing]\nmaster_key = \"secret\n");
        assert!(damaged.starts_with("FILE, line 2: ") && !damaged.contains("secret"), "{damaged}");
        assert_eq!(
            from_environment("HOURPASS_SERVER__PROT", "1"),
            "HOURPASS_SERVER__PROT: there is no setting server.prot; config/default.toml lists all"
        );
        assert_eq!(from_environment("HOURPASS_SERVER__PORT", "x"), "HOURPASS_SERVER__PORT: server.port must be of type integer");
        assert_eq!(
            from_environment("HOURPASS_DATABASE__TIMEOUT", "soon"),
            "database.timeout (from HOURPASS_DATABASE__TIMEOUT) must be a duration from 100ms to 1m, such as 10s"
        );
        assert!(from_environment("HOURPASS_SERVER__PUBLIC_URL", "https://a/b").contains("must end after the host and port: https://a"));
        assert!(from_environment("HOURPASS_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, x").contains("x is not a network"));
        let not_text = std::os::unix::ffi::OsStringExt::from_vec(vec![0xFF]);
        let error = Config::load(None, [("HOURPASS_SIGNING__MASTER_KEY".into(), not_text)]).unwrap_err();
        assert_eq!(error.to_string(), "HOURPASS_SIGNING__MASTER_KEY is not UTF-8");
        assert!(Config::load(Some(Path::new("/nowhere.toml")), []).unwrap_err().to_string().contains("/nowhere.toml cannot be read"));
    }

    #[test]
    fn an_empty_variable_leaves_the_setting_as_it_is() {
        let variables = ["HOURPASS_SERVER__PORT", "HOURPASS_SERVER__HOST", "HOURPASS_DATABASE__URL"].map(|name| (name.into(), "".into()));
        assert_eq!(Config::load(None, variables).unwrap().server.port, 8080);
    }

    #[test]
    fn variables_of_others_are_let_be() {
        let variables = [("HOURPASS_PORT", "tcp://10.0.0.1:80"), ("HOURPASS_SERVER_PORT", "9000"), ("PATH", "/bin")];
        let config = Config::load(None, variables.map(|(name, value)| (name.into(), value.into()))).unwrap();
        assert_eq!(config.server.port, 8080);
        assert_eq!(config.warnings, ["HOURPASS_SERVER_PORT is not a setting and is ignored; for server.port set HOURPASS_SERVER__PORT"]);
    }
}
