//! The layout of the file `running`: a header, followed by one record slot for each thread.
//!
//! All fields are 64-bit words in the byte order of the machine, because the record is only read on
//! the machine that wrote it. The exception is the request id, whose bytes are stored in order.

use std::sync::atomic::AtomicU64;

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

/// Words of a record slot: two cache lines, so that no two threads write to the same line.
pub(super) const SLOT_WORDS: usize = 16;

/// Threads that can have a record slot. The code that further threads run is not recorded.
pub(super) const SLOT_COUNT: usize = 1024;

/// Words before the first record slot.
const HEADER_WORDS: usize = SLOT_WORDS;

/// Words of the record.
pub(super) const RECORD_WORDS: usize = HEADER_WORDS + SLOT_COUNT * SLOT_WORDS;

/// Bytes of the record.
pub(super) const RECORD_SIZE: usize = RECORD_WORDS * WORD;

/// Header word: [`MAGIC`].
pub(super) const HEADER_MAGIC: usize = 0;
/// Header word: [`LAYOUT_VERSION`].
pub(super) const HEADER_VERSION: usize = 1;
/// Header word: 1 from the start of a host to its regular end.
pub(super) const HEADER_SERVING: usize = 2;
/// Header word: the offset up to which the file `output` has been logged.
pub(super) const HEADER_OUTPUT: usize = 3;

/// Slot word: a counter that is odd while plugin code runs (`slot`).
pub(super) const SLOT_SEQUENCE: usize = 0;
/// Slot word: a [`RunningCode`](super::RunningCode).
pub(super) const SLOT_CODE: usize = 1;
/// Slot word: bytes of the request id, before it was cut to [`ID_MAX`].
pub(super) const SLOT_ID_LENGTH: usize = 2;
/// First slot word of the request id.
pub(super) const SLOT_ID: usize = 3;

/// Bytes of a request id that are recorded.
pub(super) const ID_MAX: usize = 64;

const _: () = assert!(SLOT_ID + ID_MAX / WORD <= SLOT_WORDS);

/// The first word of every record.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"jackfrec");

/// Version of this layout. It is incremented with every change.
pub(super) const LAYOUT_VERSION: u64 = 1;

/// Returns the index of the first word of a slot.
pub(super) const fn slot_start(number: usize) -> usize {
    HEADER_WORDS + number * SLOT_WORDS
}

/// Returns the words of the slot that starts at `start`, or nothing outside of the record.
pub(super) fn slot_words(words: &[AtomicU64], start: usize) -> &[AtomicU64] {
    words.get(start..start + SLOT_WORDS).unwrap_or_default()
}
