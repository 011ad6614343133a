//! Methods as Markdown. Text of plugins cannot become markup, apart from the lists, the paragraphs
//! and the code of doc comments.

use std::fmt::Write as _;

use jackfield_contract::openrpc::DescribedContract;

use super::outline::Row;
use super::prose::{Block, Span, blocks, line_spans};
use super::sheet::{Part, Sheet};
use crate::cli::shown_text::shown;

/// Returns the document about all methods.
pub(super) fn render(described: &DescribedContract, sheets: &[Sheet<'_>]) -> String {
    let mut text = format!("# {} {}\n\n", escaped(&described.title), escaped(&described.version));
    for (index, sheet) in sheets.iter().enumerate() {
        let summary = sheet.summary.map_or_else(String::new, |text| format!(": {}", prose_line(text)));
        let _ = writeln!(text, "- [{}](#method-{}){summary}", escaped(&sheet.name), index + 1);
    }
    for (index, sheet) in sheets.iter().enumerate() {
        // The names of anchors that the renderers make of headings differ; this one is the same for
        // all.
        let _ = write!(text, "\n<a id=\"method-{}\"></a>\n\n{}", index + 1, method(sheet));
    }
    text
}

fn method(sheet: &Sheet<'_>) -> String {
    let mut text = format!("## {}\n\n{}", escaped(&sheet.name), fenced("text", &sheet.signature));
    for prose in [sheet.summary, sheet.description].into_iter().flatten() {
        text += &prose_blocks(prose);
    }
    for (name, remark) in &sheet.remarks {
        let colon = if remark.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "\n**{name}**{colon}{}", prose_line(remark));
    }

    text += &part("Params", "Required", &sheet.params);
    text += &part("Result", "Always", &sheet.result);
    if !sheet.errors.is_empty() {
        text += "\n### Errors\n\n| Code | Meaning |\n|---|---|\n";
    }
    for error in sheet.errors {
        let _ = writeln!(text, "| {} | {} |", error.code, cell(&prose_line(&error.message)));
    }

    if !sheet.examples.is_empty() {
        text += "\n### Example\n";
    }
    for example in &sheet.examples {
        let _ = write!(text, "\n{}", fenced("sh", &format!("jackfield {}", example.arguments)));
        if let Some(result) = &example.result {
            let _ = write!(text, "\n{}", fenced("json", result));
        }
    }
    text
}

fn part(title: &str, presence: &str, part: &Part) -> String {
    let Part::Value { whole, members } = part else { return String::new() };
    let mut text = format!("\n### {title}\n\n{}\n", code(&whole.type_text));
    let remark = remarks(whole);
    if !remark.is_empty() {
        let _ = writeln!(text, "\n{remark}");
    }
    if !members.is_empty() {
        let _ = write!(text, "\n| Name | Type | {presence} | Description |\n|---|---|---|---|\n");
    }
    for row in members {
        let kind = if row.type_text.is_empty() { String::new() } else { code(&row.type_text) };
        let presence = row.is_required.map_or("", |is_required| if is_required { "yes" } else { "no" });
        let cells = [cell(&code(&row.path)), cell(&kind), presence.to_owned(), cell(&remarks(row))];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn remarks(row: &Row) -> String {
    row.remarks(|text| format!("**{text}**"), prose_line, code)
}

fn prose_blocks(text: &str) -> String {
    let mut written = String::new();
    let mut is_list = false;
    for block in blocks(text) {
        let is_item = matches!(block, Block::Item(_));
        if !(is_list && is_item) {
            written.push('\n');
        }
        is_list = is_item;
        written += &match block {
            Block::Paragraph(spans) => paragraph(&spans) + "\n",
            Block::Item(spans) => format!("- {}\n", paragraph(&spans)),
            Block::Code(code) => fenced("", &code),
        };
    }
    written
}

fn prose_line(text: &str) -> String {
    paragraph(&line_spans(text))
}

fn paragraph(spans: &[Span<'_>]) -> String {
    let text: String = spans
        .iter()
        .map(|span| match span {
            Span::Text(text) => escaped(text),
            Span::Code(text) => code(text),
            Span::Space => " ".to_owned(),
        })
        .collect();

    // At the start of a line, these would begin a heading, a list or a rule.
    let first = text.trim_start();
    match first.starts_with(['#', '-', '+', '=', ':']) {
        true => format!("\\{first}"),
        false => first.to_owned(),
    }
}

/// Returns text in which no character is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '\n' => escaped.push(' '),
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn code(text: &str) -> String {
    let text = shown(text).replace('\n', " ");
    let fence = "`".repeat(longest_run(&text) + 1);
    match text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

fn fenced(language: &str, text: &str) -> String {
    let text = shown(text);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}\n")
}

/// Returns a line as a cell of a table, where a bar ends the cell even in code.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    let mut is_escaped = false;
    for c in text.chars() {
        if c == '|' && !is_escaped {
            cell.push('\\');
        }
        is_escaped = c == '\\' && !is_escaped;
        cell.push(c);
    }
    cell
}
