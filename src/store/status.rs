//! The indexes that the status lists are made of.

use uuid::Uuid;

use super::{Db, Engine, Epoch, SessionHolder, Store, StoreError, Tx, dialect};
use crate::domain::entity::KeyValue;
use crate::domain::id::{ApiKeyId, OrganizationId, ServiceAccountId, SessionId, UserId};
use crate::domain::status::{REUSED_AFTER, SHOWN_FOR, StatusIndex};
use crate::domain::time::Timestamp;

/// Whether tokens of an entry may still count somewhere: what ended by itself an hour ago by this clock, which may be ahead of those of others.
macro_rules! may_be_in_use {
    () => {
        "NOT ended AND (ends_at IS NULL OR ends_at > $2 - 3600000000)"
    };
}

/// Ends those of the grants that `$grants` selects by `$1`, and of the sign-ins with them.
macro_rules! end {
    ($grants:literal) => {
        concat!(
            "UPDATE status_entries SET ends_at = $2, ended = TRUE WHERE grant_id IN (",
            $grants,
            " UNION ALL SELECT id FROM sessions WHERE grant_id IN (",
            $grants,
            ")) AND ",
            may_be_in_use!()
        )
    };
}

statements! {
    ADD = "INSERT INTO status_entries (grant_id, ends_at, outlived) VALUES ($1, $2, $3) RETURNING idx";
    FIND = "SELECT idx FROM status_entries WHERE grant_id = $1";
    // What is over stays over.
    MOVE_END = "UPDATE status_entries SET ends_at = $2, ended = COALESCE($2 <= $3, FALSE) WHERE grant_id = $1 AND NOT ended AND (ends_at IS NULL OR ends_at > $3)";
    // Of the sign-ins with it: each ends by itself, or with the value.
    MOVE_END_OF_SESSIONS = "UPDATE status_entries SET ends_at = CASE WHEN s.expires_at > $2 THEN $2 ELSE s.expires_at END, ended = COALESCE($2 <= $3, FALSE) \
                            FROM sessions s WHERE s.grant_id = $1 AND status_entries.grant_id = s.id AND NOT ended AND (ends_at IS NULL OR ends_at > $3)";
    FIND_GRANT = "SELECT grant_id FROM api_key_values WHERE id = $1";
    END_GRANT = end!("SELECT grant_id FROM status_entries WHERE grant_id = $1");
    END_KEY = end!("SELECT grant_id FROM api_key_values WHERE api_key_id = $1");
    END_RETAINED = end!("SELECT grant_id FROM api_key_values WHERE api_key_id = $1 AND retained_until IS NOT NULL");
    END_ACCOUNT = end!("SELECT v.grant_id FROM api_key_values v JOIN api_keys k ON k.id = v.api_key_id WHERE k.service_account_id = $1");
    END_USER = end!("SELECT id FROM sessions WHERE user_id = $1");
    END_OTHERS_OF_USER = concat!(
        "UPDATE status_entries SET ends_at = $2, ended = TRUE WHERE grant_id IN (SELECT id FROM sessions WHERE user_id = $1 AND id <> $3) AND ",
        may_be_in_use!()
    );
    END_OTHERS_OF_ACCOUNT = concat!(
        "UPDATE status_entries SET ends_at = $2, ended = TRUE WHERE grant_id IN (SELECT s.id FROM sessions s JOIN api_key_values v ON v.grant_id = s.grant_id \
         JOIN api_keys k ON k.id = v.api_key_id WHERE k.service_account_id = $1 AND s.id <> $3) AND ",
        may_be_in_use!()
    );
    END_ORGANIZATION = end!("SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.organization_id = $1");
    // Somebody may have ended it by a clock that is ahead of this node's.
    LIST_ENDED = "SELECT idx FROM status_entries WHERE outlived AND ends_at > $1 AND ends_at <= $2 UNION SELECT idx FROM status_entries WHERE ended AND ends_at > $1";
    NEXT_END = "SELECT min(ends_at) FROM status_entries WHERE outlived AND ends_at > $1";
    GREATEST = "SELECT COALESCE(max(idx), 0) FROM status_entries";
}

/// Whose tokens end.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// Those of one sign-in, or of one value of a key.
    Grant(SessionId),
    /// Those of a key.
    Key(ApiKeyId),
    /// Those of the value that a key had before its current one.
    Retained(ApiKeyId),
    /// Those of an account.
    Account(ServiceAccountId),
    /// Those of a person.
    User(UserId),
    /// Those of all people of an organization.
    Organization(OrganizationId),
}

/// Something that tokens are about to be obtained with.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewGrant {
    pub(super) id: SessionId,
    /// When it stops counting by itself.
    pub(super) ends_at: Option<Timestamp>,
    /// Whether tokens obtained with it may live beyond that.
    pub(super) outlived: bool,
}

impl NewGrant {
    pub(super) fn of_value(value: &KeyValue) -> Self {
        Self { id: value.grant, ends_at: value.ends_at(), outlived: true }
    }
}

/// What the lists are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusView {
    /// What counts no more.
    pub ended: Vec<StatusIndex>,
    /// The greatest index that was ever given out.
    pub greatest: StatusIndex,
    /// When the next one will end by itself.
    pub next_end: Option<Timestamp>,
    /// Which lists there are: those of each epoch. The last epoch is the present one.
    pub epochs: Vec<Epoch>,
}

impl Store {
    /// Reads what has ended by `latest`, the latest present that was ever seen. What ended long before `now` is left out: its tokens have expired.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn read_status(&self, now: Timestamp, latest: Timestamp) -> Result<StatusView, StoreError> {
        let (from, now) = (now.minus(SHOWN_FOR).as_micros(), latest.as_micros());
        // In this order: what is given out meanwhile is not ended.
        let ended: Vec<i64> = on!(Db, &self.read, |pool| sqlx::query_scalar(LIST_ENDED).bind(from).bind(now).fetch_all(pool).await)?;
        let next: Option<i64> = on!(Db, &self.read, |pool| sqlx::query_scalar(NEXT_END).bind(now).fetch_one(pool).await)?;
        let greatest: i64 = on!(Db, &self.read, |pool| sqlx::query_scalar(GREATEST).fetch_one(pool).await)?;
        Ok(StatusView {
            ended: ended.into_iter().map(StatusIndex).collect(),
            greatest: StatusIndex(greatest),
            next_end: next.map(Timestamp::from_micros),
            epochs: self.list_epochs().await?,
        })
    }
}

impl Tx {
    /// Gives an index to something that tokens are about to be obtained with, until `ends_at`. One that ended long enough before is taken again.
    ///
    /// # Errors
    /// Where the database fails.
    pub(super) async fn add_status(&mut self, grant: NewGrant, now: Timestamp) -> Result<StatusIndex, StoreError> {
        if let Some(taken) = dialect::take_status(self, grant, now.minus(REUSED_AFTER).as_micros()).await? {
            self.note_index(taken);
            return Ok(StatusIndex(taken));
        }
        let NewGrant { id, ends_at, outlived } = grant;
        let ends_at = ends_at.map(Timestamp::as_micros);
        let added: i64 =
            on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(ADD).bind(id.0).bind(ends_at).bind(outlived).fetch_one(&mut **tx).await)?;
        self.note_index(added);
        Ok(StatusIndex(added))
    }

    /// The index of a value of a key, which gets one where it has none: a node of an earlier version may have made it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn ensure_status(&mut self, account: ServiceAccountId, value: &KeyValue, now: Timestamp) -> Result<StatusIndex, StoreError> {
        self.note_change(account.0);
        let found: Option<i64> = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(FIND).bind(value.grant.0).fetch_optional(&mut **tx).await)?;
        match found {
            Some(index) => Ok(StatusIndex(index)),
            None => self.add_status(NewGrant::of_value(value), now).await,
        }
    }

    /// Ends the tokens obtained with these. To be called before the rows themselves are deleted or get other grants.
    ///
    /// # Errors
    /// Where the database fails.
    pub(super) async fn end_status(&mut self, ended: Ended, now: Timestamp) -> Result<(), StoreError> {
        let (sql, id) = match ended {
            Ended::Grant(id) => (END_GRANT, id.0),
            Ended::Key(id) => (END_KEY, id.0),
            Ended::Retained(id) => (END_RETAINED, id.0),
            Ended::Account(id) => (END_ACCOUNT, id.0),
            Ended::User(id) => (END_USER, id.0),
            Ended::Organization(id) => (END_ORGANIZATION, id.0),
        };
        on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(id).bind(now.as_micros()).execute(&mut **tx).await.map(drop))?;
        Ok(())
    }

    /// Ends the tokens of someone's sign-ins but one.
    ///
    /// # Errors
    /// Where the database fails.
    pub(super) async fn end_status_of_others(&mut self, holder: SessionHolder, kept: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let sql = match holder {
            SessionHolder::User(_) => END_OTHERS_OF_USER,
            SessionHolder::ServiceAccount(_) => END_OTHERS_OF_ACCOUNT,
        };
        on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(holder.id()).bind(now.as_micros()).bind(kept).execute(&mut **tx).await.map(drop))?;
        Ok(())
    }

    /// Has what a value of a key yielded end when the value does; where it gets another grant, ends what it yielded now.
    ///
    /// # Errors
    /// Where the database fails.
    pub(super) async fn follow_status(
        &mut self,
        value: Uuid,
        grant: SessionId,
        ends_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let before: Option<Uuid> = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(FIND_GRANT).bind(value).fetch_optional(&mut **tx).await)?;
        if let Some(before) = before.filter(|before| *before != grant.0) {
            self.end_status(Ended::Grant(SessionId(before)), now).await?;
            self.add_status(NewGrant { id: grant, ends_at, outlived: true }, now).await?;
            return Ok(());
        }
        for sql in [MOVE_END, MOVE_END_OF_SESSIONS] {
            on!(Engine, &mut self.engine, |tx| sqlx::query(sql)
                .bind(grant.0)
                .bind(ends_at.map(Timestamp::as_micros))
                .bind(now.as_micros())
                .execute(&mut **tx)
                .await
                .map(drop))?;
        }
        Ok(())
    }
}
