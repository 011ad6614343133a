//! Reads record slots while their threads run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::{SLOT_CODE, SLOT_SEQUENCE, slot_words};
use super::mapping::MappedWords;
use super::running_code::RunningCode;

/// The plugin code of a thread at one moment. An equal sequence number means the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningCall {
    /// Counts the begins and ends of calls; odd while one runs.
    pub(crate) sequence: u64,

    /// The code that runs, or the last one that ran.
    pub(crate) code: RunningCode,
}

impl RunningCall {
    /// Returns whether the code runs.
    pub(crate) fn is_running(self) -> bool {
        !self.sequence.is_multiple_of(2)
    }

    /// Reads the slot that starts at word `start`.
    ///
    /// The read is repeated if the thread changed the slot meanwhile, so that both values belong to
    /// the same call.
    pub(super) fn read(words: &[AtomicU64], start: usize) -> Self {
        let words = slot_words(words, start);
        let load = |index: usize| words.get(index).map_or(0, |word| word.load(Ordering::Acquire));

        loop {
            let sequence = load(SLOT_SEQUENCE);
            let code = RunningCode::from_word(load(SLOT_CODE));
            fence(Ordering::Acquire);
            if load(SLOT_SEQUENCE) == sequence {
                return Self { sequence, code };
            }
        }
    }
}

/// Reads the record slot of another thread.
pub(crate) struct SlotSampler {
    words: Arc<MappedWords>,
    start: usize,
}

impl SlotSampler {
    pub(super) fn new(words: &Arc<MappedWords>, start: usize) -> Self {
        Self { words: Arc::clone(words), start }
    }

    /// Returns the plugin code that the thread runs now.
    pub(crate) fn sample(&self) -> RunningCall {
        RunningCall::read(&self.words, self.start)
    }
}
