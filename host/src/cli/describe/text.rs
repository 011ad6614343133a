//! Methods as text for a terminal.

use std::fmt::Write as _;

use super::outline::Row;
use super::prose::{Block, Span, blocks, line_spans};
use super::sheet::{Part, Sheet};
use crate::cli::shown_text::{shown, shown_line};

/// The width of a line of prose, in characters.
const WIDTH: usize = 96;

/// The indent of a level, in spaces.
const INDENT: usize = 4;

/// Returns the text about all methods.
pub(super) fn render(sheets: &[Sheet<'_>]) -> String {
    sheets.iter().map(method).collect::<Vec<_>>().join("\n")
}

fn method(sheet: &Sheet<'_>) -> String {
    let mut page = Page { text: sheet.signature.clone() + "\n" };
    for text in [sheet.summary, sheet.description].into_iter().flatten() {
        page.prose(text);
    }
    for (name, remark) in &sheet.remarks {
        let colon = if remark.is_empty() { "" } else { ": " };
        page.wrapped(1, "", &format!("{name}{colon}{}", plain(&line_spans(remark))));
    }

    page.part("params", &sheet.params);
    page.part("result", &sheet.result);
    if !sheet.errors.is_empty() {
        page.line(1, "errors");
    }
    for error in sheet.errors {
        page.wrapped(2, "", &format!("{}: {}", error.code, plain(&line_spans(&error.message))));
    }

    if !sheet.examples.is_empty() {
        page.line(1, "example");
    }
    for example in &sheet.examples {
        page.line(2, &format!("jackfield {}", example.arguments));
        if let Some(result) = &example.result {
            page.line(2, result);
        }
    }
    page.text
}

/// The text about a method under construction.
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, level: usize, line: &str) {
        // Writing to a `String` does not fail.
        let _ = writeln!(self.text, "{:width$}{line}", "", width = level * INDENT);
    }

    /// Adds a paragraph. Its lines after the first one are indented by two more columns if it
    /// begins with a mark.
    fn wrapped(&mut self, level: usize, mark: &str, text: &str) {
        let indent = " ".repeat(level * INDENT);
        let mut line = format!("{indent}{mark}");
        let mut is_empty = true;
        for word in text.split_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.text += &(line + "\n");
                line = format!("{indent}{:width$}", "", width = mark.len());
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line += word;
            is_empty = false;
        }
        self.text += &(line + "\n");
    }

    fn prose(&mut self, text: &str) {
        for block in blocks(text) {
            match block {
                Block::Paragraph(spans) => self.wrapped(1, "", &plain(&spans)),
                Block::Item(spans) => self.wrapped(1, "- ", &plain(&spans)),
                Block::Code(code) => shown(&code).lines().for_each(|line| self.line(2, line)),
            }
        }
    }

    fn part(&mut self, name: &str, part: &Part) {
        let Part::Value { whole, members } = part else { return };
        self.line(1, &format!("{name}: {}{}", whole.type_text, marks(whole)));
        self.description(2, whole);
        for row in members {
            self.row(row);
        }
    }

    fn row(&mut self, row: &Row) {
        let mark = if row.is_required == Some(false) { "?" } else { "" };
        let kind = if row.type_text.is_empty() { String::new() } else { format!(": {}", row.type_text) };
        self.line(2, &format!("{}{mark}{kind}{}", row.path, marks(row)));
        self.description(3, row);
    }

    fn description(&mut self, level: usize, row: &Row) {
        if let Some(description) = &row.description {
            self.wrapped(level, "", &plain(&line_spans(description)));
        }
    }
}

/// Returns what follows a type: the default, and whether it is deprecated.
fn marks(row: &Row) -> String {
    let default = row.default.as_ref().map_or_else(String::new, |default| format!(" = {default}"));
    default + if row.is_deprecated { ", deprecated" } else { "" }
}

/// Returns prose without its marks.
fn plain(spans: &[Span<'_>]) -> String {
    let text = spans.iter().map(|span| match span {
        Span::Text(text) | Span::Code(text) => shown_line_with_edges(text),
        Span::Space => " ".to_owned(),
    });
    text.collect()
}

/// As [`shown_line`], but keeps one space at each end if there is one.
fn shown_line_with_edges(text: &str) -> String {
    let edge = |is_there: bool| if is_there { " " } else { "" };
    let (start, end) = (text.starts_with(char::is_whitespace), text.ends_with(char::is_whitespace));
    format!("{}{}{}", edge(start), shown_line(text), edge(end))
}
