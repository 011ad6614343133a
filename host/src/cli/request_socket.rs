//! The socket to which a command sends requests.

use std::path::{Path, PathBuf};

use jackfield::config::Framing;

use super::command_error::CommandError;
use super::config_file::load_config;

/// Returns the socket that was passed, or that of the first listener whose framing the client
/// supports.
pub(super) fn find_socket(passed: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(socket) = passed {
        return Ok(socket.to_owned());
    }
    let mut listeners = load_config(config)?.listeners.into_iter();
    let binary = listeners.find(|listener| listener.framing == Framing::Binary);
    Ok(binary.ok_or(CommandError::NoListener)?.socket)
}
