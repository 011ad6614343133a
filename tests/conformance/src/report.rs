//! What was checked and what differs.

use std::fmt;

use crate::wire::Frame;

/// What a server should have done, and what it did.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) expected: String,
    pub(crate) received: String,
}

/// The end of one check.
pub(crate) type Checked<T = ()> = Result<T, Difference>;

impl Difference {
    pub(crate) fn new(expected: impl Into<String>, received: impl Into<String>) -> Difference {
        Difference { expected: expected.into(), received: received.into() }
    }
}

/// Returns a difference unless `holds`.
pub(crate) fn ensure(holds: bool, expected: impl Into<String>, received: &Frame) -> Checked {
    if holds { Ok(()) } else { Err(Difference::new(expected, received.to_string())) }
}

/// The number of checks, and of those that differ or were skipped.
#[derive(Default)]
pub(crate) struct Report {
    checks: u32,
    pub(crate) differences: u32,
    skipped: u32,
}

impl Report {
    /// Counts a check, and prints a line if it differs.
    pub(crate) fn add(&mut self, name: &str, checked: Checked) {
        self.checks += 1;
        if let Err(Difference { expected, received }) = checked {
            self.differences += 1;
            println!("{name}: expected {expected}; received {received}");
        }
    }

    /// Counts a check that needs a method which no option names.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks, {} differ", self.checks, self.differences)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped: they need --slow METHOD", self.skipped)?;
        }
        Ok(())
    }
}
