//! The command line: its words, and one file for what each command does.

mod admin_client;
mod bench;
mod build;
mod call;
mod check;
mod config_watcher;
mod dev;
mod error;
mod inspect;
mod pages;
mod plugin;
mod rates;
mod readiness;
mod reload;
mod sd_notify;
mod serve;
mod slow_log;
mod stats;
mod table;
mod top;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jackfield::config::{Config, ConfigNotFound, Faults};
use jackfield::loader::LoadError;

pub(crate) use bench::{BenchArgs, bench};
pub(crate) use call::{CallArgs, call};
pub(crate) use check::check;
pub(crate) use dev::dev;
pub(crate) use inspect::{InspectArgs, inspect};
pub(crate) use pages::{PagesArgs, pages};
pub(crate) use plugin::{
    ListArgs, ReloadPluginArgs, RollbackArgs, list as list_plugins, reload as reload_plugins,
    rollback as roll_back_plugin,
};
pub(crate) use reload::{ReloadArgs, reload};
pub(crate) use serve::serve;
pub(crate) use slow_log::{SlowLogArgs, slowlog};
pub(crate) use stats::{StatsArgs, stats};
pub(crate) use top::{TopArgs, top};

/// sysexits.h, `EX_UNAVAILABLE`: there is no host to ask.
const UNAVAILABLE: u8 = 69;
/// sysexits.h, `EX_OSERR`: the system would not let the host start.
const SYSTEM: u8 = 71;
/// sysexits.h, `EX_CONFIG`: the configuration is at fault.
const CONFIGURATION: u8 = 78;

/// A host that answers requests over Unix sockets with methods that live in plugins.
#[derive(Debug, Parser)]
#[command(name = "jackfield", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The configuration [default: ./config.toml, else /etc/jackfield/config.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What is to be done; serving, if nothing is said.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the host (also what a bare `jackfield` does)
    Serve,
    /// Read the configuration and every plugin's manifest, bind nothing, print every fault
    Check,
    /// Send one request, and print its result as JSON
    Call(CallArgs),
    /// Put a load on a host, check every reply, print rates and latencies
    Bench(BenchArgs),
    /// Have the running host read its configuration and its plugins anew, and wait until it has
    Reload(ReloadArgs),
    /// Print what a running host counts
    Stats(StatsArgs),
    /// Show a running host live: rates, latencies, callers, plugins, failures
    Top(TopArgs),
    /// Print the slowest requests of a running host and those that failed, lately
    #[command(name = "slowlog")]
    SlowLog(SlowLogArgs),
    /// Build the plugin crates in the plugin directory, serve, and do so again whenever a source changes
    Dev,
    /// Write the manual pages and the shells' completions, for packages
    #[command(hide = true)]
    Pages(PagesArgs),
    /// Look at plugins, and change them
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// What is to be done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Print what a plugin's file says of itself; nothing of it is run
    Inspect(InspectArgs),
    /// Print the plugins of a running host
    List(ListArgs),
    /// Load a plugin's file again, or all; what cannot be loaded is refused, and what serves serves on
    Reload(ReloadPluginArgs),
    /// Put the content that served before back
    Rollback(RollbackArgs),
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
enum UnusableConfig {
    #[error("{0}")]
    NotFound(#[from] ConfigNotFound),
    #[error("{0}")]
    Faults(#[from] Faults),
}

fn load(file: Option<&Path>) -> Result<Config, UnusableConfig> {
    Ok(Config::load(&Config::find(file)?)?)
}

/// One line about a file: `FILE: REASON: WORDS`. Words that begin with the file already do so once.
fn fault(file: &Path, refused: &LoadError) -> String {
    let file = file.display().to_string();
    let detail = refused.detail.strip_prefix(&format!("{file}: ")).unwrap_or(&refused.detail);
    format!("{file}: {}: {detail}", refused.reason)
}

/// Prints what went wrong and gives the exit code that says so.
fn failed(code: u8, what: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{what}");
    ExitCode::from(code)
}
