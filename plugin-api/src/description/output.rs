//! Writing a part of a description.

use serde::Serialize;

use crate::abi::Out;

/// The output has no room for a part of the description.
#[derive(Debug)]
pub struct DoesNotFit;

/// Writes a text.
pub(super) fn push(text: &str, out: &mut Out<'_>) -> Result<(), DoesNotFit> {
    if out.push(text.as_bytes()) { Ok(()) } else { Err(DoesNotFit) }
}

/// Writes a value that is serialized without errors.
pub(super) fn write_json(value: &impl Serialize, out: &mut Out<'_>) -> Result<(), DoesNotFit> {
    serde_json::to_writer(out, value).map_err(|_| DoesNotFit)
}
