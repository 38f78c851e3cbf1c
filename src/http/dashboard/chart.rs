//! The chart of exchanges over time: an SVG made here, and a table of the same numbers.

use std::fmt::Write;
use std::time::Duration;

use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::error::ApiError;
use super::visit::Visit;
use crate::domain::entity::ServiceAccount;
use crate::domain::time::Timestamp;
use crate::service::{Counted, Span};

/// The height of the drawing; a step is [`WIDTH`] wide. It is stretched to the page.
const HEIGHT: i64 = 1_000;
const WIDTH: usize = 10;
/// The least height of a bar, so that a single exchange among thousands is seen.
const LEAST: i64 = 12;
/// How many steps are between two labels.
const LABEL_EVERY: usize = 6;

/// A chart. In a template it is written as a whole: `{{ chart }}`. It chooses between 24 hours and 30 days by `?chart=` in the page's own path.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    month: bool,
    granted: String,
    refused: String,
    /// What the scale is labelled with, from above.
    scale: [String; 2],
    labels: Vec<String>,
    bars: Vec<Bar>,
    /// What it shows, in a sentence.
    description: String,
}

/// It is made of numbers and of our own words.
impl HtmlSafe for Chart {}

#[derive(Debug)]
struct Bar {
    /// The hour or the day.
    time: String,
    granted: String,
    refused: String,
    /// The left edge, and the width.
    x: usize,
    width: usize,
    /// The upper edges and heights of both parts.
    granted_at: (i64, i64),
    refused_at: (i64, i64),
}

impl Bar {
    fn empty(&self) -> bool {
        self.granted_at.1 + self.refused_at.1 == 0
    }
}

#[derive(Deserialize)]
struct ChartQuery {
    chart: Option<String>,
}

/// The exchanges of the whole organization. To be offered to whoever may see service accounts.
pub(super) async fn of_organization(visit: &Visit) -> Result<Chart, ApiError> {
    of(visit, None).await
}

/// The exchanges of one account, which the visitor was shown.
#[expect(dead_code, reason = "for the page of an account")]
pub(super) async fn of_account(visit: &Visit, account: &ServiceAccount) -> Result<Chart, ApiError> {
    of(visit, Some(account)).await
}

async fn of(visit: &Visit, account: Option<&ServiceAccount>) -> Result<Chart, ApiError> {
    let query: ChartQuery = visit.query().await?;
    let span = if query.chart.as_deref() == Some("30-days") { Span::Month } else { Span::Day };
    let counted = visit.call.state.traffic.count(&visit.call.caller, account, span).await?;
    Ok(draw(span, &counted))
}

fn draw(span: Span, counted: &[Counted]) -> Chart {
    let month = span == Span::Month;
    let (granted, refused) = counted.iter().fold((0, 0), |sum, it| (sum.0 + it.tally.granted, sum.1 + it.tally.refused));
    let top = round_up(counted.iter().map(|it| it.tally.granted + it.tally.refused).max().unwrap_or_default());
    let bars = counted.iter().enumerate().map(|(index, it)| bar(index, it, month, top)).collect();
    let label = if month { "%-d %b" } else { "%H:%M" };
    let labels = counted.iter().step_by(LABEL_EVERY).map(|it| written(it.from, label)).collect();
    let (time, steps) = if month { ("30 days", "day") } else { ("24 hours", "hour") };
    let (granted, refused) = (grouped(granted), grouped(refused));
    let description = format!("Exchanges in the last {time}, by the {steps}: {granted} granted, {refused} refused.");
    Chart { month, granted, refused, scale: [grouped(top), grouped(top / 2)], labels, bars, description }
}

fn bar(index: usize, counted: &Counted, month: bool, top: i64) -> Bar {
    let height = |count: i64| if count == 0 { 0 } else { (count * HEIGHT / top).max(LEAST) };
    let (granted, refused) = (height(counted.tally.granted), height(counted.tally.refused));
    // Where both are small, together they must not stand out of the drawing.
    let granted = granted.min(HEIGHT - refused);
    let time = if month {
        written(counted.from, "%-d %B %Y")
    } else {
        format!("{} to {}", written(counted.from, "%-d %b, %H:%M"), written(counted.from.plus(Duration::from_hours(1)), "%H:%M"))
    };
    Bar {
        time,
        granted: grouped(counted.tally.granted),
        refused: grouped(counted.tally.refused),
        x: index * WIDTH + 1,
        width: WIDTH - 2,
        granted_at: (HEIGHT - granted, granted),
        refused_at: (HEIGHT - granted - refused, refused),
    }
}

fn written(time: Timestamp, format: &str) -> String {
    DateTime::<Utc>::from_timestamp_micros(time.as_micros()).map_or_else(String::new, |time| time.format(format).to_string())
}

/// The next of 2, 4, 10, 20, 40, 100 and so on, so that a scale ends and halves at a round number.
fn round_up(count: i64) -> i64 {
    let mut power = 1_i64;
    loop {
        if let Some(found) = [2, 4, 10].into_iter().map(|step| power.saturating_mul(step)).find(|top| *top >= count) {
            return found;
        }
        power = power.saturating_mul(10);
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        // Writing to a text cannot fail.
        let _ = write!(text, "{digit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tally;

    #[test]
    fn numbers_are_grouped_and_scales_are_round() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (-12_345, "-12,345")] {
            assert_eq!(grouped(number), text);
        }
        for (count, top) in [(0, 2), (2, 2), (3, 4), (5, 10), (11, 20), (999, 1_000), (1_001, 2_000), (i64::MAX, i64::MAX)] {
            assert_eq!(round_up(count), top);
        }
    }

    #[test]
    fn bars_stay_in_the_drawing_and_a_single_exchange_is_seen() {
        for (granted, refused) in [(0, 0), (1, 0), (9_999, 1), (10_000, 0), (1, 9_999), (5_000, 5_000)] {
            let counted = Counted { from: Timestamp::from_seconds(1_767_225_600), tally: Tally { granted, refused } };
            let bar = bar(3, &counted, false, 10_000);
            assert!(bar.refused_at.0 >= 0 && bar.refused_at.0 + bar.refused_at.1 == bar.granted_at.0, "{bar:?}");
            assert_eq!(bar.granted_at.0 + bar.granted_at.1, HEIGHT);
            assert_eq!((bar.granted_at.1 > 0, bar.refused_at.1 > 0), (granted > 0, refused > 0));
            assert_eq!(bar.time, "1 Jan, 00:00 to 01:00");
        }
    }
}
