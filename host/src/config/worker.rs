//! `[plugin.NAME.worker]`: the processes of a plugin that does not run in the host.
//!
//! The table is read and checked whether or not the plugin has `isolation = "worker"`, because the
//! host may move a plugin into workers while it runs.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::limits::TIMEOUT;
use super::section::Section;
use super::units::{GIB, MIB};
use super::wording::quoted;

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// `"in-process"`: in the host. A call costs the least, and a crash ends the host.
    #[default]
    InProcess,

    /// `"worker"`: in processes of its own. A crash fails the calls that ran there.
    Worker,
}

pub(super) const ISOLATIONS: [(&str, Isolation); 2] =
    [("in-process", Isolation::InProcess), ("worker", Isolation::Worker)];

/// The worker processes of a plugin with [`Isolation::Worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Processes, 1 to 16. Only 1 for plugins that export state or have `replace = "stop-first"`.
    /// Default 1.
    pub count: usize,

    /// Private writable address space of one process in bytes (`RLIMIT_DATA`), 16 MiB to 1 TiB.
    /// Stacks of threads count, memory files do not. Default 256 MiB.
    pub memory: u64,

    /// Resident memory in bytes above which a process is replaced gracefully, up to 1 TiB; 0 for
    /// never. Default three quarters of `memory`, 192 MiB.
    pub recycle_memory: u64,

    /// Calls after which a process is replaced gracefully, up to 1,000,000,000; 0 for never.
    /// Default 0.
    pub recycle_calls: u64,

    /// Age at which a process is replaced gracefully, up to a year; zero for never. Default 0.
    pub recycle_age: Duration,

    /// How long a process may have no free thread after the deadline of a call, before it is
    /// killed. 1 ms to 24 h. Default 1 s.
    pub grace: Duration,

    /// Descriptors of one process, 64 to 1,048,576. The hard limit of the host is an upper bound,
    /// too. Default 256.
    pub files: u64,

    /// The variables of the host's environment that are passed on; `None` for all except those of
    /// the dynamic loader and of the service manager. Names that are listed are passed on whatever
    /// they are.
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

/// The rights of a worker process beyond computing. Everything else is denied.
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

/// More processes than cores of a small machine only cost memory.
const PROCESSES: RangeInclusive<usize> = 1..=16;

/// A process whose threads have stacks of 2 MiB needs some of them, and memory for their arenas.
const MEMORY: RangeInclusive<u64> = 16 * MIB..=1024 * GIB;
const RECYCLE_MEMORY: RangeInclusive<u64> = 0..=*MEMORY.end();
const CALLS: RangeInclusive<usize> = 0..=1_000_000_000;
const AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(365 * 24 * 60 * 60);

/// The upper bound is the default of the kernel (`fs.nr_open`).
const FILES: RangeInclusive<usize> = 64..=1 << 20;

pub(super) fn read(section: Section<'_>, is_stop_first: bool) -> WorkerConfig {
    let default = WorkerConfig::default();
    let count = section.count("count", PROCESSES, default.count);
    let memory = section.size("memory", MEMORY, default.memory);
    let files = usize::try_from(default.files).unwrap_or(usize::MAX);
    let worker = WorkerConfig {
        count,
        memory,
        // It adapts to a limit that is set: a process would otherwise be replaced all the time, or
        // fail at the limit before it is replaced.
        recycle_memory: section.size("recycle_memory", RECYCLE_MEMORY, memory / 4 * 3),
        recycle_calls: section.count("recycle_calls", CALLS, 0) as u64,
        recycle_age: section.duration("recycle_age", AGE, default.recycle_age),
        grace: section.duration("grace", TIMEOUT, default.grace),
        files: section.count("files", FILES, files) as u64,
        environment: read_environment(&section),
        sandbox: section.optional_section("sandbox").map(read_sandbox),
    };

    if is_stop_first && count > 1 {
        section.fault(
            section.offset_of("count"),
            format!(
                "{} = {count}, but only one instance of a stop-first plugin can run",
                section.label("count")
            ),
            "write 1, or replace = \"start-first\"".to_owned(),
        );
    }
    section.close();
    worker
}

/// Reads the names of variables; `None` if there is no such key.
fn read_environment(section: &Section<'_>) -> Option<Vec<String>> {
    const REMEDY: &str = "write names of environment variables in quotes: [\"DATABASE_URL\"]";
    section.get("environment")?;

    let is_start = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let is_name = |name: &str| {
        name.starts_with(is_start) && name.chars().all(|letter| is_start(letter) || letter.is_ascii_digit())
    };
    let listed = section.list("environment", REMEDY, string).unwrap_or_default();
    for (offset, name) in listed.iter().filter(|(_, name)| !is_name(name)) {
        let problem = format!("{} is not the name of an environment variable", quoted(name));
        let remedy = "write letters, digits and _ without a value, such as \"DATABASE_URL\"".to_owned();
        section.fault(*offset, problem, remedy);
    }
    Some(listed.into_iter().map(|(_, name)| name.to_owned()).collect())
}

fn read_sandbox(section: Section<'_>) -> SandboxConfig {
    let sandbox = SandboxConfig {
        read: read_paths(&section, "read", "/etc/ssl"),
        write: read_paths(&section, "write", "/var/lib/jackfield/device"),
        network: section.boolean("network", false),
        execute: section.boolean("execute", false),
        required: section.boolean("required", false),
    };
    section.close();
    sandbox
}

/// Reads absolute paths. A relative one would depend on the working directory of the process, while
/// other paths of the file are relative to the file.
fn read_paths(section: &Section<'_>, key: &'static str, example: &str) -> Vec<PathBuf> {
    let remedy = format!("write absolute paths in quotes: [{example:?}]");
    let listed = section.list(key, &remedy, string).unwrap_or_default();
    for (offset, path) in &listed {
        let problem = match path {
            path if path.contains('\0') => "contains a NUL byte",
            path if !path.starts_with('/') => "is not an absolute path",
            _ => continue,
        };
        let problem = format!("{} {} {problem}", section.label(key), quoted(path));
        section.fault(*offset, problem, format!("write a path from the root, such as {example:?}"));
    }
    listed.into_iter().map(|(_, path)| PathBuf::from(path)).collect()
}

fn string<'d>(value: &'d DeValue<'d>) -> Option<&'d str> {
    value.as_str()
}
