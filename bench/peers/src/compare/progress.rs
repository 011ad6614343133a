//! Progress messages.

use std::fmt;
use std::io::{self, Write as _};

/// Prints a progress message to stderr. An error there does not end the measurement.
pub(super) fn progress(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{message}");
}
