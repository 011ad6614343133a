//! The command line: its arguments, and one file for each command.

mod admin_client;
mod bench;
mod call;
mod check;
mod command_error;
mod complete;
#[cfg(feature = "pages")]
mod completion_scripts;
mod config_changes;
mod config_file;
#[cfg(feature = "pages")]
mod config_page;
mod config_watcher;
mod contract_source;
mod describe;
mod dev;
mod end_limit;
mod example_call;
mod example_value;
mod exit_code;
mod generate;
mod init;
mod inspect;
mod method_names;
mod output;
#[cfg(feature = "pages")]
mod pages;
mod plugin;
mod plugin_build;
mod plugin_sources;
mod rates;
mod readiness;
mod reload;
mod request_socket;
mod sd_notify;
mod serve;
mod shown_text;
mod signals;
mod slow_log;
mod stats;
mod table;
mod top;
mod workers;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use bench::{BenchArgs, bench};
pub(crate) use call::{CallArgs, call};
pub(crate) use check::{CheckArgs, check};
pub(crate) use complete::{CompleteArgs, complete};
pub(crate) use describe::{DescribeArgs, describe};
pub(crate) use dev::dev;
pub(crate) use generate::{GenerateCommand, generate};
pub(crate) use inspect::{InspectArgs, inspect};
#[cfg(feature = "pages")]
pub(crate) use pages::{PagesArgs, pages};
pub(crate) use plugin::{
    IsolateArgs, ListArgs, ReloadPluginArgs, RollbackArgs, isolate as isolate_plugin, list as list_plugins,
    reload as reload_plugins, rollback as roll_back_plugin,
};
pub(crate) use reload::{ReloadArgs, reload};
pub(crate) use serve::serve;
pub(crate) use slow_log::{SlowLogArgs, slowlog};
pub(crate) use stats::{StatsArgs, stats};
pub(crate) use top::{TopArgs, top};

/// A host that answers requests over Unix sockets with methods from plugins.
#[derive(Debug, Parser)]
#[command(name = "jackfield", version, disable_help_subcommand = true)]
#[command(after_help = "The configuration keys are described in jackfield-config(5) and in config.toml.")]
pub(crate) struct Cli {
    /// Configuration file [default: ./config.toml if it exists, else /etc/jackfield/config.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands. Without one, the program serves.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the host; `jackfield` without a command does the same
    Serve,

    /// Check the configuration and all plugin files, and print every fault; bind no socket, and run
    /// no plugin code unless --probe is passed
    Check(CheckArgs),

    /// Send one request and print its result as JSON
    Call(CallArgs),

    /// Describe the methods of a running host or of plugin files: params, results, errors, examples
    Describe(DescribeArgs),

    /// Generate load on a host, check every reply, and print rates and latencies
    Bench(BenchArgs),

    /// Reload the configuration and the plugins of a running host, and wait until they are applied
    Reload(ReloadArgs),

    /// Print the counters of a running host: connections, requests, methods, callers, plugins
    Stats(StatsArgs),

    /// Show a running host live: rates, latencies, callers, plugins, failures
    Top(TopArgs),

    /// Print the slowest requests of the last ten minutes, and the last failed ones, of a running
    /// host
    #[command(name = "slowlog")]
    SlowLog(SlowLogArgs),

    /// Build the plugin crates in the plugin directory and serve; build a crate again whenever its
    /// source, or that of a crate that it depends on by path, changes
    Dev,

    /// Write typed classes for the methods of a host or of plugin files
    #[command(subcommand)]
    Generate(GenerateCommand),

    /// Print the methods of a running host that complete a command line, for shells
    #[command(hide = true)]
    Complete(CompleteArgs),

    /// Write the manual pages and the shell completions, for packages
    #[cfg(feature = "pages")]
    #[command(hide = true)]
    Pages(PagesArgs),

    /// Inspect, list, reload, roll back and isolate plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// The commands of `jackfield plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Print the manifest and the signer of a plugin file, without running its code
    Inspect(InspectArgs),

    /// List the plugins of a running host
    List(ListArgs),

    /// Load the file of a plugin again, or the files of all plugins; if a file is refused, the
    /// current generation continues to serve
    Reload(ReloadPluginArgs),

    /// Roll a plugin back to the content of its previous generation
    Rollback(RollbackArgs),

    /// Run a plugin in a worker, a process of its own, from now on and after restarts of the host;
    /// the content that serves starts again there, and no request is lost
    Isolate(IsolateArgs),
}
