//! One table of the file while it is read: typed reads that record a fault and go on with the default.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::position::Place;
use super::units::{InvalidQuantity, MIB, parse_duration, parse_size, write_duration, write_size};
use super::wording::{LONGEST_SHOWN, a_type, nearest, quoted, shortened};

/// A table, and which of its keys somebody has read. A table the file does not have reads as an empty one.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    table: Option<&'d DeTable<'d>>,
    /// The path of keys to it, dots between; empty for the file's top.
    name: String,
    /// How its header is written: the name in brackets, one pair or two; empty for the top.
    header: String,
    /// Where it begins.
    offset: usize,
    /// Every key that was read, whether there or not: the keys allowed here.
    read: RefCell<Vec<&'static str>>,
}

impl<'d> Section<'d> {
    pub(super) fn root(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Section<'d> {
        let (name, header) = (String::new(), String::new());
        Section { document, table: Some(table), name, header, offset: 0, read: RefCell::default() }
    }

    /// A table within this one.
    fn inner(&self, table: Option<&'d DeTable<'d>>, name: String, offset: usize) -> Section<'d> {
        let header = format!("[{name}]");
        Section { document: self.document, table, name, header, offset, read: RefCell::default() }
    }

    /// The place of the table: its header, or its opening brace.
    pub(super) fn place(&self) -> Place {
        self.document.place(self.offset)
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Where the value of a key begins; the table itself if there is none.
    pub(super) fn offset_of(&self, key: &str) -> usize {
        self.table.and_then(|table| table.get(key)).map_or(self.offset, |value| value.span().start)
    }

    pub(super) fn fault(&self, offset: usize, what: String, instead: String) {
        self.document.fault(offset, what, instead);
    }

    /// Reports the keys that nobody has read. The last thing done with a section.
    pub(super) fn close(&self) {
        let mut read = self.read.take();
        read.sort_unstable();
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if read.contains(&name) {
                continue;
            }
            if self.document.is_full() {
                break;
            }
            let kind = if value.get_ref().is_table() { "table" } else { "key" };
            let place = if self.header.is_empty() { String::new() } else { format!(" in {}", self.header) };
            let what = format!("unknown {kind} {}{place}", quoted(name));
            let meant = nearest(name, &read)
                .map(|name| format!("did you mean {}? ", quoted(name)))
                .unwrap_or_default();
            self.fault(key.span().start, what, format!("{meant}known here: {}", read.join(", ")));
        }
    }

    fn get(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.read.borrow_mut().push(key);
        let value = self.table?.get(key)?;
        // The parser's stand-in for a value that is not there; it has reported that.
        (value.span() != (0..0)).then_some(value)
    }

    fn label(&self, key: &str) -> String {
        let bare = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let key =
            if key.chars().all(bare) && key.len() <= LONGEST_SHOWN { key.to_owned() } else { quoted(key) };
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, instead: String) {
        let what = format!("{} is {}", self.label(key), a_type(value.get_ref()));
        self.fault(value.span().start, what, instead);
    }

    /// The table under a key, or an empty one.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let table = self.table(key);
        self.inner(table, self.label(key), self.offset_of(key))
    }

    /// The table under a key, if there is one.
    pub(super) fn optional_section(&self, key: &'static str) -> Option<Section<'d>> {
        let table = self.table(key)?;
        Some(self.inner(Some(table), self.label(key), self.offset_of(key)))
    }

    /// The table under a key, to be read without names that are known beforehand.
    pub(super) fn table(&self, key: &'static str) -> Option<&'d DeTable<'d>> {
        let value = self.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, format!("write a table, [{}]", self.label(key)));
        }
        table
    }

    /// Each table in this one, with its name and where that stands.
    pub(super) fn named(&self) -> Vec<(&'d str, usize, Section<'d>)> {
        let mut named = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            let (name, offset) = (key.get_ref().as_ref(), value.span().start);
            match value.get_ref().as_table() {
                Some(table) => {
                    let section = self.inner(Some(table), self.label(name), offset);
                    named.push((name, key.span().start, section));
                }
                None => self.wrong_type(name, value, format!("write a table, [{}.NAME]", self.name)),
            }
        }
        named
    }

    /// Each table of an array of tables; `None` if the file has no such key.
    pub(super) fn each_of(&self, key: &'static str) -> Option<Vec<Section<'d>>> {
        let value = self.get(key)?;
        let label = self.label(key);
        let instead = || format!("write [[{label}]], once for each");
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value, instead());
            return Some(Vec::new());
        };
        if items.is_empty() {
            let what = format!("{label} is an empty array");
            self.fault(value.span().start, what, format!("{}, or leave the key out", instead()));
        }
        let mut sections = Vec::new();
        for item in items {
            match item.get_ref().as_table() {
                Some(table) => {
                    let section = self.inner(Some(table), label.clone(), item.span().start);
                    sections.push(Section { header: format!("[[{label}]]"), ..section });
                }
                None => self.wrong_type(key, item, instead()),
            }
        }
        Some(sections)
    }

    /// The array under a key, each of its items as `item` reads it; the items that it does not read are faults.
    /// `None` where there is a fault, an empty array where there is no key.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        instead: &str,
        item: impl Fn(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<Vec<(usize, T)>> {
        let Some(value) = self.get(key) else { return Some(Vec::new()) };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value, instead.to_owned());
            return None;
        };
        let read = items.iter().map(|value| match item(value.get_ref()) {
            Some(read) => Some((value.span().start, read)),
            None => {
                let what = format!("{} has {} in it", self.label(key), a_type(value.get_ref()));
                self.fault(value.span().start, what, instead.to_owned());
                None
            }
        });
        // All of them, so that each fault is there.
        read.collect::<Vec<_>>().into_iter().collect()
    }

    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(key, value, "write true or false, without quotes".to_owned());
            default
        })
    }

    pub(super) fn string(&self, key: &'static str) -> Option<&'d str> {
        self.string_or_else(key, |_| "write a string, in quotes".to_owned())
    }

    /// A string. `instead` says what to write instead of anything else, given the number and its radix if it
    /// is one.
    pub(super) fn string_or_else(
        &self,
        key: &'static str,
        instead: impl Fn(Option<(u64, u32)>) -> String,
    ) -> Option<&'d str> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::String(text) => return Some(text),
            DeValue::Integer(written) => u64::from_str_radix(written.as_str(), written.radix())
                .ok()
                .map(|number| (number, written.radix())),
            _ => None,
        };
        self.wrong_type(key, value, instead(number));
        None
    }

    /// A string that has to be there.
    pub(super) fn required_string(&self, key: &'static str, example: &str) -> Option<&'d str> {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.read.borrow_mut().push(key);
            let what = format!("{} has no {key}", self.header);
            self.document.missing(self.offset, what, format!("write {key} = {example}"));
            return None;
        }
        self.string(key)
    }

    /// A path, joined to `directory` unless it is absolute.
    pub(super) fn path(&self, key: &'static str, directory: &Path, default: &Path) -> PathBuf {
        let fault = |what: &str| {
            let what = format!("{} {what}", self.label(key));
            self.fault(
                self.offset_of(key),
                what,
                format!("write a path, such as {:?}", default.display().to_string()),
            );
            None
        };
        let path = match self.string(key) {
            Some("") => fault("is empty"),
            Some(text) if text.contains('\0') => fault("has a NUL byte in it"),
            path => path,
        };
        directory.join(path.map_or(default, Path::new))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)], default: T) -> T {
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let all = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let Some(text) = self.string_or_else(key, |_| format!("write one of {all}")) else {
            return default;
        };
        if let Some((_, choice)) = words.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let meant =
            nearest(text, &names).map(|name| format!("did you mean {}? ", quoted(name))).unwrap_or_default();
        let what = format!("{} {} is not known", self.label(key), quoted(text));
        self.fault(self.offset_of(key), what, format!("{meant}write one of {all}"));
        default
    }

    pub(super) fn count(&self, key: &'static str, range: RangeInclusive<usize>, default: usize) -> usize {
        self.optional_count(key, range).unwrap_or(default)
    }

    pub(super) fn optional_count(&self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let value = self.get(key)?;
        let instead =
            || format!("write a whole number from {} to {}, without quotes", range.start(), range.end());
        let Some(written) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, instead());
            return None;
        };
        let number = usize::from_str_radix(written.as_str(), written.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let written = written.to_string();
            let what = format!("{} = {} is out of range", self.label(key), shortened(&written));
            self.fault(value.span().start, what, instead());
        }
        number
    }

    /// Bytes.
    pub(super) fn size(&self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let example = |number: Option<u64>| write_size(number.unwrap_or(16 * MIB));
        self.quantity(key, range, "size", example, parse_size, write_size).unwrap_or(default)
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        self.optional_duration(key, range).unwrap_or(default)
    }

    pub(super) fn optional_duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        // Who leaves out the unit means seconds more often than anything else.
        let example = |number: Option<u64>| format!("{}s", number.unwrap_or(30));
        self.quantity(key, range, "duration", example, parse_duration, write_duration)
    }

    fn quantity<T: PartialOrd + Copy>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
        kind: &str,
        example: impl Fn(Option<u64>) -> String,
        parse: fn(&str) -> Result<T, InvalidQuantity>,
        write: fn(T) -> String,
    ) -> Option<T> {
        let text = self.string_or_else(key, |number| {
            let example = quoted(&example(number.map(|(number, _)| number)));
            format!("write a {kind} with its unit, in quotes, such as {example}")
        })?;
        let (what, instead) = match parse(text) {
            Ok(quantity) if range.contains(&quantity) => return Some(quantity),
            Ok(_) | Err(InvalidQuantity::TooLarge) => {
                let [least, most] = [*range.start(), *range.end()].map(|bound| quoted(&write(bound)));
                ("is out of range".to_owned(), format!("write a {kind} from {least} to {most}"))
            }
            Err(InvalidQuantity::Malformed { kind, instead }) => {
                (format!("is not a {kind}"), format!("write {instead}"))
            }
        };
        self.fault(self.offset_of(key), format!("{} {} {what}", self.label(key), quoted(text)), instead);
        None
    }
}
