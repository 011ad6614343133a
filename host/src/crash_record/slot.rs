//! One thread's place in the record: what of which plugin it runs, in a few stores and nothing else.
//!
//! A seat has one writer, its thread. A turn that is odd says that a plugin's code runs; it is stored last when a call
//! begins and first when it ends, so that a process which dies in between leaves a whole entry or none. x86 keeps stores
//! in order by itself: there the fences are the compiler's alone.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};

use super::mapping::{MappedWords, WORD};
use super::sampler::SlotSampler;
use crate::sync::lock;

/// Words of a seat: two cache lines, so that no two threads write to the same.
pub(super) const SEAT: usize = 16;
/// Bytes of a request's id that are kept.
pub(super) const ID_MAX: usize = 64;

/// Where each thing is in a seat.
pub(super) const TURN: usize = 0;
pub(super) const WHAT: usize = 1;
pub(super) const ID_LENGTH: usize = 2;
pub(super) const ID: usize = 3;

const _: () = assert!(ID + ID_MAX / WORD <= SEAT);

thread_local! {
    static OWN: OnceCell<RecordSlot> = const { OnceCell::new() };
}

/// A generation's number and a method's in one word, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningCode(pub(super) u64);

impl RunningCode {
    /// `generation` counts from 1.
    pub(crate) fn new(generation: u64, method: u32) -> Self {
        // More generations than fit are more than a process lives to see; then the number is a wrong one.
        let generation = u32::try_from(generation).unwrap_or(u32::MAX);
        Self(u64::from(generation) << 32 | u64::from(method))
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> 32
    }

    pub(crate) fn method(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }
}

/// The seats that are free.
pub(super) type FreeSlots = Mutex<Vec<usize>>;

/// One thread's seat; another may have it once this is dropped.
pub(crate) struct RecordSlot {
    words: Arc<MappedWords>,
    free: Arc<FreeSlots>,
    /// Its first word.
    at: usize,
}

impl RecordSlot {
    pub(super) fn take(words: &Arc<MappedWords>, free: &Arc<FreeSlots>) -> Option<Self> {
        let at = lock(free).pop()?;
        Some(Self { words: Arc::clone(words), free: Arc::clone(free), at })
    }

    /// This thread's from now on. A thread has one for its whole life.
    pub(crate) fn sit_down(seat: Option<Self>) {
        if let Some(seat) = seat {
            OWN.with(|own| {
                // One that sits already keeps its seat.
                let _ = own.set(seat);
            });
        }
    }

    /// The seat as others see it.
    pub(crate) fn watched(&self) -> SlotSampler {
        SlotSampler::new(&self.words, self.at)
    }

    fn words(&self) -> &[AtomicU64] {
        seat(&self.words, self.at)
    }
}

/// Returns a reader of this thread's slot; `None` if it has none.
pub(crate) fn own_slot() -> Option<SlotSampler> {
    // A thread that ends may run plugin code after its slot was dropped.
    OWN.try_with(|own| own.get().map(RecordSlot::watched)).ok().flatten()
}

impl Drop for RecordSlot {
    fn drop(&mut self) {
        // A plugin that calls `exit` has this thread drop its thread-locals while its code still runs: what the record
        // says is left as it is, and the seat to nobody else.
        if self.words()[TURN].load(Ordering::Relaxed).is_multiple_of(2) {
            lock(&self.free).push(self.at);
        }
    }
}

pub(super) fn seat(words: &[AtomicU64], at: usize) -> &[AtomicU64] {
    words.get(at..at + SEAT).unwrap_or_default()
}

/// Runs `work`, which is code of a plugin's, and has the record say so until it ends; `id` is the request's, if it has
/// one. Without a seat it is run all the same.
#[inline]
pub(crate) fn running<T>(what: RunningCode, id: Option<&str>, work: impl FnOnce() -> T) -> T {
    OWN.with(|own| {
        let Some(words) = own.get().map(RecordSlot::words).and_then(<[AtomicU64]>::first_chunk::<SEAT>)
        else {
            return work();
        };
        let turn = words[TURN].load(Ordering::Relaxed);
        if turn % 2 == 1 {
            // A method that calls another on its own thread, for the same request: the inner one runs.
            return within(words, turn, what, work);
        }
        // What follows must not be seen before the turn that ended the call before.
        fence(Ordering::Release);
        words[WHAT].store(what.0, Ordering::Relaxed);
        note_id(words, id.unwrap_or_default().as_bytes());
        words[TURN].store(turn.wrapping_add(1), Ordering::Release);
        let done = work();
        words[TURN].store(turn.wrapping_add(2), Ordering::Release);
        done
    })
}

#[cold]
fn within<T>(words: &[AtomicU64; SEAT], turn: u64, what: RunningCode, work: impl FnOnce() -> T) -> T {
    let outer = words[WHAT].load(Ordering::Relaxed);
    change(words, turn, what.0);
    let done = work();
    change(words, turn.wrapping_add(2), outer);
    done
}

/// Changes what an entry says, from one odd turn to the next.
fn change(words: &[AtomicU64; SEAT], turn: u64, what: u64) {
    words[TURN].store(turn.wrapping_add(1), Ordering::Release);
    fence(Ordering::Release);
    words[WHAT].store(what, Ordering::Relaxed);
    words[TURN].store(turn.wrapping_add(2), Ordering::Release);
}

#[inline]
fn note_id(words: &[AtomicU64; SEAT], id: &[u8]) {
    words[ID_LENGTH].store(id.len() as u64, Ordering::Relaxed);
    let kept = &id[..id.len().min(ID_MAX)];
    let (whole, rest) = kept.as_chunks::<WORD>();
    for (word, bytes) in words[ID..].iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if rest.is_empty() {
        return;
    }
    let last = match kept.last_chunk() {
        // The last whole word's worth of bytes without those that are stored already: far cheaper than a copy of a few.
        Some(last) => u64::from_le_bytes(*last) >> (8 * (WORD - rest.len())),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    words[ID + whole.len()].store(last, Ordering::Relaxed);
}

/// Runs `work`, in which this thread does something for a plugin that waits for it: no code of that plugin runs here
/// meanwhile. What runs instead, for the same request, is noted as ever.
pub(crate) fn paused<T>(work: impl FnOnce() -> T) -> T {
    OWN.with(|own| {
        let words = own.get().map(RecordSlot::words).and_then(<[AtomicU64]>::first_chunk::<SEAT>);
        let Some(words) = words.filter(|words| words[TURN].load(Ordering::Relaxed) % 2 == 1) else {
            return work();
        };
        let outer = words[WHAT].load(Ordering::Relaxed);
        words[TURN].store(words[TURN].load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        let done = work();
        fence(Ordering::Release);
        words[WHAT].store(outer, Ordering::Relaxed);
        words[TURN].store(words[TURN].load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::super::sampler::RunningRequest;
    use super::*;

    /// A record of one seat, this thread's.
    fn sit() -> Arc<MappedWords> {
        let words = Arc::new(MappedWords::in_memory(SEAT).unwrap());
        let free: Arc<FreeSlots> = Arc::new(Mutex::new(vec![0]));
        let seat = RecordSlot::take(&words, &free);
        assert!(seat.is_some() && RecordSlot::take(&words, &free).is_none());
        RecordSlot::sit_down(seat);
        words
    }

    fn now(words: &MappedWords) -> (bool, u64) {
        (words[TURN].load(Ordering::Relaxed) % 2 == 1, words[WHAT].load(Ordering::Relaxed))
    }

    #[test]
    fn what_runs_is_noted_while_it_runs() {
        let words = sit();
        let (outer, inner) = (RunningCode::new(7, 1), RunningCode::new(8, 2));
        let id = "x".repeat(ID_MAX + 5);
        running(outer, Some(&id), || {
            assert_eq!(now(&words), (true, outer.0));
            assert_eq!(words[ID_LENGTH].load(Ordering::Relaxed), id.len() as u64);
            assert_eq!(words[ID + 7].load(Ordering::Relaxed).to_ne_bytes(), *b"xxxxxxxx");
            assert_eq!(words.get(ID + 8).map(|word| word.load(Ordering::Relaxed)), Some(0));
            running(inner, Some("y"), || assert_eq!(now(&words), (true, inner.0)));
            assert_eq!(now(&words), (true, outer.0));
            paused(|| {
                assert!(!now(&words).0);
                running(inner, Some(&id), || assert_eq!(now(&words), (true, inner.0)));
                assert!(!now(&words).0);
            });
            assert_eq!(now(&words), (true, outer.0));
        });
        assert!(!now(&words).0);
        for length in 0..=ID_MAX {
            let id: String = ('!'..).take(length).collect();
            let noted = || words[ID..].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
            let noted = || noted().take(length).collect::<Vec<_>>();
            assert_eq!(running(outer, Some(&id), noted), id.as_bytes());
        }
        paused(|| assert!(!now(&words).0));
        assert_eq!((outer.generation(), outer.method()), (7, 1));
    }

    #[test]
    fn reads_the_request_of_the_own_thread() {
        assert!(own_slot().is_none());
        let _words = sit();
        let code = RunningCode::new(7, 1);
        let request = || own_slot().and_then(|slot| slot.running_request());
        assert_eq!(request(), None);

        for (id, kept, is_id_cut) in [
            (Some("id-1".to_owned()), "id-1".to_owned(), false),
            (None, String::new(), false),
            (Some("y".repeat(ID_MAX)), "y".repeat(ID_MAX), false),
            (Some("z".repeat(ID_MAX + 1)), "z".repeat(ID_MAX), true),
        ] {
            let found = running(code, id.as_deref(), request);
            assert_eq!(found, Some(RunningRequest { code, id: kept, is_id_cut }));
        }
    }

    #[test]
    fn a_thread_without_a_seat_runs_all_the_same_and_a_seat_that_is_left_is_taken_again() {
        assert_eq!(running(RunningCode::new(1, 1), None, || paused(|| 5)), 5);
        let words = Arc::new(MappedWords::in_memory(SEAT).unwrap());
        let free: Arc<FreeSlots> = Arc::new(Mutex::new(vec![0]));
        drop(RecordSlot::take(&words, &free));
        let seat = RecordSlot::take(&words, &free).unwrap();
        // As `exit` leaves it, which drops a thread's own while its code runs.
        words[TURN].store(1, Ordering::Relaxed);
        drop(seat);
        assert!(RecordSlot::take(&words, &free).is_none() && words[TURN].load(Ordering::Relaxed) == 1);
    }
}
