//! The errors of the generator.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jackfield_contract::openrpc::OpenRpcFault;

/// The reason why no client was generated.
///
/// Its `Debug` output is the message, because that is what a build script prints if `main` returns
/// the error.
#[non_exhaustive]
pub enum Error {
    /// [`Generator::document`](crate::Generator::document) was not called.
    NoDocument,
    /// Neither [`Generator::out_dir`](crate::Generator::out_dir) nor the variable `OUT_DIR` is set.
    NoOutDir,
    /// The document cannot be read.
    Read {
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is not an OpenRPC document.
    Invalid {
        /// Its path.
        path: PathBuf,
        /// The fault.
        source: OpenRpcFault,
    },
    /// The generated file cannot be written.
    Write {
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDocument => f.write_str("no document: call Generator::document with its path"),
            Self::NoOutDir => f.write_str(
                "OUT_DIR is not set: run the generator in a build script, or call Generator::out_dir",
            ),
            Self::Read { path, source } => write!(
                f,
                "cannot read {}: {source}; write it with `jackfield describe --openrpc`",
                path.display()
            ),
            Self::Invalid { path, source } => {
                write!(f, "{}: {source}; write it again with `jackfield describe --openrpc`", path.display())
            }
            Self::Write { path, source } => write!(f, "cannot write {}: {source}", path.display()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoDocument | Self::NoOutDir => None,
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Invalid { source, .. } => Some(source),
        }
    }
}
