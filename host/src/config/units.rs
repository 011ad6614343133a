//! Durations and sizes in text: a whole number followed by a unit, without a space.

use std::time::Duration;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// Microseconds per unit, largest last.
const DURATIONS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
/// Bytes per unit, largest last.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB)];

/// Other spellings of the units.
const SPELLINGS: [(&str, &[&str]); 8] = [
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
    /// It does not consist of digits and a known unit.
    #[error("is not a {kind}; write {remedy}")]
    Malformed {
        /// `duration` or `size`.
        kind: &'static str,

        /// The text to write instead.
        remedy: String,
    },

    /// It does not fit into 64 bits of microseconds or bytes.
    #[error("is too large")]
    TooLarge,
}

/// Parses a duration such as `50us`, `250ms`, `30s`, `5m` or `2h`: a whole number and one of these
/// units.
///
/// # Errors
///
/// The text is not a duration.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let remedy = "an integer and one of the units us, ms, s, m and h, such as \"30s\"";
    parse(text, &DURATIONS, "duration", remedy).map(Duration::from_micros)
}

/// Parses a size such as `512B`, `64KiB`, `16MiB` or `1GiB`, and returns it in bytes: a whole
/// number and one of these units.
///
/// # Errors
///
/// The text is not a size.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    let remedy = "an integer and one of the units B, KiB, MiB and GiB, such as \"16MiB\"";
    parse(text, &SIZES, "size", remedy)
}

fn parse(
    text: &str,
    units: &[(&'static str, u64)],
    kind: &'static str,
    remedy: &str,
) -> Result<u64, InvalidQuantity> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) if !number.is_empty() => {
            let number = number.parse::<u64>().ok();
            number.and_then(|number| number.checked_mul(*factor)).ok_or(InvalidQuantity::TooLarge)
        }
        _ => {
            let meant = if number.is_empty() { None } else { meant_unit(unit.trim_start(), units) };
            let remedy = meant.map_or(remedy.to_owned(), |unit| format!("\"{number}{unit}\""));
            Err(InvalidQuantity::Malformed { kind, remedy })
        }
    }
}

/// Returns the unit that another spelling of it, or no unit, probably means.
fn meant_unit(unit: &str, units: &[(&'static str, u64)]) -> Option<&'static str> {
    let names = units.iter().map(|(name, _)| *name);
    let lower = unit.to_ascii_lowercase();
    if lower.is_empty() {
        return names.clone().find(|name| matches!(*name, "s" | "B"));
    }
    names.clone().find(|name| name.to_ascii_lowercase() == lower).or_else(|| {
        let (name, _) = SPELLINGS.iter().find(|(name, others)| {
            names.clone().any(|known| known == *name) && others.contains(&lower.as_str())
        })?;
        Some(name)
    })
}

/// Returns the shortest exact text for a duration.
pub(super) fn write_duration(duration: Duration) -> String {
    write(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), &DURATIONS)
}

/// Returns the shortest exact text for a size.
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
