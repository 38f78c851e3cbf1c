//! Epochs: the life of a database between restores, and the marks that tell when one is needed. See `docs/adr/0013-a-restored-database-begins-an-epoch.md`.

use std::io::ErrorKind;
use std::path::PathBuf;

use sqlx::FromRow;
use uuid::Uuid;

use super::changes::EVERYTHING;
use super::mark::{self, HighWater, Mark, Said};
use super::{Db, Engine, OpenMode, Store, StoreError, Tx, dialect};
use crate::domain::id::{ApiKeyId, OrganizationId, ServiceAccountId};
use crate::domain::status::LIST_LENGTH;
use crate::domain::time::Timestamp;

statements! {
    FIND_CURRENT = "SELECT number, database_id, first_list, last_list, ended_at FROM epochs WHERE ended_at IS NULL";
    LIST = "SELECT number, database_id, first_list, last_list, ended_at FROM epochs ORDER BY number";
    GREATEST = "SELECT COALESCE(max(idx), 0) FROM status_entries";
    NEWEST = "SELECT COALESCE(max(position), 0) FROM changes";
    END = "UPDATE epochs SET ended_at = $2, last_list = $3 WHERE number = $1 AND ended_at IS NULL";
    BEGIN = "INSERT INTO epochs (number, database_id, first_list, began_at) VALUES ($1, $2, $3, $4)";
    // Their lists say that everything in them is invalid until no token that names them can be in use.
    DELETE_ENTRIES = "DELETE FROM status_entries";
    ADD_ALL = "INSERT INTO status_entries (grant_id, ends_at, outlived) \
               SELECT grant_id, CASE WHEN retained_until IS NULL THEN expires_at WHEN expires_at IS NULL OR retained_until < expires_at THEN retained_until ELSE expires_at END, TRUE \
               FROM api_key_values ORDER BY id";
    DELETE_SESSIONS = "DELETE FROM sessions";
    LIST_KEYS_SINCE = "SELECT DISTINCT k.id, k.name, k.service_account_id, a.organization_id FROM api_keys k JOIN service_accounts a ON a.id = k.service_account_id \
                       JOIN api_key_values v ON v.api_key_id = k.id WHERE k.active AND (v.created_at >= $1 OR k.created_at >= $1) ORDER BY k.id";
    DEACTIVATE_KEY = "UPDATE api_keys SET active = FALSE WHERE id = $1";
    DELETE_INVITATIONS_SINCE = "DELETE FROM invitations WHERE created_at >= $1";
    LAST_EVENT = "SELECT occurred_at FROM audit_events ORDER BY id DESC LIMIT 1";
}

/// More lists than are begun between a back-up and its restore.
const MANY_LISTS: i64 = 100;

/// A stretch of a database's life, from one restore to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Epoch {
    /// Counts the restores.
    pub number: i64,
    /// The same in every copy of the database.
    pub database_id: Uuid,
    /// The number of its first status list.
    pub first_list: i64,
    /// The number of its last status list; `None` while it lasts.
    pub last_list: Option<i64>,
    /// When the next one began, in microseconds since the Unix epoch.
    ended_at: Option<i64>,
}

impl Epoch {
    /// When the next epoch began.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at.map(Timestamp::from_micros)
    }
}

/// An API key that was made, or got a value, after some time.
#[derive(Clone, Debug, FromRow)]
pub struct RecentKey {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub service_account_id: Uuid,
    /// In which organization.
    pub organization_id: Uuid,
}

/// Why a database is taken for restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A mark knows of more than the database: the path of the mark, what it says, and what the database knows.
    Behind(PathBuf, HighWater, HighWater),
    /// The mark at this path cannot be read.
    DamagedMark(PathBuf),
    /// The database file was exchanged, or changed by another program, after its write-ahead log was written.
    ExchangedFile,
}

impl Evidence {
    /// What is known to have been given out.
    #[must_use]
    pub fn given_out(&self) -> Option<HighWater> {
        match self {
            Self::Behind(_, said, _) => Some(*said),
            Self::DamagedMark(_) | Self::ExchangedFile => None,
        }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Behind(path, said, known) => write!(
                formatter,
                "{} says that epoch {}, change {} and status index {} were given out, and the database knows of {}, {} and {}",
                path.display(),
                said.epoch,
                said.position,
                said.index,
                known.epoch,
                known.position,
                known.index
            ),
            Self::DamagedMark(path) => write!(formatter, "the mark {} cannot be read", path.display()),
            Self::ExchangedFile => formatter.write_str("the database file was changed after its -wal file was last written, and not by Hourpass"),
        }
    }
}

impl Store {
    /// The present epoch.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn find_epoch(&self) -> Result<Epoch, StoreError> {
        Ok(on!(Db, &self.read, |pool| sqlx::query_as(FIND_CURRENT).fetch_one(pool).await)?)
    }

    /// All epochs, the first first.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn list_epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        Ok(on!(Db, &self.read, |pool| sqlx::query_as(LIST).fetch_all(pool).await)?)
    }

    /// When the last event of the audit trail happened: up to when this database knows what happened, at least.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn last_event_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = on!(Db, &self.read, |pool| sqlx::query_scalar(LAST_EVENT).fetch_optional(pool).await)?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// How much the database knows that it has given out.
    async fn high_water(&self) -> Result<HighWater, StoreError> {
        let epoch = self.find_epoch().await?;
        let position: i64 = on!(Db, &self.read, |pool| sqlx::query_scalar(NEWEST).fetch_one(pool).await)?;
        let index: i64 = on!(Db, &self.read, |pool| sqlx::query_scalar(GREATEST).fetch_one(pool).await)?;
        let index = index.max(epoch.first_list * i64::from(LIST_LENGTH));
        let file = dialect::identify_file(self).await?;
        Ok(HighWater { database: epoch.database_id, epoch: epoch.number, position, index, file })
    }

    /// Where the marks of this database are: beside the file of a SQLite database, and in `directory`.
    fn mark_paths(&self, directory: Option<&PathBuf>, database: Uuid) -> Vec<PathBuf> {
        let beside = self.file.as_deref().map(mark::beside_database);
        beside.into_iter().chain(directory.map(|directory| mark::in_directory(directory, database))).collect()
    }

    /// Compares the database with its marks. `None`: it is not known to be older than what it gave out.
    ///
    /// # Errors
    /// If the database fails, or if a mark is there and cannot be opened.
    pub async fn find_evidence_of_restore(&self, directory: Option<&PathBuf>) -> Result<Option<Evidence>, StoreError> {
        if self.exchanged {
            return Ok(Some(Evidence::ExchangedFile));
        }
        let paths = self.mark_paths(directory, self.find_epoch().await?.database_id);
        self.compare_with(paths).await
    }

    /// Compares the database with the marks that this process keeps, as after a failover to a stand-by that was behind.
    ///
    /// # Errors
    /// As [`Store::find_evidence_of_restore`].
    pub async fn find_evidence_again(&self) -> Result<Option<Evidence>, StoreError> {
        self.compare_with(self.changes.mark_paths()).await
    }

    async fn compare_with(&self, paths: Vec<PathBuf>) -> Result<Option<Evidence>, StoreError> {
        // Before the database is read: what is committed meanwhile raises the mark.
        let mut all = Vec::new();
        for path in paths {
            let said = mark::read(&path).map_err(|error| StoreError::Refused(format!("the mark {} cannot be read: {error}", path.display())))?;
            all.push((path, said));
        }
        let known = self.high_water().await?;
        for (path, said) in all {
            match said {
                Said::This(said) if said.is_ahead_of(&known) => return Ok(Some(Evidence::Behind(path, said, known))),
                Said::Damaged => return Ok(Some(Evidence::DamagedMark(path))),
                Said::This(_) | Said::Nothing => {}
            }
        }
        Ok(None)
    }

    /// From now on, notes in the marks what this process gives out. Only with [`OpenMode::CreateIfMissing`] makes marks that are missing. A mark that cannot be kept
    /// is named in the log.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_marks(&self, directory: Option<&PathBuf>, mode: OpenMode) -> Result<(), StoreError> {
        let known = self.high_water().await?;
        let mut marks = Vec::new();
        for path in self.mark_paths(directory, known.database) {
            match Mark::keep(path.clone(), known, mode == OpenMode::CreateIfMissing) {
                Ok(mark) => marks.push(mark),
                Err(error) if mode == OpenMode::ExistingOnly && error.kind() == ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(
                    %error,
                    "the mark {} cannot be kept, by which a restored database is recognized; set database.mark_directory, or say `hourpass admin restored` after a restore",
                    path.display()
                ),
            }
        }
        self.changes.set_marks(marks);
        Ok(())
    }

    /// Has the marks outlive a power cut, and know what other nodes gave out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sync_marks(&self) -> Result<(), StoreError> {
        let known = self.high_water().await?;
        self.changes.renew_marks(known);
        Ok(())
    }
}

impl Tx {
    /// Ends the epoch `present` and begins the next one: every token family is revoked, every session ends, and new status lists are begun whose numbers no
    /// list had before. `given_out`: the highest status index that is known to have been given out, also after the back-up. `unless_known`: nothing is done if the
    /// database knows of all this; what was read before may come from a stand-by that lags behind. Returns `None` if nothing was done, also if somebody else has
    /// just done so.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin_epoch(
        &mut self,
        present: Epoch,
        given_out: i64,
        unless_known: Option<HighWater>,
        now: Timestamp,
    ) -> Result<Option<Epoch>, StoreError> {
        dialect::begin_epoch(self).await?;
        let greatest: i64 = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(GREATEST).fetch_one(&mut **tx).await)?;
        let position: i64 = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(NEWEST).fetch_one(&mut **tx).await)?;
        let index = greatest.max(present.first_list * i64::from(LIST_LENGTH));
        let here = HighWater { database: present.database_id, epoch: present.number, position, index, file: None };
        if unless_known.is_some_and(|said| !said.is_ahead_of(&here)) {
            return Ok(None);
        }
        let (known, said) = (greatest / i64::from(LIST_LENGTH), given_out / i64::from(LIST_LENGTH));
        // What was given out in a later epoch, which is lost, had lists far from these.
        let last_list = if said - known < MANY_LISTS { known.max(said) } else { known }.max(present.first_list);
        let ended = on!(Engine, &mut self.engine, |tx| sqlx::query(END)
            .bind(present.number)
            .bind(now.as_micros())
            .bind(last_list)
            .execute(&mut **tx)
            .await?
            .rows_affected());
        if ended != 1 {
            return Ok(None);
        }
        // Numbered by the time, so that no other restore of the same back-up ever had a list of this number, or a change of this position.
        let next = Epoch {
            number: present.number + 1,
            database_id: present.database_id,
            first_list: now.as_seconds().max(last_list + 2).max(said + 2),
            last_list: None,
            ended_at: None,
        };
        on!(Engine, &mut self.engine, |tx| {
            sqlx::query(BEGIN).bind(next.number).bind(next.database_id).bind(next.first_list).bind(now.as_micros()).execute(&mut **tx).await?;
            sqlx::query(DELETE_ENTRIES).execute(&mut **tx).await?;
            sqlx::query(DELETE_SESSIONS).execute(&mut **tx).await?;
        });
        dialect::jump_numbers(self, next.first_list * i64::from(LIST_LENGTH)).await?;
        dialect::replace_all_grants(self).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(ADD_ALL).execute(&mut **tx).await.map(drop))?;
        self.note_change(EVERYTHING);
        let greatest: i64 = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(GREATEST).fetch_one(&mut **tx).await)?;
        self.note_index(greatest);
        Ok(Some(next))
    }

    /// Lists the active API keys that were made, or got a value, at `since` or later.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list_keys_since(&mut self, since: Timestamp) -> Result<Vec<RecentKey>, StoreError> {
        Ok(on!(Engine, &mut self.engine, |tx| sqlx::query_as(LIST_KEYS_SINCE).bind(since.as_micros()).fetch_all(&mut **tx).await)?)
    }

    /// Deactivates an API key, and revokes what it yielded.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn deactivate_key(&mut self, key: &RecentKey, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(ServiceAccountId(key.service_account_id).0);
        self.end_status(super::Ended::Key(ApiKeyId(key.id)), now).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(DEACTIVATE_KEY).bind(key.id).execute(&mut **tx).await.map(drop))?;
        Ok(())
    }

    /// Deletes the invitations that were made at `since` or later. Returns how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_invitations_since(&mut self, since: Timestamp) -> Result<u64, StoreError> {
        Ok(on!(Engine, &mut self.engine, |tx| sqlx::query(DELETE_INVITATIONS_SINCE)
            .bind(since.as_micros())
            .execute(&mut **tx)
            .await?
            .rows_affected()))
    }
}

impl RecentKey {
    /// The organization of the key.
    #[must_use]
    pub fn organization(&self) -> OrganizationId {
        OrganizationId(self.organization_id)
    }
}
