//! `[plugins]`: the plugin directory, and how plugins are loaded, replaced and quarantined.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits::{COUNT, TIMEOUT};
use super::section::Section;
use super::trusted_keys::{self, TrustedKey};

/// The options that apply to all plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// The directory whose `*.so` files are loaded. A path from a file is joined to the directory
    /// of the file. The directory need not exist. Default `plugins`.
    pub directory: PathBuf,

    /// The directory that decisions about plugin contents are kept in from host to host, together
    /// with the content to return to. A path from a file is joined to the directory of the file.
    /// The directory is created if it is missing, and is checked like [`PluginsConfig::directory`].
    ///
    /// `None` keeps the decisions in the process: they end with it. It is the default for a host
    /// that is embedded in another program; the default of a file is `run/state`.
    pub state: Option<PathBuf>,

    /// Whether the methods that a plugin declares are reachable without a route. Default yes.
    pub auto_route: bool,

    /// Whether the host loads new, changed and removed plugin files while it serves. Default yes.
    pub watch: bool,

    /// Retained generations, 1 to 512; if there are more, a reload is refused. Each may hold one of
    /// the 1,024 keys for thread-local values of a process, and a process that needs another key
    /// aborts. Default 64.
    pub retained: usize,

    /// Time-out for a plugin to be opened, started, self-tested and stopped in the probe, and again
    /// for its start in the host. Default 10 s.
    pub probe: Duration,

    /// Time-out for each of the three steps of a state transfer: until running calls have ended,
    /// until the state is exported, and until it is imported. The gate holds calls meanwhile.
    /// Default 1 s.
    pub state_transfer: Duration,

    /// The keys that may sign plugin files; if there are none, files need no signature. Default
    /// none.
    pub trusted_keys: Vec<TrustedKey>,

    /// The consequence if new content breaks callers of the content that serves. Default warn.
    pub incompatible: IncompatiblePolicy,

    /// The first calls of a new generation.
    pub probation: ProbationConfig,

    /// Crashes of the host while plugin code runs.
    pub crash: CrashConfig,
}

impl Default for PluginsConfig {
    fn default() -> PluginsConfig {
        PluginsConfig {
            directory: PathBuf::from("plugins"),
            state: None,
            auto_route: true,
            watch: true,
            retained: 64,
            probe: Duration::from_secs(10),
            state_transfer: Duration::from_secs(1),
            trusted_keys: Vec::new(),
            incompatible: IncompatiblePolicy::default(),
            probation: ProbationConfig::default(),
            crash: CrashConfig::default(),
        }
    }
}

/// The probation of a new generation: if too many of its first calls fail, the host rolls the
/// plugin back. Panics, time-outs, and internal errors that the plugin returns count as failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbationConfig {
    /// The number of calls on probation, 0 to 1,000,000; 0 disables it. Default 100.
    pub calls: u32,

    /// The number of failures that fail the probation, 1 to 1,000,000. Default 10.
    pub failures: u32,
}

impl Default for ProbationConfig {
    fn default() -> ProbationConfig {
        ProbationConfig { calls: 100, failures: 10 }
    }
}

/// The crash record and the quarantine.
///
/// The host records which plugin code runs. After a crash (a segmentation fault, an abort, an
/// `exit`), the next host reports what ran, and quarantines a plugin content that ran in too many
/// crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashConfig {
    /// The directory of the crash record. A path from a file is joined to the directory of the
    /// file. The directory is created if it is missing, and should be on a file system in memory.
    ///
    /// `None` keeps the record in the process, so that nothing outlives a crash. It is the default
    /// for a host that is embedded in another program; the default of a file is `run/recorder`.
    pub record: Option<PathBuf>,

    /// The number of crashes within the window that quarantines a content, 0 to 64; 0 disables the
    /// quarantine. Default 3.
    pub most: u32,

    /// How long a crash counts. Default 10 min.
    pub window: Duration,

    /// The consequence for a plugin after so many crashes. Default quarantine.
    pub action: CrashAction,
}

impl Default for CrashConfig {
    fn default() -> CrashConfig {
        let action = CrashAction::default();
        CrashConfig { record: None, most: 3, window: Duration::from_secs(600), action }
    }
}

/// The consequence for a plugin content that ran in too many crashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrashAction {
    /// `"quarantine"`: it does not load the content.
    #[default]
    Quarantine,

    /// `"worker"`: it runs the plugin in worker processes.
    Worker,
}

const ACTIONS: [(&str, CrashAction); 2] =
    [("quarantine", CrashAction::Quarantine), ("worker", CrashAction::Worker)];

/// The consequence if new content of a plugin file breaks callers of the content that serves: it
/// removes a method, requires a new field, accepts less or returns more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncompatiblePolicy {
    /// `"ignore"`: none.
    Ignore,

    /// `"warn"`: it is logged, and the content serves.
    #[default]
    Warn,

    /// `"refuse"`: the content is not loaded.
    Refuse,
}

pub(super) const INCOMPATIBLE: [(&str, IncompatiblePolicy); 3] = [
    ("ignore", IncompatiblePolicy::Ignore),
    ("warn", IncompatiblePolicy::Warn),
    ("refuse", IncompatiblePolicy::Refuse),
];

/// Half of the keys for thread-local values of a process with glibc (PTHREAD_KEYS_MAX, 1,024).
const RETAINED: RangeInclusive<usize> = 1..=512;

/// The crash log keeps 64 crashes.
const CRASHES: RangeInclusive<usize> = 0..=64;

pub(super) fn read(section: Section<'_>, directory: &Path) -> PluginsConfig {
    let default = PluginsConfig::default();
    let plugins = PluginsConfig {
        directory: section.path("directory", directory, &default.directory),
        state: Some(section.path("state", directory, Path::new("run/state"))),
        auto_route: section.boolean("auto_route", default.auto_route),
        watch: section.boolean("watch", default.watch),
        retained: section.count("retained", RETAINED, default.retained),
        probe: section.duration("probe", TIMEOUT, default.probe),
        state_transfer: section.duration("state_transfer", TIMEOUT, default.state_transfer),
        trusted_keys: trusted_keys::read(&section, directory),
        incompatible: section.choice("incompatible", &INCOMPATIBLE, default.incompatible),
        probation: read_probation(section.section("probation")),
        crash: read_crash(section.section("crash"), directory),
    };
    section.close();
    plugins
}

fn read_crash(section: Section<'_>, directory: &Path) -> CrashConfig {
    let default = CrashConfig::default();
    let crash = CrashConfig {
        record: Some(section.path("record", directory, Path::new("run/recorder"))),
        most: section.count_u32("most", CRASHES, default.most),
        window: section.duration("window", TIMEOUT, default.window),
        action: section.choice("action", &ACTIONS, default.action),
    };
    section.close();
    crash
}

fn read_probation(section: Section<'_>) -> ProbationConfig {
    let default = ProbationConfig::default();
    let probation = ProbationConfig {
        calls: section.count_u32("calls", 0..=*COUNT.end(), default.calls),
        failures: section.count_u32("failures", COUNT, default.failures),
    };
    section.close();
    probation
}
