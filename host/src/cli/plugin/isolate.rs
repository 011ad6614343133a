//! `jackfield plugin isolate`: has a plugin run in a worker, or no longer.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jackfield::admin::{IsolateParams, PluginReloadResult, method};

use super::reload::render;
use crate::cli::admin_client::{OperatorArgs, call, print};

/// The arguments of `jackfield plugin isolate`.
#[derive(Debug, Args)]
pub(crate) struct IsolateArgs {
    /// Name of the plugin
    name: String,

    /// Return the plugin to where its configuration says that it runs
    #[arg(long)]
    off: bool,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Moves one plugin. The exit code is 1 if that is refused.
pub(crate) fn isolate(args: &IsolateArgs, config: Option<&Path>) -> ExitCode {
    let params = IsolateParams { name: args.name.clone(), off: args.off };
    let reply = call(&args.operator, config, method::PLUGIN_ISOLATE, &params);
    print(reply, args.operator.json, |result: PluginReloadResult| render(&[result]))
}
