//! The effort that a comparison may take.

use std::cell::Cell;

/// Steps that are left. A hostile schema takes all of them and is then unknown.
pub(super) struct Steps {
    left: Cell<u32>,
}

impl Steps {
    pub(super) fn new(count: u32) -> Self {
        Self { left: Cell::new(count) }
    }

    /// Takes steps; returns whether there were enough.
    pub(super) fn take(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let left = self.left.get().checked_sub(count);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    pub(super) fn left(&self) -> u32 {
        self.left.get()
    }
}
