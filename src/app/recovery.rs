//! Back-up and restore of a SQLite database, and what a server does at its start when its database was restored.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{StartError, master_key, open};
use crate::config::{Config, Database, Signing as SigningSettings};
use crate::domain::audit::Actor;
use crate::domain::time::Timestamp;
use crate::service::{Declaration, Restoration, Restored, Signing, SigningError, Sources};
use crate::store::{self, DatabaseLock, Evidence, Inspection, OpenMode, Store};

/// A back-up that was made.
#[derive(Debug)]
pub struct Backup {
    /// What is in it.
    pub inspection: Inspection,
    /// Where the master key is, which is not in it.
    pub master_key: String,
}

/// A restore that was done.
#[derive(Debug)]
pub struct Replaced {
    /// What is in the restored database.
    pub inspection: Inspection,
    /// The database file.
    pub file: PathBuf,
    /// Where the files are that were there before.
    pub moved: Vec<PathBuf>,
}

/// What a restore leaves for the next server to do.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Request {
    /// When the last event of the restored database happened.
    lost_since: Option<i64>,
    revoke_since: Option<i64>,
}

fn refused(why: impl Into<String>) -> StartError {
    StartError::Recovery(why.into())
}

/// Says which file could not be worked on.
fn at(path: &Path) -> impl Fn(io::Error) -> StartError {
    let path = absolute(path);
    move |error| refused(format!("{}: {error}", path.display()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(file: &Path) -> Result<(), StartError> {
    let folder = folder(file);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// A new file for its owner only, removed again unless it is renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn create(file: &Path, sources: &Sources) -> Result<Self, StartError> {
        let mut suffix = [0; 8];
        sources.random().fill(&mut suffix);
        let path = beside(file, &format!(".{:016x}.tmp", u64::from_be_bytes(suffix)));
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(at(&path))?;
        Ok(Self(path))
    }

    fn sync(&self) -> Result<(), StartError> {
        File::open(&self.0).and_then(|file| file.sync_all()).map_err(at(&self.0))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _gone_already = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

/// The file of the SQLite database; for PostgreSQL, the sentence that says which programs do this.
fn sqlite_file(config: &Config, instead: impl Fn(&str) -> String) -> Result<PathBuf, StartError> {
    let url = config.database.url.expose_secret();
    store::sqlite_file(url).ok_or_else(|| refused(instead(url)))
}

/// Copies the database into `file` while a server runs, and checks the copy.
///
/// # Errors
/// If there is no database, if `file` exists and `force` is not set, and if the copy cannot be made or is not whole. Then `file` is as it was.
pub async fn backup(config: &Config, sources: &Sources, file: &Path, force: bool) -> Result<Backup, StartError> {
    let store = open(&config.database, OpenMode::ExistingOnly).await?;
    let database = sqlite_file(config, |url| {
        let command = store::postgres_dump(url, file).unwrap_or_default();
        format!("a PostgreSQL database is copied with its own program, which asks for the password or takes it from ~/.pgpass: {command}")
    })?;
    let same = |one: &Path, other: &Path| fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|other| one == other));
    if ["", "-wal", "-shm", ".lock", ".mark"].iter().any(|suffix| same(file, &beside(&database, suffix))) {
        return Err(refused(format!("{} is the database itself; name another file", absolute(file).display())));
    }
    let exists = || refused(format!("{} is there already; name another file, or say --force to replace it", absolute(file).display()));
    if !force && file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let temporary = Temporary::create(file, sources)?;
    store.copy_to(&absolute(&temporary.0)).await?;
    let inspection = store::inspect(&temporary.0).await?;
    temporary.sync()?;
    if force {
        fs::rename(&temporary.0, file).map_err(at(file))?;
    } else {
        // Unlike a rename, a link never takes the place of a file that somebody made meanwhile.
        match fs::hard_link(&temporary.0, file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            // Some volumes have no links.
            Err(_) => fs::rename(&temporary.0, file).map_err(at(file))?,
        }
    }
    drop(temporary);
    sync_folder(file)?;
    store.close().await;
    Ok(Backup { inspection, master_key: master_key::place(&config.signing, &config.database) })
}

/// Puts a copy of `file` in the place of the database. The files that are there are moved aside, and `file` stays as it is. The next server begins a new epoch, and
/// does what `revoke_since` asks for.
///
/// # Errors
/// If anything has the database open, if `file` is not a whole Hourpass database whose signing keys the master key opens, and if files cannot be written.
/// Nothing is changed then.
pub async fn restore(config: &Config, sources: &Sources, file: &Path, revoke_since: Option<Timestamp>) -> Result<Replaced, StartError> {
    let database = sqlite_file(config, |_| {
        "a PostgreSQL database is restored with its own programs: stop all nodes, `pg_restore --clean --if-exists --dbname=URL FILE`, start one node, and then \
         `hourpass admin restored`"
            .to_owned()
    })?;
    let source = file.metadata().map_err(at(file))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder(&database)).map_err(at(folder(&database)))?;
    let _alone = DatabaseLock::alone(&database)?;
    let temporary = Temporary::create(&database, sources)?;
    // A snapshot of a volume is a database and its log. Beside the database itself, a log belongs to what was there before.
    let itself = database.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (source.dev(), source.ino()));
    let suffixes: &[&str] = if itself { &[""] } else { &["", "-wal"] };
    for suffix in suffixes.iter().filter(|suffix| beside(file, suffix).exists()) {
        copy(&beside(file, suffix), &beside(&temporary.0, suffix))?;
    }
    if beside(&temporary.0, "-wal").exists() {
        store::settle_copy(&temporary.0).await?;
    }
    let named =
        |error: store::StoreError| refused(error.to_string().replace(&absolute(&temporary.0).display().to_string(), &file.display().to_string()));
    let inspection = store::inspect(&temporary.0).await.map_err(named)?;
    master_key::find(&config.signing, &config.database, OpenMode::ExistingOnly, true, &*sources.random)?
        .opens(&inspection.sealed_keys)
        .map_err(SigningError::MasterKey)?;
    temporary.sync()?;

    // First, so that a server that starts after a crash in between does too much rather than too little.
    let request = Request { lost_since: inspection.last_event_at.map(Timestamp::as_micros), revoke_since: revoke_since.map(Timestamp::as_micros) };
    write_request(&database, &request, sources)?;
    let moved = move_aside(&database, sources.now())?;
    fs::rename(&temporary.0, &database).map_err(at(&database))?;
    sync_folder(&database)?;
    Ok(Replaced { inspection, file: absolute(&database), moved })
}

fn copy(from: &Path, to: &Path) -> Result<(), StartError> {
    let mut source = File::open(from).map_err(at(from))?;
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to).map_err(at(to))?;
    io::copy(&mut source, &mut target).and_then(|_| target.sync_all()).map_err(at(to))
}

/// Moves a database and its log aside, under names by which SQLite finds them together again.
fn move_aside(database: &Path, now: Timestamp) -> Result<Vec<PathBuf>, StartError> {
    let base = format!(".before-restore-{}", now.as_seconds());
    let mut aside = beside(database, &base);
    let mut number = 1;
    while ["", "-wal", "-shm"].iter().any(|suffix| beside(&aside, suffix).symlink_metadata().is_ok()) {
        number += 1;
        aside = beside(database, &format!("{base}.{number}"));
    }
    let mut moved = Vec::new();
    // The database first: without it, a server does not start, whatever else is there.
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (beside(database, suffix), beside(&aside, suffix));
        match fs::rename(&from, &to) {
            Ok(()) => moved.push(absolute(&to)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&from)(error)),
        }
    }
    Ok(moved)
}

fn request_file(database: &Path) -> PathBuf {
    beside(database, ".restored")
}

fn write_request(database: &Path, request: &Request, sources: &Sources) -> Result<(), StartError> {
    let path = request_file(database);
    let text = serde_json::to_vec(request).map_err(|error| refused(error.to_string()))?;
    let temporary = Temporary::create(&path, sources)?;
    fs::write(&temporary.0, text).map_err(at(&temporary.0))?;
    temporary.sync()?;
    fs::rename(&temporary.0, &path).map_err(at(&path))?;
    sync_folder(&path)
}

fn read_request(database: &Path) -> Result<Option<Request>, StartError> {
    let path = request_file(database);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|_| refused(format!("{} cannot be read; do the restore again", absolute(&path).display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// Where marks are kept beside those of SQLite databases: where the settings say, or else for PostgreSQL where the master key file is.
pub(super) fn mark_directory(database: &Database, signing: &SigningSettings) -> Option<PathBuf> {
    if let Some(directory) = &database.mark_directory {
        return Some(directory.clone());
    }
    if store::sqlite_file(database.url.expose_secret()).is_some() || signing.master_key.is_some() {
        return None;
    }
    let beside_the_key = signing.master_key_file.as_deref().map_or(Path::new("data"), folder);
    beside_the_key.is_dir().then(|| beside_the_key.to_owned())
}

/// What is left to be done of a restore when the signing keys are open.
pub(super) struct Unfinished {
    request: Option<PathBuf>,
    withdraw: bool,
    restoration: Restoration,
}

/// Begins a new epoch if the database was restored: if a restore says so, or if the database knows of less than its marks.
pub(super) async fn begin_epoch_if_restored(
    settings: &Database,
    signing: &SigningSettings,
    store: &Store,
    sources: &Sources,
) -> Result<Unfinished, StartError> {
    let restoration = Restoration::new(store.clone(), sources.clone());
    let database = store::sqlite_file(settings.url.expose_secret());
    let request = database.as_deref().map(read_request).transpose()?.flatten();
    let found = store.find_evidence_of_restore(mark_directory(settings, signing).as_ref()).await?;
    let mut unfinished = Unfinished { request: None, withdraw: false, restoration };
    let (given_out, only_by_mark) = (found.as_ref().and_then(Evidence::given_out), request.is_none());
    let evidence = match (&request, &found) {
        (None, None) => return Ok(unfinished),
        (Some(_), _) => "hourpass admin restore".to_owned(),
        (None, Some(found)) => found.to_string(),
    };
    let request = request.map(|request| (request.lost_since.map(Timestamp::from_micros), request.revoke_since.map(Timestamp::from_micros)));
    let (lost_since, revoke_since) = request.unwrap_or_default();
    let declaration = Declaration { by: Actor::system(), evidence, lost_since, revoke_since, given_out, only_by_mark };
    if let Some(restored) = unfinished.restoration.declare(&declaration).await? {
        restored.tell(&declaration.evidence);
    }
    unfinished.request = request.and(database.as_deref().map(request_file));
    unfinished.withdraw = revoke_since.is_some();
    Ok(unfinished)
}

impl Unfinished {
    /// Withdraws the signing keys if that was asked for, and forgets what a restore asked for when all of it is done.
    pub(super) async fn finish(self, signing: &Signing) -> Result<(), StartError> {
        if self.withdraw {
            let withdrawn = self.restoration.withdraw_signing_keys(signing).await?;
            tracing::warn!(?withdrawn, "signing keys were withdrawn, as the restore asked for");
        }
        if let Some(request) = self.request {
            fs::remove_file(&request).map_err(at(&request))?;
            sync_folder(&request)?;
        }
        Ok(())
    }
}

/// Declares that the database was restored, for `hourpass admin restored`. Returns what was done, and the signing keys that were withdrawn.
///
/// # Errors
/// If there is no database, if another node does so at the same moment, and if the master key or the database fails.
pub async fn declare_restored(
    config: &Config,
    sources: &Sources,
    lost_since: Option<Timestamp>,
    revoke_since: Option<Timestamp>,
) -> Result<(Restored, Vec<String>), StartError> {
    let store = open(&config.database, OpenMode::ExistingOnly).await?;
    let directory = mark_directory(&config.database, &config.signing);
    let given_out = store.find_evidence_of_restore(directory.as_ref()).await?.and_then(|found| found.given_out());
    let signing = if revoke_since.is_some() { Some(super::open_signing(config, sources).await?) } else { None };
    let restoration = Restoration::new(store.clone(), sources.clone());
    let declaration = Declaration {
        by: Actor::operator(),
        evidence: "hourpass admin restored".to_owned(),
        lost_since,
        revoke_since,
        given_out,
        only_by_mark: false,
    };
    let restored = restoration.declare(&declaration).await?;
    let restored = restored.ok_or_else(|| refused("a node has just found out by itself that the database was restored, and has done the same"))?;
    store.keep_marks(directory.as_ref(), OpenMode::ExistingOnly).await?;
    let withdrawn = match &signing {
        Some(signing) => restoration.withdraw_signing_keys(signing).await?,
        None => Vec::new(),
    };
    store.close().await;
    Ok((restored, withdrawn))
}
