//! People.

use secrecy::{ExposeSecret, SecretString};
use sqlx::FromRow;
use uuid::Uuid;

use super::organization::{OrganizationRow, organization_columns};
use super::{Db, Ended, Engine, Store, StoreError, Tx};
use crate::domain::credential::UserCredential;
use crate::domain::entity::User;
use crate::domain::id::{OrganizationId, UserId};
use crate::domain::name::Email;
use crate::domain::time::Timestamp;

macro_rules! user_columns {
    () => {
        "u.id AS user_id, u.organization_id AS user_organization_id, u.email AS user_email, u.name AS user_name, u.active AS user_active, \
         u.password_hash <> '' AS user_has_password, u.created_at AS user_created_at, \
         EXISTS (SELECT 1 FROM makers mk WHERE mk.made_id = u.id) AS user_password_by_other"
    };
}
pub(super) use user_columns;

statements! {
    INSERT = "INSERT INTO users (id, organization_id, email, password_hash, active, created_at, name) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    FIND_BY_EMAIL = concat!(
        "SELECT u.password_hash, u.password_version, ", user_columns!(), ", ", organization_columns!(),
        " FROM users u JOIN organizations o ON o.id = u.organization_id WHERE u.email = $1"
    );
    FIND_BY_ID = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.organization_id = $1 AND u.id = $2");
    FIND_BY_ADDRESS = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.organization_id = $1 AND u.email = $2");
    LIST = concat!(
        "SELECT ", user_columns!(), " FROM users u WHERE u.organization_id = $1 AND u.id > $2 AND (u.email = $4 OR CAST($4 AS TEXT) IS NULL) \
         AND (u.active = $5 OR CAST($5 AS BOOLEAN) IS NULL) AND ((u.password_hash = '') = $6 OR CAST($6 AS BOOLEAN) IS NULL) \
         AND (replace(lower(u.email), lower($7), '') <> lower(u.email) OR replace(lower(u.name), lower($7), '') <> lower(u.name) \
         OR CAST($7 AS TEXT) IS NULL) ORDER BY u.id LIMIT $3"
    );
    FIND_VERSION = "SELECT password_version FROM users WHERE id = $1";
    UPDATE = "UPDATE users SET email = $2, name = $3, active = $4 WHERE id = $1";
    DELETE_MAKER = "DELETE FROM makers WHERE made_id = $1";
    DELETE_INVITATION = "DELETE FROM invitations WHERE user_id = $1";
    DELETE = "DELETE FROM users WHERE id = $1";
    REPLACE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_version = $2";
    FIND_CREDENTIAL = concat!(
        "SELECT ", user_columns!(), ", ", organization_columns!(), " FROM users u JOIN organizations o ON o.id = u.organization_id WHERE u.id = $1"
    );
    SET_PASSWORD_HASH = "UPDATE users SET password_hash = $2, password_version = password_version + 1 WHERE id = $1";
    // Changes nothing, and waits for whoever is changing the person.
    LOCK = "UPDATE users SET active = active WHERE id = $1";
    LOCK_ALL = "UPDATE users SET active = active WHERE organization_id = $1";
    DELETE_SESSIONS_OF = "DELETE FROM sessions WHERE user_id = $1";
}

#[derive(FromRow)]
struct UserRow {
    user_id: Uuid,
    user_organization_id: Uuid,
    user_email: String,
    user_name: String,
    user_active: bool,
    user_has_password: bool,
    user_password_by_other: bool,
    user_created_at: i64,
}

#[derive(FromRow)]
pub(super) struct UserCredentialRow {
    #[sqlx(flatten)]
    organization: OrganizationRow,
    #[sqlx(flatten)]
    user: UserRow,
}

#[derive(FromRow)]
struct PasswordRow {
    password_hash: String,
    password_version: i64,
    #[sqlx(flatten)]
    holder: UserCredentialRow,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: UserId(row.user_id),
            organization_id: OrganizationId(row.user_organization_id),
            email: Email::from_stored(row.user_email),
            name: row.user_name,
            active: row.user_active,
            has_password: row.user_has_password,
            password_by_other: row.user_password_by_other,
            created_at: Timestamp::from_micros(row.user_created_at),
        }
    }
}

impl From<UserCredentialRow> for UserCredential {
    fn from(row: UserCredentialRow) -> Self {
        Self { organization: row.organization.into(), user: row.user.into(), left_behind: false }
    }
}

/// A person, and the hash that their password has to match.
#[derive(Debug)]
pub struct StoredPassword {
    /// Who they are, once the password matches.
    pub holder: UserCredential,
    /// An Argon2id hash as a PHC string; empty where they have no password yet, which nothing matches.
    pub hash: SecretString,
    /// Which of their passwords it is.
    pub version: i64,
}

/// Which people a list is to hold.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// The one of this address.
    pub email: Option<String>,
    /// Those that have this in their address or name, in any case.
    pub search: Option<String>,
    /// Those that are active, or those that are not.
    pub active: Option<bool>,
    /// Those that have no password yet, or those that have.
    pub invited: Option<bool>,
}

reads! {
    /// Finds a person of an organization by their id.
    fn find_user_by_id(organization: OrganizationId, id: Uuid) -> Option<User> = |connection| {
        Ok(sqlx::query_as::<_, UserRow>(FIND_BY_ID).bind(organization.0).bind(id).fetch_optional(connection).await?.map(User::from))
    };
    /// Finds a person of an organization by their email address.
    fn find_user_by_email(organization: OrganizationId, email: &str) -> Option<User> = |connection| {
        Ok(sqlx::query_as::<_, UserRow>(FIND_BY_ADDRESS).bind(organization.0).bind(email).fetch_optional(connection).await?.map(User::from))
    };
    /// Lists the people of an organization in the order of their ids: at most `limit` of those after `after`.
    fn list_users(organization: OrganizationId, filter: &UserFilter, after: Uuid, limit: i64) -> Vec<User> = |connection| {
        let rows = sqlx::query_as::<_, UserRow>(LIST)
            .bind(organization.0)
            .bind(after)
            .bind(limit)
            .bind(filter.email.as_deref())
            .bind(filter.active)
            .bind(filter.invited)
            .bind(filter.search.as_deref())
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(User::from).collect())
    };
    /// Finds a person and their organization.
    fn find_user_credential(id: UserId) -> Option<UserCredential> = |connection| {
        Ok(sqlx::query_as::<_, UserCredentialRow>(FIND_CREDENTIAL).bind(id.0).fetch_optional(connection).await?.map(UserCredential::from))
    };
    /// Which of their passwords a person has now.
    fn find_password_version(user: UserId) -> Option<i64> = |connection| {
        Ok(sqlx::query_scalar(FIND_VERSION).bind(user.0).fetch_optional(connection).await?)
    };
}

writes! {
    /// Makes a person known, without a password.
    fn insert_user(user: &User) =
        INSERT(user.id.0, user.organization_id.0, user.email.as_str(), "", user.active, user.created_at.as_micros(), &user.name);
    /// Keeps others from changing a person until the transaction ends.
    fn lock_user(id: UserId) = LOCK(id.0);
    /// Keeps others from changing the people of an organization until the transaction ends.
    fn lock_users(organization: OrganizationId) = LOCK_ALL(organization.0);
    /// Replaces a person's password by one of their own, which ends the link for setting one.
    fn set_password_hash(user: UserId, hash: &SecretString) [changes user.0] =
        SET_PASSWORD_HASH(user.0, hash.expose_secret()), DELETE_INVITATION(user.0), DELETE_MAKER(user.0);
    /// Replaces the hash of a person's password by another of the same password, unless they have got another meanwhile.
    fn replace_password_hash(user: UserId, version: i64, hash: &SecretString) = REPLACE_PASSWORD_HASH(user.0, version, hash.expose_secret());
}

impl Store {
    /// Finds a person by their email address.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_password(&self, email: &Email) -> Result<Option<StoredPassword>, StoreError> {
        let row = on!(Db, &self.read, |pool| sqlx::query_as::<_, PasswordRow>(FIND_BY_EMAIL).bind(email.as_str()).fetch_optional(pool).await)?;
        Ok(row.map(|row| StoredPassword { holder: row.holder.into(), hash: row.password_hash.into(), version: row.password_version }))
    }
}

impl Tx {
    /// Replaces all that can change of a person but the password.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the address is taken.
    pub async fn update_user(&mut self, user: &User, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(user.id.0);
        self.retire_user_email(user.id, now, Some(user.email.as_str())).await?;
        on!(Engine, &mut self.engine, |tx| sqlx::query(UPDATE)
            .bind(user.id.0)
            .bind(user.email.as_str())
            .bind(&user.name)
            .bind(user.active)
            .execute(&mut **tx)
            .await
            .map(drop))
        .map_err(StoreError::from)
    }

    /// Deletes a person with all that they were given, their memberships and sign-ins.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_user(&mut self, id: UserId, now: Timestamp) -> Result<(), StoreError> {
        self.note_change(id.0);
        self.end_status(Ended::User(id), now).await?;
        self.retire_user_email(id, now, None).await?;
        self.delete_access_of_user(id).await?;
        for sql in [DELETE_SESSIONS_OF, DELETE_INVITATION, DELETE_MAKER, DELETE] {
            on!(Engine, &mut self.engine, |tx| sqlx::query(sql).bind(id.0).execute(&mut **tx).await.map(drop))?;
        }
        Ok(())
    }
}
