//! A report of the restrictions that are really in force, in one line for the log.

use std::fmt;
use std::path::PathBuf;

/// The restrictions of a worker, and those that the system cannot enforce.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Enforcement {
    /// Subjects that are restricted.
    pub(super) enforced: Vec<String>,

    /// Subjects that should be restricted and are not, with the reason.
    pub(super) missing: Vec<String>,

    /// Subjects that are not restricted here, and of which the sandbox does not promise it.
    pub(super) open: Vec<String>,

    /// The paths of the configuration that do not exist, and can therefore not be used.
    pub(super) absent: Vec<PathBuf>,
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restricted: {}", self.enforced.join(", "))?;
        for (name, items) in [("not enforced", &self.missing), ("open", &self.open)] {
            if !items.is_empty() {
                write!(f, "; {name}: {}", items.join(", "))?;
            }
        }
        if !self.absent.is_empty() {
            let paths = self.absent.iter().map(|path| path.display().to_string());
            write!(f, "; paths that do not exist: {}", paths.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_only_what_there_is() {
        let mut enforcement =
            Enforcement { enforced: vec!["memory".into(), "files".into()], ..Enforcement::default() };
        assert_eq!(enforcement.to_string(), "restricted: memory, files");

        enforcement.missing = vec!["a (Linux 1)".into()];
        enforcement.open = vec!["b".into()];
        enforcement.absent = vec!["/x".into(), "/y".into()];
        assert_eq!(
            enforcement.to_string(),
            "restricted: memory, files; not enforced: a (Linux 1); open: b; paths that do not exist: /x, /y"
        );
    }
}
