//! A table of the file while it is read: its keys, and the tables in it.
//!
//! Every read records its key. When the section is closed, all other keys are reported as unknown,
//! and deprecated names are reported as such. `values` contains the typed reads.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::alias::Alias;
use super::document::Document;
use super::position::Place;
use super::wording::{SHOWN_MAX, a_type, did_you_mean, quoted};

/// A table and the keys of it that were read. A table that the file does not have reads as empty.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    table: Option<&'d DeTable<'d>>,

    /// The keys that lead to the table, separated by dots; empty for the root.
    name: String,

    /// The header as the file contains it: the name in one or two pairs of brackets; empty for the
    /// root.
    header: String,

    /// The offset at which the table begins.
    offset: usize,

    /// All keys that were read, whether the file has them or not. They are the allowed keys.
    read: RefCell<Vec<&'static str>>,
}

impl<'d> Section<'d> {
    /// Returns the root table of a file.
    pub(super) fn root(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Section<'d> {
        let (name, header) = (String::new(), String::new());
        Section { document, table: Some(table), name, header, offset: 0, read: RefCell::default() }
    }

    fn inner(&self, table: Option<&'d DeTable<'d>>, name: String, offset: usize) -> Section<'d> {
        let header = format!("[{name}]");
        Section { document: self.document, table, name, header, offset, read: RefCell::default() }
    }

    /// Returns the place of the table: its header, or its opening brace.
    pub(super) fn place(&self) -> Place {
        self.document.place(self.offset)
    }

    /// Returns the offset at which the table begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the offset of the value of a key, or of the table if it has no such key.
    pub(super) fn offset_of(&self, key: &str) -> usize {
        let key = self.key_in_file(key);
        self.table.and_then(|table| table.get(key)).map_or(self.offset, |value| value.span().start)
    }

    /// Adds a fault.
    pub(super) fn fault(&self, offset: usize, problem: String, remedy: String) {
        self.document.fault(offset, problem, remedy);
    }

    /// Reports deprecated names, and the keys that were not read. It must be called last.
    pub(super) fn close(&self) {
        let mut read = self.read.take();
        read.sort_unstable();

        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if read.contains(&name) {
                continue;
            }
            if let Some(alias) = Alias::with_deprecated(&self.name, name) {
                self.report_deprecated(alias, key.span().start);
                continue;
            }
            if self.document.is_full() {
                break;
            }

            let kind = if value.get_ref().is_table() { "table" } else { "key" };
            let place = if self.header.is_empty() { String::new() } else { format!(" in {}", self.header) };
            let problem = format!("unknown {kind} {}{place}", quoted(name));
            let remedy = format!("{}the known keys are {}", did_you_mean(name, &read), read.join(", "));
            self.fault(key.span().start, problem, remedy);
        }
    }

    /// Reports a key with a deprecated name. It is a fault if the file sets the current name, too.
    fn report_deprecated(&self, alias: &Alias, offset: usize) {
        let Some((current, _)) = self.table.and_then(|table| table.get_key_value(alias.key())) else {
            self.document.deprecated(offset, alias);
            return;
        };
        let Alias { deprecated, name } = alias;
        let line = self.document.place(current.span().start).line;
        let problem = format!("{deprecated} is the deprecated name of {name}, which line {line} also sets");
        self.fault(offset, problem, format!("keep {name} and remove {deprecated}"));
    }

    /// Returns the name by which the file sets a key: `key`, or its deprecated name.
    fn key_in_file<'k>(&self, key: &'k str) -> &'k str {
        match Alias::with_name(&self.name, key) {
            Some(alias) if !self.has(key) && self.has(alias.deprecated_key()) => alias.deprecated_key(),
            _ => key,
        }
    }

    fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Reads the value of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.read.borrow_mut().push(key);
        let value = self.table?.get(self.key_in_file(key))?;
        // The parser has reported a missing value, and put a value with this span in its place.
        (value.span() != (0..0)).then_some(value)
    }

    /// Reads a key that the table must have. `example` is a valid value.
    pub(super) fn required_string(&self, key: &'static str, example: &str) -> Option<&'d str> {
        if !self.has(self.key_in_file(key)) {
            self.read.borrow_mut().push(key);
            let problem = format!("{} has no {key}", self.header);
            self.document.missing(self.offset, problem, format!("write {key} = {example}"));
            return None;
        }
        self.string(key)
    }

    /// Returns the full name of a key, as the file sets it.
    pub(super) fn label(&self, key: &str) -> String {
        let key = self.key_in_file(key);
        let is_bare = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let is_shown_bare = key.chars().all(is_bare) && key.len() <= SHOWN_MAX;
        let key = if is_shown_bare { key.to_owned() } else { quoted(key) };
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    /// Adds the fault that a value has the wrong type.
    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, remedy: String) {
        let problem = format!("{} is {}", self.label(key), a_type(value.get_ref()));
        self.fault(value.span().start, problem, remedy);
    }

    /// Reads a table. A missing one is an empty section.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let table = self.table(key);
        self.inner(table, self.label(key), self.offset_of(key))
    }

    /// Reads a table, if the file has it.
    pub(super) fn optional_section(&self, key: &'static str) -> Option<Section<'d>> {
        let table = self.table(key)?;
        Some(self.inner(Some(table), self.label(key), self.offset_of(key)))
    }

    /// Reads a table whose keys are not known in advance.
    pub(super) fn table(&self, key: &'static str) -> Option<&'d DeTable<'d>> {
        let value = self.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, format!("write a table, [{}]", self.label(key)));
        }
        table
    }

    /// Returns all tables in this one, each with its name and the offset of the name.
    pub(super) fn named(&self) -> Vec<(&'d str, usize, Section<'d>)> {
        let mut named = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            match value.get_ref().as_table() {
                Some(table) => {
                    let section = self.inner(Some(table), self.label(name), value.span().start);
                    named.push((name, key.span().start, section));
                }
                None => self.wrong_type(name, value, format!("write a table, [{}.NAME]", self.name)),
            }
        }
        named
    }

    /// Reads an array of tables; `None` if the file has no such key.
    pub(super) fn each_of(&self, key: &'static str) -> Option<Vec<Section<'d>>> {
        let value = self.get(key)?;
        let label = self.label(key);
        let remedy = || format!("write [[{label}]], once for each {label}");
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value, remedy());
            return Some(Vec::new());
        };
        if items.is_empty() {
            let problem = format!("{label} is an empty array");
            self.fault(value.span().start, problem, format!("{}, or remove the key", remedy()));
        }

        let mut sections = Vec::new();
        for item in items {
            match item.get_ref().as_table() {
                Some(table) => {
                    let section = self.inner(Some(table), label.clone(), item.span().start);
                    sections.push(Section { header: format!("[[{label}]]"), ..section });
                }
                None => self.wrong_type(key, item, remedy()),
            }
        }
        Some(sections)
    }
}
