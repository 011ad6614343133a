//! What is wrong with a configuration: one line per fault, `FILE:LINE:COLUMN: what; what to write instead`.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file as it was named by whoever asked for it.
    pub file: PathBuf,
    /// The line, from 1. A file that cannot be read at all has its fault at 1:1.
    pub line: u32,
    /// The column, from 1, in characters (not bytes).
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { file, line, column, what, instead } = self;
        write!(f, "{}:{line}:{column}: {what}; {instead}", file.display())
    }
}

/// Every fault of a configuration file, sorted by place. Displayed one a line, without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// A single fault that concerns the file as a whole, at 1:1.
    pub(super) fn whole(file: impl Into<PathBuf>, what: String, instead: String) -> Faults {
        Faults(vec![Fault { file: file.into(), line: 1, column: 1, what, instead }])
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

/// No configuration file where one was looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no configuration file at {}; name one with -c FILE", or_list(.looked))]
pub struct ConfigNotFound {
    /// The files looked for, in order.
    pub looked: Vec<PathBuf>,
}

fn or_list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}
