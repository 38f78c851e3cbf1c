//! Management: `/api/v1/...`.

pub(super) mod api_keys;
mod page;
pub(super) mod service_accounts;
