//! The fixed texts of the lines that report panics and internal errors in the host's log.
//!
//! The host recognizes such a line by its start, and adds method and request. Plugins that were
//! built with an earlier version of this crate log the same texts, so they do not change.

/// Start of the line that reports a panic. The place in the source, `: ` and the text of the panic
/// follow.
pub const PANIC_LINE: &str = "panicked at ";

/// Start of the line that reports the detail of an internal error, which follows.
pub const INTERNAL_ERROR_LINE: &str = "internal error: ";

/// The text of a panic whose payload is not text.
pub(crate) const NOT_TEXT: &str = "a panic whose payload is not text";
