//! Text of a contract inside of PHP: string literals and doc comments that it cannot end.

use jackfield_contract::plain_text::is_control;

/// The widest line of a comment.
const WIDTH: usize = 100;

/// Returns a string literal.
pub(super) fn quote(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    }

    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{{{:X}}}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the literal of an integer. PHP reads the least one as a float.
pub(super) fn integer(value: i64) -> String {
    if value == i64::MIN { "PHP_INT_MIN".to_owned() } else { value.to_string() }
}

/// Returns `text` as a string literal inside of a type; `None` if a doc comment cannot have it.
pub(super) fn quote_in_type(text: &str) -> Option<String> {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\'' | '"' | '\\' | '*' | '@');
    (text.chars().all(is_plain) && text.chars().count() <= 200).then(|| format!("'{text}'"))
}

/// A doc comment that is being written.
#[derive(Debug, Default)]
pub(super) struct DocComment {
    indent: usize,
    lines: Vec<String>,
}

impl DocComment {
    pub(super) fn new(indent: usize) -> Self {
        Self { indent, lines: Vec::new() }
    }

    /// Adds text of its own paragraphs. Its lines stay as they are, if they are not too long.
    pub(super) fn text(&mut self, text: &str) {
        self.separate();
        for line in text.trim().lines() {
            let indent = line.len() - line.trim_start().len();
            let indent = " ".repeat(indent.min(8));
            self.wrap(line.trim(), &indent, &indent, true);
        }
    }

    /// Begins a group of tags, with an empty line before it.
    pub(super) fn separate(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.lines.push(String::new());
        }
    }

    /// Adds a tag: a head, which may have several lines, and what is said about it.
    pub(super) fn tag(&mut self, head: &str, remark: &str) {
        let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
        let last = lines.pop().unwrap_or_default();
        self.lines.extend(lines);

        let remark: Vec<_> = remark.split_whitespace().collect();
        self.wrap(format!("{last} {}", remark.join(" ")).trim_end(), "", "    ", false);
    }

    /// Returns the comment with its indentation; nothing if it has no lines.
    pub(super) fn finish(mut self) -> String {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        if self.lines.is_empty() {
            return String::new();
        }

        let indent = " ".repeat(self.indent);
        let lines =
            self.lines.iter().map(|line| format!("{indent} * {}", harmless(line)).trim_end().to_owned());
        let lines: Vec<_> = lines.collect();
        format!("{indent}/**\n{}\n{indent} */\n", lines.join("\n"))
    }

    /// Adds a line, and breaks it at spaces where it is too long. A line of text that begins with
    /// `@` would be a tag.
    fn wrap(&mut self, text: &str, begin: &str, continuation: &str, is_text: bool) {
        let width = WIDTH - 3 - self.indent;
        let mut lines = Vec::new();
        let mut line = String::new();

        for word in text.split(' ') {
            if !line.is_empty() && begin.len() + line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        lines.push(line);

        for (index, line) in lines.iter().enumerate() {
            let is_tag = line.starts_with('@') && (is_text || index > 0);
            let before = if index == 0 { begin } else { continuation };
            let line = format!("{before}{}{line}", if is_tag { "\\" } else { "" });
            self.lines.push(line.trim_end().to_owned());
        }
    }
}

/// Returns a line of a comment without control characters and without an end of the comment.
fn harmless(line: &str) -> String {
    line.replace(is_control, " ").replace("*/", "* /")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_would_end_a_literal_or_name_a_variable() {
        assert_eq!(quote("it's \\ $a"), r"'it\'s \\ $a'");
        assert_eq!(quote("a\n\"$b\\"), r#""a\u{A}\"\$b\\""#);
        assert_eq!(integer(i64::MIN), "PHP_INT_MIN");
    }

    #[test]
    fn keeps_text_inside_of_its_comment() {
        let mut comment = DocComment::new(4);
        comment.text("Ends it */ echo 1;\r\n\n@return evil\n    code stays  apart\u{202E}");
        comment.separate();
        comment.tag("@throws X", "no\n*/ more");
        assert_eq!(
            comment.finish(),
            "    /**\n     * Ends it * / echo 1;\n     *\n     * \\@return evil\n     *     code stays  apart\n     *\n     * @throws X no * / more\n     */\n"
        );
    }

    #[test]
    fn wraps_long_lines_and_continues_none_with_a_tag() {
        let mut comment = DocComment::new(0);
        comment.text(&format!("{} @return", "word ".repeat(19)));
        comment.tag("@param string $a", &"word ".repeat(30));
        let comment = comment.finish();
        assert!(comment.lines().all(|line| line.len() <= WIDTH), "{comment}");
        assert!(!comment.contains(" * @return"), "{comment}");
        assert!(comment.contains("\n *     word"), "{comment}");
    }
}
