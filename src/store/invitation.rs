//! Links with which people set a password.

use sqlx::FromRow;
use uuid::Uuid;

use super::Db;
use crate::domain::api_key::ApiKeyHash;
use crate::domain::id::UserId;
use crate::domain::time::Timestamp;

statements! {
    DELETE = "DELETE FROM invitations WHERE user_id = $1";
    INSERT = "INSERT INTO invitations (user_id, hash, created_at, expires_at) VALUES ($1, $2, $3, $4)";
    FIND = "SELECT user_id, expires_at FROM invitations WHERE hash = $1";
    DELETE_BEFORE = "DELETE FROM invitations WHERE expires_at <= $1";
}

#[derive(FromRow)]
struct InvitationRow {
    user_id: Uuid,
    expires_at: i64,
}

reads! {
    /// Finds whose link this is, and until when it counts.
    fn find_invitation(hash: &ApiKeyHash) -> Option<(UserId, Timestamp)> = |connection| {
        let row = sqlx::query_as::<_, InvitationRow>(FIND).bind(hash.0.as_slice()).fetch_optional(connection).await?;
        Ok(row.map(|row| (UserId(row.user_id), Timestamp::from_micros(row.expires_at))))
    };
}

writes! {
    /// Makes a link for a person; the one before counts no more. Those whose time is over are forgotten.
    fn replace_invitation(user: UserId, hash: &ApiKeyHash, now: Timestamp, expires_at: Timestamp) =
        DELETE_BEFORE(now.as_micros()), DELETE(user.0), INSERT(user.0, hash.0.as_slice(), now.as_micros(), expires_at.as_micros());
    /// Ends the link of a person.
    fn delete_invitation(user: UserId) = DELETE(user.0);
}
