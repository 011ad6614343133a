//! The headers of an ELF file: of the file, of its segments, and of its sections.

use object::LittleEndian as Le;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, Machine, PN_XNUM,
    ProgramHeader64, SHT_NOBITS, SectionHeader64,
};
use object::read::ReadRef;

use super::super::load_error::{LoadError, LoadErrorReason};
use super::bounds::{is_within, malformed, truncated};

/// The processor that this host runs on. A plugin must be built for the same one.
#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = EM_AARCH64;

/// Returns the file header, after it was checked to be that of a shared library for this host.
pub(super) fn file_header<'a, R: ReadRef<'a>>(data: R, size: u64) -> Result<&'a FileHeader64<Le>, LoadError> {
    let magic =
        data.read_bytes_at(0, size.min(ELFMAG.len() as u64)).map_err(|()| truncated("the header lies"))?;
    if !ELFMAG.starts_with(magic) {
        return Err(LoadError::new(
            LoadErrorReason::NotElf,
            "the file is not an ELF file; install the shared library of a plugin",
        ));
    }

    // These two bytes decide how the rest of the header is read.
    let layout = data.read_bytes_at(4, 2).map_err(|()| truncated("the header lies"))?;
    if layout != [ELFCLASS64.0, ELFDATA2LSB.0] {
        return Err(LoadError::new(
            LoadErrorReason::ElfClass,
            "the file is not a 64-bit little-endian ELF file; build it for this machine",
        ));
    }

    let header = data.read_at::<FileHeader64<Le>>(0).map_err(|()| truncated("the header lies"))?;
    let machine = header.e_machine.get(Le);
    if machine != MACHINE {
        let detail = format!(
            "the file was built for {}, but this host runs on {}; build it for the latter",
            machine_name(machine),
            machine_name(MACHINE)
        );
        return Err(LoadError::new(LoadErrorReason::ElfMachine, detail));
    }
    if header.e_type.get(Le) != ET_DYN {
        return Err(LoadError::new(
            LoadErrorReason::ElfType,
            "the file is not a shared library; set crate-type = [\"cdylib\"]",
        ));
    }
    Ok(header)
}

fn machine_name(machine: Machine) -> String {
    match machine {
        EM_X86_64 => "x86_64".to_owned(),
        EM_AARCH64 => "aarch64".to_owned(),
        Machine(number) => format!("ELF machine {number}"),
    }
}

/// Returns the program headers, which describe the segments.
pub(super) fn program_headers<'a, R: ReadRef<'a>>(
    header: &FileHeader64<Le>,
    data: R,
    size: u64,
) -> Result<&'a [ProgramHeader64<Le>], LoadError> {
    let offset = header.e_phoff.get(Le);
    let count = header.e_phnum.get(Le);
    let entry_size = size_of::<ProgramHeader64<Le>>();
    // A library has about ten headers. PN_XNUM says that the real count is in a section header.
    if count == 0 || count == PN_XNUM || usize::from(header.e_phentsize.get(Le)) != entry_size {
        return Err(malformed(
            "the file has no program headers, or they do not have the size of those of 64-bit files",
        ));
    }

    is_within(offset, u64::from(count) * entry_size as u64, size)
        .then(|| data.read_slice_at(offset, usize::from(count)).ok())
        .flatten()
        .ok_or_else(|| truncated("the program headers lie"))
}

/// Checks that all sections lie inside the file.
///
/// The dynamic loader does not use sections, but they come last in the file, so a truncated file
/// has lost them first.
pub(super) fn check_sections<'a, R: ReadRef<'a>>(
    header: &FileHeader64<Le>,
    data: R,
    size: u64,
) -> Result<(), LoadError> {
    let offset = header.e_shoff.get(Le);
    let count = header.e_shnum.get(Le);
    let entry_size = size_of::<SectionHeader64<Le>>();
    if offset == 0 {
        return Ok(());
    }
    if count == 0 || usize::from(header.e_shentsize.get(Le)) != entry_size {
        return Err(malformed(
            "the section headers do not have the size of those of 64-bit files, or there are too many",
        ));
    }
    if !is_within(offset, u64::from(count) * entry_size as u64, size) {
        return Err(truncated("the section headers lie"));
    }

    let sections = data
        .read_slice_at::<SectionHeader64<Le>>(offset, usize::from(count))
        .map_err(|()| truncated("the section headers lie"))?;
    let is_inside = |section: &SectionHeader64<Le>| {
        section.sh_type.get(Le) == SHT_NOBITS
            || is_within(section.sh_offset.get(Le), section.sh_size.get(Le), size)
    };
    if sections.iter().all(is_inside) { Ok(()) } else { Err(truncated("a section lies")) }
}
