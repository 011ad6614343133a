//! The schema of a type as a value.

use super::output::{self, DoesNotFit};
use crate::abi::Out;

/// Whether a schema is that of a type as it is read, or as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The params, which are read.
    Params,
    /// The result, which is written.
    Result,
}

/// The schema of a type.
#[derive(Debug, Clone, Copy)]
pub enum TypeSchema {
    /// The method takes no params.
    NoParams,
    /// The type has none.
    Unknown,
    /// The schema is a text, the same for params and results.
    Plain(&'static SchemaText),
    /// The schema is derived.
    Derived(fn(&mut Out<'_>, Direction) -> Result<(), DoesNotFit>),
}

impl TypeSchema {
    /// Writes the schema, or nothing.
    pub(super) fn write(self, out: &mut Out<'_>, direction: Direction) -> Result<(), DoesNotFit> {
        match self {
            Self::NoParams | Self::Unknown => Ok(()),
            Self::Plain(text) => text.write(out),
            Self::Derived(write) => write(out, direction),
        }
    }
}

/// The text of a schema: two parts, and the text of another schema between them.
#[derive(Debug)]
pub struct SchemaText {
    before: &'static str,
    inner: Option<&'static SchemaText>,
    after: &'static str,
}

impl SchemaText {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { before: text, inner: None, after: "" }
    }

    pub(super) const fn around(before: &'static str, inner: &'static Self, after: &'static str) -> Self {
        Self { before, inner: Some(inner), after }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), DoesNotFit> {
        output::push(self.before, out)?;
        match self.inner {
            Some(inner) => {
                inner.write(out)?;
                output::push(self.after, out)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
impl std::fmt::Display for SchemaText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.before)?;
        self.inner.map_or(Ok(()), |inner| inner.fmt(f))?;
        f.write_str(self.after)
    }
}
