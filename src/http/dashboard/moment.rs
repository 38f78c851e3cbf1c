//! Times as people read them.

use std::fmt;

use askama::filters::HtmlSafe;
use chrono::{DateTime, Utc};

use crate::domain::time::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;

/// A time, shown as its distance from now, with the exact one on hover. In a template it is written as a whole: `{{ moment }}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Timestamp,
    now: Timestamp,
}

impl Moment {
    /// This time, seen from `now`.
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// Whether it is over.
    pub(super) fn is_past(&self) -> bool {
        self.at <= self.now
    }

    /// Whether it comes within so many days, or is over.
    pub(super) fn is_within_days(&self, days: i64) -> bool {
        self.at.as_seconds() - self.now.as_seconds() <= days * DAY
    }

    /// `3 minutes ago`, `in 5 days`.
    fn relative(&self) -> String {
        let distance = self.at.as_seconds() - self.now.as_seconds();
        let units = [(YEAR, 2 * YEAR, "year"), (MONTH, 4 * MONTH, "month"), (DAY, DAY, "day"), (HOUR, HOUR, "hour"), (MINUTE, MINUTE, "minute")];
        let length = distance.abs();
        let Some((unit, _, name)) = units.into_iter().find(|(_, least, _)| length >= *least) else {
            return if distance > 0 { "in less than a minute" } else { "just now" }.to_owned();
        };
        let count = length / unit;
        let plural = if count == 1 { "" } else { "s" };
        if distance > 0 { format!("in {count} {name}{plural}") } else { format!("{count} {name}{plural} ago") }
    }

    /// `31 January 2026, 12:00:00 UTC`.
    fn exact(&self) -> String {
        let time = DateTime::<Utc>::from_timestamp_micros(self.at.as_micros());
        time.map_or_else(|| self.at.to_string(), |time| time.format("%-d %B %Y, %H:%M:%S UTC").to_string())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<time datetime=\"{}\" title=\"{}\">{}</time>", self.at, self.exact(), self.relative())
    }
}

/// It is made of numbers and of our own words.
impl HtmlSafe for Moment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_seconds(1_767_225_600);
        let told = |seconds: i64| Moment::new(Timestamp::from_seconds(1_767_225_600 + seconds), now).relative();
        let table = [
            (0, "just now"),
            (-59, "just now"),
            (59, "in less than a minute"),
            (-60, "1 minute ago"),
            (-3_599, "59 minutes ago"),
            (7_200, "in 2 hours"),
            (-DAY, "1 day ago"),
            (45 * DAY, "in 45 days"),
            (90 * DAY, "in 90 days"),
            (-125 * DAY, "4 months ago"),
            (-800 * DAY, "2 years ago"),
        ];
        for (seconds, text) in table {
            assert_eq!(told(seconds), text);
        }
        let whole = Moment::new(now, now).to_string();
        assert_eq!(whole, "<time datetime=\"2026-01-01T00:00:00Z\" title=\"1 January 2026, 00:00:00 UTC\">just now</time>");
    }
}
