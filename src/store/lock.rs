//! The lock that everything holds which has a SQLite database open, so that nothing puts another file in its place meanwhile.
//!
//! It is an flock on a file of its own, because the system releases that when a process dies, and because SQLite's own locks on the database do not survive that another descriptor of
//! the same process is closed.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;
use super::existing::absolute;

/// How long it is waited between two attempts.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// A name beside a database file: the name of the file, and this at its end.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Held as long as a database is open, or while its files are exchanged. `None` inside on a file system without such locks.
#[derive(Debug)]
pub struct DatabaseLock(#[expect(dead_code, reason = "it is held")] Option<File>);

/// What a first attempt got.
pub(super) enum Entered {
    /// Nobody else has the database open in any process.
    Alone(File),
    /// Others have it open.
    Shared(DatabaseLock),
}

fn open(file: &Path) -> Result<File, StoreError> {
    let path = beside(file, ".lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    opened.map_err(|error| StoreError::Refused(format!("the lock file {} cannot be opened: {error}", absolute(&path).display())))
}

fn unsupported(file: &Path, error: &std::io::Error) -> DatabaseLock {
    tracing::warn!(%error, "{} cannot be locked: this file system has no locks. Keep the database on a local disk", absolute(file).display());
    DatabaseLock(None)
}

/// Whether anything of ours ever had the database open.
pub(super) fn is_there(file: &Path) -> bool {
    beside(file, ".lock").exists()
}

/// Takes the lock before a database is opened: alone if nobody else has it open, else shared with them. Waits while the files are being exchanged.
pub(super) async fn enter(file: &Path, timeout: Duration) -> Result<Entered, StoreError> {
    let lock = open(file)?;
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Entered::Alone(lock)),
            Err(TryLockError::Error(error)) => return Ok(Entered::Shared(unsupported(file, &error))),
            Err(TryLockError::WouldBlock) => {}
        }
        match lock.try_lock_shared() {
            Ok(()) => return Ok(Entered::Shared(DatabaseLock(Some(lock)))),
            Err(TryLockError::Error(error)) => return Ok(Entered::Shared(unsupported(file, &error))),
            Err(TryLockError::WouldBlock) if waited >= timeout => {
                return Err(StoreError::Refused(format!(
                    "the database {} is just being opened or restored by another process; try again when that is done",
                    absolute(file).display()
                )));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::time::sleep(TRY_AGAIN).await;
        waited += TRY_AGAIN;
    }
}

/// Lets others in beside the one that was alone. `None`: somebody else was faster and is alone now.
pub(super) fn share(lock: File) -> Option<DatabaseLock> {
    lock.unlock().and_then(|()| lock.try_lock_shared().map_err(std::io::Error::from)).is_ok().then_some(DatabaseLock(Some(lock)))
}

impl DatabaseLock {
    /// Takes the lock to exchange the files of a database.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if anything has the database open.
    pub fn alone(file: &Path) -> Result<Self, StoreError> {
        let lock = open(file)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(Some(lock))),
            Err(TryLockError::WouldBlock) => Err(StoreError::Refused(format!(
                "a server or another command has the database {} open; stop it first. Nothing was changed",
                absolute(file).display()
            ))),
            Err(TryLockError::Error(error)) => Ok(unsupported(file, &error)),
        }
    }
}
