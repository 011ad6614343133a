//! The notes of an ELF file: the plugin manifest and the build id of the linker.

use object::LittleEndian as Le;
use object::elf::{FileHeader64, NT_GNU_BUILD_ID, NoteType};
use object::read::elf::NoteIterator;

use jackfield_plugin_api::manifest::{NOTE_OWNER, NOTE_OWNER_LEN, NOTE_TYPE};

use super::super::load_error::LoadError;
use super::bounds::malformed;

/// Bytes of a build id that are shown. Linkers write 8 to 20 bytes; a longer one must not fill the
/// screen.
const BUILD_ID_MAX: usize = 32;

/// The notes that the host uses.
#[derive(Debug, Default)]
pub(super) struct Notes<'a> {
    /// The first build id, in hex.
    pub(super) build_id: Option<String>,

    /// The manifests, in the order of the file.
    pub(super) manifests: Vec<&'a [u8]>,
}

impl<'a> Notes<'a> {
    /// Adds the notes of one note segment.
    pub(super) fn add_segment(&mut self, align: u64, segment: &'a [u8]) -> Result<(), LoadError> {
        let mut notes = NoteIterator::<FileHeader64<Le>>::new(Le, align, segment)
            .map_err(|error| malformed(format_args!("a note segment is invalid: {error}")))?;

        while let Some(note) =
            notes.next().map_err(|error| malformed(format_args!("a note is invalid: {error}")))?
        {
            match note.name() {
                name if name == manifest_owner() && note.n_type(Le) == NoteType(NOTE_TYPE) => {
                    self.manifests.push(note.desc());
                }
                b"GNU" if note.n_type(Le) == NT_GNU_BUILD_ID => {
                    self.build_id.get_or_insert_with(|| hex(note.desc()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the owner of manifest notes. The constant is what the note contains, with a final NUL
/// that `Note::name` leaves out.
fn manifest_owner() -> &'static [u8] {
    &NOTE_OWNER[..NOTE_OWNER_LEN as usize - 1]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().take(BUILD_ID_MAX).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
