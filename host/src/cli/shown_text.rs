//! Text from outside as it is shown on a terminal or in a document: nothing in it acts.

use std::borrow::Cow;
use std::fmt::Write as _;

use jackfield_contract::plain_text::is_control;
use serde_json::Value;

/// Returns `text` with every control character escaped, apart from ends of lines.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| is_control(c) && c != '\n';
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }

    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if is_harmful(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// As [`shown`], in one line.
pub(super) fn shown_line(text: &str) -> String {
    shown(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a value as JSON in one line, which has no control characters either: only strings can
/// have them, and JSON has escapes for those.
pub(super) fn json_line(value: &Value) -> String {
    let json = value.to_string();
    if !json.contains(is_control) {
        return json;
    }

    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_control(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}b\tc\nd"), "a\\u{1b}[2J\\u{202e}b c\nd");
        assert_eq!(shown_line(" a\n  b "), "a b");
    }

    #[test]
    fn escapes_control_characters_of_json_so_that_its_value_stays() {
        let value = json!({ "a\u{7f}": "\u{202e}\u{1b}ü" });

        let line = json_line(&value);

        assert_eq!(line, r#"{"a\u007f":"\u202e\u001bü"}"#);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
