//! Bounds checks for offsets that a file gives, and the errors for files that fail them.

use super::super::load_error::{LoadError, LoadErrorReason};

/// Returns whether `length` bytes from `offset` on lie inside `size` bytes.
pub(super) fn is_within(offset: u64, length: u64, size: u64) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= size)
}

/// Returns the error for a part of the file that lies beyond its end; `part` includes the verb.
pub(super) fn truncated(part: &str) -> LoadError {
    LoadError::new(
        LoadErrorReason::Truncated,
        format_args!("{part} beyond the end of the file; install it again"),
    )
}

/// Returns the error for tables that contradict themselves.
pub(super) fn malformed(detail: impl std::fmt::Display) -> LoadError {
    LoadError::new(LoadErrorReason::Malformed, format_args!("{detail}; build the file again"))
}
