//! The memory of the record: words of a mapped file, so that a store outlives the process.
//!
//! A store into mapped memory costs no system call, and the kernel keeps it after the process has
//! ended. The module needs `unsafe` because no crate offers a shared mapping as atomics. It upholds
//! two promises: the mapping lives as long as the value, and it is only accessed through atomics.
#![allow(unsafe_code, reason = "one cast turns mapped memory into atomic words")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use super::layout::WORD;

/// Words that any thread may load and store.
pub(super) struct MappedWords(MmapRaw);

impl MappedWords {
    /// Maps the first `count` words of `file`, which must have at least that size.
    ///
    /// The file must not become shorter: a store beyond its end raises SIGBUS. Only processes of
    /// the host's own user can shorten it.
    pub(super) fn of_file(file: &File, count: usize) -> io::Result<Self> {
        MmapOptions::new().len(count * WORD).map_raw(file).map(Self)
    }

    /// Maps `count` anonymous words, which end with the process.
    pub(super) fn in_memory(count: usize) -> io::Result<Self> {
        MmapMut::map_anon(count * WORD).map(|mapped| Self(MmapRaw::from(mapped)))
    }
}

impl Deref for MappedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: The mapping is readable and writable, starts at a page boundary and is therefore
        // aligned, has the given length, and lives as long as `self`. Every bit pattern is a valid
        // value. This process only accesses it through this slice, and no other host writes to the
        // file while it is locked (`RecordDirectory::open`). Another process that writes to it
        // nevertheless changes numbers, which are checked where they are read, and nothing else.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<AtomicU64>(), self.0.len() / WORD) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn writes_a_stored_word_to_the_file_without_a_system_call() {
        let path = std::env::temp_dir().join(format!("jackfield-words-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(64).unwrap();
        let words = MappedWords::of_file(&file, 8).unwrap();
        assert_eq!(words.len(), 8);

        words[3].store(0x0102_0304, Ordering::Relaxed);

        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes[24..32], 0x0102_0304_u64.to_ne_bytes());
    }

    #[test]
    fn maps_as_many_anonymous_words_as_requested() {
        assert_eq!(MappedWords::in_memory(5).unwrap().len(), 5);
    }
}
