//! Seats looked at while their threads run: which call holds a thread, and what runs just now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::mapping::{MappedWords, WORD};
use super::slot::{ID, ID_LENGTH, ID_MAX, RunningCode, TURN, WHAT, seat};

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

    /// Returns the plugin code that the thread runs now, with its request; `None` if it runs none.
    pub(crate) fn running_request(&self) -> Option<RunningRequest> {
        loop {
            let call = self.glance();
            if !call.is_running() {
                return None;
            }

            let words = seat(&self.words, self.at);
            let load = |place: usize| words.get(place).map_or(0, |word| word.load(Ordering::Acquire));
            let length = usize::try_from(load(ID_LENGTH)).unwrap_or(usize::MAX);
            let bytes = (ID..ID + ID_MAX / WORD).flat_map(|place| load(place).to_le_bytes());
            let id: Vec<u8> = bytes.take(length).collect();

            // The id belongs to the call only if the thread has not begun another one meanwhile.
            if self.glance() == call {
                let id = String::from_utf8_lossy(&id).into_owned();
                return Some(RunningRequest { code: call.what, id, is_id_cut: length > ID_MAX });
            }
        }
    }
}

/// The plugin code that a thread runs, and the request that it runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningRequest {
    pub(crate) code: RunningCode,

    /// The request's id, at most [`ID_MAX`] bytes of it. Empty if the request has none, or if the
    /// code runs for no request.
    pub(crate) id: String,

    /// Whether the id is longer than that.
    pub(crate) is_id_cut: bool,
}
