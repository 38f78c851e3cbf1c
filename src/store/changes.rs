//! What changed of that which nodes hold in memory: the log of it, what this node knows of the log, and how far the other nodes are.
//!
//! What is held was read when this node had followed the log up to some position; it counts as long as nothing later is known to have changed of what it is about. So a read that
//! began before a change and ends after it never brings the old state back, wherever the change was made.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use sqlx::FromRow;
use tokio::sync::Notify;
use uuid::Uuid;

use super::dialect::OpenedFile;
use super::mark::{HighWater, Mark};
use super::{DatabaseLock, Db, Engine, Store, StoreError, Tx, dialect};

statements! {
    APPEND = "INSERT INTO changes (subject) VALUES ($1) RETURNING position";
    NEWEST = "SELECT COALESCE(max(position), 0) FROM changes";
    LAST = "SELECT position, subject, at FROM changes ORDER BY position DESC LIMIT 1";
    LIST = "SELECT position, subject, at FROM changes WHERE position >= $1 ORDER BY position LIMIT $2";
    // Measured from the newest, so that no clock but the database's own is asked. At most $2 of them, which are the first, so that nobody waits for long.
    TRIM = "DELETE FROM changes WHERE position IN (SELECT position FROM changes ORDER BY position LIMIT $2) \
            AND at < (SELECT at FROM changes ORDER BY position DESC LIMIT 1) - $1 AND position < (SELECT max(position) FROM changes)";
    BEAT = "INSERT INTO nodes (id, url, applied) VALUES ($1, $2, $3) \
            ON CONFLICT (id) DO UPDATE SET applied = excluded.applied, heartbeat_at = excluded.heartbeat_at";
    COUNT_NODES = "SELECT count(*), count(CASE WHEN applied >= $3 THEN 1 END) FROM nodes \
                   WHERE heartbeat_at >= (SELECT max(heartbeat_at) FROM nodes) - $1 AND id <> $2";
    LIST_NODES = "SELECT id, url, applied, (SELECT max(heartbeat_at) FROM nodes) - heartbeat_at AS silent FROM nodes WHERE heartbeat_at >= (SELECT max(heartbeat_at) FROM nodes) - $1 ORDER BY id";
    TRIM_NODES = "DELETE FROM nodes WHERE heartbeat_at < (SELECT max(heartbeat_at) FROM nodes) - $1";
    DELETE_NODE = "DELETE FROM nodes WHERE id = $1";
}

/// How long a subject is remembered. Whatever is held in memory has to be read again sooner.
const REMEMBERED: Duration = Duration::from_mins(15);
/// How often it is looked for changes that are not announced.
const UNANNOUNCED: Duration = Duration::from_millis(250);
/// How many subjects are forgotten at most for each one that is learned of, so that nobody waits for long. More than one, so that their number shrinks.
const FORGOTTEN_EACH: usize = 4;
/// How many changes are deleted by one statement.
const TRIM_BATCH: i64 = 1_000;

/// Noted as changed when everything changed: a restored database begins a new epoch.
pub(super) const EVERYTHING: Uuid = Uuid::max();

/// A node that is alive.
#[derive(Clone, Debug, FromRow)]
pub struct Node {
    /// Its id: another one with each start.
    pub id: Uuid,
    /// Where it listens.
    pub url: String,
    /// Up to where it has followed the changes.
    pub applied: i64,
    /// How many microseconds before the last of all nodes it last said that it is alive.
    pub silent: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
struct ChangeRow {
    position: i64,
    subject: Uuid,
    at: i64,
}

/// How far this node had followed the log when something was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Another one after the log was found to have gone back: the database is a copy from before.
    generation: u64,
    number: i64,
}

/// What a node knew of the changes at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    generation: u64,
    newest: i64,
}

/// What this node knows of the changes.
#[derive(Clone, Debug)]
pub struct Changes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: RwLock<Known>,
    /// Where it is noted what was given out.
    marks: RwLock<Vec<Mark>>,
    woken: Notify,
    advanced: Notify,
    /// Whether changes of other nodes are announced.
    hearing: AtomicBool,
}

#[derive(Debug)]
struct Known {
    /// Which log it is that is followed.
    generation: u64,
    /// Up to where the log was followed, without a gap.
    applied: i64,
    /// The change at that position, by which the log is known again.
    last: Option<ChangeRow>,
    /// What was read before this position counts no more.
    floor: i64,
    /// The newest change of this node itself.
    own: i64,
    /// Where something last changed of whom, and when this node learned of it.
    subjects: HashMap<Uuid, (i64, Instant)>,
    /// The same in the order in which this node learned of them: for whom more changed since, it is out of date.
    learned: VecDeque<(Instant, Uuid)>,
    /// When the last look at the log began that came to its end.
    viewed: Instant,
}

impl Changes {
    #[expect(clippy::disallowed_methods, reason = "the age of a view is measured on the monotonic clock, and no rule of the domain depends on it")]
    fn new(applied: i64) -> Self {
        let known = Known {
            generation: 0,
            applied,
            last: None,
            floor: 0,
            own: 0,
            subjects: HashMap::new(),
            learned: VecDeque::new(),
            viewed: Instant::now(),
        };
        let hearing = AtomicBool::new(false);
        Self(Arc::new(Shared { known: RwLock::new(known), marks: RwLock::default(), woken: Notify::new(), advanced: Notify::new(), hearing }))
    }

    /// As after following the log up to its last change.
    fn after(last: Option<&ChangeRow>) -> Self {
        let changes = Self::new(last.map_or(0, |last| last.position));
        changes.write().last = last.copied();
        changes
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the log was followed. To be asked before something is read that is to be held.
    #[must_use]
    pub fn position(&self) -> Position {
        let known = self.read();
        Position { generation: known.generation, number: known.applied }
    }

    /// Up to where the log was followed.
    #[must_use]
    pub fn applied(&self) -> i64 {
        self.read().applied
    }

    /// Another one whenever this node learns of a change.
    #[must_use]
    pub fn version(&self) -> Version {
        let known = self.read();
        Version { generation: known.generation, newest: known.applied.max(known.own) }
    }

    /// The newest change that this node itself made.
    #[must_use]
    pub fn own(&self) -> i64 {
        self.read().own
    }

    /// Whether what was read at `position` still counts: nothing is known to have changed since of what it is about.
    #[must_use]
    pub fn hold(&self, Position { generation, number: position }: Position, subjects: &[Uuid]) -> bool {
        let known = self.read();
        generation == known.generation
            && position >= known.floor
            && subjects.iter().all(|subject| known.subjects.get(subject).is_none_or(|(changed, _)| *changed <= position))
    }

    /// How old this node's view of the log is.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.read().viewed.elapsed()
    }

    /// Whether changes of other nodes are announced right now.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.0.hearing.load(Ordering::Relaxed)
    }

    /// Takes in whether changes of other nodes are announced.
    pub(super) fn set_hearing(&self, hearing: bool) {
        self.0.hearing.store(hearing, Ordering::Relaxed);
    }

    /// Lets whoever follows the log look at once.
    pub fn wake(&self) {
        self.0.woken.notify_one();
    }

    /// Waits until there is something to look for.
    pub async fn woken(&self) {
        self.0.woken.notified().await;
    }

    /// Waits until the log was followed further.
    pub async fn advanced(&self) {
        self.0.advanced.notified().await;
    }

    /// Takes in what this node itself is about to change.
    #[expect(clippy::disallowed_methods, reason = "what is remembered is measured on the monotonic clock")]
    pub(super) fn note_own(&self, subjects: &BTreeSet<Uuid>, position: i64) {
        let now = Instant::now();
        let mut known = self.write();
        // No change can come before what was followed already, unless the database is a copy from before.
        if position <= known.applied {
            known.begin_anew(position - 1);
        }
        for subject in subjects {
            known.note(*subject, position, now);
        }
    }

    pub(super) fn set_marks(&self, marks: Vec<Mark>) {
        *self.0.marks.write().unwrap_or_else(PoisonError::into_inner) = marks;
    }

    pub(super) fn mark_paths(&self) -> Vec<PathBuf> {
        self.0.marks.read().unwrap_or_else(PoisonError::into_inner).iter().map(|mark| mark.path().to_owned()).collect()
    }

    /// Notes in the marks that so much was given out.
    pub(super) fn raise_marks(&self, position: i64, index: i64) {
        self.with_marks(|mark| mark.raise(position, index));
    }

    pub(super) fn renew_marks(&self, now: HighWater) {
        self.with_marks(|mark| mark.renew(now));
    }

    fn with_marks(&self, work: impl Fn(&Mark) -> std::io::Result<()>) {
        for mark in &*self.0.marks.read().unwrap_or_else(PoisonError::into_inner) {
            if let Err(error) = work(mark) {
                tracing::warn!(%error, "the mark {} cannot be written, by which a restored database is recognized", mark.path().display());
            }
        }
    }

    /// Takes in that it was changed.
    pub(super) fn confirm_own(&self, position: i64) {
        let mut known = self.write();
        known.own = known.own.max(position);
        drop(known);
        self.wake();
    }

    /// Takes in what the newest change is.
    fn expect_newest(&self, newest: i64) {
        let mut known = self.write();
        if newest < known.applied {
            tracing::error!(
                newest,
                followed = known.applied,
                "the database has gone back to an earlier state; everything held in memory is forgotten"
            );
            known.begin_anew(newest);
        }
    }

    /// Takes in the log from the position on up to where it was followed, and returns what is new. If the change at that
    /// position is another one than before, the log is not the one that was followed: a server has taken over that had
    /// not received everything. If it is missing, nobody can say: it was trimmed, or never reached this server.
    fn recognize<'a>(&self, found: &'a [ChangeRow]) -> &'a [ChangeRow] {
        let mut known = self.write();
        let (first, new) = match found.split_first() {
            Some((first, new)) if first.position == known.applied => (Some(first), new),
            _ => (None, found),
        };
        match (known.last, first) {
            (Some(last), Some(first)) if last != *first => {
                tracing::error!(
                    followed = known.applied,
                    "the database has lost changes that this node had seen; everything held in memory is forgotten"
                );
                let applied = known.applied;
                known.begin_anew(applied);
                known.last = Some(*first);
            }
            (Some(_), None) => {
                tracing::warn!(
                    followed = known.applied,
                    "the last change that this node followed is no longer in the database; everything held in memory is forgotten"
                );
                let applied = known.applied;
                known.begin_anew(applied);
            }
            (None, first) => known.last = first.copied(),
            _ => {}
        }
        new
    }

    /// Takes in what a look at the log found that began at `began`. `last`: there is no more.
    fn apply(&self, found: &[ChangeRow], began: Instant, last: bool) {
        let mut known = self.write();
        for change in found {
            known.note(change.subject, change.position, began);
            known.applied = known.applied.max(change.position);
            known.last = Some(*change);
        }
        let applied = known.applied;
        if !found.is_empty() {
            self.0.advanced.notify_one();
        }
        if last {
            // What was trimmed from the log meanwhile, nobody can know.
            if began.saturating_duration_since(known.viewed) > REMEMBERED / 2 {
                known.floor = known.applied;
            }
            known.viewed = known.viewed.max(began);
        }
        known.forget(began, FORGOTTEN_EACH * (found.len() + 1));
        drop(known);
        if !found.is_empty() {
            self.raise_marks(applied, 0);
        }
    }
}

impl Known {
    fn begin_anew(&mut self, applied: i64) {
        self.generation += 1;
        (self.applied, self.own, self.floor, self.last) = (applied, 0, 0, None);
        self.subjects.clear();
        self.learned.clear();
    }

    fn note(&mut self, subject: Uuid, position: i64, now: Instant) {
        if subject == EVERYTHING {
            self.floor = self.floor.max(position);
        }
        if self.subjects.get(&subject).is_none_or(|(known, _)| *known < position) {
            self.subjects.insert(subject, (position, now));
            self.learned.push_back((now, subject));
        }
    }

    /// Forgets at most `most` subjects that this node learned of long before `now`. Looks at no others.
    fn forget(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some((learned, subject)) = self.learned.front().copied() else { return };
            if now.saturating_duration_since(learned) < REMEMBERED {
                return;
            }
            self.learned.pop_front();
            if self.subjects.get(&subject).is_some_and(|(_, last)| *last == learned) {
                self.subjects.remove(&subject);
            }
        }
    }
}

impl Tx {
    /// Writes what changed to the log. Returns the position of the last.
    pub(super) async fn append_changes(&mut self) -> Result<i64, StoreError> {
        dialect::order_changes(self).await?;
        let mut position = 0;
        for subject in &self.changed {
            position = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(APPEND).bind(*subject).fetch_one(&mut **tx).await)?;
        }
        Ok(position)
    }
}

impl Store {
    pub(super) async fn opened(read: Db, write: Db, watch: Db) -> Result<Self, StoreError> {
        Self::opened_with(read, write, watch, None, false).await
    }

    /// `file`: of a SQLite database, with the lock on it. `exchanged`: whether it was changed after its write-ahead log was written, and not by SQLite.
    pub(super) async fn opened_with(
        read: Db,
        write: Db,
        watch: Db,
        file: Option<(PathBuf, Arc<DatabaseLock>)>,
        exchanged: bool,
    ) -> Result<Self, StoreError> {
        let newest: Option<ChangeRow> = on!(Db, &watch, |pool| sqlx::query_as(LAST).fetch_optional(pool).await)?;
        let changes = Changes::after(newest.as_ref());
        let opened_file = file.as_ref().map(|(path, _)| OpenedFile::at(path)).transpose()?;
        let (file, lock) = file.unzip();
        Ok(Self { read, write, watch, changes, last_write: Arc::default(), file, opened_file, _lock: lock, exchanged })
    }

    /// What this node knows of the changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes in what changed since the last look.
    ///
    /// # Errors
    /// Where the database fails.
    #[expect(clippy::disallowed_methods, reason = "the age of a view is measured on the monotonic clock, from before the read")]
    pub async fn follow_changes(&self) -> Result<(), StoreError> {
        const BATCH: i64 = 1_000;
        loop {
            let began = Instant::now();
            self.check_file()?;
            self.changes.expect_newest(on!(Db, &self.watch, |pool| sqlx::query_scalar(NEWEST).fetch_one(pool).await)?);
            let after = self.changes.applied();
            let found: Vec<ChangeRow> = on!(Db, &self.watch, |pool| sqlx::query_as(LIST).bind(after).bind(BATCH).fetch_all(pool).await)?;
            let last = i64::try_from(found.len()).unwrap_or(BATCH) < BATCH;
            self.changes.apply(self.changes.recognize(&found), began, last);
            if last {
                return Ok(());
            }
        }
    }

    /// Wakes whoever follows the changes when another node has made one, until the connection breaks.
    ///
    /// # Errors
    /// Where the database cannot be reached.
    pub async fn listen_to_changes(&self) -> Result<(), StoreError> {
        dialect::listen(&self.watch, &self.changes).await
    }

    /// What writes that belong to no request go through: on SQLite they queue with all others, for its own lock is not fair.
    fn beside(&self) -> &Db {
        if matches!(self.write, Db::Sqlite(_)) { &self.write } else { &self.watch }
    }

    /// Says that a node is alive, and up to where it has followed the changes.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn beat(&self, node: &Node) -> Result<(), StoreError> {
        self.write_heartbeat(self.beside(), node).await
    }

    pub(super) async fn write_heartbeat(&self, through: &Db, node: &Node) -> Result<(), StoreError> {
        on!(Db, through, |pool| sqlx::query(BEAT).bind(node.id).bind(&node.url).bind(node.applied).execute(pool).await.map(drop))
            .map_err(StoreError::from)
    }

    /// How often to look for changes of other nodes, at most `at_most`: more often while they are not announced.
    #[must_use]
    pub fn look_every(&self, at_most: Duration) -> Duration {
        let announced = matches!(self.watch, Db::Sqlite(_)) || self.changes.hears();
        if announced { at_most } else { at_most.min(UNANNOUNCED) }
    }

    /// Lists the nodes that said so within this time before the last that did.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_nodes(&self, within: Duration) -> Result<Vec<Node>, StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_as(LIST_NODES).bind(micros(within)).fetch_all(pool).await).map_err(StoreError::from)
    }

    /// Counts the nodes other than `this` that said so within this time before the last that did, and those of them that have followed the changes up to `applied`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_nodes(&self, within: Duration, this: Uuid, applied: i64) -> Result<(i64, i64), StoreError> {
        on!(Db, &self.read, |pool| sqlx::query_as(COUNT_NODES).bind(micros(within)).bind(this).bind(applied).fetch_one(pool).await)
            .map_err(StoreError::from)
    }

    /// Forgets a node that stops.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_node(&self, id: Uuid) -> Result<(), StoreError> {
        on!(Db, self.beside(), |pool| sqlx::query(DELETE_NODE).bind(id).execute(pool).await.map(drop)).map_err(StoreError::from)
    }

    /// Forgets changes and nodes that are this much older than the newest.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn trim_changes(&self, older: Duration) -> Result<(), StoreError> {
        loop {
            let done = on!(Db, self.beside(), |pool| sqlx::query(TRIM)
                .bind(micros(older))
                .bind(TRIM_BATCH)
                .execute(pool)
                .await
                .map(|it| it.rows_affected()))?;
            if done < TRIM_BATCH.unsigned_abs() {
                break;
            }
        }
        on!(Db, self.beside(), |pool| sqlx::query(TRIM_NODES).bind(micros(older)).execute(pool).await.map(drop)).map_err(StoreError::from)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the age of a view is measured on the monotonic clock")]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const TWO: Uuid = Uuid::from_u128(2);

    fn change(position: i64, subject: Uuid) -> ChangeRow {
        ChangeRow { position, subject, at: position }
    }

    #[test]
    fn what_was_read_before_a_change_counts_no_more() {
        let changes = Changes::new(10);
        let position = changes.position();
        assert!(changes.hold(position, &[ONE, TWO]));
        changes.apply(&[change(11, ONE)], Instant::now(), true);
        assert!(!changes.hold(position, &[ONE, TWO]) && changes.hold(position, &[TWO]));
        assert!(changes.hold(changes.position(), &[ONE, TWO]));
    }

    #[test]
    fn a_change_of_one_s_own_counts_before_it_is_followed() {
        let changes = Changes::new(10);
        changes.note_own(&BTreeSet::from([ONE]), 12);
        changes.confirm_own(12);
        // What is read now may be from before change 11 of somebody else, so that it is not held until that is known.
        assert!(!changes.hold(changes.position(), &[ONE]) && changes.hold(changes.position(), &[TWO]));
        changes.apply(&[change(11, TWO), change(12, ONE)], Instant::now(), true);
        assert!(changes.hold(changes.position(), &[ONE, TWO]));
        assert_eq!(changes.own(), 12);
    }

    #[test]
    fn after_a_long_time_without_a_view_nothing_is_believed() {
        let changes = Changes::new(10);
        let position = changes.position();
        changes.apply(&[change(500, TWO)], Instant::now() + REMEMBERED, true);
        assert!(!changes.hold(position, &[ONE]) && changes.hold(changes.position(), &[ONE]));
    }

    #[test]
    fn a_subject_is_forgotten_some_time_after_its_last_change_and_not_before() {
        let (changes, start) = (Changes::new(10), Instant::now());
        let later = start + REMEMBERED / 2;
        changes.apply(&[change(11, ONE), change(12, TWO)], start, true);
        changes.apply(&[change(13, ONE)], later, true);
        changes.apply(&[], start + REMEMBERED, true);
        let subjects = |changes: &Changes| changes.read().subjects.keys().copied().collect::<BTreeSet<_>>();
        assert_eq!(subjects(&changes), BTreeSet::from([ONE]));
        changes.apply(&[], later + REMEMBERED, true);
        assert!(subjects(&changes).is_empty() && changes.read().learned.is_empty());
    }

    #[test]
    fn few_subjects_are_forgotten_at_once_and_more_than_are_learned_of() {
        let (changes, start) = (Changes::new(0), Instant::now());
        let many: Vec<_> = (1..=1_000).map(|number| change(number, Uuid::from_u128(number.unsigned_abs().into()))).collect();
        changes.apply(&many, start, true);
        changes.apply(&[change(1_001, ONE)], start + REMEMBERED, true);
        assert_eq!(changes.read().subjects.len(), 1_000 - 2 * FORGOTTEN_EACH + 1);
    }

    #[test]
    fn nothing_is_believed_of_a_database_that_has_gone_back() {
        let changes = Changes::new(100);
        let position = changes.position();
        changes.expect_newest(100);
        assert!(changes.hold(position, &[ONE]));
        changes.expect_newest(20);
        assert!(!changes.hold(position, &[ONE]) && changes.applied() == 20);
        // Or this node finds out by a change of its own.
        let changes = Changes::new(100);
        changes.note_own(&BTreeSet::from([ONE]), 21);
        assert!(!changes.hold(position, &[ONE]) && !changes.hold(changes.position(), &[ONE]) && !changes.hold(position, &[TWO]));
    }

    #[test]
    fn another_change_at_the_followed_position_is_a_loss() {
        let changes = Changes::after(Some(&change(10, ONE)));
        let position = changes.position();
        assert_eq!(changes.recognize(&[change(10, ONE), change(11, TWO)]), [change(11, TWO)]);
        assert!(changes.hold(position, &[ONE]));
        // Another server gave the same number to something else, or has never heard of it.
        assert_eq!(changes.recognize(&[change(10, TWO)]), []);
        assert!(!changes.hold(position, &[ONE]) && changes.applied() == 10);
        let position = changes.position();
        assert_eq!(changes.recognize(&[change(10, TWO)]), []);
        assert!(changes.hold(position, &[ONE]));
        assert_eq!(changes.recognize(&[change(42, ONE)]), [change(42, ONE)]);
        assert!(!changes.hold(position, &[ONE]));
    }
}
