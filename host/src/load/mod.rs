//! From a plugin's file to its running code: inspected, staged, probed, loaded, closed.
//!
//! 1. **Inspect**: the file's ELF structure and its manifest are read. Nothing of the file runs, for a constructor
//!    runs inside `dlopen`, before any symbol can be looked at: what decides whether a file is trusted comes first.
//! 2. **Stage** ([`Directory::stage`]): owner and mode are checked, the bytes are copied into a sealed memory
//!    file, and where keys are trusted, the copy must be what one of them signed. The file in the directory is never mapped: overwriting or truncating a mapped file is a SIGBUS later.
//! 3. **Probe** ([`Prober::probe`]): a child process opens, starts and stops the staged copy. There it may crash,
//!    exit or hang without harm.
//! 4. **Load** ([`Staged::load`]): the copy is opened in this process, and proved to be the code that now runs.
//! 5. **Close** ([`Loaded::close`]): the code is unmapped, or stays and is said to be retained.
//!
//! Every refusal is a [`Refused`]: one [`Reason`] for each cause, and words for the operator. Linux with glibc, on
//! x86_64 and aarch64.

mod directory;
mod elf;
mod inspection;
mod library;
mod manifest;
mod mappings;
mod path;
mod probe;
mod refused;
mod signature;
mod staged;

pub use directory::{Directory, Stamp};
pub use inspection::{ContentHash, Inspection, claimed_key, inspect, plugin_name};
pub use library::{Closed, Loaded};
pub use probe::{Entry, Prober, enter};
pub use refused::{Reason, Refused};
pub use signature::Signed;
pub use staged::{Kept, Staged};

#[cfg(test)]
mod tests;

/// The smallest file that is looked into, in bytes: less is empty.
pub const FILE_MIN: u64 = 1;
/// The largest plugin file, in bytes. Debug builds of plugins with many dependencies are some 50 MiB; a copy of the
/// file is kept in memory for as long as its code is loaded.
pub const FILE_MAX: u64 = 256 << 20;
