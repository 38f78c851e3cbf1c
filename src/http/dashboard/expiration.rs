//! The choice of when a key expires, which several forms have.

use super::super::api::fields::Fields;
use super::super::body::Form;
use super::super::error::ApiError;
use crate::domain::entity::KeyPolicy;
use crate::domain::name::Invalid;

/// What is offered, in days.
const OFFERED: [u16; 3] = [30, 60, 90];

/// What was chosen, and what the organization lets people choose. In a form: `expires` is a number of days, `custom` or `never`, and `expires_in_days` the
/// number that goes with `custom`.
#[derive(Debug)]
pub(super) struct Expiration {
    pub(super) choice: String,
    pub(super) days: String,
    pub(super) offered: Vec<u16>,
    pub(super) max_days: Option<u16>,
}

impl Expiration {
    /// What is chosen at first: as the organization has it, or else 90 days.
    pub(super) fn offer(policy: KeyPolicy) -> Self {
        let first = policy.lifetime(None).ok().flatten().unwrap_or(90);
        let (choice, days) = if OFFERED.contains(&first) { (first.to_string(), String::new()) } else { ("custom".to_owned(), first.to_string()) };
        let offered = OFFERED.into_iter().filter(|days| policy.max_days.is_none_or(|max| *days <= max)).collect();
        Self { choice, days, offered, max_days: policy.max_days }
    }

    /// Nothing is chosen at first: what is there stays, or is followed.
    pub(super) fn keep(policy: KeyPolicy) -> Self {
        Self { choice: String::new(), days: String::new(), ..Self::offer(policy) }
    }

    /// What was sent.
    pub(super) fn read(form: &mut Form, policy: KeyPolicy) -> Result<Self, ApiError> {
        let (choice, days) = (form.take("expires")?.unwrap_or_default(), form.take("expires_in_days")?.unwrap_or_default());
        Ok(Self { choice, days, ..Self::offer(policy) })
    }

    /// What it means, as the use cases take it.
    pub(super) fn parse(&self, fields: &mut Fields) -> Option<Option<u16>> {
        let wrong = || Invalid(format!("must be a number of days from 1 to {}", KeyPolicy::LIMIT));
        let number = |text: &str| text.trim().parse().ok().filter(|days| (1..=KeyPolicy::LIMIT).contains(days)).ok_or_else(wrong);
        let text = match self.choice.as_str() {
            "" => return None,
            "never" => return Some(None),
            "custom" => &self.days,
            days => days,
        };
        fields.check("expires_in_days", number(text)).map(Some)
    }

    /// Whether this is chosen.
    pub(super) fn is(&self, choice: impl ToString) -> bool {
        self.choice == choice.to_string()
    }
}
