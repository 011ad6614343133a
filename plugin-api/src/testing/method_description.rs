//! The description of a method, for tests of its author.

use serde_json::Value;

use crate::abi::{LifecycleError, Root};

/// The documents in which a method describes itself, as a host reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodDescription {
    /// The object with `summary`, `description`, `idempotent`, `deprecated` and `errors`, as far as
    /// they are there, and with `"params": "none"` if the method takes none.
    pub facts: Value,
    /// The schema of the params; `None` if their type has none.
    pub params: Option<Value>,
    /// The schema of the result; `None` if its type has none.
    pub result: Option<Value>,
    /// The examples, each an object with `params` and `result`, as far as they are there.
    pub examples: Vec<Value>,
}

impl MethodDescription {
    pub(super) fn read(root: &Root, method: u32) -> Result<Self, LifecycleError> {
        let part = |part| match root.describe(method, part, MAX_DESCRIPTION)?.as_slice() {
            [] => Ok(None),
            document => serde_json::from_slice(document)
                .map(Some)
                .map_err(|error| LifecycleError::Refused(format!("part {part} is no JSON: {error}"))),
        };

        let facts = part(0)?.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let examples = match part(3)? {
            Some(Value::Array(examples)) => examples,
            _ => Vec::new(),
        };
        Ok(Self { facts, params: part(1)?, result: part(2)?, examples })
    }
}

/// The largest description of a plugin that a host reads, in bytes: 512 KiB for all its methods.
const MAX_DESCRIPTION: usize = 512 << 10;
