//! The configuration: one TOML file. It is read completely before any socket is bound, and refused
//! as a whole with all of its faults.
//!
//! Each of the other files contains the types of one part and the function that reads that part. To
//! add a key, add a field, its default in `Default`, and one `section.…("key", …)` call to the file
//! of its part. A key that no call reads is unknown, and a fault. The list of known keys in such a
//! fault comes from the same calls. To rename a key, add its old name to `alias`.

mod admin;
mod alias;
mod allow_list;
mod document;
mod fault;
mod file;
mod io;
mod limits;
mod line_options;
mod listener;
mod log;
mod metrics;
mod plugin;
mod plugins;
mod position;
mod route;
mod section;
mod settings;
mod syntax;
mod trace;
mod trusted_keys;
mod units;
mod values;
mod wording;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use admin::AdminConfig;
pub use alias::DeprecatedKey;
pub use allow_list::Allow;
pub use fault::{ConfigNotFound, Fault, Faults};
pub use io::Io;
pub(crate) use io::half_of_the_cores;
pub use limits::{Limits, Timeouts};
pub use line_options::LineOptions;
pub use listener::{Framing, LONGEST_SOCKET_PATH, Listener};
pub use log::{Format, Level, Log};
pub use metrics::{MetricsConfig, MetricsEndpoint};
pub use plugin::{BreakerConfig, PluginConfig, ReplacePolicy};
pub use plugins::{CrashAction, CrashConfig, IncompatiblePolicy, PluginsConfig, ProbationConfig};
pub use position::Place;
pub use route::{InvalidPattern, LONGEST_METHOD, Pattern, RESERVED, Route, is_reserved};
pub(crate) use trace::MAX_SERVICE_BYTES;
pub use trace::{Authorization, OtlpEndpoint, Sample, TraceConfig};
pub use trusted_keys::{KeyId, TrustedKey};
pub use units::{InvalidQuantity, parse_duration, parse_size};
pub use worker::{Isolation, SandboxConfig, WorkerConfig};

use document::Document;
use section::Section;
use syntax::Source;

/// The paths where a host looks for its configuration if it is given none, in this order.
pub const SEARCHED: [&str; 2] = ["./config.toml", "/etc/jackfield/config.toml"];

/// The configuration of a host.
///
/// Values from [`Config::load`] and [`Config::parse`] are within the limits that each field states.
/// A program that embeds the host and builds a `Config` itself must keep them.
///
/// ```
/// use jackfield::config::{Config, Listener};
///
/// let config = Config { listeners: vec![Listener::at("run/x.sock")], ..Config::default() };
/// assert_eq!(config.limits.connections, 4096);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that it was read from; `None` for one that a program made.
    pub file: Option<PathBuf>,

    /// The keys that the file sets by a deprecated name, sorted by place.
    pub deprecated: Vec<DeprecatedKey>,

    /// The sockets to bind, in the order of the file, at least one. A file without `[[listener]]`
    /// has the default one.
    pub listeners: Vec<Listener>,

    /// The limits of the host.
    pub limits: Limits,

    /// The time-outs of the host.
    pub timeouts: Timeouts,

    /// The I/O threads.
    pub io: Io,

    /// The options that apply to all plugins.
    pub plugins: PluginsConfig,

    /// The options of single plugins, by name. A plugin without an entry has
    /// [`PluginConfig::default`].
    pub plugin: BTreeMap<String, PluginConfig>,

    /// The routes, in the order of the file, each pattern at most once.
    pub routes: Vec<Route>,

    /// The admin socket; `None` disables it, as in a host that is embedded in another program and
    /// does not set it.
    pub admin: Option<AdminConfig>,

    /// The HTTP endpoint for metrics and health.
    pub metrics: MetricsConfig,

    /// Recording of requests as spans, and their export.
    pub trace: TraceConfig,

    /// The level and the format of the log.
    pub log: Log,
}

impl Default for Config {
    /// Returns the documented defaults: one listener at `run/jackfield.sock` and plugins from
    /// `plugins`, both relative to the working directory of the process, and no routes.
    fn default() -> Config {
        Config {
            file: None,
            deprecated: Vec::new(),
            listeners: vec![Listener::default()],
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            io: Io::default(),
            plugins: PluginsConfig::default(),
            plugin: BTreeMap::new(),
            routes: Vec::new(),
            admin: None,
            metrics: MetricsConfig::default(),
            trace: TraceConfig::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is longer than 4 MiB or is not UTF-8 is one fault; for the
    /// faults of its content, see [`Config::parse`].
    pub fn load(path: &Path) -> Result<Config, Faults> {
        let text = file::read(path)?;
        Config::parse(&text, path)
    }

    /// Reads the text of a file.
    ///
    /// `file` names the file in faults. Relative paths are relative to its directory. The users and
    /// groups that the file names are looked up, and the keys that it trusts are read.
    ///
    /// # Errors
    ///
    /// All faults of the text, sorted by place, up to 1,000 of them.
    pub fn parse(text: &str, file: &Path) -> Result<Config, Faults> {
        file::on_deep_stack(file, || {
            let source = Source::new(text);
            let tree = source.tree();
            let document = Document::new(&source, file);
            let mut config = Config::read(Section::root(&document, &tree), file);
            config.deprecated = document.take_deprecated();
            document.finish(config)
        })
    }

    /// Finds the file to load: `explicit` if given, otherwise the first of [`SEARCHED`] that
    /// exists.
    ///
    /// # Errors
    ///
    /// There is no such file.
    pub fn find(explicit: Option<&Path>) -> Result<PathBuf, ConfigNotFound> {
        match explicit {
            Some(path) => file::first_existing([path]),
            None => file::first_existing(SEARCHED.map(Path::new)),
        }
    }

    /// Returns the name by which the file sets a key: `name`, or its deprecated name. Messages use
    /// it, so that they name a key that is in the file.
    #[must_use]
    pub fn name_in_file(&self, name: &'static str) -> &'static str {
        let deprecated = self.deprecated.iter().find(|key| key.name == name);
        deprecated.map_or(name, |key| key.deprecated)
    }

    /// Returns the order in which the generations of a plugin stop and start.
    #[must_use]
    pub fn replace_policy(&self, plugin: &str) -> ReplacePolicy {
        self.plugin.get(plugin).map(|own| own.replace).unwrap_or_default()
    }

    /// Returns the consequence if new content of a plugin breaks callers of what serves.
    #[must_use]
    pub fn incompatible_policy(&self, plugin: &str) -> IncompatiblePolicy {
        let own = self.plugin.get(plugin).and_then(|own| own.incompatible);
        own.unwrap_or(self.plugins.incompatible)
    }

    /// Returns where a plugin is configured to run.
    #[must_use]
    pub fn isolation(&self, plugin: &str) -> Isolation {
        self.plugin.get(plugin).map(|own| own.isolation).unwrap_or_default()
    }

    fn read(root: Section<'_>, file: &Path) -> Config {
        let directory = file.parent().unwrap_or(Path::new(""));
        let timeouts = limits::read_timeouts(root.section("timeouts"));
        let listeners = listener::read(&root, directory, &timeouts);
        let admin = admin::read(root.section("admin"), directory, &listeners);
        let sockets = listeners.iter().map(|listener| listener.socket.as_path());
        let sockets: Vec<_> = sockets.chain([admin.socket.as_path()]).collect();
        let metrics = metrics::read(root.section("metrics"), directory, &sockets);

        let config = Config {
            file: Some(file.to_path_buf()),
            deprecated: Vec::new(),
            metrics,
            trace: trace::read(root.section("trace"), directory),
            admin: Some(admin),
            listeners,
            limits: limits::read_limits(root.section("limits")),
            timeouts,
            io: io::read(root.section("io")),
            plugins: plugins::read(root.section("plugins"), directory),
            plugin: plugin::read(root.section("plugin")),
            routes: route::read(&root),
            log: log::read(root.section("log")),
        };
        root.close();
        config
    }
}
