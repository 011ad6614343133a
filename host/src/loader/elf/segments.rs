//! The segments of an ELF file. They must lie inside the file, be in order, and have a protection
//! that plugins may have.

use object::LittleEndian as Le;
use object::elf::{
    PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_LOAD, PT_NOTE, PT_TLS, ProgramFlags, ProgramHeader64,
    ProgramType,
};
use object::read::ReadRef;

use super::super::load_error::{LoadError, LoadErrorReason};
use super::bounds::{is_within, malformed, truncated};

/// The largest note segment that is read, in bytes. A manifest may have 1 MiB; other notes are
/// small.
const NOTES_MAX: u64 = 2 << 20;

/// The checked segments.
pub(super) struct Segments<'a>(&'a [ProgramHeader64<Le>]);

impl<'a> Segments<'a> {
    /// Checks that all segments lie inside the file of `size` bytes, and that they are in order.
    pub(super) fn new(headers: &'a [ProgramHeader64<Le>], size: u64) -> Result<Self, LoadError> {
        let is_inside = |segment: &ProgramHeader64<Le>| {
            is_within(segment.p_offset.get(Le), segment.p_filesz.get(Le), size)
        };
        if !headers.iter().all(is_inside) {
            return Err(truncated("a segment lies"));
        }

        let segments = Self(headers);
        segments.check_order()?;
        Ok(segments)
    }

    /// Returns the segments of one type.
    fn of(&self, kind: ProgramType) -> impl Iterator<Item = &'a ProgramHeader64<Le>> {
        self.0.iter().filter(move |segment| segment.p_type.get(Le) == kind)
    }

    /// Checks that the loaded segments do not overlap and are in ascending order.
    ///
    /// glibc reserves the addresses from the first to the last loaded segment of the table, without
    /// a check that they ascend.
    fn check_order(&self) -> Result<(), LoadError> {
        let mut end = None;
        for segment in self.of(PT_LOAD) {
            let start = segment.p_vaddr.get(Le);
            let fits = segment.p_filesz.get(Le) <= segment.p_memsz.get(Le);
            let ascends = end.is_none_or(|end| end <= start);
            end = start.checked_add(segment.p_memsz.get(Le));
            if !fits || !ascends || end.is_none() {
                return Err(malformed("the loaded segments overlap or are not in ascending order"));
            }
        }
        if end.is_none() { Err(malformed("the file has no segment to load")) } else { Ok(()) }
    }

    /// Checks that the stack would not be executable and code not writable.
    pub(super) fn check_protection(&self) -> Result<(), LoadError> {
        let has = |segment: &ProgramHeader64<Le>, flag: ProgramFlags| segment.p_flags.get(Le).0 & flag.0 != 0;
        let stack = self.of(PT_GNU_STACK).next();
        // Without the header, glibc uses the default of the processor, which is an executable
        // stack.
        if stack.is_none_or(|stack| has(stack, PF_X)) {
            let detail = "the file requires executable stacks, which all threads of the process would get; \
                          link it with -z noexecstack";
            return Err(LoadError::new(LoadErrorReason::ExecutableStack, detail));
        }
        if self.of(PT_LOAD).any(|segment| has(segment, PF_W) && has(segment, PF_X)) {
            return Err(LoadError::new(
                LoadErrorReason::WritableCode,
                "a segment is both writable and executable; link the file without -N",
            ));
        }
        Ok(())
    }

    /// Returns the file offset of `length` bytes at `address`, if the file contains them.
    pub(super) fn offset_of(&self, address: u64, length: u64) -> Option<u64> {
        self.of(PT_LOAD).find_map(|segment| {
            let into = address.checked_sub(segment.p_vaddr.get(Le))?;
            is_within(into, length, segment.p_filesz.get(Le)).then(|| segment.p_offset.get(Le) + into)
        })
    }

    /// Returns whether `address` is mapped.
    pub(super) fn maps(&self, address: u64) -> bool {
        self.of(PT_LOAD).any(|segment| {
            address.checked_sub(segment.p_vaddr.get(Le)).is_some_and(|into| into < segment.p_memsz.get(Le))
        })
    }

    /// Returns the offset and the length of the dynamic table.
    ///
    /// The dynamic loader reads the table at its address, the host in the file; both must be the
    /// same bytes.
    pub(super) fn dynamic(&self) -> Result<(u64, u64), LoadError> {
        let mut tables = self.of(PT_DYNAMIC);
        let (Some(table), None) = (tables.next(), tables.next()) else {
            return Err(LoadError::new(
                LoadErrorReason::ElfType,
                "the file is not a shared library, because it has no dynamic table; set crate-type = [\"cdylib\"]",
            ));
        };

        let offset = table.p_offset.get(Le);
        let length = table.p_filesz.get(Le);
        if self.offset_of(table.p_vaddr.get(Le), length) != Some(offset) {
            return Err(malformed("the dynamic table in memory is not the one in the file"));
        }
        Ok((offset, length))
    }

    /// Returns the size of the thread-local variables in bytes, 0 if there are none.
    pub(super) fn tls_size(&self) -> u64 {
        let size = |segment: &ProgramHeader64<Le>| {
            let align = segment.p_align.get(Le).max(1);
            segment.p_memsz.get(Le).checked_next_multiple_of(align).unwrap_or(u64::MAX)
        };
        self.of(PT_TLS).map(size).max().unwrap_or(0)
    }

    /// Returns the alignment and the bytes of every note segment.
    pub(super) fn notes<R: ReadRef<'a>>(&self, data: R) -> Result<Vec<(u64, &'a [u8])>, LoadError> {
        self.of(PT_NOTE)
            .map(|segment| {
                let length = segment.p_filesz.get(Le);
                if length > NOTES_MAX {
                    return Err(malformed(format_args!("the notes are larger than {} MiB", NOTES_MAX >> 20)));
                }
                let notes = data.read_bytes_at(segment.p_offset.get(Le), length);
                notes.map(|notes| (segment.p_align.get(Le), notes)).map_err(|()| truncated("a note lies"))
            })
            .collect()
    }
}
