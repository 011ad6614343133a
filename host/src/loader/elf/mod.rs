//! The structure of an ELF file, checked before the dynamic loader may see it.
//!
//! The loader trusts its input: a table that lies beyond the end of the file is a SIGBUS inside `dlopen`, not an
//! error, and what runs before any of our code (constructors, the libraries that it needs) is decided by the file.
//! Names of fields and flags are those of the ELF specification and of glibc's `elf.h`.

mod dynamic;
mod segments;

use object::LittleEndian as Le;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, Machine, NT_GNU_BUILD_ID,
    NoteType, PN_XNUM, ProgramHeader64, SHT_NOBITS, SectionHeader64,
};
use object::read::ReadRef;
use object::read::elf::NoteIterator;

use jackfield_plugin_api::manifest::{NOTE_OWNER, NOTE_OWNER_LEN, NOTE_TYPE};

use super::load_error::{LoadError, LoadErrorReason};
use segments::Segments;

/// The processor that this host runs on, and so must the plugin.
#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = EM_AARCH64;

/// The largest note segment that is read, in bytes: a manifest may have 1 MiB, the other notes are small.
const NOTES_MAX: u64 = 2 << 20;

/// What a sound file says.
#[derive(Debug)]
pub(super) struct ElfSummary<'a> {
    /// The linker's build id, in hex.
    pub(super) build_id: Option<String>,
    /// The notes that are manifests, in the file's order.
    pub(super) manifests: Vec<&'a [u8]>,
    /// The libraries that the loader will look for.
    pub(super) needed: Vec<String>,
    /// Whether the dynamic loader would find the root module's symbol.
    pub(super) exports_root: bool,
}

/// Something that the file says it has lies beyond its end.
fn truncated(what: &str) -> LoadError {
    LoadError::new(
        LoadErrorReason::Truncated,
        format_args!("{what} beyond the end of the file; was it copied whole?"),
    )
}

fn malformed(what: impl std::fmt::Display) -> LoadError {
    LoadError::new(LoadErrorReason::Malformed, what)
}

/// Checks the file of `size` bytes behind `data`, and gives what it says.
///
/// Everything that the file claims to contain must lie inside it, also what no loader would read: a file that is
/// still being copied is then refused at every length but the last (the section headers come last).
pub(super) fn read<'a, R: ReadRef<'a>>(data: R, size: u64) -> Result<ElfSummary<'a>, LoadError> {
    let header = header(data, size)?;
    let segments = Segments::new(program_headers(header, data, size)?, size)?;
    check_sections(header, data, size)?;
    segments.check_protection()?;
    let dynamic = dynamic::read(data, &segments)?;
    let mut found = ElfSummary {
        build_id: None,
        manifests: Vec::new(),
        needed: dynamic.needed,
        exports_root: dynamic.exports_root,
    };
    for (align, notes) in segments.notes(data)? {
        read_notes(align, notes, &mut found)?;
    }
    Ok(found)
}

/// The file's header, once it is one for this host.
fn header<'a, R: ReadRef<'a>>(data: R, size: u64) -> Result<&'a FileHeader64<Le>, LoadError> {
    let magic = data.read_bytes_at(0, size.min(ELFMAG.len() as u64)).map_err(|()| truncated("the header"))?;
    if !ELFMAG.starts_with(magic) {
        return Err(LoadError::new(LoadErrorReason::NotElf, "the file does not begin as an ELF file does"));
    }
    // These two bytes say how to read the rest of the header.
    let layout = data.read_bytes_at(4, 2).map_err(|()| truncated("the header"))?;
    if layout != [ELFCLASS64.0, ELFDATA2LSB.0] {
        return Err(LoadError::new(LoadErrorReason::ElfClass, "not a 64-bit little-endian file"));
    }
    let header = data.read_at::<FileHeader64<Le>>(0).map_err(|()| truncated("the header"))?;
    let machine = header.e_machine.get(Le);
    if machine != MACHINE {
        let detail = format!("built for {}, this host is {}", machine_name(machine), machine_name(MACHINE));
        return Err(LoadError::new(LoadErrorReason::ElfMachine, detail));
    }
    if header.e_type.get(Le) != ET_DYN {
        return Err(LoadError::new(
            LoadErrorReason::ElfType,
            "not a shared library; its crate-type must be \"cdylib\"",
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

fn program_headers<'a, R: ReadRef<'a>>(
    header: &FileHeader64<Le>,
    data: R,
    size: u64,
) -> Result<&'a [ProgramHeader64<Le>], LoadError> {
    let (offset, count) = (header.e_phoff.get(Le), header.e_phnum.get(Le));
    // A library has some ten of them; with PN_XNUM the true number would stand elsewhere.
    if count == 0
        || count == PN_XNUM
        || usize::from(header.e_phentsize.get(Le)) != size_of::<ProgramHeader64<Le>>()
    {
        return Err(malformed("no program headers, or of another size than 64-bit files have"));
    }
    within(offset, u64::from(count) * size_of::<ProgramHeader64<Le>>() as u64, size)
        .then(|| data.read_slice_at(offset, usize::from(count)).ok())
        .flatten()
        .ok_or_else(|| truncated("the program headers lie"))
}

/// Whether `length` bytes from `offset` on are inside `size` bytes.
fn within(offset: u64, length: u64, size: u64) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= size)
}

/// Sections mean nothing to the loader, but a file that lost its end has lost them first.
fn check_sections<'a, R: ReadRef<'a>>(
    header: &FileHeader64<Le>,
    data: R,
    size: u64,
) -> Result<(), LoadError> {
    let (offset, count) = (header.e_shoff.get(Le), header.e_shnum.get(Le));
    if offset == 0 {
        return Ok(());
    }
    if count == 0 || usize::from(header.e_shentsize.get(Le)) != size_of::<SectionHeader64<Le>>() {
        return Err(malformed("section headers of another size than 64-bit files have, or too many"));
    }
    if !within(offset, u64::from(count) * size_of::<SectionHeader64<Le>>() as u64, size) {
        return Err(truncated("the section headers lie"));
    }
    let sections = data
        .read_slice_at::<SectionHeader64<Le>>(offset, usize::from(count))
        .map_err(|()| truncated("the section headers lie"))?;
    let inside = |section: &SectionHeader64<Le>| {
        section.sh_type.get(Le) == SHT_NOBITS
            || within(section.sh_offset.get(Le), section.sh_size.get(Le), size)
    };
    if sections.iter().all(inside) { Ok(()) } else { Err(truncated("a section lies")) }
}

/// Takes the manifests and the build id out of one note segment.
fn read_notes<'a>(align: u64, notes: &'a [u8], found: &mut ElfSummary<'a>) -> Result<(), LoadError> {
    let mut notes = NoteIterator::<FileHeader64<Le>>::new(Le, align, notes)
        .map_err(|error| malformed(format_args!("a note segment: {error}")))?;
    while let Some(note) = notes.next().map_err(|error| malformed(format_args!("a note: {error}")))? {
        match note.name() {
            // `name` comes without the ending NUL, and the constants are the note's bytes with it.
            name if name == owner() && note.n_type(Le) == NoteType(NOTE_TYPE) => {
                found.manifests.push(note.desc())
            }
            b"GNU" if note.n_type(Le) == NT_GNU_BUILD_ID => {
                found.build_id.get_or_insert_with(|| hex(note.desc()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn owner() -> &'static [u8] {
    &NOTE_OWNER[..NOTE_OWNER_LEN as usize - 1]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    // Linkers write 8 to 20 bytes; a longer one is no reason to fill a screen.
    const LONGEST: usize = 32;
    bytes.iter().take(LONGEST).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
