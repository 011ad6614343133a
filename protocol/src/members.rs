//! The members of the JSON object in a payload, as raw text.
//!
//! All members are read before any is interpreted, so that one faulty member does not hide another.
//! This matters most for the id: without it, the sender cannot relate the error to its request.

use std::fmt;

use memchr::memchr_iter;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::depth::{self, TooDeep};
use crate::envelope_error::EnvelopeError;
use crate::id::Id;
use crate::json::Json;
use crate::scan::{self, Span};

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The deepest nesting, in levels, of a refused payload that is still searched for an id.
///
/// serde_json keeps one byte per level on the heap, so this is also the number of bytes that a
/// hostile payload can make it allocate.
const SEARCH_DEPTH_MAX: usize = 64 * 1024;

/// The name of the member that is read even from a refused payload.
const ID: &str = "id";

/// The members called `names`, if present. Members with other names are skipped.
#[derive(Debug)]
pub(crate) struct Members<'a, const N: usize> {
    names: &'static [&'static str; N],
    /// The values, in the order of the names. Meaningless if `read` has failed.
    pub(crate) values: [Option<Json<'a>>; N],
    /// The first acceptable id, even if the payload or the member `id` is refused.
    pub(crate) id: Option<Id<'a>>,
    duplicate: Option<&'static str>,
}

impl<'a, const N: usize> Members<'a, N> {
    pub(crate) fn new(names: &'static [&'static str; N]) -> Self {
        Members { names, values: [None; N], id: None, duplicate: None }
    }

    /// Reads a payload, which must be UTF-8 without a byte order mark, within the depth limit, and
    /// one JSON object with none of `names` twice.
    ///
    /// After an error, `id` is the id found before the fault, or in the whole payload if it is
    /// JSON.
    pub(crate) fn read(&mut self, payload: &'a [u8]) -> Result<(), EnvelopeError> {
        if payload.starts_with(BYTE_ORDER_MARK) {
            return Err(EnvelopeError::ByteOrderMark);
        }
        let text = match std::str::from_utf8(payload) {
            Ok(text) => text,
            Err(error) => {
                self.find_id(payload.utf8_chunks().next().map_or("", |chunk| chunk.valid()));
                return Err(EnvelopeError::Utf8 { at: error.valid_up_to() });
            }
        };

        if scan::scan_members(text, |name, value| self.insert_scanned(name, value)).is_none() {
            *self = Members::new(self.names);
            self.read_slowly(text)?;
        }

        self.duplicate.map_or(Ok(()), |name| Err(EnvelopeError::DuplicateMember(name)))
    }

    /// Reads a text that is faulty or in a notation that the scanner does not read.
    #[cold]
    fn read_slowly(&mut self, text: &'a str) -> Result<(), EnvelopeError> {
        if let Err(TooDeep { at, deepest }) = depth::check(text.as_bytes()) {
            let searched = if deepest <= SEARCH_DEPTH_MAX { Some(text) } else { text.get(..at) };
            self.find_id(searched.unwrap_or_default());
            return Err(EnvelopeError::TooDeep { at });
        }
        self.read_object(text)
    }

    /// Looks for an id in the valid part of a payload that is already refused.
    fn find_id(&mut self, text: &'a str) {
        // An error does not matter: the payload is refused anyway, and a part of a document is
        // hardly ever a document.
        let _ = self.read_object(text);
    }

    fn read_object(&mut self, text: &'a str) -> Result<(), EnvelopeError> {
        match text.trim_ascii_start().as_bytes().first() {
            None => return Err(EnvelopeError::Empty),
            Some(b'{') => {}
            Some(_) => {
                return Err(match serde_json::from_str::<IgnoredAny>(text) {
                    Ok(IgnoredAny) => EnvelopeError::NotAnObject,
                    Err(error) => syntax_error(text, &error),
                });
            }
        }

        let mut document = serde_json::Deserializer::from_str(text);
        if let Err(error) = document.deserialize_map(&mut *self) {
            return self.retry_with_raw_names(text, &error);
        }
        document.end().map_err(|error| EnvelopeError::TrailingBytes { at: byte_offset(text, &error) })
    }

    /// Reads an object once more after serde_json has failed with `error`.
    ///
    /// A name with an unpaired surrogate is valid JSON but not text, so serde_json refuses it as a
    /// string. Names read as raw values are accepted; that is slower.
    #[cold]
    fn retry_with_raw_names(
        &mut self,
        text: &'a str,
        error: &serde_json::Error,
    ) -> Result<(), EnvelopeError> {
        let mut fault = syntax_error(text, error);
        if matches!(fault, EnvelopeError::Syntax { .. }) && text.contains("\\u") {
            *self = Members::new(self.names);
            let mut document = serde_json::Deserializer::from_str(text);
            match document.deserialize_map(WithRawNames(&mut *self)) {
                Ok(()) => {
                    let end = document.end();
                    return end
                        .map_err(|error| EnvelopeError::TrailingBytes { at: byte_offset(text, &error) });
                }
                Err(error) => fault = syntax_error(text, &error),
            }
        }

        // A truncated 123 looks like a complete 12. The end of a string is certain.
        self.id = self.id.filter(|id| !id.is_integer() || is_delimited(text, id.as_json()));
        Err(fault)
    }

    fn insert_scanned(&mut self, name: &[u8], value: Span<'a>) {
        if let Some(index) = self.names.iter().position(|wanted| wanted.as_bytes() == name)
            && let Some(value) = value.json()
        {
            self.insert(index, value);
        }
    }

    fn insert(&mut self, index: usize, value: Json<'a>) {
        let name = self.names[index];
        if name == ID && self.id.is_none() {
            self.id = Id::from_json(value).ok();
        }
        if self.values[index].replace(value).is_some() {
            self.duplicate = self.duplicate.or(Some(name));
        }
    }
}

impl<'a, const N: usize> Visitor<'a> for &mut Members<'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(index) = map.next_key_seed(NameIndex(self.names))? {
            match index {
                Some(index) => self.insert(index, map.next_value::<&RawValue>()?.into()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads an object whose names may be JSON strings that are not text.
struct WithRawNames<'m, 'a, const N: usize>(&'m mut Members<'a, N>);

impl<'a, const N: usize> Visitor<'a> for WithRawNames<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(written) = map.next_key::<&RawValue>()? {
            let mut name = serde_json::Deserializer::from_str(written.get());
            // A name that is not text is none of the wanted names.
            match NameIndex(self.0.names).deserialize(&mut name).unwrap_or_default() {
                Some(index) => self.0.insert(index, map.next_value::<&RawValue>()?.into()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the name of a member, with its escapes decoded, as its index in the list of names.
struct NameIndex<'n>(&'n [&'static str]);

impl<'de> DeserializeSeed<'de> for NameIndex<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIndex<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == name))
    }
}

/// Returns whether `token`, a part of `text`, is followed by a byte that ends a member.
fn is_delimited(text: &str, token: &str) -> bool {
    let end = (token.as_ptr() as usize + token.len()).wrapping_sub(text.as_ptr() as usize);
    let rest = text.get(end..).unwrap_or_default().trim_ascii_start();
    rest.starts_with([',', '}'])
}

fn syntax_error(text: &str, error: &serde_json::Error) -> EnvelopeError {
    if error.is_eof() {
        EnvelopeError::Truncated { at: text.len() }
    } else {
        EnvelopeError::Syntax { at: byte_offset(text, error) }
    }
}

/// Returns the byte offset of an error that serde_json places by line and column. Both count from
/// 1, columns in bytes.
fn byte_offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr_iter(b'\n', text.as_bytes()).nth(line - 2).map_or(0, |at| at + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(text.len())
}
