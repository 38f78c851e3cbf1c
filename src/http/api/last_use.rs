//! `last_used_…`: three flat fields of accounts, keys and previews.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::entity::LastUse;
use crate::domain::time::Timestamp;

/// When and from where something was last used; nulls where it never was.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LastUseBody {
    /// When it was last used; may be a minute old.
    last_used_at: Option<Timestamp>,
    /// From where.
    #[schema(example = "198.51.100.7")]
    last_used_address: Option<String>,
    /// With what.
    #[schema(example = "python-requests/2.32")]
    last_used_user_agent: Option<String>,
}

impl From<Option<LastUse>> for LastUseBody {
    fn from(last: Option<LastUse>) -> Self {
        last.map_or_else(Self::default, |last| Self {
            last_used_at: Some(last.at),
            last_used_address: last.address,
            last_used_user_agent: last.user_agent,
        })
    }
}
