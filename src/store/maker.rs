//! The makers of credentials, and what a maker leaves behind.
//!
//! A row of `makers` names the maker of one value of an API key, or of a password that was set for somebody else, and the
//! credential that the maker used. The rows form chains, because a credential can be used to make others. [`LeftBehind`]
//! follows the chains down: what ends with a maker or a credential. [`MadeBy`] follows them up: the principals by whose
//! rights a credential is bounded.

use std::collections::BTreeSet;

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Member, StoreError, Tx};
use crate::domain::id::{ApiKeyId, KeyValueId, OrganizationId, ServiceAccountId, SessionId, UserId};
use crate::domain::permission::Permission;
use crate::domain::time::Timestamp;

/// Begins a statement with the CTE `left_behind`: the ids of all credentials that the root `$1` made (a principal, an API key or
/// a value), of all that were made with those, and so on. Credentials of the owner `$2` that the root itself made are left out.
/// `UNION` (not `UNION ALL`) ends cycles.
macro_rules! left_behind {
    ($statement:expr) => {
        concat!(
            "WITH RECURSIVE left_behind (id) AS (SELECT made_id FROM makers WHERE maker_id = $1 AND owner_id <> $2",
            " UNION SELECT made_id FROM makers WHERE made_with_key = $1 AND owner_id <> $2",
            " UNION SELECT made_id FROM makers WHERE made_with = $1 AND owner_id <> $2",
            " UNION SELECT m.made_id FROM left_behind l JOIN makers m ON m.made_with = l.id)",
            $statement
        )
    };
}

/// The keys whose current value was left behind: with it the whole key is.
macro_rules! keys_left_behind {
    () => {
        "(SELECT c.api_key_id FROM left_behind l JOIN api_key_values c ON c.id = l.id WHERE c.retained_until IS NULL)"
    };
}

statements! {
    INSERT = "INSERT INTO makers (made_id, key_id, owner_id, maker_kind, maker_id, made_with, made_with_key) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    REPLACE = "DELETE FROM makers WHERE made_id = $1";
    LIST_MAKERS = "WITH RECURSIVE chain (made_id, key_id, owner_id, maker_kind, maker_id, made_with) AS (\
                   SELECT made_id, key_id, owner_id, maker_kind, maker_id, made_with FROM makers WHERE made_id = $1 \
                   UNION SELECT m.made_id, m.key_id, m.owner_id, m.maker_kind, m.maker_id, m.made_with FROM chain c JOIN makers m ON m.made_id = c.made_with) \
                   SELECT DISTINCT c.key_id IS NULL AS of_password, c.maker_kind, c.maker_id, COALESCE(a.active, u.active, FALSE) AS active FROM chain c \
                   LEFT JOIN service_accounts a ON a.id = c.maker_id LEFT JOIN users u ON u.id = c.maker_id WHERE c.maker_id <> c.owner_id";
    LIST_KEYS = left_behind!(
        " SELECT k.id, k.service_account_id, v.id AS value_id, v.retained_until IS NULL AS whole FROM left_behind l JOIN api_key_values v ON v.id = l.id \
         JOIN api_keys k ON k.id = v.api_key_id WHERE k.active AND (v.retained_until IS NULL OR v.retained_until > $3) ORDER BY k.id"
    );
    LIST_USERS = left_behind!(" SELECT u.id FROM left_behind l JOIN users u ON u.id = l.id ORDER BY u.id");
    // The grants of what is left behind, and of the old values of such keys; and the sign-ins with them.
    END_STATUS = left_behind!(concat!(
        ", grants (id) AS (SELECT v.grant_id FROM left_behind l JOIN api_key_values v ON v.id = l.id UNION SELECT v.grant_id FROM api_key_values v WHERE v.api_key_id IN ",
        keys_left_behind!(),
        ") UPDATE status_entries SET ends_at = $3, ended = TRUE WHERE grant_id IN (SELECT id FROM grants UNION SELECT s.id FROM sessions s JOIN grants g ON g.id = s.grant_id \
         UNION SELECT s.id FROM sessions s JOIN left_behind l ON l.id = s.user_id) AND NOT ended AND (ends_at IS NULL OR ends_at > $3 - 3600000000)"
    ));
    END_RETAINED = left_behind!(concat!(
        " UPDATE api_key_values SET retained_until = $3 WHERE retained_until > $3 AND (id IN (SELECT id FROM left_behind) OR api_key_id IN ", keys_left_behind!(), ")"
    ));
    DEACTIVATE_KEYS = left_behind!(concat!(" UPDATE api_keys SET active = FALSE WHERE active AND id IN ", keys_left_behind!()));
    DELETE_SESSIONS = left_behind!(" DELETE FROM sessions WHERE user_id IN (SELECT id FROM left_behind)");
    CLEAR_PASSWORDS = left_behind!(
        " UPDATE users SET password_hash = '', password_version = password_version + 1 WHERE id IN (SELECT id FROM left_behind)"
    );
    DELETE_PASSWORDS = left_behind!(" DELETE FROM makers WHERE key_id IS NULL AND made_id IN (SELECT id FROM left_behind)");
    // Those that are over are deleted by others, in another order.
    DELETE_INVITATIONS = left_behind!(
        " DELETE FROM invitations WHERE expires_at > $3 AND (maker_id = $1 OR made_with_key = $1 OR made_with = $1 OR made_with IN (SELECT id FROM left_behind))"
    );
    DELETE_INVITATIONS_OF = "DELETE FROM invitations WHERE expires_at > $2 AND (maker_id = $1 OR made_with_key = $1 OR made_with = $1)";
    DELETE_INVITATIONS_OF_SESSION = "DELETE FROM invitations WHERE session_id = $1 AND expires_at > $2";
    DELETE_INVITATIONS_OF_OTHERS = "DELETE FROM invitations WHERE maker_id = $1 AND session_id IS NOT NULL AND session_id <> $2 AND expires_at > $3";
    ADOPT = "UPDATE makers SET maker_kind = $3, maker_id = $4, made_with = $5, made_with_key = $6 \
             WHERE (maker_id = $1 OR made_with_key = $1 OR made_with = $1) AND owner_id <> $2";
    FIND_PRINCIPAL = "SELECT organization_id, active FROM service_accounts WHERE id = $1 UNION ALL SELECT organization_id, active FROM users WHERE id = $1";
    IS_KEY_ACTIVE = "SELECT count(*) > 0 FROM api_keys WHERE id = $1 AND active AND compromised_at IS NULL";
}

/// Whoever makes something, and with which credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Who.
    pub principal: Member,
    /// With what: the value of a service account's key, or the user, for whom their password stands.
    pub made_with: Uuid,
    /// The key of that value.
    pub made_with_key: Option<ApiKeyId>,
    /// In which sign-in.
    pub session: Option<SessionId>,
}

/// Somebody on whose rights a credential depends: they made it, or made what it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeBy {
    /// Who.
    pub principal: Member,
    /// Whether they are there and active.
    pub active: bool,
    /// Whether they set a password, and did not make a key.
    of_password: bool,
}

impl MadeBy {
    /// What they need to be allowed to make it.
    #[must_use]
    pub const fn needed(&self) -> &'static Permission {
        if self.of_password { &Permission::USERS_MANAGE } else { &Permission::API_KEYS_MANAGE }
    }
}

/// Where what is left behind begins.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    id: Uuid,
    /// The owner for whom nothing is left behind.
    except: Uuid,
}

impl Root {
    /// What a principal made for others. Their own credentials depend on themselves.
    #[must_use]
    pub const fn principal(member: Member) -> Self {
        Self { id: member.id(), except: member.id() }
    }

    /// All that was made with a key that is in wrong hands.
    #[must_use]
    pub const fn compromised(key: ApiKeyId) -> Self {
        Self { id: key.0, except: Uuid::nil() }
    }

    /// All that was made with a value that is in wrong hands.
    #[must_use]
    pub const fn compromised_value(value: KeyValueId) -> Self {
        Self { id: value.0, except: Uuid::nil() }
    }

    /// What was made for others with a key of this account. The account's own keys stand beside it.
    #[must_use]
    pub const fn deactivated(key: ApiKeyId, account: ServiceAccountId) -> Self {
        Self { id: key.0, except: account.0 }
    }

    /// The principal, key or value.
    #[must_use]
    pub const fn id(self) -> Uuid {
        self.id
    }
}

/// An API key that was left behind, or the value that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct LeftKey {
    /// The key.
    id: Uuid,
    /// Whose it is.
    service_account_id: Uuid,
    /// The value.
    value_id: Uuid,
    /// Whether it is the whole key.
    pub whole: bool,
}

impl LeftKey {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> ApiKeyId {
        ApiKeyId(self.id)
    }

    /// Whose it is.
    #[must_use]
    pub const fn account(&self) -> ServiceAccountId {
        ServiceAccountId(self.service_account_id)
    }
}

/// What someone leaves behind and works: API keys, and passwords that they know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// Keys, and old values of keys.
    pub keys: Vec<LeftKey>,
    /// Users with such a password.
    pub users: Vec<UserId>,
}

impl LeftBehind {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.users.is_empty()
    }

    /// Whose it is.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<Member> {
        let accounts = self.keys.iter().map(|key| Member::ServiceAccount(key.account()));
        accounts.chain(self.users.iter().copied().map(Member::User)).collect()
    }

    /// Whether `maker` proved who they are with some of it.
    #[must_use]
    pub fn includes(&self, maker: &Maker) -> bool {
        self.keys.iter().any(|key| key.value_id == maker.made_with) || self.users.iter().any(|user| user.0 == maker.made_with)
    }
}

#[derive(FromRow)]
struct MadeByRow {
    of_password: bool,
    maker_kind: String,
    maker_id: Uuid,
    active: bool,
}

/// A principal as it stands in the database: its kind, and its id.
pub(super) fn principal(kind: &str, id: Uuid) -> Result<Member, StoreError> {
    match kind {
        "service_account" => Ok(Member::ServiceAccount(ServiceAccountId(id))),
        "user" => Ok(Member::User(UserId(id))),
        _ => Err(StoreError::Corrupt("makers.maker_kind".to_owned())),
    }
}

reads! {
    /// Lists on whose rights the value of a key, or the password of a user, depends: who made it for another, and who made what it was made with.
    fn list_makers(made: Uuid) -> Vec<MadeBy> = |connection| {
        let rows = sqlx::query_as::<_, MadeByRow>(LIST_MAKERS).bind(made).fetch_all(connection).await?;
        let made_by = |row: MadeByRow| Ok(MadeBy { principal: principal(&row.maker_kind, row.maker_id)?, active: row.active, of_password: row.of_password });
        rows.into_iter().map(made_by).collect()
    };
    /// Lists the keys that work and are left behind.
    fn list_left_keys(root: Root, now: Timestamp) -> Vec<LeftKey> = |connection| {
        Ok(sqlx::query_as(LIST_KEYS).bind(root.id).bind(root.except).bind(now.as_micros()).fetch_all(connection).await?)
    };
    /// Lists the users whose password is left behind.
    fn list_left_users(root: Root) -> Vec<UserId> = |connection| {
        let ids: Vec<Uuid> = sqlx::query_scalar(LIST_USERS).bind(root.id).bind(root.except).fetch_all(connection).await?;
        Ok(ids.into_iter().map(UserId).collect())
    };
    /// The organization of a principal, and whether they are active.
    fn find_principal(id: Uuid) -> Option<(OrganizationId, bool)> = |connection| {
        let row: Option<(Uuid, bool)> = sqlx::query_as(FIND_PRINCIPAL).bind(id).fetch_optional(connection).await?;
        Ok(row.map(|(organization, active)| (OrganizationId(organization), active)))
    };
    /// Whether a key is there, active and not compromised.
    fn is_key_active(id: ApiKeyId) -> bool = |connection| {
        Ok(sqlx::query_scalar(IS_KEY_ACTIVE).bind(id.0).fetch_one(connection).await?)
    };
}

writes! {
    /// Notes who made the value of a key.
    fn insert_maker_of_value(value: KeyValueId, key: ApiKeyId, owner: ServiceAccountId, maker: &Maker) [changes owner.0] =
        REPLACE(value.0),
        INSERT(value.0, key.0, owner.0, maker.principal.kind(), maker.principal.id(), maker.made_with, maker.made_with_key.map(|key| key.0));
    /// Notes who set the password of a user.
    fn insert_maker_of_password(user: UserId, maker: &Maker) [changes user.0] =
        REPLACE(user.0),
        INSERT(user.0, None::<Uuid>, user.0, maker.principal.kind(), maker.principal.id(), maker.made_with, maker.made_with_key.map(|key| key.0));
    /// Ends the links that a principal made, or that were made with a key: something is wrong with them.
    fn delete_invitations_of(maker_or_key: Uuid, now: Timestamp) = DELETE_INVITATIONS_OF(maker_or_key, now.as_micros());
    /// Ends the links that were made in a sign-in.
    fn delete_invitations_of_session(session: SessionId, now: Timestamp) = DELETE_INVITATIONS_OF_SESSION(session.0, now.as_micros());
    /// Ends the links that a principal made in other sign-ins than this one.
    fn delete_invitations_of_other_sessions(maker: Uuid, kept: Uuid, now: Timestamp) = DELETE_INVITATIONS_OF_OTHERS(maker, kept, now.as_micros());
}

impl Tx {
    /// Lists what is left behind and works.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_left_behind(&mut self, root: Root, now: Timestamp) -> Result<LeftBehind, StoreError> {
        Ok(LeftBehind { keys: self.list_left_keys(root, now).await?, users: self.list_left_users(root).await? })
    }

    /// Ends what is left behind: deactivates the keys, ends old values, clears the passwords with their sign-ins, and deletes the links; the tokens of all of it end. `left` is what
    /// [`Tx::list_left_behind`] found, and its owners have to be locked. Returns the number of links.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_left_behind(&mut self, root: Root, left: &LeftBehind, now: Timestamp) -> Result<u64, StoreError> {
        let (id, except, now) = (root.id, root.except, now.as_micros());
        if !left.is_empty() {
            on!(Engine, &mut self.engine, |tx| {
                for sql in [END_STATUS, END_RETAINED] {
                    sqlx::query(sql).bind(id).bind(except).bind(now).execute(&mut **tx).await?;
                }
                for sql in [DEACTIVATE_KEYS, DELETE_SESSIONS, CLEAR_PASSWORDS] {
                    sqlx::query(sql).bind(id).bind(except).execute(&mut **tx).await?;
                }
            });
        }
        let invitations = on!(Engine, &mut self.engine, |tx| {
            let deleted = sqlx::query(DELETE_INVITATIONS).bind(id).bind(except).bind(now).execute(&mut **tx).await?.rows_affected();
            sqlx::query(DELETE_PASSWORDS).bind(id).bind(except).execute(&mut **tx).await?;
            deleted
        });
        for owner in left.owners() {
            match owner {
                Member::ServiceAccount(account) => self.set_next_key_expiry(account).await?,
                Member::User(user) => self.note_change(user.0),
            }
        }
        Ok(invitations)
    }

    /// Makes `maker` the maker of what the root itself made for others, so that it goes on working. What was made with that depends on it as before.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn adopt(&mut self, root: Root, left: &LeftBehind, maker: &Maker) -> Result<(), StoreError> {
        for owner in left.owners() {
            self.note_change(owner.id());
        }
        on!(Engine, &mut self.engine, |tx| sqlx::query(ADOPT)
            .bind(root.id)
            .bind(root.except)
            .bind(maker.principal.kind())
            .bind(maker.principal.id())
            .bind(maker.made_with)
            .bind(maker.made_with_key.map(|key| key.0))
            .execute(&mut **tx)
            .await
            .map(drop))?;
        Ok(())
    }
}
