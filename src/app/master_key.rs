//! Where the master key comes from: the settings, a file that they name, or a file of our own beside the database.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::StartError;
use crate::config::{Database, Signing};
use crate::domain::random::Random;
use crate::keys::MasterKey;
use crate::store::{self, OpenMode};

/// Finds the master key. With [`OpenMode::CreateIfMissing`], makes one if none is given and nothing is encrypted with one yet (`sealed` is false).
pub(super) fn find(signing: &Signing, database: &Database, mode: OpenMode, sealed: bool, random: &dyn Random) -> Result<MasterKey, StartError> {
    if let Some(key) = &signing.master_key {
        return MasterKey::parse(key).map_err(|why| StartError::MasterKey(format!("signing.master_key {why}; {HOW}")));
    }
    if let Some(path) = &signing.master_key_file {
        return read(path);
    }
    let path = own_file(database);
    if !path.exists() {
        if sealed {
            let path = existing_place(&path);
            return Err(StartError::MasterKey(format!(
                "the master key file {path} is missing, and the database holds signing keys that only it opens; put it back, or set signing.master_key"
            )));
        }
        if mode == OpenMode::ExistingOnly {
            let path = existing_place(&path);
            return Err(StartError::MasterKey(format!(
                "there is no master key file at {path}; run this in the server's directory, or name the server's settings with --config FILE. Nothing was made"
            )));
        }
        make(&path, random)?;
        tracing::warn!(file = %path.display(), "made a master key; keep a copy of this file apart from the database's, and give every node the same");
    }
    read(&path)
}

const HOW: &str = "it must be 32 bytes in base64, as `openssl rand -base64 32` makes them";

/// The path as a person finds it from anywhere.
fn existing_place(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Where the master key is, for a person.
pub(super) fn place(signing: &Signing, database: &Database) -> String {
    match (&signing.master_key, &signing.master_key_file) {
        (Some(_), _) => "in signing.master_key".to_owned(),
        (None, Some(path)) => format!("in {}", existing_place(path)),
        (None, None) => format!("in {}", existing_place(&own_file(database))),
    }
}

fn own_file(database: &Database) -> PathBuf {
    let directory = store::sqlite_directory(database.url.expose_secret());
    directory.unwrap_or_else(|| PathBuf::from("data")).join("master.key")
}

fn read(path: &Path) -> Result<MasterKey, StartError> {
    let file = path.display();
    let text = fs::read_to_string(path).map_err(|error| StartError::MasterKey(format!("the master key file {file} cannot be read: {error}")))?;
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(%file, "others may read the master key file; chmod 600 it");
    }
    MasterKey::parse(&SecretString::from(text)).map_err(|why| StartError::MasterKey(format!("the master key file {file} {why}; {HOW}")))
}

/// Makes the file whole or not at all: another process may be doing the same.
fn make(path: &Path, random: &dyn Random) -> Result<(), StartError> {
    let failed = |error: std::io::Error| StartError::MasterKey(format!("the master key file {} cannot be made: {error}", path.display()));
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // A name of its own: one that was left behind by a process that was killed is in nobody's way.
    let mut suffix = [0; 8];
    random.fill(&mut suffix);
    let temporary = directory.join(format!("master.key.{:016x}", u64::from_be_bytes(suffix)));
    let text = MasterKey::generate(random);
    write(&temporary, &text).map_err(failed)?;
    // Unlike a rename, a link never takes the place of what another process made first.
    let linked = match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Some volumes have no links. There, a crash at this very moment could leave half a file, which the next start would name.
        Err(_) => write(path, &text).or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }),
        Ok(()) => Ok(()),
    };
    fs::remove_file(&temporary).map_err(failed)?;
    linked.and_then(|()| fs::File::open(directory)?.sync_all()).map_err(failed)
}

fn write(path: &Path, text: &SecretString) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", text.expose_secret())?;
    file.sync_all()
}
