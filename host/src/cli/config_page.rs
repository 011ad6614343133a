//! The manual page jackfield-config(5), made from the comments of `config.toml`.
//!
//! The file is the one description of the keys. Its form is simple: a section or a key, and then a
//! comment in the same line and in lines that begin with blanks. A key that has no default, and a
//! section whose presence has an effect, is commented out. Sections that occur again are examples
//! and are left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The text that the page is made from.
const SOURCE: &str = include_str!("../../../config.toml");

/// Sections whose keys belong to a plugin and not to the host.
const SETTINGS: &str = ".settings]";

/// The plugin by which `config.toml` explains `[plugin.NAME]`.
const EXAMPLE_PLUGIN: &str = "[plugin.device";

const FILES: &str = ".SH FILES
.TP
.I ./config.toml, /etc/jackfield/config.toml
The files that are read if none is passed, in this order.
.PP
The installed documents contain a config.toml with all of these keys, which the host accepts.
.SH SEE ALSO
.BR jackfield (1),
.BR jackfield\\-check (1),
.BR jackfield\\-reload (1)
";

/// A section or a key, and its description.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// With its brackets, such as `[[listener]]`.
    Section { header: String, text: String },
    /// The key with its value, such as `mode = "0660"`.
    Key { assignment: String, text: String },
}

impl Entry {
    fn text_mut(&mut self) -> &mut String {
        match self {
            Self::Section { text, .. } | Self::Key { text, .. } => text,
        }
    }
}

/// Returns the page in the format of man(7).
pub(super) fn config_page() -> String {
    let mut page = String::from(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n");
    page +=
        ".TH jackfield\\-config 5\n.SH NAME\njackfield\\-config \\- configuration of the Jackfield host\n";
    // Writing into memory never fails.
    let _ = write!(page, ".SH DESCRIPTION\n{}\n", escaped(&introduction(SOURCE)));

    for entry in entries(SOURCE) {
        let _ = match entry {
            Entry::Section { header, text } => write!(page, ".SH {}\n{}\n", escaped(&header), escaped(&text)),
            Entry::Key { assignment, text } => {
                write!(page, ".TP\n.B {}\n{}\n", escaped(&assignment), escaped(&text))
            }
        };
    }
    page + FILES
}

/// Returns the comment at the beginning of the file.
fn introduction(source: &str) -> String {
    let lines = source.lines().take_while(|line| line.starts_with('#'));
    let paragraphs = lines.map(|line| line.trim_start_matches('#').trim());
    // The last paragraph is about the file and not about the configuration.
    paragraphs.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns the sections and keys of the file in their order.
fn entries(source: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = BTreeSet::new();
    // Whether the lines belong to a section that is described.
    let mut is_described = false;
    let mut is_of_plugin = false;

    for line in source.lines().skip_while(|line| line.starts_with('#')) {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            let (header, text) = split_comment(line);
            let header = header.replace(EXAMPLE_PLUGIN, "[plugin.NAME");
            is_of_plugin = header.ends_with(SETTINGS);
            let is_example = is_of_plugin && !header.starts_with("[plugin.NAME");
            is_described = !is_example && seen.insert(header.clone());
            if is_described {
                entries.push(Entry::Section { header, text });
            }
            continue;
        }
        if !is_described || line.is_empty() {
            continue;
        }

        let is_continued = line.starts_with(' ');
        let (content, comment) = split_comment(line);
        match entries.last_mut() {
            Some(entry) if is_continued => {
                let text = entry.text_mut();
                text.push(' ');
                text.push_str(&comment);
            }
            _ if is_of_plugin => {}
            _ => entries.push(Entry::Key { assignment: content, text: comment }),
        }
    }
    entries
}

/// Splits a line at the `#` that begins its comment, which is not inside quotes.
fn split_comment(line: &str) -> (String, String) {
    let mut is_quoted = false;
    let is_start = |character: char| {
        is_quoted ^= character == '"';
        character == '#' && !is_quoted
    };
    let (content, comment) = match line.find(is_start) {
        Some(start) => (&line[..start], &line[start + 1..]),
        None => (line, ""),
    };
    (content.trim().to_owned(), comment.trim().to_owned())
}

/// Returns text in which no character has a meaning for man(7).
fn escaped(text: &str) -> String {
    // A macro takes double quotes from around its arguments.
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq").replace('"', "\\(dq");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use jackfield::config::Config;

    use super::*;

    /// The keys of each section, in the order of their names.
    type Keys = BTreeMap<String, BTreeSet<String>>;

    fn described_keys() -> Keys {
        let mut keys = Keys::new();
        let mut section = String::new();
        for entry in entries(SOURCE) {
            match entry {
                Entry::Section { header, .. } => section = header,
                Entry::Key { assignment, .. } => {
                    let (key, _) = assignment.split_once(" = ").expect("an assignment");
                    keys.entry(section.clone()).or_default().insert(key.to_owned());
                }
            }
        }
        keys
    }

    /// Returns the keys that a section may have, from the fault for an unknown one.
    fn known_keys(header: &str) -> BTreeSet<String> {
        let text = format!("{header}\nunknown_key = 1\n");
        let faults = Config::parse(&text, Path::new("c.toml")).expect_err("a fault").to_string();
        let known = faults.split("the known keys are ").nth(1).expect("a list of keys");
        known.lines().next().unwrap_or_default().split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn describes_exactly_the_keys_that_are_read() {
        let mut described = described_keys();
        // A table inside another one has a section of its own, or is the value of a key.
        let tables = ["probation", "crash", "breaker", "settings", "worker", "sandbox"];
        let top = known_keys("");

        for header in described.keys().cloned().collect::<Vec<_>>() {
            let mut known = known_keys(&header);
            tables.iter().for_each(|table| _ = known.remove(*table));
            assert_eq!(described.remove(&header), Some(known), "{header}");
        }

        let headers: String = entries(SOURCE).iter().filter_map(header_of).collect();
        for table in top.iter().map(String::as_str).chain(tables) {
            let is_section = [format!("[{table}]"), format!("[{table}."), format!(".{table}]")]
                .iter()
                .any(|part| headers.contains(part));
            assert!(is_section, "no section for {table} in {headers}");
        }
    }

    fn header_of(entry: &Entry) -> Option<String> {
        match entry {
            Entry::Section { header, .. } => Some(header.clone()),
            Entry::Key { .. } => None,
        }
    }

    #[test]
    fn has_a_text_for_every_section_and_key() {
        let mut entries = entries(SOURCE);
        assert!(entries.len() > 40, "{entries:?}");
        for entry in &mut entries {
            let shown = format!("{entry:?}");
            assert!(!entry.text_mut().is_empty(), "config.toml has no comment for {shown}");
        }
    }

    #[test]
    fn reads_continued_comments_and_keys_without_a_default_and_leaves_out_examples() {
        let source = "# Intro\n# of it.\n#\n# More.\n\n[a]   # the a\nx = \"#1\"  # one\n         # and more\n\
                      # y = 2  # two\n\n[plugin.device.settings]  # free\nz = 1\n[plugin.b.settings]\nz = 1\n\
                      [a]\nx = 3\n";
        let section = |header: &str, text: &str| Entry::Section { header: header.into(), text: text.into() };
        let key =
            |assignment: &str, text: &str| Entry::Key { assignment: assignment.into(), text: text.into() };

        assert_eq!(introduction(source), "Intro of it.");
        let expected = [
            section("[a]", "the a"),
            key("x = \"#1\"", "one and more"),
            key("y = 2", "two"),
            section("[plugin.NAME.settings]", "free"),
        ];
        assert_eq!(entries(source), expected);
    }

    #[test]
    fn escapes_what_man_would_interpret() {
        assert_eq!(escaped(".a-b\\c'd\"e"), "\\&.a\\-b\\ec\\*(Aqd\\(dqe");
        let page = config_page();
        assert!(page.contains("\n.TP\n.B mode = \\(dq0660\\(dq\npermissions of the socket file"), "{page}");
    }
}
