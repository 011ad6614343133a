//! The description of a method: facts, schemas, examples. The host asks for one part at a time.
//!
//! `export_plugin!` makes a [`Description`] of each method. It consists of functions, so that a part
//! that an author leaves out links no code.

mod facts;
mod plain_schema;
mod signature;
mod type_schema;

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::abi::Out;

pub use facts::{Facts, declared_errors};
pub use signature::{Signature, Types};
pub use type_schema::{DerivedSchema, NoSchema, TypeSchema, WrittenSchema};

/// Writes the facts. It is given whether the method takes params.
pub type WriteFacts = fn(bool, &mut Out<'_>) -> Result<(), Error>;

/// Writes the examples.
pub type WriteExamples = fn(&mut Out<'_>) -> Result<(), Error>;

/// The description of one method. The export macro makes it.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Writes what the author says in words; `None` if nothing.
    pub facts: Option<WriteFacts>,
    /// Finds the schema of the params.
    pub params: fn() -> TypeSchema,
    /// Finds the schema of the result.
    pub result: fn() -> TypeSchema,
    /// Writes the examples; `None` if there are none.
    pub examples: Option<WriteExamples>,
}

impl Description {
    /// Writes one part: 0 facts, 1 the schema of the params, 2 that of the result, 3 examples. It
    /// writes nothing if there is nothing to say, or no such part.
    pub(crate) fn write(&self, part: u32, out: &mut Out<'_>) -> Result<(), Error> {
        match part {
            0 => self.write_facts(out),
            1 => (self.params)().write(out, Direction::Params),
            2 => (self.result)().write(out, Direction::Result),
            3 => self.examples.map_or(Ok(()), |write| write(out)),
            _ => Ok(()),
        }
    }

    fn write_facts(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let takes_params = !matches!((self.params)(), TypeSchema::NoParams);
        match self.facts {
            Some(write) => write(takes_params, out),
            None if takes_params => Ok(()),
            None => Ok(out.write_all(br#"{"params":"none"}"#)?),
        }
    }
}

/// Whether a schema is that of a type as it is read, or as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The params, which are read.
    Params,
    /// The result, which is written.
    Result,
}

/// One call, as its author shows it.
#[derive(Serialize)]
pub struct Example {
    /// The params; `None` if the call has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// The result; `None` if the example shows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// Writes the examples of a method.
///
/// # Errors
///
/// They do not fit.
pub fn write_examples(examples: &[Example], out: &mut Out<'_>) -> Result<(), Error> {
    Ok(serde_json::to_writer(out, examples)?)
}
