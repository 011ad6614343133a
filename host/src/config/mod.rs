//! The configuration: one TOML file, read whole before anything is bound, and refused whole with every fault
//! in it.
//!
//! Each file beside this one holds the types of one part and, next to them, the function that reads that
//! part. To add a key: a field and one `section.…("key", …)` line in that file, and the default in its
//! `Default`. A key that no line reads is unknown, and a fault; the list of keys a fault suggests is made of
//! those same lines.

mod admin;
mod allow_list;
mod document;
mod fault;
mod io;
mod limits;
mod listener;
mod log;
mod metrics;
mod plugins;
mod position;
mod route;
mod section;
mod syntax;
mod trusted_keys;
mod units;
mod wording;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use admin::AdminConfig;
pub use allow_list::Allow;
pub use fault::{ConfigNotFound, Fault, Faults};
pub use io::Io;
pub(crate) use io::half_of_the_cores;
pub use limits::{Limits, Timeouts};
pub use listener::{Framing, LONGEST_SOCKET_PATH, Listener};
pub use log::{Format, Level, Log};
pub use metrics::{MetricsConfig, MetricsEndpoint};
pub use plugins::{BreakerConfig, CrashConfig, PluginConfig, PluginsConfig, ProbationConfig};
pub use position::Place;
pub use route::{InvalidPattern, LONGEST_METHOD, Pattern, RESERVED, Route};
pub use trusted_keys::{KeyId, TrustedKey};
pub use units::{InvalidQuantity, parse_duration, parse_size};

use document::Document;
use section::Section;
use syntax::Source;

/// Where a host looks for its configuration when it is given none, in this order.
pub const SEARCHED: [&str; 2] = ["./config.toml", "/etc/jackfield/config.toml"];

/// Everything a host is told before it starts. Values that come from [`Config::load`] and [`Config::parse`]
/// are within the limits that each field names; a program that embeds the host and builds a `Config` itself
/// is trusted to keep them.
///
/// ```
/// use jackfield::config::{Config, Listener};
///
/// let config = Config { listeners: vec![Listener::at("run/x.sock")], ..Config::default() };
/// assert_eq!(config.limits.connections, 4096);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from; `None` for one made by a program.
    pub file: Option<PathBuf>,
    /// The sockets to bind, in the order of the file, at least one. A file without `[[listener]]` has the
    /// default one.
    pub listeners: Vec<Listener>,
    /// How much is accepted at once.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How the threads that serve connections behave.
    pub io: Io,
    /// Where plugins come from.
    pub plugins: PluginsConfig,
    /// How single plugins run, by plugin name. A plugin without an entry runs by [`PluginConfig::default`].
    pub plugin: BTreeMap<String, PluginConfig>,
    /// Which plugin answers which methods, in the order of the file, every pattern at most once.
    pub routes: Vec<Route>,
    /// Where operators are answered; `None`: nowhere, as for a host inside another program that does not say so.
    pub admin: Option<AdminConfig>,
    /// Where what is counted can be asked for.
    pub metrics: MetricsConfig,
    /// What is logged, and how.
    pub log: Log,
}

impl Default for Config {
    /// The documented defaults: one listener at `run/jackfield.sock` and plugins from `plugins`, both
    /// relative to the working directory of the process, and no routes.
    fn default() -> Config {
        Config {
            file: None,
            listeners: vec![Listener::default()],
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            io: Io::default(),
            plugins: PluginsConfig::default(),
            plugin: BTreeMap::new(),
            routes: Vec::new(),
            admin: None,
            metrics: MetricsConfig::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Reads a file. A file that cannot be read, is longer than 4 MiB or is not UTF-8 is one fault; for what
    /// is inside, see [`Config::parse`].
    pub fn load(path: &Path) -> Result<Config, Faults> {
        let text = document::read(path)?;
        Config::parse(&text, path)
    }

    /// Reads the text of a file. `file` names it in faults, and its directory is what relative paths are
    /// relative to. The users and groups that it names are looked up, and the keys that it trusts are read. On failure, every fault is there, sorted by place, up to 1,000 of
    /// them.
    pub fn parse(text: &str, file: &Path) -> Result<Config, Faults> {
        document::on_deep_stack(file, || {
            let source = Source::new(text);
            let tree = source.tree();
            let document = Document::new(&source, file);
            let config = Config::read(Section::root(&document, &tree), file);
            document.finish(config)
        })
    }

    /// The file to load: `explicit` if given, else the first of [`SEARCHED`] that exists.
    pub fn find(explicit: Option<&Path>) -> Result<PathBuf, ConfigNotFound> {
        match explicit {
            Some(path) => document::first_existing([path]),
            None => document::first_existing(SEARCHED.map(Path::new)),
        }
    }

    fn read(root: Section<'_>, file: &Path) -> Config {
        let directory = file.parent().unwrap_or(Path::new(""));
        let listeners = listener::read(&root, directory);
        let admin = admin::read(root.section("admin"), directory, &listeners);
        let sockets = listeners.iter().map(|listener| listener.socket.as_path());
        let sockets: Vec<_> = sockets.chain([admin.socket.as_path()]).collect();
        let metrics = metrics::read(root.section("metrics"), directory, &sockets);
        let config = Config {
            file: Some(file.to_path_buf()),
            metrics,
            admin: Some(admin),
            listeners,
            limits: limits::read_limits(root.section("limits")),
            timeouts: limits::read_timeouts(root.section("timeouts")),
            io: io::read(root.section("io")),
            plugins: plugins::read(root.section("plugins"), directory),
            plugin: plugins::read_each(root.section("plugin")),
            routes: route::read(&root),
            log: log::read(root.section("log")),
        };
        root.close();
        config
    }
}
