//! Calls of a method that its author shows.

use serde::Serialize;
use serde_json::Value;

use super::output::{self, DoesNotFit};
use crate::abi::Out;

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
#[inline]
pub fn write_examples(examples: &[Example], out: &mut Out<'_>) -> Result<(), DoesNotFit> {
    output::write_json(&examples, out)
}
