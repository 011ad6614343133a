//! The structure of an ELF file, checked before the dynamic loader reads it.
//!
//! The dynamic loader trusts its input. A table that lies beyond the end of the file raises SIGBUS
//! inside `dlopen` instead of an error, and the file decides what runs before any code of the host:
//! its constructors and the libraries that it needs. Names of fields and flags are those of the ELF
//! specification and of glibc's `elf.h`.

mod bounds;
mod dynamic;
mod header;
mod notes;
mod segments;

use object::read::ReadRef;

use super::load_error::LoadError;
use dynamic::DynamicSection;
use notes::Notes;
use segments::Segments;

/// The parts of a checked file that the host uses.
#[derive(Debug)]
pub(super) struct ElfSummary<'a> {
    /// The build id of the linker, in hex.
    pub(super) build_id: Option<String>,

    /// The notes that are manifests, in the order of the file.
    pub(super) manifests: Vec<&'a [u8]>,

    /// The libraries that the dynamic loader will look for.
    pub(super) needed: Vec<String>,

    /// Whether the dynamic loader would find the symbol of the root module.
    pub(super) exports_root: bool,

    /// Whether it would find that of a plugin in C.
    pub(super) exports_c_table: bool,

    /// The size of its static thread-local storage in bytes; `None` if it has none.
    pub(super) static_tls: Option<u64>,
}

/// Checks the file of `size` bytes behind `data`.
///
/// Everything that the file claims to contain must lie inside it, even if no loader reads it. A
/// file that is still being copied is therefore refused at every length but the last, because the
/// section headers come last.
pub(super) fn read<'a, R: ReadRef<'a>>(data: R, size: u64) -> Result<ElfSummary<'a>, LoadError> {
    let header = header::file_header(data, size)?;
    let segments = Segments::new(header::program_headers(header, data, size)?, size)?;
    header::check_sections(header, data, size)?;
    segments.check_protection()?;
    let dynamic = dynamic::read(data, &segments)?;

    let mut notes = Notes::default();
    for (align, segment) in segments.notes(data)? {
        notes.add_segment(align, segment)?;
    }

    let Notes { build_id, manifests } = notes;
    // Without variables of its own, the file only uses those of libraries such as libc.
    let static_tls = Some(segments.tls_size()).filter(|size| dynamic.has_static_tls && *size > 0);
    let DynamicSection { needed, exports_root, exports_c_table, .. } = dynamic;
    Ok(ElfSummary { build_id, manifests, needed, exports_root, exports_c_table, static_tls })
}
