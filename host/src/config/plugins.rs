//! `[plugins]` and `[plugin.NAME]`: where plugins come from, and how each of them runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::limits::{COUNT, TIMEOUT};
use super::position::Place;
use super::section::Section;
use super::trusted_keys::{self, TrustedKey};
use super::wording::{quoted, shortened};

/// Where plugins come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// The directory whose `*.so` files are loaded; from a file, already joined to the file's directory.
    /// Whether it exists shows when it is read. Default `plugins`.
    pub directory: PathBuf,
    /// Whether the methods a plugin declares are reachable without a route. Default yes.
    pub auto_route: bool,
    /// Whether files that are put there, replaced or removed take effect while the host serves. Default yes.
    pub watch: bool,
    /// Generations that could not be unloaded, 1 to 512; past it a reload is refused. Each may hold one of the
    /// 1,024 keys for thread-local values that a process has, and a process that needs one more aborts. Default 64.
    pub retained: usize,
    /// How long a plugin may take to be opened, started, self-tested and stopped in the probe, and again to be
    /// started in the host. Default 10 s.
    pub probe: Duration,
    /// How long calls are held while one generation hands its state over to the next: so long each for those that run
    /// to end, for the state to be given, and for it to be taken. Default 1 s.
    pub hand_over: Duration,
    /// Whose signatures a file must have to be loaded; none: files need no signature. Default none.
    pub trusted_keys: Vec<TrustedKey>,
    /// What is expected of a new generation's first calls.
    pub probation: ProbationConfig,
    /// What follows when the whole process dies while a plugin's code runs.
    pub deaths: CrashConfig,
}

impl Default for PluginsConfig {
    fn default() -> PluginsConfig {
        PluginsConfig {
            directory: PathBuf::from("plugins"),
            auto_route: true,
            watch: true,
            retained: 64,
            probe: Duration::from_secs(10),
            hand_over: Duration::from_secs(1),
            trusted_keys: Vec::new(),
            probation: ProbationConfig::default(),
            deaths: CrashConfig::default(),
        }
    }
}

/// A new generation is on probation for its first calls: past so many failures, the content before comes back.
/// Failures are panics, time-outs, and what a plugin itself answers as an internal error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbationConfig {
    /// After so many calls it is over, 0 to 1,000,000; 0: there is none. Default 100.
    pub calls: u32,
    /// So many failures among them fail it, 1 to 1,000,000. Default 10.
    pub failures: u32,
}

impl Default for ProbationConfig {
    fn default() -> ProbationConfig {
        ProbationConfig { calls: 100, failures: 10 }
    }
}

/// A fault that the process does not survive (a segmentation fault, an abort, an `exit`): what ran is noted for the next
/// start to tell, and a plugin that ran in too many deaths is left out until its file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashConfig {
    /// The directory of the record; from a file, already joined to the file's directory. It is made if it is not there,
    /// and best lies on a file system in memory. `None`: nothing outlives the process, as for a host inside another
    /// program that does not say so. From a file, default `run/recorder`.
    pub record: Option<PathBuf>,
    /// So many deaths within the window are too many, 0 to 64; 0: no plugin is left out. Default 3.
    pub most: u32,
    /// Default 10 min.
    pub window: Duration,
}

impl Default for CrashConfig {
    fn default() -> CrashConfig {
        CrashConfig { record: None, most: 3, window: Duration::from_secs(600) }
    }
}

/// How one plugin runs.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// Threads for its blocking methods, 1 to 256. Default 2.
    pub threads: usize,
    /// Threads that may take the place of ones whose call runs on past its deadline, 0 to 256; with more than that
    /// lost, the plugin is unavailable once no thread is left. Default 2.
    pub spare_threads: usize,
    /// When the plugin is asked no more for a while.
    pub breaker: BreakerConfig,
    /// Calls that may wait for a thread, 1 to 1,000,000; one more is shed. Default 1,024.
    pub queue: usize,
    /// Handed to the plugin as it is: always a JSON object, nested at most 64 deep. Dates and times of TOML
    /// are strings in it. Default `{}`.
    pub settings: Value,
    /// Where the file says so.
    pub place: Place,
}

impl Default for PluginConfig {
    fn default() -> PluginConfig {
        PluginConfig {
            threads: 2,
            spare_threads: 2,
            breaker: BreakerConfig::default(),
            queue: 1024,
            settings: Value::Object(Map::new()),
            place: Place::default(),
        }
    }
}

/// When a plugin that panics or does not answer in time is asked no more for a while: its calls are refused at once
/// with PLUGIN_UNAVAILABLE, then one is let through, and decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many failures within the window, and half of its calls, open it, 0 to 1,000,000; 0: never. Default 20.
    pub failures: u32,
    /// Default 10 s.
    pub window: Duration,
    /// How long it stays open at first; each time that the call which decides fails doubles it, up to 30 s.
    /// Default 1 s.
    pub open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig { failures: 20, window: Duration::from_secs(10), open: Duration::from_secs(1) }
    }
}

/// More threads than any machine this runs on has use for, for one plugin.
const THREADS: RangeInclusive<usize> = 1..=256;
/// Half the keys for thread-local values that a process of glibc's has (PTHREAD_KEYS_MAX, 1,024).
const RETAINED: RangeInclusive<usize> = 1..=512;
/// As many deaths as are remembered.
const DEATHS: RangeInclusive<usize> = 0..=64;
/// A plugin's name becomes a file's stem, a log field and a metrics label.
const LONGEST_NAME: usize = 64;
/// Half of what serde_json reads back by default (128): settings cross to the plugin as JSON text.
const DEEPEST_SETTINGS: usize = 64;

pub(super) fn read(section: Section<'_>, directory: &Path) -> PluginsConfig {
    let default = PluginsConfig::default();
    let plugins = PluginsConfig {
        directory: section.path("directory", directory, &default.directory),
        auto_route: section.boolean("auto_route", default.auto_route),
        watch: section.boolean("watch", default.watch),
        retained: section.count("retained", RETAINED, default.retained),
        probe: section.duration("probe", TIMEOUT, default.probe),
        hand_over: section.duration("hand_over", TIMEOUT, default.hand_over),
        trusted_keys: trusted_keys::read(&section, directory),
        probation: read_probation(section.section("probation")),
        deaths: read_deaths(section.section("deaths"), directory),
    };
    section.close();
    plugins
}

fn read_deaths(section: Section<'_>, directory: &Path) -> CrashConfig {
    let default = CrashConfig::default();
    let deaths = CrashConfig {
        record: Some(section.path("record", directory, Path::new("run/recorder"))),
        most: number(&section, "most", DEATHS, default.most),
        window: section.duration("window", TIMEOUT, default.window),
    };
    section.close();
    deaths
}

fn read_probation(section: Section<'_>) -> ProbationConfig {
    let default = ProbationConfig::default();
    let probation = ProbationConfig {
        calls: number(&section, "calls", 0..=*COUNT.end(), default.calls),
        failures: number(&section, "failures", COUNT, default.failures),
    };
    section.close();
    probation
}

fn read_breaker(section: Section<'_>) -> BreakerConfig {
    let default = BreakerConfig::default();
    let breaker = BreakerConfig {
        failures: number(&section, "failures", 0..=*COUNT.end(), default.failures),
        window: section.duration("window", TIMEOUT, default.window),
        open: section.duration("open", TIMEOUT, default.open),
    };
    section.close();
    breaker
}

fn number(section: &Section<'_>, key: &'static str, range: RangeInclusive<usize>, default: u32) -> u32 {
    let count = section.count(key, range, usize::try_from(default).unwrap_or(0));
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn read_each(section: Section<'_>) -> BTreeMap<String, PluginConfig> {
    let mut plugins = BTreeMap::new();
    for (name, offset, section) in section.named() {
        check_name(&section, offset, name);
        plugins.insert(name.to_owned(), read_one(section));
    }
    plugins
}

fn read_one(section: Section<'_>) -> PluginConfig {
    let default = PluginConfig::default();
    let settings = section.table("settings").map(|settings| {
        let entries = settings.iter().filter_map(|(key, value)| {
            Some((key.get_ref().to_string(), json(&section, value, DEEPEST_SETTINGS - 1)?))
        });
        Value::Object(entries.collect())
    });
    let plugin = PluginConfig {
        threads: section.count("threads", THREADS, default.threads),
        spare_threads: section.count("spare_threads", 0..=*THREADS.end(), default.spare_threads),
        breaker: read_breaker(section.section("breaker")),
        queue: section.count("queue", COUNT, default.queue),
        settings: settings.unwrap_or(default.settings),
        place: section.place(),
    };
    section.close();
    plugin
}

/// Reports a plugin name that is not 1 to 64 of A-Z, a-z, 0-9, `_` and `-`.
pub(super) fn check_name(section: &Section<'_>, offset: usize, name: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        let what = format!("{} is not a plugin's name", quoted(name));
        let instead = format!("write 1 to {LONGEST_NAME} letters, digits, _ and -");
        section.fault(offset, what, instead);
    }
}

/// A TOML value as JSON, or `None` and a fault where JSON has nothing like it.
fn json(section: &Section<'_>, value: &Spanned<DeValue<'_>>, depth: usize) -> Option<Value> {
    let fault = |what: String, instead: &str| {
        section.fault(value.span().start, what, instead.to_owned());
        None
    };
    match value.get_ref() {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Integer(written) => match integer(written) {
            Some(number) => Some(Value::Number(number)),
            None => fault(
                format!("{} does not fit into 64 bits", shortened(&written.to_string())),
                "write a smaller number, or a string the plugin can take apart",
            ),
        },
        DeValue::Float(written) => match written.as_str().parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Some(Value::Number(number)),
            None => fault(
                format!(
                    "{} is no number in JSON, in which settings reach the plugin",
                    shortened(written.as_str())
                ),
                "write a finite number, or a string",
            ),
        },
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Datetime(written) => Some(Value::String(written.to_string())),
        DeValue::Array(_) | DeValue::Table(_) if depth == 0 => fault(
            format!("settings are nested more than {DEEPEST_SETTINGS} deep"),
            "flatten them, or put them into a file that the plugin reads",
        ),
        DeValue::Array(items) => {
            Some(Value::Array(items.iter().filter_map(|item| json(section, item, depth - 1)).collect()))
        }
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .filter_map(|(key, item)| Some((key.get_ref().to_string(), json(section, item, depth - 1)?)));
            Some(Value::Object(entries.collect()))
        }
    }
}

fn integer(written: &DeInteger<'_>) -> Option<Number> {
    let signed = i64::from_str_radix(written.as_str(), written.radix()).ok().map(Number::from);
    signed.or_else(|| u64::from_str_radix(written.as_str(), written.radix()).ok().map(Number::from))
}
