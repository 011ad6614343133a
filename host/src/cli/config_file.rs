//! Finds and loads the configuration file for a command.

use std::path::Path;

use jackfield::config::{Config, ConfigNotFound, Faults};

/// The reason why a command has no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("{0}")]
    NotFound(#[from] ConfigNotFound),
    #[error("{0}")]
    Faults(#[from] Faults),
}

/// Loads `file`, which is the value of `--config`, or else the first default file that exists.
pub(super) fn load_config(file: Option<&Path>) -> Result<Config, ConfigError> {
    Ok(Config::load(&Config::find(file)?)?)
}
