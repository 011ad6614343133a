//! The typed reads of a section. A value that is at fault is reported, and reads as the default.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::section::Section;
use super::units::{InvalidQuantity, MIB, parse_duration, parse_size, write_duration, write_size};
use super::wording::{a_type, did_you_mean, quoted, shortened};

impl<'d> Section<'d> {
    /// Reads an array. `item` converts a value, and returns `None` for one of the wrong type.
    ///
    /// Returns `None` if there is a fault, and an empty array if there is no such key.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        remedy: &str,
        item: impl Fn(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<Vec<(usize, T)>> {
        let Some(value) = self.get(key) else { return Some(Vec::new()) };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value, remedy.to_owned());
            return None;
        };

        let read = items.iter().map(|value| match item(value.get_ref()) {
            Some(read) => Some((value.span().start, read)),
            None => {
                let problem = format!("{} contains {}", self.label(key), a_type(value.get_ref()));
                self.fault(value.span().start, problem, remedy.to_owned());
                None
            }
        });
        // Collected twice, so that every item is read and every fault reported.
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

    /// Reads a string. For a value of another type, `remedy` returns what to write instead; if that
    /// value is a number, it is passed with its radix.
    pub(super) fn string_or_else(
        &self,
        key: &'static str,
        remedy: impl Fn(Option<(u64, u32)>) -> String,
    ) -> Option<&'d str> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::String(text) => return Some(text),
            DeValue::Integer(written) => u64::from_str_radix(written.as_str(), written.radix())
                .ok()
                .map(|number| (number, written.radix())),
            _ => None,
        };
        self.wrong_type(key, value, remedy(number));
        None
    }

    /// Reads a path, and joins it to `directory` unless it is absolute.
    pub(super) fn path(&self, key: &'static str, directory: &Path, default: &Path) -> PathBuf {
        let fault = |problem: &str| {
            let problem = format!("{} {problem}", self.label(key));
            let remedy = format!("write a path, such as {:?}", default.display().to_string());
            self.fault(self.offset_of(key), problem, remedy);
            None
        };
        let path = match self.string(key) {
            Some("") => fault("is empty"),
            Some(text) if text.contains('\0') => fault("contains a NUL byte"),
            path => path,
        };
        directory.join(path.map_or(default, Path::new))
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)], default: T) -> T {
        self.optional_choice(key, words).unwrap_or(default)
    }

    /// Reads one of a few words, if the key is set.
    pub(super) fn optional_choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let all = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let text = self.string_or_else(key, |_| format!("write one of {all}"))?;
        if let Some((_, choice)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }

        let problem = format!("{} {} is not valid", self.label(key), quoted(text));
        let remedy = format!("{}write one of {all}", did_you_mean(text, &names));
        self.fault(self.offset_of(key), problem, remedy);
        None
    }

    pub(super) fn count(&self, key: &'static str, range: RangeInclusive<usize>, default: usize) -> usize {
        self.optional_count(key, range).unwrap_or(default)
    }

    /// Reads a count whose range fits into 32 bits.
    pub(super) fn count_u32(&self, key: &'static str, range: RangeInclusive<usize>, default: u32) -> u32 {
        let count = self.count(key, range, usize::try_from(default).unwrap_or(0));
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn optional_count(&self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let value = self.get(key)?;
        let remedy = || format!("write an integer from {} to {}, without quotes", range.start(), range.end());
        let Some(written) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, remedy());
            return None;
        };

        let number = usize::from_str_radix(written.as_str(), written.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let written = written.to_string();
            let problem = format!("{} = {} is out of range", self.label(key), shortened(&written));
            self.fault(value.span().start, problem, remedy());
        }
        number
    }

    /// Reads a size in bytes.
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
        // A number without a unit usually means seconds.
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

        let (problem, remedy) = match parse(text) {
            Ok(quantity) if range.contains(&quantity) => return Some(quantity),
            Ok(_) | Err(InvalidQuantity::TooLarge) => {
                let [least, most] = [*range.start(), *range.end()].map(|bound| quoted(&write(bound)));
                ("is out of range".to_owned(), format!("write a {kind} from {least} to {most}"))
            }
            Err(InvalidQuantity::Malformed { kind, remedy }) => {
                (format!("is not a {kind}"), format!("write {remedy}"))
            }
        };
        let problem = format!("{} {} {problem}", self.label(key), quoted(text));
        self.fault(self.offset_of(key), problem, remedy);
        None
    }
}
