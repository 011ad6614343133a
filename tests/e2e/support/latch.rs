//! A latch that methods of fixtures wait for: a method whose name ends with `_until` runs until the
//! latch is opened.
//!
//! A test can thus keep a call in flight until it has observed an event. A fixed length of time
//! could be too short on a busy machine.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A file that does not exist until the latch is opened.
pub(crate) struct Latch(PathBuf);

impl Latch {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the params of a method that waits for this latch.
    pub(crate) fn params(&self) -> Value {
        json!(self.0)
    }

    pub(crate) fn open(&self) {
        fs::write(&self.0, "").expect("the latch is opened");
    }
}
