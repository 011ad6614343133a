//! Lines of Rust source with their indentation.

use crate::source_text::doc_lines;

/// The widest line, as rustfmt has it by default.
const MAX_WIDTH: usize = 100;

/// Rust source that grows line by line.
#[derive(Debug)]
pub(super) struct Code {
    text: String,
    indent: usize,
}

impl Code {
    pub(super) fn new() -> Self {
        Self { text: String::new(), indent: 0 }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(&" ".repeat(self.indent * 4));
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Writes a line that opens a block.
    pub(super) fn open(&mut self, line: &str) {
        self.line(line);
        self.indent += 1;
    }

    /// Writes a line that closes a block.
    pub(super) fn close(&mut self, line: &str) {
        self.indent = self.indent.saturating_sub(1);
        self.line(line);
    }

    /// Writes lines of a block that was not opened by [`Code::open`].
    pub(super) fn body(&mut self, lines: &[&str]) {
        self.indent += 1;
        lines.iter().for_each(|line| self.line(line));
        self.indent -= 1;
    }

    /// Writes a doc comment.
    pub(super) fn doc(&mut self, text: &str) {
        for line in doc_lines(text) {
            self.line(if line.is_empty() { "///".to_owned() } else { format!("/// {line}") }.as_str());
        }
    }

    /// Writes paragraphs of a doc comment; empty ones are left out.
    pub(super) fn doc_paragraphs<'a>(&mut self, paragraphs: impl IntoIterator<Item = &'a str>) {
        let mut is_first = true;
        for paragraph in paragraphs.into_iter().map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
            if !is_first {
                self.line("///");
            }
            self.doc(paragraph);
            is_first = false;
        }
    }

    /// Opens the body of a function, with one argument a line if the head is too wide otherwise.
    pub(super) fn open_function(&mut self, head: &str, arguments: &[String], output: &str) {
        let line = format!("{head}({}) -> {output} {{", arguments.join(", "));
        if self.indent * 4 + line.len() <= MAX_WIDTH {
            return self.open(&line);
        }

        self.open(&format!("{head}("));
        for argument in arguments {
            self.line(&format!("{argument},"));
        }
        self.close(&format!(") -> {output} {{"));
        self.indent += 1;
    }

    /// Writes an attribute with arguments, one a line if the attribute is too wide otherwise.
    pub(super) fn attribute(&mut self, name: &str, arguments: &[String]) {
        let line = format!("#[{name}({})]", arguments.join(", "));
        if self.indent * 4 + line.len() <= MAX_WIDTH {
            return self.line(&line);
        }

        self.open(&format!("#[{name}("));
        let last = arguments.len().saturating_sub(1);
        for (index, argument) in arguments.iter().enumerate() {
            let comma = if index == last { "" } else { "," };
            self.line(&format!("{argument}{comma}"));
        }
        self.close(")]");
    }
}
