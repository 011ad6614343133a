//! Durations in messages: three digits at most, and a unit.

use std::fmt;
use std::time::Duration;

/// A duration as messages show it: `950 us`, `113 ms`, `1.0 s`, `2 min`.
///
/// Values below ten have one decimal, unless they are exact: a limit of one second is `1 s`, and a
/// call that took 1.026 s is `1.0 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortDuration(pub(crate) Duration);

/// The units, with their length in nanoseconds and the length up to which they are used. Minutes
/// begin at 120 s and hours at 120 min, so that nothing above 1 us is rounded by more than 5 %.
const UNITS: [(&str, u128, u128); 5] = [
    ("us", MICROSECOND, MILLISECOND),
    ("ms", MILLISECOND, SECOND),
    ("s", SECOND, 120 * SECOND),
    ("min", 60 * SECOND, 120 * 60 * SECOND),
    ("h", 3600 * SECOND, u128::MAX),
];

const MICROSECOND: u128 = 1_000;
const MILLISECOND: u128 = 1_000_000;
const SECOND: u128 = 1_000_000_000;

impl fmt::Display for ShortDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0 s");
        }

        for (unit, length, end) in UNITS {
            let tenths = rounded(nanos, length / 10);
            let whole = rounded(nanos, length);
            // A value that rounding lifts to the end of its unit is shown in the next one.
            if whole.saturating_mul(length) >= end {
                continue;
            }
            return if tenths < 100 && !nanos.is_multiple_of(length) {
                write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
            } else {
                write!(f, "{whole} {unit}")
            };
        }
        Ok(())
    }
}

/// Returns how often `length` fits into `nanos`, rounded to the nearest number.
fn rounded(nanos: u128, length: u128) -> u128 {
    (nanos + length / 2) / length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(nanos: u64) -> String {
        ShortDuration(Duration::from_nanos(nanos)).to_string()
    }

    #[test]
    fn shows_at_most_three_digits_and_a_unit() {
        for (nanos, expected) in [
            (0, "0 s"),
            (49, "0.0 us"),
            (1_500, "1.5 us"),
            (950_000, "950 us"),
            (4_470_000, "4.5 ms"),
            (112_543_784, "113 ms"),
            (1_026_309_299, "1.0 s"),
            (9_940_000_000, "9.9 s"),
            (9_960_000_000, "10 s"),
            (119_000_000_000, "119 s"),
            (150_300_000_000, "2.5 min"),
            (3_600_000_000_000, "60 min"),
            (10_000_000_000_000, "2.8 h"),
        ] {
            assert_eq!(shown(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn shows_exact_values_without_a_decimal() {
        for (nanos, expected) in [
            (5_000, "5 us"),
            (20_000_000, "20 ms"),
            (1_000_000_000, "1 s"),
            (30_000_000_000, "30 s"),
            (120_000_000_000, "2 min"),
            (7_200_000_000_000, "2 h"),
        ] {
            assert_eq!(shown(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn changes_the_unit_where_rounding_would_add_a_digit() {
        for (nanos, expected) in
            [(999_400, "999 us"), (999_600, "1.0 ms"), (999_600_000, "1.0 s"), (119_600_000_000, "2.0 min")]
        {
            assert_eq!(shown(nanos), expected, "{nanos}");
        }
        assert_eq!(ShortDuration(Duration::MAX).to_string(), "5124095576030431 h");
    }
}
