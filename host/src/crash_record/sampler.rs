//! Reads record slots while their threads run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::{ID_MAX, SLOT_CODE, SLOT_ID, SLOT_ID_LENGTH, SLOT_SEQUENCE, WORD, slot_words};
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

    /// Returns the plugin code that the thread runs now, with its request; `None` if it runs none.
    pub(crate) fn running_request(&self) -> Option<RunningRequest> {
        loop {
            let call = self.sample();
            if !call.is_running() {
                return None;
            }

            let words = slot_words(&self.words, self.start);
            let load = |index: usize| words.get(index).map_or(0, |word| word.load(Ordering::Acquire));
            let length = usize::try_from(load(SLOT_ID_LENGTH)).unwrap_or(usize::MAX);
            let bytes = (SLOT_ID..SLOT_ID + ID_MAX / WORD).flat_map(|index| load(index).to_le_bytes());
            let id: Vec<u8> = bytes.take(length).collect();

            // The id belongs to the call only if the thread has not begun another one meanwhile.
            if self.sample() == call {
                let id = String::from_utf8_lossy(&id).into_owned();
                return Some(RunningRequest { code: call.code, id, is_id_cut: length > ID_MAX });
            }
        }
    }
}

/// The plugin code that a thread runs, and the request that it runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningRequest {
    pub(crate) code: RunningCode,

    /// The id of the request, at most [`ID_MAX`] bytes of it. Empty if the request has none, or if
    /// the code runs for no request.
    pub(crate) id: String,

    /// Whether the id is longer than that.
    pub(crate) is_id_cut: bool,
}

#[cfg(test)]
mod tests {
    use super::super::layout::SLOT_WORDS;
    use super::*;

    /// Returns what a thread runs whose slot has this sequence number and an id of this length.
    fn request(sequence: u64, id_length: usize) -> Option<RunningRequest> {
        let words = Arc::new(MappedWords::in_memory(SLOT_WORDS).unwrap());
        words[SLOT_CODE].store(RunningCode::new(7, 1).word(), Ordering::Relaxed);
        words[SLOT_ID_LENGTH].store(id_length as u64, Ordering::Relaxed);
        let kept = SLOT_ID..SLOT_ID + ID_MAX / WORD;
        kept.for_each(|index| words[index].store(u64::from_le_bytes(*b"abcdefgh"), Ordering::Relaxed));
        words[SLOT_SEQUENCE].store(sequence, Ordering::Relaxed);
        SlotSampler::new(&words, 0).running_request()
    }

    #[test]
    fn reads_the_request_of_running_code() {
        let code = RunningCode::new(7, 1);
        let longest = "abcdefgh".repeat(ID_MAX / WORD);
        for (length, id, is_id_cut) in
            [(0, "", false), (3, "abc", false), (ID_MAX, &*longest, false), (ID_MAX + 1, &*longest, true)]
        {
            let expected = RunningRequest { code, id: id.to_owned(), is_id_cut };
            assert_eq!(request(1, length), Some(expected), "{length}");
        }
    }

    #[test]
    fn reads_no_request_between_calls() {
        assert_eq!(request(2, 3), None);
    }
}
