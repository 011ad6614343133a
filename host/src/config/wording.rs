//! How faults repeat to people what they wrote, and guess what they meant.

use std::cmp::Reverse;

use toml::de::DeValue;

/// How much of what somebody wrote is repeated to them, in characters.
pub(super) const LONGEST_SHOWN: usize = 64;

/// A text in double quotes, on one line, shortened if it is long: for faults.
pub(super) fn quoted(text: &str) -> String {
    let shown = shortened(text);
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{rest}")
}

/// The beginning of a text, or all of it if that is not much.
pub(super) fn shortened(text: &str) -> &str {
    text.char_indices().nth(LONGEST_SHOWN).map_or(text, |(end, _)| &text[..end])
}

/// The word that somebody meant who wrote this one, if any is near: at most a third of its letters differ, or
/// the one begins with the other.
pub(super) fn nearest<'w>(written: &str, words: &[&'w str]) -> Option<&'w str> {
    // What is far longer than every word is none of them, and the comparison costs length times length.
    let candidates = words.iter().filter(|word| written.len() <= 2 * word.len());
    let distance = |word: &str| match written.len().min(word.len()) {
        3.. if written.starts_with(word) || word.starts_with(written) => 1,
        _ => strsim::damerau_levenshtein(&written.to_ascii_lowercase(), word),
    };
    // Among words that begin alike, the one with the most of what was written.
    let (nearest, distance) =
        candidates.map(|word| (*word, distance(word))).min_by_key(|(word, distance)| {
            let alike = word.bytes().zip(written.bytes()).take_while(|(one, other)| one == other).count();
            (*distance, Reverse(alike))
        })?;
    (distance < nearest.len() && distance <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// What a value is, in words.
pub(super) fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a bare number",
        DeValue::Float(_) => "a bare number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::{nearest, quoted};

    #[test]
    fn near_is_a_slip_and_not_another_word() {
        let words = ["in_flight", "in_flight_per_connection", "frame", "warn", "s"];
        for (written, meant) in [
            ("in_fligth", Some("in_flight")),
            ("in_flight_per_con", Some("in_flight_per_connection")),
            ("FRAME", Some("frame")),
            ("warning", Some("warn")),
            ("fr", None),
            ("buffer", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &words), meant, "{written}");
        }
    }

    #[test]
    fn what_is_repeated_is_short_and_on_one_line() {
        assert_eq!(quoted("a\n\u{1b}[31m\"é"), r#""a\n\u{1b}[31m\"é""#);
        assert_eq!(quoted(&"é".repeat(65)), format!("\"{}\"...", "é".repeat(64)));
    }
}
