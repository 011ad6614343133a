//! `jackfield call`: one request from the command line.
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// The words of `call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The method
    method: String,
}
pub(crate) fn call(_words: &Call, _config: Option<&Path>) -> ExitCode {
    ExitCode::SUCCESS
}
