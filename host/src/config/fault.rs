//! Faults of a configuration file: one line each, `FILE:LINE:COLUMN: problem; remedy`.

use std::fmt;
use std::path::PathBuf;

/// The most faults that are kept. A file with more of them is not a configuration file.
pub(super) const FAULTS_MAX: usize = 1000;

/// One fault of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path of the file, as the caller named it.
    pub file: PathBuf,

    /// The line, from 1. The fault of a file that cannot be read at all is at 1:1.
    pub line: u32,

    /// The column, from 1, in characters (not bytes).
    pub column: u32,

    /// The description of the fault.
    pub problem: String,

    /// The text to write instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { file, line, column, problem, remedy } = self;
        write!(f, "{}:{line}:{column}: {problem}; {remedy}", file.display())
    }
}

/// All faults of a configuration file, sorted by place. Displayed one a line, without a final
/// newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Returns a single fault of the file as a whole, at 1:1.
    pub(super) fn whole(file: impl Into<PathBuf>, problem: String, remedy: String) -> Faults {
        Faults(vec![Fault { file: file.into(), line: 1, column: 1, problem, remedy }])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// There is no configuration file at any of the searched paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no configuration file at {}; pass one with -c FILE", or_list(.paths))]
pub struct ConfigNotFound {
    /// The searched paths, in order.
    pub paths: Vec<PathBuf>,
}

fn or_list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}
