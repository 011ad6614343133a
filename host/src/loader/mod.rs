//! From a plugin's file to its running code: inspected, staged, probed, loaded, closed.
//!
//! 1. **Inspect**: the file's ELF structure and its manifest are read. Nothing of the file runs, for a constructor
//!    runs inside `dlopen`, before any symbol can be looked at: what decides whether a file is trusted comes first.
//! 2. **Stage** ([`PluginDirectory::stage`]): owner and mode are checked, the bytes are copied into a sealed memory
//!    file, and where keys are trusted, the copy must be what one of them signed. The file in the directory is never mapped: overwriting or truncating a mapped file is a SIGBUS later.
//! 3. **Probe** ([`Prober::probe`]): a child process opens, starts and stops the staged copy. There it may crash,
//!    exit or hang without harm.
//! 4. **Load** ([`StagedPlugin::load`]): the copy is opened in this process, and proved to be the code that now runs.
//! 5. **Close** ([`LoadedLibrary::close`]): the code is unmapped, or stays and is said to be retained.
//!
//! Every refusal is a [`LoadError`]: one [`LoadErrorReason`] for each cause, and words for the operator. Linux with glibc, on
//! x86_64 and aarch64.

mod elf;
mod inspection;
mod library;
mod load_error;
mod manifest;
mod memory_map;
mod plugin_directory;
mod probe;
mod safe_path;
mod signature;
mod staged;

pub use inspection::{ContentHash, Inspection, claimed_key, inspect, plugin_name};
pub use library::{CloseOutcome, LoadedLibrary};
pub use load_error::{LoadError, LoadErrorReason};
pub use plugin_directory::{FileStamp, PluginDirectory};
pub use probe::{ProbeEntry, Prober, enter};
pub use signature::VerifiedSignature;
pub use staged::{KeptImage, StagedPlugin};

#[cfg(test)]
mod tests;

/// The smallest file that is looked into, in bytes: less is empty.
pub const FILE_MIN: u64 = 1;
/// The largest plugin file, in bytes. Debug builds of plugins with many dependencies are some 50 MiB; a copy of the
/// file is kept in memory for as long as its code is loaded.
pub const FILE_MAX: u64 = 256 << 20;
