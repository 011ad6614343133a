//! What a plugin's file says of itself, read without running any of it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jackfield_plugin_api::Manifest;
use object::read::ReadCache;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, open};
use serde::{Serialize, Serializer};

use super::load_error::{LoadError, LoadErrorReason};
use super::{FILE_MAX, FILE_MIN, VerifiedSignature, elf, manifest, safe_path, signature};
use crate::config::{KeyId, TrustedKey};

/// The longest plugin name, in bytes: it is part of metric labels, log fields and the memory file's name.
const NAME_MAX: usize = 64;
/// How much of a file is read at a time, in bytes.
pub(super) const READ_SIZE: usize = 128 << 10;

/// BLAKE3 of a file's bytes: the same content is the same plugin, whatever its name or times.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first 12 hex digits: enough to tell generations apart by eye.
    #[must_use]
    pub fn short(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex()[..12].to_owned()
    }

    pub(super) fn of_hasher(hasher: &blake3::Hasher) -> Self {
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a plugin's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The file, as it was named by whoever asked.
    pub file: PathBuf,
    /// The plugin's name: see [`plugin_name`].
    pub name: String,
    /// The hash of the whole content.
    pub hash: ContentHash,
    /// The file's length in bytes.
    pub size: u64,
    /// Who signed it; `None` where no key is trusted, so that nobody asked.
    pub signed: Option<VerifiedSignature>,
    /// The linker's build id in hex, if the file has one.
    pub build_id: Option<String>,
    /// What the plugin declares.
    pub manifest: Manifest,
    /// The libraries that the dynamic loader will look for, in the file's order.
    pub needed: Vec<String>,
}

/// The plugin's name by its file's: the stem without a leading `lib`, as Cargo adds one.
///
/// `None` for what is not `*.so`, and for names other than 1 to 64 ASCII letters, digits, `_` and `-`.
#[must_use]
pub fn plugin_name(file_name: &OsStr) -> Option<String> {
    let stem = file_name.to_str()?.strip_suffix(".so")?;
    let name = stem.strip_prefix("lib").unwrap_or(stem);
    let fits = (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    fits.then(|| name.to_owned())
}

/// As [`plugin_name`], with the refusal that tells what a name must be.
pub(super) fn required_name(file_name: &OsStr) -> Result<String, LoadError> {
    plugin_name(file_name).ok_or_else(|| {
        let shown = String::from_utf8_lossy(file_name.as_bytes());
        let detail = format!(
            "{shown:?} is not NAME.so with a name of 1 to {NAME_MAX} letters, digits, '_' and '-'; rename it"
        );
        LoadError::new(LoadErrorReason::FileName, detail)
    })
}

/// Reads what `file` says of itself, without running any of it. Owner and mode are not looked at, so that anybody
/// may inspect any file that they can read. With `keys`, it must be signed with one of them.
///
/// # Errors
/// The reason for which a host would refuse the file's content, or for which it could not be read.
pub fn inspect(file: &Path, keys: &[TrustedKey]) -> Result<Inspection, LoadError> {
    let name = required_name(file.file_name().unwrap_or_default())?;
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let opened = open(file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| safe_path::refused_opening(file, error))?;
    let stat = fstat(&opened).map_err(|error| safe_path::refused_opening(file, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(LoadError::new(LoadErrorReason::NotARegularFile, safe_path::kind_of(stat.st_mode)));
    }
    if u64::try_from(stat.st_size).is_ok_and(|size| size > FILE_MAX) {
        return Err(too_large());
    }
    let mut opened = File::from(opened);
    let mut hasher = blake3::Hasher::new();
    let size = read_through(&mut opened, |part| {
        hasher.update(part);
        Ok(())
    })?;
    let hash = ContentHash::of_hasher(&hasher);
    let signed = match keys {
        [] => None,
        keys => Some(signature::verify(CWD, file.as_os_str(), &name, &mut opened, keys)?),
    };
    examine(opened, size).map(|image| image.inspection(file.to_owned(), name, hash, size, signed))
}

/// The key that the signature beside `file` says it is made with; nobody has verified that.
#[must_use]
pub fn claimed_key(file: &Path) -> Option<KeyId> {
    signature::claimed(CWD, file.as_os_str())
}

/// Reads `file` to its end in parts, within the limits for a plugin's file, and gives its length.
pub(super) fn read_through(
    file: &mut File,
    mut each: impl FnMut(&[u8]) -> Result<(), LoadError>,
) -> Result<u64, LoadError> {
    let mut buffer = vec![0; READ_SIZE];
    let mut size = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(LoadError::new(LoadErrorReason::Unreadable, error)),
        };
        size += read as u64;
        if size > FILE_MAX {
            return Err(too_large());
        }
        each(&buffer[..read])?;
    }
    if size < FILE_MIN {
        Err(LoadError::new(LoadErrorReason::Empty, "the file has no content"))
    } else {
        Ok(size)
    }
}

pub(super) fn too_large() -> LoadError {
    LoadError::new(LoadErrorReason::TooLarge, format_args!("a plugin's file may have {} MiB", FILE_MAX >> 20))
}

/// What the checks of a file's bytes found.
pub(super) struct ImageSummary {
    build_id: Option<String>,
    manifest: Manifest,
    needed: Vec<String>,
}

impl ImageSummary {
    pub(super) fn inspection(
        self,
        file: PathBuf,
        name: String,
        hash: ContentHash,
        size: u64,
        signed: Option<VerifiedSignature>,
    ) -> Inspection {
        let Self { build_id, manifest, needed } = self;
        Inspection { file, name, hash, size, signed, build_id, manifest, needed }
    }
}

/// Checks the bytes of a file of `size` bytes: the ELF structure, then the manifest, then what both promise.
pub(super) fn examine(file: File, size: u64) -> Result<ImageSummary, LoadError> {
    // Read in pieces as the checks ask for them: a plugin with debug symbols is mostly what nobody asks for.
    let cache = ReadCache::new(file);
    let found = elf::read(&cache, size)?;
    let manifest = manifest::read(&found.manifests)?;
    if !found.exports_root {
        let detail = "the file has a manifest, but does not export the root module's symbol";
        return Err(LoadError::new(LoadErrorReason::NoRootModule, detail));
    }
    Ok(ImageSummary { build_id: found.build_id, manifest, needed: found.needed })
}
