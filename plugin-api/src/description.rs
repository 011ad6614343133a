//! The description of a method: facts, schemas, examples. The host asks for one part at a time.

use crate::Error;
use crate::abi::Out;

/// The description of one method. The export macro makes it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Description {}

impl Description {
    /// Writes one part: 0 facts, 1 the schema of the params, 2 that of the result, 3 examples.
    pub(crate) fn write(&self, _part: u32, _out: &mut Out<'_>) -> Result<(), Error> {
        Ok(())
    }
}
