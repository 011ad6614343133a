//! Checks, and the differences that they find.

use std::fmt;

use crate::wire::Frame;

/// The expected and the actual behaviour of a server.
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
pub(crate) struct Report {
    /// A part of the names of the checks that are made.
    only: String,
    checks: u32,
    pub(crate) differences: u32,
    skipped: u32,
}

impl Report {
    /// Begins a report of the checks whose names contain `only`.
    pub(crate) fn only(only: &str) -> Report {
        Report { only: only.to_owned(), checks: 0, differences: 0, skipped: 0 }
    }

    /// Makes a check, and prints a line if something differs.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Checked) {
        if !name.contains(&self.only) {
            return;
        }
        self.checks += 1;
        if let Err(Difference { expected, received }) = check() {
            self.differences += 1;
            println!("{name}: expected {expected}; received {received}");
        }
    }

    /// Counts a check that needs a method which no option names.
    pub(crate) fn skip(&mut self, name: &str) {
        self.skipped += u32::from(name.contains(&self.only));
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
