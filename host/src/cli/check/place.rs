//! Places of the configuration file in messages.

use std::fmt;
use std::path::{self, Path};

use jackfield::config::{Config, Place};

/// Returns the name of the file of a configuration.
pub(super) fn name_of(config: &Config) -> path::Display<'_> {
    config.file.as_deref().unwrap_or(Path::new("the configuration")).display()
}

/// A place in the file of the configuration, as `FILE:LINE:COLUMN`.
pub(super) struct AtPlace<'a>(pub(super) &'a Config, pub(super) Place);

impl fmt::Display for AtPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.1;
        write!(f, "{}:{line}:{column}", name_of(self.0))
    }
}
