//! Doc comments: the little of their Markdown that is shown. Everything else in them is text.

/// A part of a doc comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block<'a> {
    Paragraph(Vec<Span<'a>>),
    /// An item of a list.
    Item(Vec<Span<'a>>),
    /// A fenced block.
    Code(String),
}

/// A part of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span<'a> {
    Text(&'a str),
    /// Text between backticks.
    Code(&'a str),
    /// The end of a line of the source.
    Space,
}

/// Splits a doc comment.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut is_open = false;
    let mut lines = text.lines();

    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with("```") {
            let code: Vec<_> = lines.by_ref().take_while(|line| !line.trim().starts_with("```")).collect();
            blocks.push(Block::Code(code.join("\n")));
            is_open = false;
            continue;
        }

        let item = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
        match (item, blocks.last_mut()) {
            (Some(item), _) => blocks.push(Block::Item(spans(item))),
            _ if line.is_empty() => {}
            (None, Some(Block::Paragraph(before) | Block::Item(before))) if is_open => {
                before.push(Span::Space);
                before.extend(spans(line));
            }
            (None, _) => blocks.push(Block::Paragraph(spans(line.trim_start_matches('#').trim_start()))),
        }
        is_open = !line.is_empty();
    }
    blocks
}

/// Splits a doc comment that is shown in one line.
pub(super) fn line_spans(text: &str) -> Vec<Span<'_>> {
    let mut line = Vec::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(Span::Space);
        }
        line.extend(spans(part));
    }
    line
}

/// Splits a line at its pairs of backticks. A run of backticks ends with a run of the same length.
fn spans(line: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut rest = line;

    while let Some(start) = rest.find('`') {
        let after = &rest[start..];
        let run = &after[..after.len() - after.trim_start_matches('`').len()];
        let inside = &after[run.len()..];
        let Some(end) = inside.find(run) else { break };
        if start > 0 {
            spans.push(Span::Text(&rest[..start]));
        }
        spans.push(Span::Code(inside[..end].trim()));
        rest = &inside[end + run.len()..];
    }

    if !rest.is_empty() {
        spans.push(Span::Text(rest));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_doc_comment_into_paragraphs_items_and_code() {
        let text = "# Title\nOne `two`\nthree.\n\n- first\n  goes on\n- second\n\n```json\n{ <a> }\n";

        let [title, first, item, ..] = &blocks(text)[..] else { panic!() };

        assert_eq!(
            title,
            &Block::Paragraph(vec![
                Span::Text("Title"),
                Span::Space,
                Span::Text("One "),
                Span::Code("two"),
                Span::Space,
                Span::Text("three."),
            ])
        );
        assert_eq!(first, &Block::Item(vec![Span::Text("first"), Span::Space, Span::Text("goes on")]));
        assert_eq!(item, &Block::Item(vec![Span::Text("second")]));
        assert_eq!(blocks(text)[3], Block::Code("{ <a> }".to_owned()));
    }

    #[test]
    fn takes_unpaired_backticks_as_text() {
        assert_eq!(spans("a ` b"), [Span::Text("a ` b")]);
        assert_eq!(spans("``a ` b`` c"), [Span::Code("a ` b"), Span::Text(" c")]);
        assert_eq!(line_spans("a\n\nb"), [Span::Text("a"), Span::Space, Span::Text("b")]);
    }
}
