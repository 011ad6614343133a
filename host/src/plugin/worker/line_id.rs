//! The number of a worker.

/// Identifies a worker of a generation. No number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LineId(pub(super) u32);
