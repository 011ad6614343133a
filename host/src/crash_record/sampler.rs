//! Seats looked at while their threads run: which call holds a thread, and what runs just now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::mapping::MappedWords;
use super::slot::{RunningCode, TURN, WHAT, seat};

/// What a thread runs at one moment: the same turn is the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningCall {
    /// Counts beginnings and ends.
    pub(crate) turn: u64,
    /// What runs, or ran last.
    pub(crate) what: RunningCode,
}

impl RunningCall {
    /// Whether it runs.
    pub(crate) fn is_running(self) -> bool {
        !self.turn.is_multiple_of(2)
    }

    pub(super) fn at(words: &[AtomicU64], at: usize) -> Self {
        let words = seat(words, at);
        let load = |place: usize| words.get(place).map_or(0, |word| word.load(Ordering::Acquire));
        loop {
            let turn = load(TURN);
            let what = RunningCode(load(WHAT));
            fence(Ordering::Acquire);
            if load(TURN) == turn {
                return Self { turn, what };
            }
        }
    }
}

/// Another thread's seat, to be looked at.
pub(crate) struct SlotSampler {
    words: Arc<MappedWords>,
    at: usize,
}

impl SlotSampler {
    pub(super) fn new(words: &Arc<MappedWords>, at: usize) -> Self {
        Self { words: Arc::clone(words), at }
    }

    /// What the thread runs now.
    pub(crate) fn glance(&self) -> RunningCall {
        RunningCall::at(&self.words, self.at)
    }
}
