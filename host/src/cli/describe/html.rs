//! Methods as one page of HTML that needs nothing from elsewhere and runs nothing.

use std::fmt::Write as _;

use jackfield_contract::openrpc::DescribedContract;

use super::outline::Row;
use super::prose::{Block, Span, blocks, line_spans};
use super::sheet::{Part, Sheet};
use crate::cli::shown_text::shown;

const STYLE: &str = include_str!("page.css");

/// Forbids the page to load and to run anything, whatever should come into it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Returns the page about all methods.
pub(super) fn render(described: &DescribedContract, sheets: &[Sheet<'_>]) -> String {
    let (title, version) = (escaped(&described.title), escaped(&described.version));
    let contents: String = sheets.iter().map(entry).collect();
    let methods: String = sheets.iter().map(method).collect();

    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} {version}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title} <small>{version}</small></h1>\n\
         <nav aria-label=\"Methods\">\n<ul>\n{contents}</ul>\n</nav>\n<main>\n{methods}</main>\n</body>\n</html>\n"
    )
}

/// Returns the entry of the table of contents.
fn entry(sheet: &Sheet<'_>) -> String {
    let summary = sheet.summary.map_or_else(String::new, |text| format!(" {}", prose_line(text)));
    let class = if is_deprecated(sheet) { " class=\"deprecated\"" } else { "" };
    let (anchor, name) = (anchor(&sheet.name), escaped(&sheet.name));
    format!("<li><a href=\"#{anchor}\"{class}><code>{name}</code></a>{summary}</li>\n")
}

fn is_deprecated(sheet: &Sheet<'_>) -> bool {
    sheet.remarks.iter().any(|(name, _)| *name == "deprecated")
}

fn method(sheet: &Sheet<'_>) -> String {
    let (anchor, name) = (anchor(&sheet.name), escaped(&sheet.name));
    let mut page = format!("<section id=\"{anchor}\">\n<h2><a href=\"#{anchor}\">{name}</a></h2>\n");
    let _ = writeln!(page, "<pre>{}</pre>", escaped(&sheet.signature));
    for prose in [sheet.summary, sheet.description].into_iter().flatten() {
        page += &prose_blocks(prose);
    }
    for (name, remark) in &sheet.remarks {
        let colon = if remark.is_empty() { "" } else { ": " };
        let _ =
            writeln!(page, "<p class=\"remark\"><strong>{name}</strong>{colon}{}</p>", prose_line(remark));
    }

    page += &part("Params", "Required", &sheet.params);
    page += &part("Result", "Always", &sheet.result);
    let errors = sheet.errors.iter().map(|error| vec![error.code.to_string(), prose_line(&error.message)]);
    page += &table("Errors", &["Code", "Meaning"], errors);

    if !sheet.examples.is_empty() {
        page += "<h3>Example</h3>\n";
    }
    for example in &sheet.examples {
        let result = example.result.as_ref().map_or_else(String::new, |result| format!("\n{result}"));
        let _ = writeln!(page, "<pre>{}</pre>", escaped(&format!("jackfield {}{result}", example.arguments)));
    }
    page + "</section>\n"
}

fn part(title: &str, presence: &str, part: &Part) -> String {
    let Part::Value { whole, members } = part else { return String::new() };
    let head =
        format!("<h3>{title}</h3>\n<p><code>{}</code> {}</p>\n", escaped(&whole.type_text), remarks(whole));

    let rows = members.iter().map(|row| {
        let kind = match &*row.type_text {
            "" => String::new(),
            kind => format!("<code>{}</code>", escaped(kind)),
        };
        let class = if row.is_deprecated { " class=\"deprecated\"" } else { "" };
        let presence = row.is_required.map_or("", |is_required| if is_required { "yes" } else { "no" });
        vec![format!("<code{class}>{}</code>", escaped(&row.path)), kind, presence.to_owned(), remarks(row)]
    });
    head + &table("", &["Name", "Type", presence, "Description"], rows)
}

/// Returns a table under a heading; nothing if it has no rows. The cells are HTML.
fn table(title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: String = rows.map(|cells| format!("<tr><td>{}</td></tr>\n", cells.join("</td><td>"))).collect();
    if rows.is_empty() {
        return String::new();
    }
    let title = if title.is_empty() { String::new() } else { format!("<h3>{title}</h3>\n") };
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    format!("{title}<div class=\"wide\"><table>\n<tr>{head}</tr>\n{rows}</table></div>\n")
}

fn remarks(row: &Row) -> String {
    let code = |text: &str| format!("<code>{}</code>", escaped(text));
    row.remarks(|text| format!("<strong>{text}</strong>"), prose_line, code)
}

fn prose_blocks(text: &str) -> String {
    let mut written = String::new();
    let mut is_list = false;
    for block in blocks(text) {
        let is_item = matches!(block, Block::Item(_));
        if is_item != is_list {
            written += if is_item { "<ul>\n" } else { "</ul>\n" };
        }
        is_list = is_item;
        written += &match block {
            Block::Paragraph(spans) => format!("<p>{}</p>\n", paragraph(&spans)),
            Block::Item(spans) => format!("<li>{}</li>\n", paragraph(&spans)),
            Block::Code(code) => format!("<pre>{}</pre>\n", escaped(&code)),
        };
    }
    written + if is_list { "</ul>\n" } else { "" }
}

fn prose_line(text: &str) -> String {
    paragraph(&line_spans(text))
}

fn paragraph(spans: &[Span<'_>]) -> String {
    let html = spans.iter().map(|span| match span {
        Span::Text(text) => escaped(text),
        Span::Code(text) => format!("<code>{}</code>", escaped(text)),
        Span::Space => " ".to_owned(),
    });
    html.collect()
}

/// Returns text that is neither markup nor the end of an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns the anchor of a method: its name, with every character that a method of a plugin cannot
/// have written as a number.
fn anchor(name: &str) -> String {
    let mut anchor = "method-".to_owned();
    for c in name.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => anchor.push(c),
            c => {
                let _ = write!(anchor, ":{:x}:", u32::from(c));
            }
        }
    }
    anchor
}
