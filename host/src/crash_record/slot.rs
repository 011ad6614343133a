//! The record slot of one thread: which plugin code it runs, recorded with a few stores.
//!
//! A slot has one writer, its thread. The sequence number tells whether plugin code runs:
//!
//! ```text
//!             begin, resume
//!   idle  ─────────────────────►  running ──┐ nested call begins or ends:
//!  (even) ◄─────────────────────   (odd)  ◄─┘ idle for one store, then running again
//!              end, pause
//! ```
//!
//! The number becomes odd with the last store of a begin and even with the first store of an end,
//! so that a process that crashes in between leaves a complete entry or none. x86 keeps stores in
//! order; there the fences only restrain the compiler.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};

use super::layout::{
    ID_MAX, SLOT_CODE, SLOT_ID, SLOT_ID_LENGTH, SLOT_SEQUENCE, SLOT_WORDS, WORD, slot_words,
};
use super::mapping::MappedWords;
use super::running_code::RunningCode;
use super::sampler::SlotSampler;
use crate::sync::lock;

thread_local! {
    static OWN_SLOT: OnceCell<RecordSlot> = const { OnceCell::new() };
}

/// The first words of the free slots.
pub(super) type FreeSlots = Mutex<Vec<usize>>;

/// The record slot of one thread; dropping it frees the slot for another thread.
pub(crate) struct RecordSlot {
    words: Arc<MappedWords>,
    free: Arc<FreeSlots>,

    /// Index of its first word.
    start: usize,
}

impl RecordSlot {
    /// Takes a free slot; `None` if all are taken.
    pub(super) fn claim(words: &Arc<MappedWords>, free: &Arc<FreeSlots>) -> Option<Self> {
        let start = lock(free).pop()?;
        Some(Self { words: Arc::clone(words), free: Arc::clone(free), start })
    }

    /// Makes `slot` the slot of the current thread, for the rest of the thread's life.
    pub(crate) fn attach(slot: Option<Self>) {
        if let Some(slot) = slot {
            OWN_SLOT.with(|own| {
                // A thread that has a slot already keeps that one.
                let _ = own.set(slot);
            });
        }
    }

    /// Returns a reader of this slot for other threads.
    pub(crate) fn sampler(&self) -> SlotSampler {
        SlotSampler::new(&self.words, self.start)
    }

    fn words(&self) -> &[AtomicU64] {
        slot_words(&self.words, self.start)
    }
}

/// Returns a reader of the slot of the current thread; `None` if it has none.
pub(crate) fn own_slot() -> Option<SlotSampler> {
    // A thread that ends may run plugin code after its slot was dropped.
    OWN_SLOT.try_with(|own| own.get().map(RecordSlot::sampler)).ok().flatten()
}

/// Touches the thread-local in which a thread keeps its slot.
pub(crate) fn touch_thread_local() {
    let _ = own_slot();
}

impl Drop for RecordSlot {
    fn drop(&mut self) {
        // A plugin that calls `exit` makes this thread drop its thread-locals while plugin code
        // still runs. The entry then stays for the post-mortem, and no other thread gets the slot.
        if self.words()[SLOT_SEQUENCE].load(Ordering::Relaxed).is_multiple_of(2) {
            lock(&self.free).push(self.start);
        }
    }
}

/// Runs `work`, which is plugin code, and records it until it returns. `id` is the id of its
/// request, if there is one. On a thread without a record slot, `work` runs unrecorded.
#[inline]
pub(crate) fn run_recorded<T>(code: RunningCode, id: Option<&str>, work: impl FnOnce() -> T) -> T {
    OWN_SLOT.with(|own| {
        let Some(words) = own.get().map(RecordSlot::words).and_then(<[AtomicU64]>::first_chunk::<SLOT_WORDS>)
        else {
            return work();
        };
        let sequence = words[SLOT_SEQUENCE].load(Ordering::Relaxed);
        if sequence % 2 == 1 {
            // A method calls another one on its own thread, for the same request. The inner one
            // runs.
            return run_nested(words, sequence, code, work);
        }

        // The following stores must not become visible before the one that ended the previous call.
        fence(Ordering::Release);
        words[SLOT_CODE].store(code.word(), Ordering::Relaxed);
        record_id(words, id.unwrap_or_default().as_bytes());
        words[SLOT_SEQUENCE].store(sequence.wrapping_add(1), Ordering::Release);

        let result = work();

        words[SLOT_SEQUENCE].store(sequence.wrapping_add(2), Ordering::Release);
        result
    })
}

#[cold]
fn run_nested<T>(
    words: &[AtomicU64; SLOT_WORDS],
    sequence: u64,
    code: RunningCode,
    work: impl FnOnce() -> T,
) -> T {
    let outer = words[SLOT_CODE].load(Ordering::Relaxed);
    replace_code(words, sequence, code.word());

    let result = work();

    replace_code(words, sequence.wrapping_add(2), outer);
    result
}

/// Replaces the code of an entry, from one odd sequence number to the next.
fn replace_code(words: &[AtomicU64; SLOT_WORDS], sequence: u64, code: u64) {
    words[SLOT_SEQUENCE].store(sequence.wrapping_add(1), Ordering::Release);
    fence(Ordering::Release);
    words[SLOT_CODE].store(code, Ordering::Relaxed);
    words[SLOT_SEQUENCE].store(sequence.wrapping_add(2), Ordering::Release);
}

#[inline]
fn record_id(words: &[AtomicU64; SLOT_WORDS], id: &[u8]) {
    words[SLOT_ID_LENGTH].store(id.len() as u64, Ordering::Relaxed);
    let kept = &id[..id.len().min(ID_MAX)];
    let (whole, rest) = kept.as_chunks::<WORD>();
    for (word, bytes) in words[SLOT_ID..].iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }

    if rest.is_empty() {
        return;
    }
    let last = match kept.last_chunk() {
        // Load the last 8 bytes and shift out those that are stored already. This is far cheaper
        // than copying fewer than 8 bytes.
        Some(last) => u64::from_le_bytes(*last) >> (8 * (WORD - rest.len())),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    words[SLOT_ID + whole.len()].store(last, Ordering::Relaxed);
}

/// Runs `work`, host code for which the plugin code of this thread waits, and records that no code
/// of that plugin runs meanwhile. Plugin code that `work` runs for the same request is recorded.
pub(crate) fn run_paused<T>(work: impl FnOnce() -> T) -> T {
    OWN_SLOT.with(|own| {
        let words = own.get().map(RecordSlot::words).and_then(<[AtomicU64]>::first_chunk::<SLOT_WORDS>);
        let is_running =
            |words: &&[AtomicU64; SLOT_WORDS]| words[SLOT_SEQUENCE].load(Ordering::Relaxed) % 2 == 1;
        let Some(words) = words.filter(is_running) else {
            return work();
        };
        let outer = words[SLOT_CODE].load(Ordering::Relaxed);
        increment_sequence(words);

        let result = work();

        fence(Ordering::Release);
        words[SLOT_CODE].store(outer, Ordering::Relaxed);
        increment_sequence(words);
        result
    })
}

fn increment_sequence(words: &[AtomicU64; SLOT_WORDS]) {
    let sequence = words[SLOT_SEQUENCE].load(Ordering::Relaxed);
    words[SLOT_SEQUENCE].store(sequence.wrapping_add(1), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer() -> RunningCode {
        RunningCode::new(7, 1)
    }

    fn inner() -> RunningCode {
        RunningCode::new(8, 2)
    }

    /// A record of one slot, and its list of free slots.
    fn one_slot() -> (Arc<MappedWords>, Arc<FreeSlots>) {
        (Arc::new(MappedWords::in_memory(SLOT_WORDS).unwrap()), Arc::new(Mutex::new(vec![0])))
    }

    /// Runs `test` on a thread that has the one slot of a record, and passes it the record.
    fn on_recorded_thread(test: impl FnOnce(&MappedWords) + Send) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (words, free) = one_slot();
                RecordSlot::attach(RecordSlot::claim(&words, &free));
                test(&words);
            });
        });
    }

    /// The code that the record says runs now.
    fn running(words: &MappedWords) -> Option<u64> {
        let runs = words[SLOT_SEQUENCE].load(Ordering::Relaxed) % 2 == 1;
        runs.then(|| words[SLOT_CODE].load(Ordering::Relaxed))
    }

    fn recorded_id(words: &MappedWords, length: usize) -> Vec<u8> {
        let bytes = words[SLOT_ID..].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        bytes.take(length).collect()
    }

    #[test]
    fn records_code_exactly_while_it_runs() {
        on_recorded_thread(|words| {
            assert_eq!(running(words), None);
            run_recorded(outer(), None, || assert_eq!(running(words), Some(outer().word())));
            assert_eq!(running(words), None);
        });
    }

    #[test]
    fn records_the_inner_one_of_two_nested_calls() {
        on_recorded_thread(|words| {
            run_recorded(outer(), Some("x"), || {
                run_recorded(inner(), Some("y"), || assert_eq!(running(words), Some(inner().word())));
                assert_eq!(running(words), Some(outer().word()));
                assert_eq!(recorded_id(words, 1), b"x", "both calls are for the same request");
            });
            assert_eq!(running(words), None);
        });
    }

    #[test]
    fn records_only_nested_calls_while_paused() {
        on_recorded_thread(|words| {
            run_recorded(outer(), None, || {
                run_paused(|| {
                    assert_eq!(running(words), None);
                    run_recorded(inner(), None, || assert_eq!(running(words), Some(inner().word())));
                    assert_eq!(running(words), None);
                });
                assert_eq!(running(words), Some(outer().word()));
            });
            run_paused(|| assert_eq!(running(words), None));
            assert_eq!(running(words), None);
        });
    }

    #[test]
    fn records_a_request_id_of_any_length_up_to_the_limit() {
        on_recorded_thread(|words| {
            for length in 0..=ID_MAX {
                let id: String = ('!'..).take(length).collect();
                let recorded = run_recorded(outer(), Some(&id), || recorded_id(words, length));
                assert_eq!(recorded, id.as_bytes());
            }
        });
    }

    #[test]
    fn cuts_a_longer_request_id_and_records_its_length() {
        on_recorded_thread(|words| {
            let id = "x".repeat(ID_MAX + 5);
            run_recorded(outer(), Some(&id), || {
                assert_eq!(words[SLOT_ID_LENGTH].load(Ordering::Relaxed), id.len() as u64);
                assert_eq!(recorded_id(words, ID_MAX), id.as_bytes()[..ID_MAX]);
                assert_eq!(words[SLOT_ID + ID_MAX / WORD].load(Ordering::Relaxed), 0);
            });
        });
    }

    #[test]
    fn shows_the_running_call_to_a_sampler() {
        on_recorded_thread(|words| {
            let sampler = OWN_SLOT.with(|own| own.get().unwrap().sampler());
            let idle = sampler.sample();
            let (first, again) = run_recorded(outer(), None, || (sampler.sample(), sampler.sample()));
            assert!(!idle.is_running() && first.is_running());
            assert_eq!((first, first.code), (again, outer()));
            run_recorded(outer(), None, || assert_ne!(sampler.sample(), first, "another call"));
            assert_eq!(running(words), None);
        });
    }

    #[test]
    fn runs_work_on_a_thread_without_a_slot() {
        assert_eq!(run_recorded(outer(), None, || run_paused(|| 5)), 5);
    }

    #[test]
    fn gives_a_dropped_slot_to_the_next_thread() {
        let (words, free) = one_slot();
        let slot = RecordSlot::claim(&words, &free);
        assert!(slot.is_some() && RecordSlot::claim(&words, &free).is_none());
        drop(slot);
        assert!(RecordSlot::claim(&words, &free).is_some());
    }

    #[test]
    fn keeps_the_entry_of_a_thread_that_ends_inside_a_call() {
        let (words, free) = one_slot();
        let slot = RecordSlot::claim(&words, &free).unwrap();
        // `exit` drops the thread-locals of its thread while the code of the thread still runs.
        words[SLOT_SEQUENCE].store(1, Ordering::Relaxed);
        drop(slot);
        assert!(RecordSlot::claim(&words, &free).is_none());
        assert_eq!(words[SLOT_SEQUENCE].load(Ordering::Relaxed), 1);
    }

    #[test]
    fn keeps_the_first_slot_of_a_thread() {
        on_recorded_thread(|words| {
            let (others, free) = one_slot();
            RecordSlot::attach(RecordSlot::claim(&others, &free));
            run_recorded(outer(), None, || {
                assert_eq!((running(words), running(&others)), (Some(outer().word()), None));
            });
            assert!(RecordSlot::claim(&others, &free).is_some(), "the second one is free again");
        });
    }
}
