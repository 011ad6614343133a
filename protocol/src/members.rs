//! The members of the one JSON object in a payload, as raw text: read first, interpreted afterwards, so that one
//! faulty member does not hide another (above all the id, without which nobody can be told).

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

/// The deepest nesting through which an id is still looked for after the refusal is certain. serde_json keeps one
/// byte per level on the heap, so this bounds in bytes what a hostile payload can make it allocate.
const SEARCH_DEPTH_MAX: usize = 64 * 1024;

/// The name of the member that is read even from a refused payload.
const ID: &str = "id";

/// The members called `names`, as far as they were found. Members with other names are skipped.
#[derive(Debug)]
pub(crate) struct Members<'a, const N: usize> {
    names: [&'static str; N],
    /// The values, in the order of the names; of no use where `read` has failed.
    pub(crate) values: [Option<Json<'a>>; N],
    /// The first acceptable id, even where the payload or the member `id` is refused.
    pub(crate) id: Option<Id<'a>>,
    duplicate: Option<&'static str>,
}

impl<'a, const N: usize> Members<'a, N> {
    pub(crate) fn new(names: [&'static str; N]) -> Self {
        Members { names, values: [None; N], id: None, duplicate: None }
    }

    /// Reads a payload: UTF-8, without a byte order mark, not too deep, one JSON object, no name of `names` twice.
    ///
    /// On an error, `id` is the one found before the fault, or anywhere if the payload is JSON.
    pub(crate) fn read(&mut self, payload: &'a [u8]) -> Result<(), EnvelopeError> {
        if payload.starts_with(BYTE_ORDER_MARK) {
            return Err(EnvelopeError::ByteOrderMark);
        }
        let text = match std::str::from_utf8(payload) {
            Ok(text) => text,
            Err(error) => {
                self.search_id(payload.utf8_chunks().next().map_or("", |chunk| chunk.valid()));
                return Err(EnvelopeError::Utf8 { at: error.valid_up_to() });
            }
        };
        if scan::members(text, |name, value| self.member(name, value)).is_none() {
            *self = Members::new(self.names);
            self.read_slowly(text)?;
        }
        self.duplicate.map_or(Ok(()), |name| Err(EnvelopeError::DuplicateMember(name)))
    }

    /// What is faulty, or seldom written.
    #[cold]
    fn read_slowly(&mut self, text: &'a str) -> Result<(), EnvelopeError> {
        if let Err(TooDeep { at, deepest }) = depth::check(text.as_bytes()) {
            let searched = if deepest <= SEARCH_DEPTH_MAX { Some(text) } else { text.get(..at) };
            self.search_id(searched.unwrap_or_default());
            return Err(EnvelopeError::TooDeep { at });
        }
        self.walk(text)
    }

    /// Finds what id it can in the sound part of a payload that is already refused.
    fn search_id(&mut self, text: &'a str) {
        // Its outcome is no news: the refusal stands, and a part of a document is seldom a document.
        let _ = self.walk(text);
    }

    fn walk(&mut self, text: &'a str) -> Result<(), EnvelopeError> {
        match text.trim_ascii_start().as_bytes().first() {
            None => return Err(EnvelopeError::Empty),
            Some(b'{') => {}
            Some(_) => {
                return Err(match serde_json::from_str::<IgnoredAny>(text) {
                    Ok(IgnoredAny) => EnvelopeError::NotAnObject,
                    Err(error) => syntax(text, &error),
                });
            }
        }
        let mut document = serde_json::Deserializer::from_str(text);
        if let Err(error) = document.deserialize_map(&mut *self) {
            return self.walk_as_written(text, &error);
        }
        document.end().map_err(|error| EnvelopeError::TrailingBytes { at: position(text, &error) })
    }

    /// What became of a walk that failed: a name with half of a surrogate pair is JSON, and no text, so that there is
    /// another way, which is slower.
    #[cold]
    fn walk_as_written(&mut self, text: &'a str, error: &serde_json::Error) -> Result<(), EnvelopeError> {
        let mut fault = syntax(text, error);
        if matches!(fault, EnvelopeError::Syntax { .. }) && text.contains("\\u") {
            *self = Members::new(self.names);
            let mut document = serde_json::Deserializer::from_str(text);
            match document.deserialize_map(AsWritten(&mut *self)) {
                Ok(()) => {
                    let end = document.end();
                    return end.map_err(|error| EnvelopeError::TrailingBytes { at: position(text, &error) });
                }
                Err(error) => fault = syntax(text, &error),
            }
        }
        // 12 may have been about to become 123; a string's end is certain.
        self.id = self.id.filter(|id| !id.is_integer() || is_delimited(text, id.as_json()));
        Err(fault)
    }

    fn member(&mut self, name: &[u8], value: Span<'a>) {
        if let Some(slot) = self.names.iter().position(|wanted| wanted.as_bytes() == name)
            && let Some(value) = value.json()
        {
            self.take(slot, value);
        }
    }

    fn take(&mut self, slot: usize, value: Json<'a>) {
        let name = self.names[slot];
        if name == ID && self.id.is_none() {
            self.id = Id::from_json(value).ok();
        }
        if self.values[slot].replace(value).is_some() {
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
        while let Some(slot) = map.next_key_seed(Name(&self.names))? {
            match slot {
                Some(slot) => self.take(slot, map.next_value::<&RawValue>()?.into()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The way through an object whose names are read as they are written, whether or not that is text.
struct AsWritten<'m, 'a, const N: usize>(&'m mut Members<'a, N>);

impl<'a, const N: usize> Visitor<'a> for AsWritten<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(written) = map.next_key::<&RawValue>()? {
            let mut name = serde_json::Deserializer::from_str(written.get());
            // What is no text is no name that is looked for.
            match Name(&self.0.names).deserialize(&mut name).unwrap_or_default() {
                Some(slot) => self.0.take(slot, map.next_value::<&RawValue>()?.into()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a member's name, its escapes resolved, and says where it stands in the list.
struct Name<'n>(&'n [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == name))
    }
}

/// Whether `token`, a part of `text`, is followed by what ends a member.
fn is_delimited(text: &str, token: &str) -> bool {
    let end = (token.as_ptr() as usize + token.len()).wrapping_sub(text.as_ptr() as usize);
    let rest = text.get(end..).unwrap_or_default().trim_ascii_start();
    rest.starts_with([',', '}'])
}

fn syntax(text: &str, error: &serde_json::Error) -> EnvelopeError {
    if error.is_eof() {
        EnvelopeError::Truncated { at: text.len() }
    } else {
        EnvelopeError::Syntax { at: position(text, error) }
    }
}

/// The byte offset of an error that serde_json places by line and column: both count from 1, columns in bytes.
fn position(text: &str, error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr_iter(b'\n', text.as_bytes()).nth(line - 2).map_or(0, |at| at + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(text.len())
}
