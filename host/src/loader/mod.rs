//! Turns plugin files into running code: inspect, stage, probe, load, close.
//!
//! 1. **Inspect**: reads the ELF structure and the manifest of the file. No code of the file runs.
//!    A constructor would run inside `dlopen`, before the host could read any symbol, so every
//!    check that decides whether a file is trusted comes first.
//! 2. **Stage** ([`PluginDirectory::stage`]): checks owner and mode, and copies the bytes into a
//!    sealed memory file. If keys are trusted, the copy must be signed with one of them. The file
//!    in the directory is never mapped, because a mapped file that is overwritten or truncated
//!    later raises SIGBUS.
//! 3. **Probe** ([`Prober::probe`]): opens, starts and stops the staged copy in a child process,
//!    where a crash, exit or hang is harmless. There, it also describes its methods
//!    (`description`).
//! 4. **Load** ([`StagedPlugin::load`]): opens the copy in this process, and proves that the code
//!    that now runs is that of the copy.
//! 5. **Close** ([`LoadedLibrary::close`]): unmaps the code, or retains it and reports why.
//!
//! Every refusal is a [`LoadError`]: one [`LoadErrorReason`] for each cause, and a text for the
//! operator. The module supports Linux with glibc, on x86_64 and aarch64.

pub(crate) mod backtrace;
pub(crate) mod child_setup;
mod content_hash;
mod contract_cache;
mod contract_cell;
pub(crate) mod description;
mod elf;
mod environment_memory;
mod file_stamp;
mod host_environment;
mod inspection;
mod library;
mod load_error;
mod load_permit;
mod manifest;
mod memory_file;
mod memory_map;
mod plugin_directory;
mod plugin_file;
mod probe;
mod process_guard;
mod process_state;
mod resolved_entry;
mod safe_path;
mod signal_name;
mod signal_state;
mod signature;
mod staged;
mod static_tls;
mod thread_keys;

pub use content_hash::ContentHash;
pub(crate) use contract_cache::ContractCache;
pub(crate) use contract_cell::ContractCell;
pub use description::{MissingPart, PluginDescription, UnfitExample};
pub use file_stamp::FileStamp;
pub use inspection::{Inspection, check_worker_count, claimed_key, inspect};
pub(crate) use library::OpenLibrary;
pub use library::{CloseOutcome, LoadedLibrary};
pub use load_error::{LoadError, LoadErrorReason};
pub(crate) use load_permit::LoadPermit;
pub use plugin_directory::PluginDirectory;
pub use plugin_file::{FILE_MAX, FILE_MIN, plugin_name};
pub use probe::{ProbeDepth, ProbeEntry, Prober};
pub(crate) use probe::{ProbeStep, enter};
pub(crate) use process_guard::{ProcessGuard, StateChanges};
pub(crate) use safe_path::{UnsafeStep, unsafe_steps};
pub(crate) use signal_name::SignalNumber;
pub(crate) use signal_state::SignalMask;
pub(crate) use signature::SUFFIX as SIGNATURE_SUFFIX;
pub use signature::VerifiedSignature;
pub use staged::{KeptImage, StagedPlugin};

#[cfg(test)]
mod tests;
