//! A shared library whose bytes can be changed individually, located by their meaning for the
//! loader.
//!
//! Written after the ELF specification and without code of the project. The names are those of
//! `elf.h`.

use std::fs;
use std::path::Path;

pub(super) const PT_NULL: u32 = 0;
pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_GNU_STACK: u32 = 0x6474_e551;
pub(super) const PF_X: u32 = 1;
pub(super) const PF_W: u32 = 2;
pub(super) const DT_NEEDED: u64 = 1;
pub(super) const DT_RPATH: u64 = 15;
pub(super) const DT_TEXTREL: u64 = 22;
pub(super) const DT_RUNPATH: u64 = 29;
/// An entry that a loader can ignore, because it is an optimization.
pub(super) const DT_RELACOUNT: u64 = 0x6fff_fff9;
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;

/// Sizes of a program header and of an entry of the dynamic table, in bytes.
const PROGRAM_HEADER: usize = 56;
const DYNAMIC_ENTRY: usize = 16;

/// The bytes of a 64-bit little-endian library.
pub(super) struct Elf(pub(super) Vec<u8>);

impl Elf {
    pub(super) fn read(path: &Path) -> Self {
        Self(fs::read(path).expect("the library is read"))
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(self.0[at..at + 2].try_into().expect("two bytes")))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    fn offset(&self, at: usize) -> usize {
        usize::try_from(self.u64(at)).expect("an offset in the file")
    }

    /// Returns the positions of the program headers of a kind: `p_type` at 0, `p_flags` at 4,
    /// `p_offset` at 8, `p_vaddr` at 16.
    pub(super) fn program_headers(&self, kind: u32) -> Vec<usize> {
        let (first, count) = (self.offset(32), self.u16(56));
        let headers = (0..count).map(|number| first + number * PROGRAM_HEADER);
        headers.filter(|at| self.u32(*at) == kind).collect()
    }

    /// Returns the position of the first entry of the dynamic table with this tag: `d_tag` at 0,
    /// `d_val` at 8.
    pub(super) fn dynamic_entry(&self, tag: u64) -> usize {
        let table = self.offset(self.program_headers(PT_DYNAMIC)[0] + 8);
        let mut entries =
            (0..).map(|number| table + number * DYNAMIC_ENTRY).take_while(|at| self.u64(*at) != 0);
        entries.find(|at| self.u64(*at) == tag).unwrap_or_else(|| panic!("no entry {tag:#x}"))
    }

    /// Returns the position of the string that an entry of the dynamic table names.
    pub(super) fn string_of(&self, entry: usize) -> usize {
        let address = self.u64(self.dynamic_entry(DT_STRTAB) + 8);
        let loaded = self.program_headers(PT_LOAD).into_iter().find_map(|header| {
            let into = address.checked_sub(self.u64(header + 16))?;
            (into < self.u64(header + 32))
                .then(|| self.offset(header + 8) + usize::try_from(into).expect("small"))
        });
        loaded.expect("the string table is loaded") + self.offset(entry + 8)
    }

    /// Turns an entry that a loader can ignore into one with this tag, whose value is the name of a
    /// library.
    pub(super) fn retag(&mut self, tag: u64) {
        let (at, string) = (self.dynamic_entry(DT_RELACOUNT), self.u64(self.dynamic_entry(DT_NEEDED) + 8));
        self.put(at, &tag.to_le_bytes());
        self.put(at + 8, &string.to_le_bytes());
    }

    /// Adds flags to a program header.
    pub(super) fn add_flags(&mut self, header: usize, flags: u32) {
        let flags = self.u32(header + 4) | flags;
        self.put(header + 4, &flags.to_le_bytes());
    }
}
