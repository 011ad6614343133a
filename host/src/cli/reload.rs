//! `jackfield reload`: the running host reads its configuration and its plugins anew, and says how that went.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::exit_code::fail;
use super::plugin_commands::{OperatorArgs, ask};

/// The words of `reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    operate: OperatorArgs,
}

/// Asks, waits, and says what the host says; exit code 0 if all of it is applied, 1 if nothing is.
pub(crate) fn reread(words: &ReloadArgs, file: Option<&Path>) -> ExitCode {
    match ask::<Value>(&words.operate, file, "admin.reload", &Value::Null) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => fail(failure.exit_code(), &failure),
    }
}
