//! Reads what a plugin file declares, without running any of its code.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jackfield_plugin_api::Manifest;
use jackfield_plugin_api::abi::{C_SYMBOL, root_symbol};
use jackfield_plugin_api::manifest::PluginAbi;
use object::read::ReadCache;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use serde::Serialize;

use super::content_hash::ContentHash;
use super::load_error::{LoadError, LoadErrorReason};
use super::plugin_file::{FILE_MAX, read_content, required_name, too_large};
use super::signature::{self, SignatureFile, VerifiedSignature};
use super::{elf, manifest, safe_path};
use crate::config::{KeyId, TrustedKey};

/// The declarations of a plugin file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The path of the file, as the caller named it.
    pub file: PathBuf,

    /// The name of the plugin: see [`plugin_name`](super::plugin_name).
    pub name: String,

    /// The hash of the whole content.
    pub hash: ContentHash,

    /// The length of the file in bytes.
    pub size: u64,

    /// The signature; `None` if no key is trusted, and therefore no signature was verified.
    pub signed: Option<VerifiedSignature>,

    /// The content of the verified signature file.
    #[serde(skip)]
    pub(crate) signature_text: Option<Arc<str>>,

    /// The build id of the linker in hex, if the file has one.
    pub build_id: Option<String>,

    /// The manifest of the plugin.
    pub manifest: Manifest,

    /// The libraries that the dynamic loader will look for, in the order of the file.
    pub needed: Vec<String>,

    /// The size of its static thread-local storage in bytes, of which a process can load only a
    /// few; `None` if it has none. Linked libraries are not examined.
    pub static_tls: Option<u64>,
}

/// Inspects `file` without running any of its code.
///
/// Owner and mode are not checked, so that every user can inspect every file that the user can
/// read. With `keys`, the file must be signed with one of them.
///
/// # Errors
///
/// The file cannot be read, or a host would refuse its content.
pub fn inspect(file: &Path, keys: &[TrustedKey]) -> Result<Inspection, LoadError> {
    let name = required_name(file.file_name().unwrap_or_default())?;

    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let opened = open(file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| safe_path::refused_opening(file, error))?;
    let stat = fstat(&opened).map_err(|error| safe_path::refused_opening(file, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(LoadError::new(LoadErrorReason::NotARegularFile, safe_path::not_regular(stat.st_mode)));
    }
    if u64::try_from(stat.st_size).is_ok_and(|size| size > FILE_MAX) {
        return Err(too_large());
    }

    let mut opened = File::from(opened);
    let mut hasher = blake3::Hasher::new();
    let size = read_content(&mut opened, |part| {
        hasher.update(part);
        Ok(())
    })?;
    let hash = ContentHash::of_hasher(&hasher);

    let signed = match keys {
        [] => None,
        keys => Some(signature::verify(signature::open, file.as_os_str(), &name, &mut opened, keys)?),
    };
    examine(opened, size).map(|image| image.inspection(file.to_owned(), name, hash, size, signed))
}

/// Returns the key that the signature of `file` claims to be made with. The claim is not verified.
#[must_use]
pub fn claimed_key(file: &Path) -> Option<KeyId> {
    signature::claimed_key(file)
}

/// The declarations in the content of a plugin file.
pub(super) struct ImageSummary {
    build_id: Option<String>,
    manifest: Manifest,
    needed: Vec<String>,
    static_tls: Option<u64>,
}

impl ImageSummary {
    /// Adds what is known about the file.
    pub(super) fn inspection(
        self,
        file: PathBuf,
        name: String,
        hash: ContentHash,
        size: u64,
        signature: Option<SignatureFile>,
    ) -> Inspection {
        let Self { build_id, manifest, needed, static_tls } = self;
        let (signed, signature_text) =
            signature.map(|signature| (signature.verified, signature.text)).unzip();
        Inspection { file, name, hash, size, signed, signature_text, build_id, manifest, needed, static_tls }
    }
}

/// Checks the content of a file of `size` bytes: the ELF structure, the manifest, and that the root
/// module is exported.
pub(super) fn examine(file: File, size: u64) -> Result<ImageSummary, LoadError> {
    // The checks read only the parts that they need. Most of a plugin with debug symbols is not
    // read.
    let cache = ReadCache::new(file);
    let summary = elf::read(&cache, size)?;
    let manifest = manifest::read(&summary.manifests)?;
    let (symbol, is_exported) = match manifest.abi {
        None => (root_symbol(), summary.exports_root),
        Some(PluginAbi::C) => (C_SYMBOL, summary.exports_c_table),
    };
    if !is_exported {
        let symbol = symbol.to_string_lossy();
        let detail = format!("the file has a manifest but does not export {symbol}; link it so that it does");
        let refused = LoadError::new(LoadErrorReason::NoRootModule, detail);
        return Err(refused.with_methods(&manifest.methods));
    }

    let elf::ElfSummary { build_id, needed, static_tls, .. } = summary;
    Ok(ImageSummary { build_id, manifest, needed, static_tls })
}

/// Checks that a plugin which exports its state has one worker process at most.
///
/// # Errors
///
/// `count` is more, and each worker would have a state of its own.
pub fn check_worker_count(name: &str, state_schema: Option<u32>, count: usize) -> Result<(), LoadError> {
    if state_schema.is_none() || count == 1 {
        return Ok(());
    }
    let detail = format!(
        "the plugin exports its state, so only one process can run it, but plugin.{name}.worker.count is {count}; \
         set it to 1"
    );
    Err(LoadError::new(LoadErrorReason::TooManyWorkers, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_several_workers_for_a_plugin_that_exports_its_state() {
        assert!(
            check_worker_count("device", None, 16).is_ok()
                && check_worker_count("device", Some(1), 1).is_ok()
        );
        let refused = check_worker_count("device", Some(1), 2).unwrap_err();
        assert_eq!(refused.reason, LoadErrorReason::TooManyWorkers);
        assert!(refused.detail.contains("plugin.device.worker.count is 2; set it to 1"), "{refused}");
    }
}
