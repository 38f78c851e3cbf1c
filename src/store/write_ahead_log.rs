//! Finds out before SQLite opens a database whether the `-wal` file beside it belongs to it. If a copy was put in the place of a database whose server was killed, SQLite would write
//! pages of the old database into the copy and ruin both.
//!
//! Only to be called while nobody has the database open: reading the files beside SQLite would release its locks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::lock::beside;
use super::mark::{DatabaseFile, modified};

const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// Where the header of a database holds its schema cookie.
const SCHEMA_COOKIE: u64 = 40;

/// Whether a database and the log beside it are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// There is no log, or it is the database's own.
    Own,
    /// The database file was changed after its log was last written, and not by SQLite; or it is not the file that the log was begun with.
    Doubtful,
}

/// Compares a database file with the log beside it. `noted`: what a server noted of the database file while it had it open.
pub(super) fn examine(file: &Path, noted: Option<DatabaseFile>) -> io::Result<Log> {
    let log = beside(file, "-wal");
    let log_found = match log.metadata() {
        Ok(found) if found.len() > HEADER + FRAME_HEADER => found,
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => return Ok(Log::Own),
    };
    let Ok(found) = file.metadata() else { return Ok(Log::Doubtful) };
    let (file, log) = (File::open(file)?, File::open(&log)?);
    let another = noted
        .is_some_and(|noted| number(&file, SCHEMA_COOKIE) != Some(noted.cookie) || found.ino() != noted.inode || modified(&found) < noted.modified);
    // Every commit writes to the log. Only a checkpoint writes to the database after that, and then all that is in the log is in the database as well.
    if !another && modified(&found) < modified(&log_found) {
        return Ok(Log::Own);
    }
    Ok(if contains(&file, &log)? { Log::Own } else { Log::Doubtful })
}

/// Whether every page that is committed in the log stands in the database in the same form.
fn contains(file: &File, log: &File) -> io::Result<bool> {
    let Some(size) = number(log, 8).filter(|size| size.is_power_of_two() && (512..=65_536).contains(size)) else { return Ok(true) };
    let salts = (number(log, 16), number(log, 20));
    let (mut pages, mut pending, mut last) = (BTreeMap::new(), BTreeMap::new(), 0);
    let mut offset = HEADER;
    while let Some(page) = number(log, offset).filter(|_| (number(log, offset + 8), number(log, offset + 12)) == salts) {
        pending.insert(page, offset + FRAME_HEADER);
        if let Some(commit) = number(log, offset + 4).filter(|commit| *commit > 0) {
            pages.append(&mut pending);
            last = commit;
        }
        offset += FRAME_HEADER + u64::from(size);
    }
    let mut both = (vec![0; size as usize], vec![0; size as usize]);
    for (page, offset) in pages.into_iter().filter(|(page, _)| (1..=last).contains(page)) {
        let read = log.read_exact_at(&mut both.0, offset).and_then(|()| file.read_exact_at(&mut both.1, u64::from(page - 1) * u64::from(size)));
        match read {
            Ok(()) if both.0 == both.1 => {}
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// A big-endian number of 32 bits; `None` beyond the end of the file.
fn number(file: &File, offset: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset).ok().map(|()| u32::from_be_bytes(bytes))
}
