//! When, from where and with which program something was last used.

use super::moment::Moment;
use super::visit::Visit;
use super::words;
use crate::domain::entity::LastUse;

/// The last use of something.
pub(super) struct Used {
    pub(super) at: Moment,
    pub(super) address: Option<String>,
    pub(super) program: Option<String>,
}

impl Used {
    /// Nothing where it was never used.
    pub(super) fn new(visit: &Visit, last: Option<&LastUse>) -> Option<Self> {
        last.map(|last| Self {
            at: visit.moment(last.at),
            address: last.address.clone(),
            program: last.user_agent.as_deref().filter(|text| !text.is_empty()).map(words::program),
        })
    }
}
