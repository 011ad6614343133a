//! The log reference, checked against the warnings and errors of the host: each has an entry, and
//! each entry exists.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use jackfield::loader::LoadErrorReason;

use super::message_pattern::MessagePattern;
use crate::support::build::root;

const REFERENCE: &str = "docs/log-reference.md";

/// The macros of messages with an entry, and the level as an entry writes it.
const MACROS: [(&str, &str); 2] = [("warn!(", "Warning"), ("error!(", "Error")];

/// A message in the code or in the reference.
#[derive(Debug)]
struct Message {
    place: String,
    level: String,
    pattern: MessagePattern,
}

impl Message {
    fn is_described_by(&self, entry: &Self) -> bool {
        self.level == entry.level && self.pattern.is_described_by(&entry.pattern)
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}: {}", self.place, self.level, self.pattern.text)
    }
}

#[test]
fn has_an_entry_for_each_warning_and_error_of_the_host() {
    let entries = entries();
    let mut missing = logged_messages();
    missing.retain(|message| !entries.iter().any(|entry| message.is_described_by(entry)));

    let missing: String = missing.iter().map(Message::to_string).collect();
    assert!(missing.is_empty(), "{REFERENCE} has no entry for these, or with another level:\n{missing}");
}

#[test]
fn has_no_entry_for_a_message_that_the_host_does_not_log() {
    let messages = logged_messages();
    let mut stale = entries();
    stale.retain(|entry| !messages.iter().any(|message| message.is_described_by(entry)));

    let stale: String = stale.iter().map(Message::to_string).collect();
    assert!(stale.is_empty(), "the host does not log these, or with another level:\n{stale}");
}

#[test]
fn says_of_each_message_what_it_means_and_what_to_do() {
    for entry in text().split("\n### ").skip(1).filter(|entry| entry.starts_with('`')) {
        for part in ["\n\n**Cause.** ", "\n\n**What to do.** "] {
            assert!(entry.contains(part), "no {part:?} in {entry}");
        }
    }
}

#[test]
fn lists_each_reason_for_refusing_a_plugin() {
    let text = text();
    let table = text.split_once("\n## Reasons").expect("the reasons").1;
    let listed: Vec<_> =
        table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect();

    let documented: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(documented.len(), listed.len(), "a reason is listed twice");
    let existing: BTreeSet<_> = LoadErrorReason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(documented, existing);
}

fn text() -> String {
    fs::read_to_string(root().join(REFERENCE)).unwrap_or_else(|error| panic!("{REFERENCE}: {error}"))
}

/// Returns the entries of the reference: a heading with a message, and a paragraph that begins with
/// its level.
fn entries() -> Vec<Message> {
    let text = text();
    let entry = |entry: &str| {
        let (heading, body) = entry.strip_prefix('`')?.split_once("`\n\n**")?;
        let level = body.split_once(".**").unwrap_or_else(|| panic!("no level: {heading}")).0.to_owned();
        Some(Message { place: REFERENCE.to_owned(), level, pattern: MessagePattern::of_entry(heading) })
    };
    let entries: Vec<_> = text.split("\n### ").skip(1).filter_map(entry).collect();
    assert!(entries.len() > 50, "{}", entries.len());
    entries
}

/// Returns the warnings and errors in the code of the host, tests excluded.
fn logged_messages() -> Vec<Message> {
    let mut messages = Vec::new();
    for path in source_files(&root().join("host/src")) {
        let source = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        for (level, text) in logged_in(&source) {
            let pattern = MessagePattern::of_format_string(&text);
            messages.push(Message { place: place.clone(), level: level.to_owned(), pattern });
        }
    }

    assert!(messages.len() > 50, "{}", messages.len());
    messages
}

fn source_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap();
        if stem == "tests" || stem == "test" {
            continue;
        }
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns level and format string of each warning and error in a source text. Lines that plugins
/// write themselves (`target: OF_PLUGINS`) have no entry.
fn logged_in(source: &str) -> Vec<(&'static str, String)> {
    let end = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let code: String =
        source[..end].lines().filter(|line| !is_comment(line)).flat_map(|l| [l, "\n"]).collect();

    let mut found = Vec::new();
    for (start, level) in MACROS {
        for (at, _) in code.match_indices(start) {
            let is_longer_name = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let arguments = arguments(&code[at + start.len()..]);
            let is_of_plugin = arguments.iter().any(|argument| argument == "target: OF_PLUGINS");
            if !is_longer_name && !is_of_plugin {
                let message = arguments.iter().find_map(|argument| string_literal(argument));
                found.push((level, message.unwrap_or_default()));
            }
        }
    }
    found
}

/// Splits the arguments of a macro call. `code` begins behind its opening parenthesis.
fn arguments(code: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut chars = code.chars();

    while let Some(c) = chars.next() {
        let is_end = !in_string && depth == 0 && c == ')';
        if is_end {
            break;
        }
        match c {
            '"' => in_string = !in_string,
            '(' | '[' | '{' if !in_string => depth += 1,
            ')' | ']' | '}' if !in_string => depth -= 1,
            ',' if !in_string && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        let argument = arguments.last_mut().unwrap();
        argument.push(c);
        if in_string && c == '\\' {
            argument.extend(chars.next());
        }
    }

    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// Returns the value of an argument that is a string literal.
fn string_literal(argument: &str) -> Option<String> {
    let inner = argument.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::new();
    let mut chars = inner.chars().peekable();

    while let Some(c) = chars.next() {
        match (c, (c == '\\').then(|| chars.next()).flatten()) {
            // A backslash at the end of a line removes the line break and the indentation.
            (_, Some('\n')) => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            (_, Some(escaped)) => value.push(escaped),
            (c, None) => value.push(c),
        }
    }
    Some(value)
}

#[test]
fn reads_the_messages_of_logging_macros() {
    let source = r#"
        tracing::warn!(plugin, %error, "plugin {plugin}: {} (\"{}\")", printable(&text), other);
        // tracing::warn!("a comment");
        tracing::error!(
            target: "jackfield::output",
            kind = "text, (no message)",
            "first half and \
             second half"
        );
        tracing::error!(target: OF_PLUGINS, plugin, "{line}");
        tracing::info!("not a warning");
#[cfg(test)]
mod tests {
    tracing::error!("only in a test");
}
"#;

    let expected = [
        ("Warning", "plugin {plugin}: {} (\"{}\")".to_owned()),
        ("Error", "first half and second half".to_owned()),
    ];
    assert_eq!(logged_in(source), expected);
}
