//! `jackfield call`: one request from the command line.
use std::path::Path;
use std::process::ExitCode;
use clap::Args;

/// The words of `call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The method
    method: String,
}
pub(crate) fn call(_words: &Call, _config: Option<&Path>) -> ExitCode { ExitCode::SUCCESS }
