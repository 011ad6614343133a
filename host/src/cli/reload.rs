//! `jackfield reload`: has a running host apply its configuration and its plugins.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jackfield::admin::method;
use serde_json::Value;

use super::admin_client::{OperatorArgs, call};
use super::exit_code::fail;

/// The arguments of `jackfield reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Waits until the reload is complete. If the configuration was not applied, prints the reasons and
/// returns exit code 1.
pub(crate) fn reload(args: &ReloadArgs, file: Option<&Path>) -> ExitCode {
    match call::<Value>(&args.operator, file, method::RELOAD, &Value::Null) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => fail(failure.exit_code(), &failure),
    }
}
