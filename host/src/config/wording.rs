//! How faults quote the file, and how they guess what was meant.

use std::cmp::Reverse;

use toml::de::DeValue;

/// Characters of a text in the file that a fault repeats.
pub(super) const SHOWN_MAX: usize = 64;

/// Returns a text in double quotes, on one line, and shortened if it is long.
pub(super) fn quoted(text: &str) -> String {
    let shown = shortened(text);
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{rest}")
}

/// Returns the first [`SHOWN_MAX`] characters of a text.
pub(super) fn shortened(text: &str) -> &str {
    text.char_indices().nth(SHOWN_MAX).map_or(text, |(end, _)| &text[..end])
}

/// Returns the question whether the nearest word was meant, or nothing if no word is near.
pub(super) fn did_you_mean(written: &str, words: &[&str]) -> String {
    nearest(written, words).map(|word| format!("did you mean {}? ", quoted(word))).unwrap_or_default()
}

/// Returns the word that is nearest to the written one: at most a third of its letters differ, or
/// one begins with the other.
fn nearest<'w>(written: &str, words: &[&'w str]) -> Option<&'w str> {
    // The comparison takes time proportional to the product of both lengths. A text that is far
    // longer than a word is not compared with it.
    let candidates = words.iter().filter(|word| written.len() <= 2 * word.len());
    let distance = |word: &str| match written.len().min(word.len()) {
        3.. if written.starts_with(word) || word.starts_with(written) => 1,
        _ => strsim::damerau_levenshtein(&written.to_ascii_lowercase(), word),
    };

    // Of several words at the same distance, the one that shares the longest prefix.
    let (nearest, distance) =
        candidates.map(|word| (*word, distance(word))).min_by_key(|(word, distance)| {
            let prefix = word.bytes().zip(written.bytes()).take_while(|(one, other)| one == other).count();
            (*distance, Reverse(prefix))
        })?;
    (distance < nearest.len() && distance <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Returns the type of a value in words.
pub(super) fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest, quoted};

    #[test]
    fn guesses_the_word_for_a_slip_and_not_for_another_word() {
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
        assert_eq!(did_you_mean("fram", &words), "did you mean \"frame\"? ");
    }

    #[test]
    fn quotes_a_text_in_one_short_line() {
        assert_eq!(quoted("a\n\u{1b}[31m\"é"), r#""a\n\u{1b}[31m\"é""#);
        assert_eq!(quoted(&"é".repeat(65)), format!("\"{}\"...", "é".repeat(64)));
    }
}
