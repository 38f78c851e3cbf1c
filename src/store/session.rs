//! Sign-ins: of people, and in a browser of service accounts, too.

use sqlx::FromRow;
use uuid::Uuid;

use super::organization::organization_columns;
use super::status::NewGrant;
use super::user::{UserCredentialRow, user_columns};
use super::{Db, Ended, Engine, Store, StoreError, Tx};
use crate::domain::api_key::ApiKeyHash;
use crate::domain::audit::Origin;
use crate::domain::claims::PrincipalType;
use crate::domain::credential::SessionCredential;
use crate::domain::entity::{Session, SessionDetails};
use crate::domain::id::{OrganizationId, ServiceAccountId, SessionId, UserId};
use crate::domain::status::StatusIndex;
use crate::domain::time::Timestamp;

/// The columns of [`SessionRow`], of a table called `s`.
macro_rules! session_columns {
    () => {
        "s.id AS session_id, s.created_at AS session_created_at, s.expires_at AS session_expires_at, s.renewable_until AS session_renewable_until"
    };
}
pub(super) use session_columns;

/// Those that count at `$2`, the newest first.
macro_rules! list {
    ($whose:expr) => {
        concat!(
            "SELECT ",
            session_columns!(),
            ", s.address, s.user_agent FROM sessions s WHERE s.expires_at > $2 AND s.",
            $whose,
            " ORDER BY s.id DESC LIMIT $3"
        )
    };
}

/// The grants of the keys of the account `$1`.
macro_rules! grants_of_account {
    () => {
        "(SELECT v.grant_id FROM api_key_values v JOIN api_keys k ON k.id = v.api_key_id WHERE k.service_account_id = $1)"
    };
}

statements! {
    INSERT = "INSERT INTO sessions (id, created_at, expires_at, renewable_until, cookie_hash, address, user_agent, user_id, grant_id) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LOCK_USER = "UPDATE users SET active = active WHERE id = $1";
    // Of a person who was not deactivated, and got no other password, since they were looked at.
    LOCK_USER_AS_BEFORE = "UPDATE users SET active = active WHERE id = $1 AND password_version = $2 AND active";
    FIND = concat!(
        "SELECT ", session_columns!(), ", ", user_columns!(), ", ", organization_columns!(),
        " FROM sessions s JOIN users u ON u.id = s.user_id JOIN organizations o ON o.id = u.organization_id WHERE s.id = $1"
    );
    FIND_BY_COOKIE = "SELECT id, user_id IS NOT NULL FROM sessions WHERE cookie_hash = $1";
    LIST_OF_USER = list!("user_id = $1");
    LIST_OF_ACCOUNT = list!(concat!("grant_id IN ", grants_of_account!()));
    RENEW = "UPDATE sessions SET expires_at = $2 WHERE id = $1 AND expires_at < $2";
    RENEW_STATUS = "UPDATE status_entries SET ends_at = $2 WHERE grant_id = $1 AND NOT ended AND ends_at < $2";
    DELETE_OF_USER = "DELETE FROM sessions WHERE user_id = $1";
    DELETE_OTHERS_OF_USER = "DELETE FROM sessions WHERE user_id = $1 AND id <> $2";
    DELETE_OTHERS_OF_ACCOUNT = concat!("DELETE FROM sessions WHERE id <> $2 AND grant_id IN ", grants_of_account!());
    DELETE = "DELETE FROM sessions WHERE id = $1";
    DELETE_BEFORE = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
    IS_OF_USER = "SELECT count(*) > 0 FROM sessions WHERE id = $2 AND user_id = $1";
    IS_OF_ACCOUNT = concat!("SELECT count(*) > 0 FROM sessions WHERE id = $2 AND grant_id IN ", grants_of_account!());
    LIST_BEYOND_OF_USER = "SELECT id FROM sessions WHERE user_id = $1 AND cookie_hash IS NOT NULL AND expires_at > $2 ORDER BY id DESC LIMIT 100 OFFSET $3";
    LIST_BEYOND_OF_ACCOUNT = concat!(
        "SELECT id FROM sessions WHERE grant_id IN ", grants_of_account!(), " AND expires_at > $2 ORDER BY id DESC LIMIT 100 OFFSET $3"
    );
}

#[derive(FromRow)]
pub(super) struct SessionRow {
    session_id: Uuid,
    session_created_at: i64,
    session_expires_at: i64,
    session_renewable_until: Option<i64>,
}

#[derive(FromRow)]
struct SessionCredentialRow {
    #[sqlx(flatten)]
    session: SessionRow,
    #[sqlx(flatten)]
    holder: UserCredentialRow,
}

#[derive(FromRow)]
struct SessionDetailsRow {
    #[sqlx(flatten)]
    session: SessionRow,
    address: Option<String>,
    user_agent: Option<String>,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId(row.session_id),
            created_at: Timestamp::from_micros(row.session_created_at),
            expires_at: Timestamp::from_micros(row.session_expires_at),
            renewable_until: row.session_renewable_until.map(Timestamp::from_micros),
        }
    }
}

impl From<SessionCredentialRow> for SessionCredential {
    fn from(row: SessionCredentialRow) -> Self {
        Self { holder: row.holder.into(), session: row.session.into() }
    }
}

/// Whose sign-in it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionHolder {
    /// A person's.
    User(UserId),
    /// A service account's.
    ServiceAccount(ServiceAccountId),
}

impl SessionHolder {
    pub(super) const fn id(self) -> Uuid {
        match self {
            Self::User(id) => id.0,
            Self::ServiceAccount(id) => id.0,
        }
    }
}

/// A sign-in that begins.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// What it will be.
    pub session: Session,
    /// What the cookie is found by, for one in a browser.
    pub cookie: Option<ApiKeyHash>,
    /// Where it began.
    pub origin: &'a Origin,
}

impl Store {
    /// Finds a person's sign-in by its id. It may be over.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_session(&self, id: SessionId) -> Result<Option<SessionCredential>, StoreError> {
        let row = on!(Db, &self.read, |pool| sqlx::query_as::<_, SessionCredentialRow>(FIND).bind(id.0).fetch_optional(pool).await)?;
        Ok(row.map(SessionCredential::from))
    }

    /// Finds the sign-in whose cookie has this hash, and of what kind of principal it is. It may be over.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_session_by_cookie(&self, hash: &ApiKeyHash) -> Result<Option<(SessionId, PrincipalType)>, StoreError> {
        let row: Option<(Uuid, bool)> = on!(Db, &self.read, |pool| sqlx::query_as(FIND_BY_COOKIE).bind(&hash.0[..]).fetch_optional(pool).await)?;
        let kind = |of_a_person| if of_a_person { PrincipalType::User } else { PrincipalType::ServiceAccount };
        Ok(row.map(|(id, of_a_person)| (SessionId(id), kind(of_a_person))))
    }

    /// Lists the sign-ins of someone that are not over at `now`: the `limit` newest, the newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_sessions(&self, holder: SessionHolder, now: Timestamp, limit: i64) -> Result<Vec<SessionDetails>, StoreError> {
        let sql = match holder {
            SessionHolder::User(_) => LIST_OF_USER,
            SessionHolder::ServiceAccount(_) => LIST_OF_ACCOUNT,
        };
        let rows: Vec<SessionDetailsRow> =
            on!(Db, &self.read, |pool| sqlx::query_as(sql).bind(holder.id()).bind(now.as_micros()).bind(limit).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(|row| SessionDetails { session: row.session.into(), address: row.address, user_agent: row.user_agent }).collect())
    }
}

impl Tx {
    /// Begins a person's sign-in. Returns its place in the status lists; nothing where the person was deactivated or got
    /// another password since `password_version` was read. Comparing a password takes a while, and a reset in between has to count.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_session(&mut self, new: &NewSession<'_>, user: UserId, password_version: i64) -> Result<Option<StatusIndex>, StoreError> {
        let locked = on!(Engine, &mut self.engine, |tx| {
            sqlx::query(LOCK_USER_AS_BEFORE).bind(user.0).bind(password_version).execute(&mut **tx).await?.rows_affected()
        });
        if locked != 1 {
            return Ok(None);
        }
        self.insert_row(new, Some(user), None).await?;
        let session = &new.session;
        let grant = NewGrant { id: session.id, ends_at: Some(session.expires_at), outlived: false };
        self.add_status(grant, session.created_at).await.map(Some)
    }

    /// Begins a service account's sign-in with the value of a key that has this grant and stops counting at `ends_at`. The
    /// account has to be locked. Returns its place in the status lists.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_key_session(
        &mut self,
        new: &NewSession<'_>,
        grant: SessionId,
        ends_at: Option<Timestamp>,
    ) -> Result<StatusIndex, StoreError> {
        self.insert_row(new, None, Some(grant)).await?;
        let session = &new.session;
        let ends_at = ends_at.map_or(session.expires_at, |end| end.min(session.expires_at));
        // The token of the sign-in may live beyond the end of the key.
        self.add_status(NewGrant { id: session.id, ends_at: Some(ends_at), outlived: true }, session.created_at).await
    }

    async fn insert_row(&mut self, new: &NewSession<'_>, user: Option<UserId>, grant: Option<SessionId>) -> Result<(), StoreError> {
        let NewSession { session, cookie, origin } = new;
        on!(Engine, &mut self.engine, |tx| sqlx::query(INSERT)
            .bind(session.id.0)
            .bind(session.created_at.as_micros())
            .bind(session.expires_at.as_micros())
            .bind(session.renewable_until.map(Timestamp::as_micros))
            .bind(cookie.as_ref().map(|hash| &hash.0[..]))
            .bind(origin.address.map(|address| address.to_string()))
            .bind(origin.user_agent.as_deref())
            .bind(user.map(|id| id.0))
            .bind(grant.map(|id| id.0))
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Has a sign-in last until `expires_at`, and its place in the status lists until `ends_at`, if that is later than it did.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn renew_session(&mut self, holder: SessionHolder, id: SessionId, expires_at: Timestamp, ends_at: Timestamp) -> Result<(), StoreError> {
        self.note_change(holder.id());
        on!(Engine, &mut self.engine, |tx| {
            // In this order, as where a sign-in is ended, so that the two never wait for each other.
            sqlx::query(RENEW_STATUS).bind(id.0).bind(ends_at.as_micros()).execute(&mut **tx).await?;
            sqlx::query(RENEW).bind(id.0).bind(expires_at.as_micros()).execute(&mut **tx).await?;
        });
        Ok(())
    }

    /// Ends the sign-ins of a person, and the links that they made.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_sessions(&mut self, user: UserId, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(user.0);
        self.end_status(Ended::User(user), now).await?;
        self.delete_invitations_of(user.0, now).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(DELETE_OF_USER).bind(user.0).execute(&mut **tx).await.map(drop)).map_err(StoreError::from)
    }

    /// Ends a sign-in.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_session(&mut self, holder: SessionHolder, id: SessionId, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(holder.id());
        self.end_status(Ended::Grant(id), now).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(DELETE).bind(id.0).execute(&mut **tx).await.map(drop)).map_err(StoreError::from)
    }

    /// Ends all sign-ins of someone but this one, or all where there is none to keep, and the links that were made in them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_other_sessions(&mut self, holder: SessionHolder, kept: Option<SessionId>, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(holder.id());
        let kept = kept.map_or(Uuid::nil(), |kept| kept.0);
        self.end_status_of_others(holder, kept, now).await?;
        self.delete_invitations_of_other_sessions(holder.id(), kept, now).await?;
        let sql = match holder {
            SessionHolder::User(_) => DELETE_OTHERS_OF_USER,
            SessionHolder::ServiceAccount(_) => DELETE_OTHERS_OF_ACCOUNT,
        };
        on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(holder.id()).bind(kept).execute(&mut **tx).await.map(drop)).map_err(StoreError::from)
    }

    /// Whether it is a sign-in of theirs. It may be over.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn is_session_of(&mut self, holder: SessionHolder, id: SessionId) -> Result<bool, StoreError> {
        let sql = match holder {
            SessionHolder::User(_) => IS_OF_USER,
            SessionHolder::ServiceAccount(_) => IS_OF_ACCOUNT,
        };
        Ok(on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(sql).bind(holder.id()).bind(id.0).fetch_one(&mut **tx).await)?)
    }

    /// Ends the oldest of someone's sign-ins in browsers that count at `now`, so that `most` are left. Returns which.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_oldest_sessions(&mut self, holder: SessionHolder, most: i64, now: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let sql = match holder {
            SessionHolder::User(_) => LIST_BEYOND_OF_USER,
            SessionHolder::ServiceAccount(_) => LIST_BEYOND_OF_ACCOUNT,
        };
        let ids: Vec<Uuid> = on!(Engine, &mut self.engine, |tx| sqlx::query_scalar(sql)
            .bind(holder.id())
            .bind(now.as_micros())
            .bind(most)
            .fetch_all(&mut **tx)
            .await)?;
        let ids: Vec<SessionId> = ids.into_iter().map(SessionId).collect();
        for id in &ids {
            self.delete_session(holder, *id, now).await?;
        }
        Ok(ids)
    }

    /// Forgets at most `limit` of the sign-ins that were over by `before`. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prune_sessions(&mut self, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        self.delete_before(DELETE_BEFORE, before, limit).await
    }

    /// Keeps others from changing whose sign-in it is until the transaction ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn lock_session_holder(&mut self, organization: OrganizationId, holder: SessionHolder) -> Result<(), StoreError> {
        match holder {
            SessionHolder::User(id) => self.lock_user(id).await,
            SessionHolder::ServiceAccount(id) => self.lock_service_account(organization, id).await.map(drop),
        }
    }

    /// Finds a sign-in of a person in this transaction, and keeps others from changing the person until it ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn lock_session(&mut self, user: UserId, id: SessionId) -> Result<Option<SessionCredential>, StoreError> {
        let row = on!(Engine, &mut self.engine, |tx| {
            sqlx::query(LOCK_USER).bind(user.0).execute(&mut **tx).await?;
            sqlx::query_as::<_, SessionCredentialRow>(FIND).bind(id.0).fetch_optional(&mut **tx).await?
        });
        Ok(row.map(SessionCredential::from))
    }
}
