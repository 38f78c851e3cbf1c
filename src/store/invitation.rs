//! Links with which people set a password.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, Engine, Maker, StoreError, maker};
use crate::domain::api_key::ApiKeyHash;
use crate::domain::id::{ApiKeyId, SessionId, UserId};
use crate::domain::time::Timestamp;

statements! {
    DELETE = "DELETE FROM invitations WHERE user_id = $1";
    INSERT = "INSERT INTO invitations (user_id, hash, maker_kind, maker_id, made_with, made_with_key, session_id, created_at, expires_at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    FIND = "SELECT user_id, maker_kind, maker_id, made_with, made_with_key, session_id, expires_at FROM invitations WHERE hash = $1";
    DELETE_BEFORE = "DELETE FROM invitations WHERE expires_at <= $1";
}

#[derive(FromRow)]
struct InvitationRow {
    user_id: Uuid,
    maker_kind: Option<String>,
    maker_id: Option<Uuid>,
    made_with: Option<Uuid>,
    made_with_key: Option<Uuid>,
    session_id: Option<Uuid>,
    expires_at: i64,
}

/// A link with which a person sets a password.
#[derive(Clone, Copy, Debug)]
pub struct StoredInvitation {
    /// Whose password it sets.
    pub user: UserId,
    /// Who made it, and with what; nothing of an older one for the first administrator of an organization.
    pub maker: Option<Maker>,
    /// From when on it counts no more.
    pub expires_at: Timestamp,
}

impl TryFrom<InvitationRow> for StoredInvitation {
    type Error = StoreError;

    fn try_from(row: InvitationRow) -> Result<Self, StoreError> {
        let maker = match (row.maker_kind.as_deref(), row.maker_id) {
            (None, None) => None,
            (Some(kind), Some(id)) => Some(Maker {
                principal: maker::principal(kind, id)?,
                // Of an older one nobody knows with what it was made.
                made_with: row.made_with.unwrap_or(id),
                made_with_key: row.made_with_key.map(ApiKeyId),
                session: row.session_id.map(SessionId),
            }),
            _ => return Err(StoreError::Corrupt("invitations.maker_kind".to_owned())),
        };
        Ok(Self { user: UserId(row.user_id), maker, expires_at: Timestamp::from_micros(row.expires_at) })
    }
}

fn maker_kind(maker: Option<Maker>) -> Option<&'static str> {
    maker.map(|maker| maker.principal.kind())
}

reads! {
    /// Finds the link of this hash. It may be over.
    fn find_invitation(hash: &ApiKeyHash) -> Option<StoredInvitation> = |connection| {
        let row = sqlx::query_as::<_, InvitationRow>(FIND).bind(hash.0.as_slice()).fetch_optional(connection).await?;
        row.map(StoredInvitation::try_from).transpose()
    };
}

writes! {
    /// Makes a link; the one before of that person counts no more. Those whose time is over are forgotten.
    fn replace_invitation(invitation: &StoredInvitation, hash: &ApiKeyHash, now: Timestamp) =
        DELETE_BEFORE(now.as_micros()), DELETE(invitation.user.0), INSERT(
            invitation.user.0, hash.0.as_slice(), maker_kind(invitation.maker),
            invitation.maker.map(|maker| maker.principal.id()), invitation.maker.map(|maker| maker.made_with),
            invitation.maker.and_then(|maker| maker.made_with_key).map(|key| key.0), invitation.maker.and_then(|maker| maker.session).map(|session| session.0),
            now.as_micros(), invitation.expires_at.as_micros()
        );
    /// Ends the link of a person.
    fn delete_invitation(user: UserId) = DELETE(user.0);
}
