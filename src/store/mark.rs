//! Marks: small files outside of the database that say how much it has given out. A database that knows of less than its mark is a copy from before.
//!
//! A mark is written after each commit that changed what other services go by, before anybody is told of the commit. So whatever was acknowledged is in the mark, however the process ends.
//! At a power cut the last seconds may be missing, as the mark is only synced now and then.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::lock::beside;

/// How long a mark is. One sector of a disk is written whole or not at all.
const LENGTH: usize = 512;

/// How much a database has given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// Which database: every copy of it has the same id.
    pub database: Uuid,
    /// How many times it was restored.
    pub epoch: i64,
    /// The highest position in the change log.
    pub position: i64,
    /// The highest index into the status lists.
    pub index: i64,
    /// The file of a SQLite database.
    pub file: Option<DatabaseFile>,
}

/// By what the file of a SQLite database is recognized that was not opened yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFile {
    /// SQLite's schema cookie, which a copy by `VACUUM INTO` has one higher.
    pub cookie: u32,
    /// The number of the inode.
    pub inode: u64,
    /// When it was last written to, in nanoseconds since the Unix epoch. SQLite may have written to it later.
    pub modified: i64,
}

/// When a file was last written to, in nanoseconds since the Unix epoch.
pub(super) fn modified(found: &Metadata) -> i64 {
    found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())
}

impl HighWater {
    /// Whether this has given out something that `other` does not know of.
    #[must_use]
    pub fn is_ahead_of(&self, other: &Self) -> bool {
        self.database == other.database && (self.epoch > other.epoch || self.position > other.position || self.index > other.index)
    }

    fn raised(mut self, by: &Self) -> Self {
        if self.database != by.database {
            return *by;
        }
        self.epoch = self.epoch.max(by.epoch);
        self.position = self.position.max(by.position);
        self.index = self.index.max(by.index);
        self.file = by.file.or(self.file);
        self
    }
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    This(HighWater),
    /// It cannot be read, as after a power cut.
    Damaged,
}

/// A mark that is kept.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    last: Mutex<HighWater>,
}

/// Where the mark of a SQLite database is, beside the file.
pub(super) fn beside_database(file: &Path) -> PathBuf {
    beside(file, ".mark")
}

/// Where the mark of this database is in a directory that may hold those of others.
pub(super) fn in_directory(directory: &Path, database: Uuid) -> PathBuf {
    directory.join(format!("hourpass-{database}.mark"))
}

/// Reads a mark.
pub(super) fn read(path: &Path) -> io::Result<Said> {
    match File::open(path) {
        Ok(file) => {
            // Never half of what was there and half of what is just written.
            file.lock_shared()?;
            said(&file)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Said::Nothing),
        Err(error) => Err(error),
    }
}

fn said(file: &File) -> io::Result<Said> {
    let mut bytes = [0; LENGTH];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    let text = bytes.get(..length).unwrap_or_default();
    Ok(match serde_json::from_slice(text) {
        Ok(high_water) => Said::This(high_water),
        Err(_) if text.is_empty() => Said::Nothing,
        Err(_) => Said::Damaged,
    })
}

impl Mark {
    /// Begins to keep a mark, with what the database knows now. `create`: also if there is none yet.
    pub(super) fn keep(path: PathBuf, now: HighWater, create: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(&path)?;
        let this = Self { file, path, last: Mutex::new(now) };
        this.renew(now)?;
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that so much was given out. Never goes back, whoever else writes to the same file.
    pub(super) fn raise(&self, position: i64, index: i64) -> io::Result<()> {
        let raised = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if position <= last.position && index <= last.index {
                return Ok(());
            }
            (last.position, last.index) = (last.position.max(position), last.index.max(index));
            *last
        };
        self.write(raised)
    }

    /// Notes all that is known now, and has it outlive a power cut.
    pub(super) fn renew(&self, now: HighWater) -> io::Result<()> {
        self.write(now)?;
        self.sync()
    }

    fn write(&self, now: HighWater) -> io::Result<()> {
        // Others may write to the same mark: several nodes on one machine, or a command beside the server.
        self.file.lock()?;
        let written = said(&self.file).and_then(|said| {
            let new = if let Said::This(there) = said { there.raised(&now) } else { now };
            let mut text = serde_json::to_vec(&new)?;
            text.resize(LENGTH - 1, b' ');
            text.push(b'\n');
            self.file.write_all_at(&text, 0)
        });
        self.file.unlock()?;
        written
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: HighWater = HighWater { database: Uuid::from_u128(1), epoch: 0, position: 10, index: 5, file: None };

    #[test]
    fn a_mark_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.mark");
        assert_eq!(read(&path).unwrap(), Said::Nothing);
        let (one, two) =
            (Mark::keep(path.clone(), START, true).unwrap(), Mark::keep(path.clone(), HighWater { position: 8, ..START }, false).unwrap());
        one.raise(12, 0).unwrap();
        two.raise(11, 7).unwrap();
        assert_eq!(read(&path).unwrap(), Said::This(HighWater { position: 12, index: 7, ..START }));
        let known = HighWater { position: 12, index: 6, ..START };
        let Said::This(said) = read(&path).unwrap() else { panic!() };
        assert!(said.is_ahead_of(&known) && !known.is_ahead_of(&said));
        assert!(!said.is_ahead_of(&HighWater { database: Uuid::from_u128(2), ..known }));
    }

    #[test]
    fn a_damaged_mark_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.mark");
        std::fs::write(&path, [0; LENGTH]).unwrap();
        assert_eq!(read(&path).unwrap(), Said::Damaged);
        Mark::keep(path.clone(), START, true).unwrap();
        assert_eq!(read(&path).unwrap(), Said::This(START));
    }
}
