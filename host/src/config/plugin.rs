//! `[plugin.NAME]`: how a single plugin runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::limits::{COUNT, TIMEOUT};
use super::plugins::{INCOMPATIBLE, IncompatiblePolicy};
use super::position::Place;
use super::section::Section;
use super::settings;
use super::wording::quoted;
use super::worker::{self, ISOLATIONS, Isolation, WorkerConfig};

/// The options of a single plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// Threads for its blocking methods, 1 to 256. Default 2.
    pub threads: usize,

    /// Threads that may replace those whose call runs beyond its deadline, 0 to 256. If more
    /// threads are lost, the plugin becomes unavailable when no thread is left. Default 2.
    pub spare_threads: usize,

    /// The circuit breaker.
    pub breaker: BreakerConfig,

    /// Calls that may wait for a thread, 1 to 1,000,000. Further calls are rejected. Default 1,024.
    pub queue: usize,

    /// The order of stop and start when its generation is replaced. Default start-first.
    pub replace: ReplacePolicy,

    /// The consequence if new content breaks callers of what serves; `None` stands for
    /// [`PluginsConfig::incompatible`](super::PluginsConfig::incompatible). Default `None`.
    pub incompatible: Option<IncompatiblePolicy>,

    /// Where it runs. Default in-process.
    pub isolation: Isolation,

    /// The processes that run it if `isolation` is `worker`.
    pub worker: WorkerConfig,

    /// Passed to the plugin as it is. It is always a JSON object, nested at most 64 deep. Dates and
    /// times of TOML become strings. Default `{}`.
    pub settings: Value,

    /// The place of the plugin in the file.
    pub place: Place,
}

impl Default for PluginConfig {
    fn default() -> PluginConfig {
        PluginConfig {
            threads: 2,
            spare_threads: 2,
            breaker: BreakerConfig::default(),
            queue: 1024,
            replace: ReplacePolicy::default(),
            incompatible: None,
            isolation: Isolation::default(),
            worker: WorkerConfig::default(),
            settings: Value::Object(Map::new()),
            place: Place::default(),
        }
    }
}

/// The order in which a new generation starts and the previous one stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReplacePolicy {
    /// `"start-first"`: the new generation starts while the previous one serves. The probe starts
    /// the plugin as well.
    #[default]
    StartFirst,

    /// `"stop-first"`: the previous generation stops before the new one starts, for plugins that
    /// hold a resource which only one instance can have: a lock, a port, an embedded database. The
    /// probe only opens and checks the code.
    StopFirst,
}

const POLICIES: [(&str, ReplacePolicy); 2] =
    [("start-first", ReplacePolicy::StartFirst), ("stop-first", ReplacePolicy::StopFirst)];

/// The circuit breaker of a plugin that panics or does not answer in time. While it is open, all
/// calls are rejected with PLUGIN_UNAVAILABLE; then one trial call decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// The number of failures within the window that open it, if they are also half of the calls,
    /// 0 to 1,000,000; 0 disables it. Default 20.
    pub failures: u32,

    /// How long a failure counts. Default 10 s.
    pub window: Duration,

    /// How long it stays open at first. Each trial call that fails doubles the time, up to 30 s.
    /// Default 1 s.
    pub open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig { failures: 20, window: Duration::from_secs(10), open: Duration::from_secs(1) }
    }
}

/// The upper bound is more than any machine that runs the host can use for one plugin.
const THREADS: RangeInclusive<usize> = 1..=256;

/// The longest name of a plugin, in bytes. It becomes the stem of a file, a log field and a metric
/// label.
const NAME_MAX: usize = 64;

/// Reads the options of all plugins, by name.
pub(super) fn read(section: Section<'_>) -> BTreeMap<String, PluginConfig> {
    let mut plugins = BTreeMap::new();
    for (name, offset, section) in section.named() {
        check_name(&section, offset, name);
        plugins.insert(name.to_owned(), read_one(section));
    }
    plugins
}

fn read_one(section: Section<'_>) -> PluginConfig {
    let default = PluginConfig::default();
    let replace = section.choice("replace", &POLICIES, default.replace);
    let plugin = PluginConfig {
        settings: settings::read(&section, "settings").unwrap_or(default.settings),
        threads: section.count("threads", THREADS, default.threads),
        spare_threads: section.count("spare_threads", 0..=*THREADS.end(), default.spare_threads),
        breaker: read_breaker(section.section("breaker")),
        queue: section.count("queue", COUNT, default.queue),
        replace,
        incompatible: section.optional_choice("incompatible", &INCOMPATIBLE),
        isolation: section.choice("isolation", &ISOLATIONS, default.isolation),
        worker: worker::read(section.section("worker"), replace == ReplacePolicy::StopFirst),
        place: section.place(),
    };
    section.close();
    plugin
}

fn read_breaker(section: Section<'_>) -> BreakerConfig {
    let default = BreakerConfig::default();
    let breaker = BreakerConfig {
        failures: section.count_u32("failures", 0..=*COUNT.end(), default.failures),
        window: section.duration("window", TIMEOUT, default.window),
        open: section.duration("open", TIMEOUT, default.open),
    };
    section.close();
    breaker
}

/// Reports a plugin name other than 1 to 64 of A-Z, a-z, 0-9, `_` and `-`.
pub(super) fn check_name(section: &Section<'_>, offset: usize, name: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
        let problem = format!("{} is not a plugin name", quoted(name));
        let remedy = format!("write 1 to {NAME_MAX} letters, digits, _ and -");
        section.fault(offset, problem, remedy);
    }
}
