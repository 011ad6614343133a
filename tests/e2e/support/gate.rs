//! A gate that fixtures' methods wait at: those that end with `_until` run until it is opened.
//!
//! So a test decides how long a call is in flight, by what it has seen by then, and not by a length of time that a busy
//! machine may use up for something else.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A file that is not there until the gate is opened.
pub(crate) struct Gate(PathBuf);

impl Gate {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The params of a method that waits at it.
    pub(crate) fn params(&self) -> Value {
        json!(self.0)
    }

    pub(crate) fn open(&self) {
        fs::write(&self.0, "").expect("the gate is opened");
    }
}
