//! The choice of how long the old value of a key works on.

use std::time::Duration;

use super::super::api::fields::Fields;
use super::super::body::Form;
use super::super::error::ApiError;
use crate::domain::name::Invalid;

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

/// What is offered, in minutes.
const OFFERED: [(u32, &str); 4] = [(0, "Not at all"), (HOUR, "1 hour"), (DAY, "24 hours"), (7 * DAY, "7 days")];

/// What was chosen, and what can be. In a form: `retain` is a number of minutes or `custom`, and `retain_minutes` the number that goes with `custom`.
#[derive(Debug)]
pub(super) struct Retention {
    pub(super) choice: String,
    pub(super) minutes: String,
    pub(super) offered: Vec<(u32, &'static str)>,
    pub(super) max_minutes: u32,
}

impl Retention {
    /// For a rotation: at most so long, at first a day. Whoever holds the old value has time to get the new one.
    pub(super) fn offer(most: Duration) -> Self {
        Self::of(most, 0)
    }

    /// For more time: at least a minute, and at most so long.
    pub(super) fn extend(most: Duration) -> Self {
        Self::of(most, 1)
    }

    fn of(most: Duration, least: u32) -> Self {
        let max_minutes = u32::try_from(most.as_secs() / 60).unwrap_or(u32::MAX);
        let offered: Vec<_> = OFFERED.into_iter().filter(|(minutes, _)| (least..=max_minutes).contains(minutes)).collect();
        let first = offered.iter().map(|(minutes, _)| *minutes).rfind(|minutes| *minutes <= DAY);
        Self { choice: first.map_or_else(|| "custom".to_owned(), |first| first.to_string()), minutes: String::new(), offered, max_minutes }
    }

    /// What was sent.
    pub(super) fn read(form: &mut Form, offered: Self) -> Result<Self, ApiError> {
        let (choice, minutes) = (form.take("retain")?.unwrap_or_default(), form.take("retain_minutes")?.unwrap_or_default());
        Ok(Self { choice, minutes, ..offered })
    }

    /// What it means, in minutes.
    pub(super) fn parse(&self, fields: &mut Fields) -> Option<u32> {
        let text = if self.choice == "custom" { &self.minutes } else { &self.choice };
        let wrong = || Invalid(format!("must be a number of minutes from 0 to {}", self.max_minutes));
        fields.check("retain_minutes", text.trim().parse().ok().filter(|minutes| *minutes <= self.max_minutes).ok_or_else(wrong))
    }

    /// Whether this is chosen.
    pub(super) fn is(&self, choice: impl ToString) -> bool {
        self.choice == choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_ends_with_what_is_possible() {
        let offered = |retention: Retention| (retention.offered.iter().map(|(minutes, _)| *minutes).collect::<Vec<_>>(), retention.choice);
        assert_eq!(offered(Retention::offer(Duration::from_hours(720))), (vec![0, 60, 1_440, 10_080], "1440".to_owned()));
        assert_eq!(offered(Retention::offer(Duration::from_hours(2))), (vec![0, 60], "60".to_owned()));
        assert_eq!(offered(Retention::offer(Duration::ZERO)), (vec![0], "0".to_owned()));
        assert_eq!(offered(Retention::extend(Duration::from_mins(30))), (vec![], "custom".to_owned()));
    }
}
