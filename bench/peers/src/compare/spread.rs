//! A figure over all rounds: median, minimum and maximum.

use serde::Serialize;

/// A figure over at least one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Returns the spread of the values, or `None` if there are none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);

        let min = *values.first()?;
        let max = *values.last()?;
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { median, min, max })
    }

    /// Returns `median (min to max)`.
    pub(super) fn display(self, format: impl Fn(f64) -> String) -> String {
        format!("{} ({} to {})", format(self.median), format(self.min), format(self.max))
    }
}

/// Formats a number with three significant digits.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Formats a whole number in groups of three digits: `1,234,567`.
pub(super) fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Spread, digits, grouped};

    #[test]
    fn averages_the_two_middle_values_of_an_even_number() {
        let spread = Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 1.0, 9.0));
        assert!(Spread::of([]).is_none());
    }

    #[test]
    fn formats_numbers_in_groups_and_with_three_digits() {
        assert_eq!([grouped(7.0), grouped(1234.4), grouped(1_234_567.0)], ["7", "1,234", "1,234,567"]);
        assert_eq!([digits(0.834), digits(12.34), digits(345.6)], ["0.83", "12.3", "346"]);
    }
}
