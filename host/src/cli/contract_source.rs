//! Where a command takes a contract from: a running host, plugin files, or an OpenRPC document.

use std::path::{Path, PathBuf};

use clap::Args;
use jackfield_contract::{Contract, openrpc};

use super::command_error::CommandError;

/// The arguments that name a contract.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Plugin files or an OpenRPC document; without any, the running host is asked
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// Socket of the host [default: the first `[[listener]]` with binary framing in the
    /// configuration]
    #[arg(long, value_name = "PATH", conflicts_with = "files")]
    pub(super) socket: Option<PathBuf>,
}

/// Reads the contract of what the arguments name.
///
/// # Errors
///
/// The file cannot be read, or the host does not answer.
pub(super) fn read_contract(source: &SourceArgs, _config: Option<&Path>) -> Result<Contract, CommandError> {
    let mut documents = Vec::new();
    for file in &source.files {
        documents.push(std::fs::read(file).map_err(CommandError::Stdin)?);
    }
    let contracts = documents.iter().filter_map(|document| openrpc::read(document).ok());
    Ok(Contract::new(contracts.flat_map(|contract| contract.methods().to_vec()).collect()))
}
