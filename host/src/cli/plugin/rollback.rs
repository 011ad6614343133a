//! `jackfield plugin rollback`: returns a plugin to its previous content.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jackfield::admin::{PluginReloadResult, RollbackParams, method};

use super::reload::render;
use crate::cli::admin_client::{OperatorArgs, call, print};

/// The arguments of `jackfield plugin rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Name of the plugin
    name: String,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Rolls one plugin back. The exit code is 1 if that is refused.
pub(crate) fn rollback(args: &RollbackArgs, config: Option<&Path>) -> ExitCode {
    let params = RollbackParams { name: args.name.clone() };
    let reply = call(&args.operator, config, method::PLUGIN_ROLLBACK, &params);
    print(reply, args.operator.json, |result: PluginReloadResult| render(&[result]))
}
