//! `jackfield reload`: has a running host apply its configuration and its plugins.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jackfield::admin::{NOTHING_APPLIED, method};
use jackfield_client::Error;
use serde_json::Value;

use super::admin_client::{OperatorArgs, call, fail_call};
use super::command_error::{CommandError, InSentences};
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
        Err(failure) if !args.operator.json && is_not_applied(&failure) => {
            let faults = InSentences(&failure);
            let text = format_args!(
                "the configuration was not applied, and the previous one stays in effect:\n{faults}"
            );
            fail(failure.exit_code(), &text)
        }
        Err(failure) => fail_call(&failure, args.operator.json),
    }
}

fn is_not_applied(failure: &CommandError) -> bool {
    matches!(failure, CommandError::Call { error: Error::Remote(remote), .. } if remote.code == NOTHING_APPLIED)
}
