//! How messages show quantities: durations with at most three digits, and numbers with their noun.

use std::fmt;
use std::time::Duration;

/// A duration in a message: at most three digits and a unit, such as `113 ms`, `1.0 s` or `10 min`.
///
/// Values below ten have one decimal, unless they are exact. The exact value belongs in a field of
/// the event, where it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortDuration(pub Duration);

/// The units, each with its length and the shortest duration that is shown in the next unit, both
/// in nanoseconds. Up to seconds, a unit ends where rounding would show four digits. Minutes begin
/// at two minutes, hours at two hours, and days at two days, because `90 s` says more than
/// `1.5 min`.
const UNITS: [(&str, u128, u128); 7] = [
    ("ns", 1, 1_000),
    ("us", 1_000, 999_500),
    ("ms", 1_000_000, 999_500_000),
    ("s", SECOND, 2 * MINUTE),
    ("min", MINUTE, 2 * HOUR),
    ("h", HOUR, 2 * DAY),
    ("d", DAY, u128::MAX),
];

const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;

impl fmt::Display for ShortDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0 s");
        }

        let (name, unit, _) = UNITS.iter().find(|(_, _, end)| nanos < *end).unwrap_or(&UNITS[6]);
        let tenths = (nanos * 10 + unit / 2) / unit;
        if nanos.is_multiple_of(*unit) || tenths >= 100 {
            write!(f, "{} {name}", (nanos + unit / 2) / unit)
        } else {
            write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

/// A number and a regular English noun, in the singular for 1: `1 request`, `3 crashes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<N>(pub N, pub &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Counted<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = self;
        if *number == N::from(1) {
            return write!(f, "{number} {noun}");
        }
        let ending = if noun.ends_with("sh") { "es" } else { "s" };
        write!(f, "{number} {noun}{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_shown(nanos: u64, expected: &str) {
        assert_eq!(ShortDuration(Duration::from_nanos(nanos)).to_string(), expected, "{nanos} ns");
    }

    #[test]
    fn shows_measured_durations_with_at_most_three_digits() {
        assert_shown(112_543_784, "113 ms");
        assert_shown(1_026_309_299, "1.0 s");
        assert_shown(30_412_000_000, "30 s");
        assert_shown(7_250, "7.3 us");
        assert_shown(90_600_000_000, "91 s");
        assert_shown(150_000_000_000, "2.5 min");
    }

    #[test]
    fn shows_exact_durations_without_a_decimal() {
        assert_shown(0, "0 s");
        assert_shown(1, "1 ns");
        assert_shown(100_000_000, "100 ms");
        assert_shown(1_000_000_000, "1 s");
        assert_shown(120_000_000_000, "2 min");
        assert_shown(600_000_000_000, "10 min");
        assert_shown(48 * 3600 * 1_000_000_000, "2 d");
    }

    #[test]
    fn changes_the_unit_before_rounding_shows_a_fourth_digit() {
        assert_shown(999_499, "999 us");
        assert_shown(999_500, "1.0 ms");
        assert_shown(999_500_000, "1.0 s");
        assert_shown(9_949_000_000, "9.9 s");
        assert_shown(9_950_000_000, "10 s");
        assert_shown(119_999_999_999, "120 s");
    }

    #[test]
    fn shows_the_longest_duration() {
        assert_eq!(ShortDuration(Duration::MAX).to_string(), "213503982334601 d");
    }

    #[test]
    fn uses_the_singular_for_one_only() {
        let shown = [0_u64, 1, 2].map(|number| Counted(number, "request").to_string());
        assert_eq!(shown, ["0 requests", "1 request", "2 requests"]);
        assert_eq!([1_u64, 2].map(|number| Counted(number, "crash").to_string()), ["1 crash", "2 crashes"]);
    }
}
