//! `[plugin.NAME.worker]`: the processes of a plugin that does not run in the host.

use std::path::PathBuf;
use std::time::Duration;

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// `"in-process"`: in the host. A call costs the least, and a crash ends the host.
    #[default]
    InProcess,

    /// `"worker"`: in processes of its own. A crash fails the calls that ran there.
    Worker,
}

/// The worker processes of a plugin with [`Isolation::Worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Processes, 1 to 16. Only 1 for plugins that export state or have `replace = "stop-first"`.
    /// Default 1.
    pub count: usize,

    /// Private writable address space of one process in bytes (`RLIMIT_DATA`). Stacks of threads
    /// count, memory files do not. Default 256 MiB.
    pub memory: u64,

    /// Resident memory in bytes above which a process is replaced gracefully; 0 for never. Default
    /// 192 MiB.
    pub recycle_memory: u64,

    /// Calls after which a process is replaced gracefully; 0 for never. Default 0.
    pub recycle_calls: u64,

    /// Age at which a process is replaced gracefully; zero for never. Default 0.
    pub recycle_age: Duration,

    /// How long a process may have no free thread after the deadline of a call, before it is
    /// killed. Default 1 s.
    pub grace: Duration,

    /// Descriptors of one process. Default 256.
    pub files: u64,

    /// The variables of the host's environment that are passed on; `None` for all except those of
    /// the dynamic loader and of the service manager.
    pub environment: Option<Vec<String>>,

    /// `None` without a sandbox.
    pub sandbox: Option<SandboxConfig>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            count: 1,
            memory: 256 << 20,
            recycle_memory: 192 << 20,
            recycle_calls: 0,
            recycle_age: Duration::ZERO,
            grace: Duration::from_secs(1),
            files: 256,
            environment: None,
            sandbox: None,
        }
    }
}

/// What a worker process may do beyond computing. Everything else is denied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Absolute paths of files and directories that can be read, beyond those that always can.
    pub read: Vec<PathBuf>,

    /// Absolute paths of files and directories that can be read and written.
    pub write: Vec<PathBuf>,

    /// Whether sockets other than `AF_UNIX` can be used. Default `false`.
    pub network: bool,

    /// Whether programs can be executed. Default `false`.
    pub execute: bool,

    /// Whether the plugin must not start where something cannot be enforced. Default `false`.
    pub required: bool,
}
