//! The record's memory: words of a file that is mapped, so that what was stored last outlives the process.
//!
//! `unsafe` because no crate gives a shared mapping as atomics. Two things are promised, and kept here: the mapping lives
//! as long as the value, and it is only ever looked at through atomics.
#![allow(unsafe_code, reason = "mapped memory as words: the one cast, with its reason")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

/// Words that any thread may load and store.
pub(super) struct MappedWords(MmapRaw);

impl MappedWords {
    /// The first `count` words of a file of at least that size, shared with it.
    ///
    /// The file must not become shorter: a store beyond its end is a SIGBUS. Who else could do that is our own user.
    pub(super) fn of_file(file: &File, count: usize) -> io::Result<Self> {
        MmapOptions::new().len(count * WORD).map_raw(file).map(Self)
    }

    /// So many words that nobody else sees, and that end with the process.
    pub(super) fn in_memory(count: usize) -> io::Result<Self> {
        MmapMut::map_anon(count * WORD).map(|mapped| Self(MmapRaw::from(mapped)))
    }
}

impl Deref for MappedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: mapped readable and writable for as long as `self` lives, at a page's boundary and so aligned, and
        // as long as it says. Every value is a valid one. In this process it is only reached through this slice; the
        // file itself is written by nobody while it is locked (`Recorder::open`), and a stranger who does it all the
        // same changes numbers, never what may be done with them: all of them are checked where they are read.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<AtomicU64>(), self.0.len() / WORD) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file_at_once() {
        let path = std::env::temp_dir().join(format!("jackfield-words-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(64).unwrap();
        let words = MappedWords::of_file(&file, 8).unwrap();
        assert_eq!(words.len(), 8);
        words[3].store(0x0102_0304, Ordering::Relaxed);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes[24..32], 0x0102_0304_u64.to_ne_bytes());
        assert_eq!(MappedWords::in_memory(5).unwrap().len(), 5);
    }
}
