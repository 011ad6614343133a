//! The segments of an ELF file: inside the file, in order, and with the protection that a plugin may have.

use object::LittleEndian as Le;
use object::elf::{
    PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_LOAD, PT_NOTE, ProgramFlags, ProgramHeader64, ProgramType,
};
use object::read::ReadRef;

use super::super::load_error::{LoadError, LoadErrorReason};
use super::{NOTES_MAX, malformed, truncated, within};

/// The checked segments.
pub(super) struct Segments<'a>(&'a [ProgramHeader64<Le>]);

impl<'a> Segments<'a> {
    /// Takes the segments of a file of `size` bytes, all of which must lie inside it.
    pub(super) fn new(headers: &'a [ProgramHeader64<Le>], size: u64) -> Result<Self, LoadError> {
        if !headers.iter().all(|segment| within(segment.p_offset.get(Le), segment.p_filesz.get(Le), size)) {
            return Err(truncated("a segment lies"));
        }
        let segments = Self(headers);
        segments.check_order()?;
        Ok(segments)
    }

    fn of(&self, kind: ProgramType) -> impl Iterator<Item = &'a ProgramHeader64<Le>> {
        self.0.iter().filter(move |segment| segment.p_type.get(Le) == kind)
    }

    /// glibc reserves the room from the first to the last loaded segment as they stand in the table, and does not
    /// look whether they ascend.
    fn check_order(&self) -> Result<(), LoadError> {
        let mut end = None;
        for segment in self.of(PT_LOAD) {
            let start = segment.p_vaddr.get(Le);
            let sound =
                segment.p_filesz.get(Le) <= segment.p_memsz.get(Le) && end.is_none_or(|end| end <= start);
            end = start.checked_add(segment.p_memsz.get(Le));
            if !sound || end.is_none() {
                return Err(malformed("the loaded segments overlap, or are not in ascending order"));
            }
        }
        if end.is_none() { Err(malformed("nothing of the file is to be loaded")) } else { Ok(()) }
    }

    /// The stack stays without execution, and code without writing.
    pub(super) fn check_protection(&self) -> Result<(), LoadError> {
        let has = |segment: &ProgramHeader64<Le>, flag: ProgramFlags| segment.p_flags.get(Le).0 & flag.0 != 0;
        let stack = self.of(PT_GNU_STACK).next();
        // Without the header, glibc takes the processor's default, which is an executable stack.
        if stack.is_none_or(|stack| has(stack, PF_X)) {
            let detail = "it asks for executable stacks, and all stacks of the process would become so; link it with \
                          -z noexecstack";
            return Err(LoadError::new(LoadErrorReason::ExecutableStack, detail));
        }
        if self.of(PT_LOAD).any(|segment| has(segment, PF_W) && has(segment, PF_X)) {
            return Err(LoadError::new(
                LoadErrorReason::WritableCode,
                "a segment is both writable and executable",
            ));
        }
        Ok(())
    }

    /// Where `length` bytes at the address `address` lie in the file, if they do.
    pub(super) fn offset_of(&self, address: u64, length: u64) -> Option<u64> {
        self.of(PT_LOAD).find_map(|segment| {
            let into = address.checked_sub(segment.p_vaddr.get(Le))?;
            within(into, length, segment.p_filesz.get(Le)).then(|| segment.p_offset.get(Le) + into)
        })
    }

    /// Whether something at `address` is mapped.
    pub(super) fn maps(&self, address: u64) -> bool {
        self.of(PT_LOAD).any(|segment| {
            address.checked_sub(segment.p_vaddr.get(Le)).is_some_and(|into| into < segment.p_memsz.get(Le))
        })
    }

    /// Offset and length of the dynamic table, which the loader reads at its address and we in the file.
    pub(super) fn dynamic(&self) -> Result<(u64, u64), LoadError> {
        let mut tables = self.of(PT_DYNAMIC);
        let (Some(table), None) = (tables.next(), tables.next()) else {
            return Err(LoadError::new(
                LoadErrorReason::ElfType,
                "not a shared library: it has no dynamic table",
            ));
        };
        let (offset, length) = (table.p_offset.get(Le), table.p_filesz.get(Le));
        if self.offset_of(table.p_vaddr.get(Le), length) != Some(offset) {
            return Err(malformed("the dynamic table is not loaded from where the file has it"));
        }
        Ok((offset, length))
    }

    /// Alignment and bytes of every note segment.
    pub(super) fn notes<R: ReadRef<'a>>(&self, data: R) -> Result<Vec<(u64, &'a [u8])>, LoadError> {
        self.of(PT_NOTE)
            .map(|segment| {
                let length = segment.p_filesz.get(Le);
                if length > NOTES_MAX {
                    return Err(malformed(format_args!("notes of more than {} MiB", NOTES_MAX >> 20)));
                }
                let notes = data.read_bytes_at(segment.p_offset.get(Le), length);
                notes.map(|notes| (segment.p_align.get(Le), notes)).map_err(|()| truncated("a note lies"))
            })
            .collect()
    }
}
