//! The specification of a worker process: its plugin and its limits. It is the first message that
//! the process gets.

use std::path::PathBuf;
use std::time::Duration;

use jackfield_plugin_api::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The beginning of the name (`argv[0]`) of a worker process. The name of the plugin, a slash and
/// the number of the generation follow.
pub(crate) const PROCESS_NAME: &str = "jackfield: ";

/// The specification of a worker process. The plugin itself is its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerSpec {
    /// The process id of the host. The worker ends if its parent is another process.
    pub(crate) parent: u32,

    /// The name of the plugin.
    pub(crate) plugin: String,

    /// The number of the generation.
    pub(crate) generation: u64,

    /// The manifest in the file. The running code must have the same one.
    pub(crate) manifest: Manifest,

    /// The settings of the plugin, a JSON object.
    pub(crate) settings: Box<RawValue>,

    /// Threads for `blocking` methods, and for methods that are declared `inline`.
    pub(crate) threads: usize,

    /// Upper bound for a result, in bytes.
    pub(crate) reply_limit: usize,

    /// How long I/O threads of the host poll before they sleep, in nanoseconds.
    pub(crate) spin: u64,

    /// The zero of the host's clock, in nanoseconds of the monotonic clock of the kernel.
    pub(crate) epoch: u64,

    /// The number of the highest [`jackfield_plugin_api::Level`] that the host logs.
    pub(crate) log_level: u8,

    pub(crate) limits: WorkerLimits,

    /// `None` without a sandbox.
    pub(crate) sandbox: Option<SandboxSpec>,

    /// The time for the plugin to describe its methods before it starts; `None` if it is not asked.
    pub(crate) describes_within: Option<Duration>,
}

/// The limits of a worker process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerLimits {
    /// Private writable address space in bytes (`RLIMIT_DATA`).
    pub(crate) memory: u64,

    /// Descriptors (`RLIMIT_NOFILE`).
    pub(crate) files: u64,
}

/// The rights of the plugin beyond computing. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    /// Files and directories that can be read, in addition to those that always can.
    pub(crate) read: Vec<PathBuf>,

    /// Files and directories that can be read and written.
    pub(crate) write: Vec<PathBuf>,

    /// Whether sockets other than `AF_UNIX` can be used.
    pub(crate) network: bool,

    /// Whether programs can be executed.
    pub(crate) execute: bool,

    /// Whether the worker must not run where something cannot be enforced.
    pub(crate) required: bool,
}
