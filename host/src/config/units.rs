//! Durations and sizes as people write them: a whole number and its unit, nothing between.

use std::time::Duration;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// Microseconds in each unit, largest last.
const DURATIONS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
/// Bytes in each unit, largest last.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB)];

/// What people write who mean one of the units above.
const MEANT: [(&str, &[&str]); 8] = [
    ("us", &["usec", "usecs", "micros", "microseconds", "\u{b5}s", "\u{3bc}s"]),
    ("ms", &["msec", "msecs", "millis", "milliseconds"]),
    ("s", &["sec", "secs", "second", "seconds"]),
    ("m", &["min", "mins", "minute", "minutes"]),
    ("h", &["hr", "hrs", "hour", "hours"]),
    ("KiB", &["k", "kb", "kib", "ki"]),
    ("MiB", &["m", "mb", "mib", "mi"]),
    ("GiB", &["g", "gb", "gib", "gi"]),
];

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// It does not begin with digits, or has something other than letters after them, or no unit, or an
    /// unknown one.
    #[error("is not a {kind}; write {instead}")]
    Malformed {
        /// `duration` or `size`.
        kind: &'static str,
        /// What to write instead.
        instead: String,
    },
    /// It does not fit into 64 bits of microseconds or bytes.
    #[error("is too large")]
    TooLarge,
}

/// Reads a duration such as `50us`, `250ms`, `30s`, `5m` or `2h`: a whole number and one of those units.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let instead = "a whole number and one of the units us, ms, s, m and h, such as \"30s\"";
    quantity(text, &DURATIONS, "duration", instead).map(Duration::from_micros)
}

/// Reads a size such as `512B`, `64KiB`, `16MiB` or `1GiB`, in bytes: a whole number and one of those units.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    let instead = "a whole number and one of the units B, KiB, MiB and GiB, such as \"16MiB\"";
    quantity(text, &SIZES, "size", instead)
}

fn quantity(
    text: &str,
    units: &[(&'static str, u64)],
    kind: &'static str,
    instead: &str,
) -> Result<u64, InvalidQuantity> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) if !number.is_empty() => {
            let number = number.parse::<u64>().ok();
            number.and_then(|number| number.checked_mul(*factor)).ok_or(InvalidQuantity::TooLarge)
        }
        _ => {
            let meant = if number.is_empty() { None } else { meant(unit.trim_start(), units) };
            let instead = meant.map_or(instead.to_owned(), |unit| format!("\"{number}{unit}\""));
            Err(InvalidQuantity::Malformed { kind, instead })
        }
    }
}

/// The unit that somebody meant who wrote this one.
fn meant(unit: &str, units: &[(&'static str, u64)]) -> Option<&'static str> {
    let names = units.iter().map(|(name, _)| *name);
    let lower = unit.to_ascii_lowercase();
    if lower.is_empty() {
        return names.clone().find(|name| matches!(*name, "s" | "B"));
    }
    names.clone().find(|name| name.to_ascii_lowercase() == lower).or_else(|| {
        let (name, _) = MEANT.iter().find(|(name, others)| {
            names.clone().any(|known| known == *name) && others.contains(&lower.as_str())
        })?;
        Some(name)
    })
}

/// The shortest way to write a duration exactly.
pub(super) fn write_duration(duration: Duration) -> String {
    write(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), &DURATIONS)
}

/// The shortest way to write a size exactly.
pub(super) fn write_size(bytes: u64) -> String {
    write(bytes, &SIZES)
}

fn write(number: u64, units: &[(&'static str, u64)]) -> String {
    let whole = units.iter().rev().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    whole.map_or_else(
        || format!("{number}{}", units[0].0),
        |(unit, factor)| format!("{}{unit}", number / factor),
    )
}
