//! The description of a method: facts, schemas, examples. The host asks for one part at a time.
//!
//! `export_plugin!` makes a [`Description`] of each method. It consists of functions, so that a
//! part that an author leaves out links no code. Functions that are not generic and serialize
//! something are inlined for the same reason.

mod example;
mod facts;
mod output;
mod plain_schema;
mod schema_choice;
mod signature;
mod type_schema;

use crate::abi::Out;

pub use example::{Example, write_examples};
pub use facts::{Facts, declared_errors};
pub use output::DoesNotFit;
pub use schema_choice::{DerivedSchema, NoSchema, WrittenSchema};
pub use signature::{Signature, Types};
pub use type_schema::{Direction, TypeSchema};

/// Writes the facts. It is given whether the method takes params.
pub type WriteFacts = fn(bool, &mut Out<'_>) -> Result<(), DoesNotFit>;

/// Writes the examples.
pub type WriteExamples = fn(&mut Out<'_>) -> Result<(), DoesNotFit>;

/// The description of one method. The export macro makes it.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Writes what the author says in words; `None` if nothing.
    pub facts: Option<WriteFacts>,
    /// Finds the schemas of the params and of the result.
    pub schemas: fn() -> (TypeSchema, TypeSchema),
    /// Writes the examples; `None` if there are none.
    pub examples: Option<WriteExamples>,
}

impl Description {
    /// Writes one part: 0 facts, 1 the schema of the params, 2 that of the result, 3 examples. It
    /// writes nothing if there is nothing to say, or no such part.
    ///
    /// # Errors
    ///
    /// The part does not fit.
    #[cold]
    pub(crate) fn write(&self, part: u32, out: &mut Out<'_>) -> Result<(), DoesNotFit> {
        let (params, result) = (self.schemas)();
        let takes_params = !matches!(params, TypeSchema::NoParams);

        match (part, self.facts, self.examples) {
            (0, Some(write), _) => write(takes_params, out),
            (0, None, _) if !takes_params => output::push(r#"{"params":"none"}"#, out),
            (1, ..) => params.write(out, Direction::Params),
            (2, ..) => result.write(out, Direction::Result),
            (3, _, Some(write)) => write(out),
            _ => Ok(()),
        }
    }
}
