//! People and their sign-ins.

use secrecy::{ExposeSecret, SecretString};
use sqlx::FromRow;
use uuid::Uuid;

use super::organization::{OrganizationRow, organization_columns};
use super::{Db, Store, StoreError, Tx};
use crate::domain::credential::{SessionCredential, UserCredential};
use crate::domain::entity::{Session, User};
use crate::domain::id::{OrganizationId, SessionId, UserId};
use crate::domain::name::Email;
use crate::domain::time::Timestamp;

macro_rules! user_columns {
    () => {
        "u.id AS user_id, u.organization_id AS user_organization_id, u.email AS user_email, u.active AS user_active, u.created_at AS user_created_at"
    };
}

statements! {
    INSERT = "INSERT INTO users (id, organization_id, email, password_hash, active, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    FIND_BY_EMAIL = concat!(
        "SELECT u.password_hash, ", user_columns!(), ", ", organization_columns!(),
        " FROM users u JOIN organizations o ON o.id = u.organization_id WHERE u.email = $1"
    );
    SET_PASSWORD_HASH = "UPDATE users SET password_hash = $2 WHERE id = $1";
    // Changes nothing, and waits for whoever is changing the person.
    LOCK = "UPDATE users SET active = active WHERE id = $1";
    INSERT_SESSION = "INSERT INTO sessions (id, user_id, created_at, expires_at) \
                      SELECT $1, u.id, $3, $4 FROM users u WHERE u.id = $2 AND u.password_hash = $5 AND u.active";
    FIND_SESSION = concat!(
        "SELECT s.id AS session_id, s.expires_at AS session_expires_at, ", user_columns!(), ", ", organization_columns!(),
        " FROM sessions s JOIN users u ON u.id = s.user_id JOIN organizations o ON o.id = u.organization_id WHERE s.id = $1"
    );
    DELETE_SESSIONS_OF = "DELETE FROM sessions WHERE user_id = $1";
    DELETE_SESSION = "DELETE FROM sessions WHERE id = $1";
    DELETE_SESSIONS_BEFORE = "DELETE FROM sessions WHERE expires_at <= $1";
}

#[derive(FromRow)]
struct UserRow {
    user_id: Uuid,
    user_organization_id: Uuid,
    user_email: String,
    user_active: bool,
    user_created_at: i64,
}

#[derive(FromRow)]
struct UserCredentialRow {
    #[sqlx(flatten)]
    organization: OrganizationRow,
    #[sqlx(flatten)]
    user: UserRow,
}

#[derive(FromRow)]
struct PasswordRow {
    password_hash: String,
    #[sqlx(flatten)]
    holder: UserCredentialRow,
}

#[derive(FromRow)]
struct SessionRow {
    session_id: Uuid,
    session_expires_at: i64,
    #[sqlx(flatten)]
    holder: UserCredentialRow,
}

impl From<UserCredentialRow> for UserCredential {
    fn from(UserCredentialRow { organization, user }: UserCredentialRow) -> Self {
        Self {
            organization: organization.into(),
            user: User {
                id: UserId(user.user_id),
                organization_id: OrganizationId(user.user_organization_id),
                email: Email::from_stored(user.user_email),
                active: user.user_active,
                created_at: Timestamp::from_micros(user.user_created_at),
            },
        }
    }
}

impl From<SessionRow> for SessionCredential {
    fn from(row: SessionRow) -> Self {
        let holder = UserCredential::from(row.holder);
        let session = Session { id: SessionId(row.session_id), user_id: holder.user.id, expires_at: Timestamp::from_micros(row.session_expires_at) };
        Self { holder, session }
    }
}

/// A person, and the hash that their password has to match.
#[derive(Debug)]
pub struct StoredPassword {
    /// Who they are, once the password matches.
    pub holder: UserCredential,
    /// An Argon2id hash as a PHC string.
    pub hash: SecretString,
}

impl Store {
    /// Finds a person by their email address.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_password(&self, email: &Email) -> Result<Option<StoredPassword>, StoreError> {
        let row = on!(Db, &self.read, |pool| sqlx::query_as::<_, PasswordRow>(FIND_BY_EMAIL).bind(email.as_str()).fetch_optional(pool).await)?;
        Ok(row.map(|row| StoredPassword { holder: row.holder.into(), hash: row.password_hash.into() }))
    }

    /// Finds a sign-in by its id. It may be over.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_session(&self, id: SessionId) -> Result<Option<SessionCredential>, StoreError> {
        let row = on!(Db, &self.read, |pool| sqlx::query_as::<_, SessionRow>(FIND_SESSION).bind(id.0).fetch_optional(pool).await)?;
        Ok(row.map(SessionCredential::from))
    }
}

impl Tx {
    /// Makes a person known.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the email address is taken.
    pub async fn insert_user(&mut self, user: &User, password_hash: &SecretString) -> Result<(), StoreError> {
        on!(Self, self, |tx| sqlx::query(INSERT)
            .bind(user.id.0)
            .bind(user.organization_id.0)
            .bind(user.email.as_str())
            .bind(password_hash.expose_secret())
            .bind(user.active)
            .bind(user.created_at.as_micros())
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Replaces a person's password and ends their sign-ins.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reset_password(&mut self, user: UserId, password_hash: &SecretString) -> Result<(), StoreError> {
        on!(Self, self, |tx| {
            sqlx::query(SET_PASSWORD_HASH).bind(user.0).bind(password_hash.expose_secret()).execute(&mut **tx).await?;
            sqlx::query(DELETE_SESSIONS_OF).bind(user.0).execute(&mut **tx).await?;
        });
        Ok(())
    }

    /// Finds a sign-in in this transaction, and keeps others from changing the person until it ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn lock_session(&mut self, user: UserId, id: SessionId) -> Result<Option<SessionCredential>, StoreError> {
        let row = on!(Self, self, |tx| {
            sqlx::query(LOCK).bind(user.0).execute(&mut **tx).await?;
            sqlx::query_as::<_, SessionRow>(FIND_SESSION).bind(id.0).fetch_optional(&mut **tx).await?
        });
        Ok(row.map(SessionCredential::from))
    }

    /// Ends a sign-in.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_session(&mut self, id: SessionId) -> Result<(), StoreError> {
        on!(Self, self, |tx| sqlx::query(DELETE_SESSION).bind(id.0).execute(&mut **tx).await.map(drop)).map_err(StoreError::from)
    }

    /// Records a sign-in, and forgets those that are over at `now`. `false`: the person was deactivated or got another password since `password_hash` was read.
    /// Comparing a password takes a while, and a reset in between has to count.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn insert_session(&mut self, session: &Session, password_hash: &SecretString, now: Timestamp) -> Result<bool, StoreError> {
        let rows = on!(Self, self, |tx| {
            sqlx::query(LOCK).bind(session.user_id.0).execute(&mut **tx).await?;
            sqlx::query(DELETE_SESSIONS_BEFORE).bind(now.as_micros()).execute(&mut **tx).await?;
            sqlx::query(INSERT_SESSION)
                .bind(session.id.0)
                .bind(session.user_id.0)
                .bind(now.as_micros())
                .bind(session.expires_at.as_micros())
                .bind(password_hash.expose_secret())
                .execute(&mut **tx)
                .await?
                .rows_affected()
        });
        Ok(rows == 1)
    }
}
