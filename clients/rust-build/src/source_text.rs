//! Text of a contract inside of Rust source: string literals and doc comments.

use jackfield_contract::plain_text::is_control;

/// The longest default value that a doc comment shows, in bytes.
const MAX_DEFAULT: usize = 60;

/// Returns a string literal. Everything but ASCII, letters and digits is escaped: the compiler
/// rejects characters that change the direction of text.
pub(crate) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            ' ' => literal.push(' '),
            _ if character.is_ascii_graphic() || character.is_alphanumeric() => literal.push(character),
            _ => literal.extend(character.escape_unicode()),
        }
    }
    literal.push('"');
    literal
}

/// Returns the lines of a doc comment, without `///`.
///
/// Code in it is never compiled as an example: code blocks are marked as text. Outside of them,
/// lines are indented by at most three blanks and blanks are single, because four begin a block.
pub(crate) fn doc_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_code = false;

    for line in text.lines() {
        let line: String = line.replace('\t', "    ").chars().filter(|&c| !is_control(c)).collect();
        let trimmed = line.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            lines.push(if in_code { "```" } else { "```text" }.to_owned());
            in_code = !in_code;
            continue;
        }

        let line = line.trim_end();
        let indent = line.len() - line.trim_start().len();
        if in_code {
            lines.push(line.to_owned());
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = words.join(" ").replace("```", "\\`\\`\\`").replace("~~~", "\\~\\~\\~");
        lines.push(format!("{}{text}", " ".repeat(indent.min(3))));
    }

    if in_code {
        lines.push("```".to_owned());
    }
    lines
}

/// Returns the sentence about a default value, unless it is long or cannot be quoted.
pub(crate) fn default_sentence(default: &str) -> Option<String> {
    let is_quotable = default.len() <= MAX_DEFAULT && !default.contains('`');
    (is_quotable && default != "null").then(|| format!("Default: `{default}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_literals() {
        assert_eq!(literal("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(literal("größe\n\u{202e}{}"), "\"größe\\u{a}\\u{202e}{}\"");
    }

    #[test]
    fn compiles_no_code_of_doc_comments() {
        let text = "A\r\n\n```rust\n  panic!()\n```\n        indented  text\n- ```\n\u{202e}~~~\nopen";
        let lines = [
            "A",
            "",
            "```text",
            "  panic!()",
            "```",
            "   indented text",
            "- \\`\\`\\`",
            "```text",
            "open",
            "```",
        ];
        assert_eq!(doc_lines(text), lines);
    }

    #[test]
    fn shows_short_defaults() {
        assert_eq!(default_sentence("100").as_deref(), Some("Default: `100`."));
        assert_eq!(default_sentence("null"), None);
        assert_eq!(default_sentence(&"9".repeat(61)), None);
    }
}
