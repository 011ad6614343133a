//! The settings of a build script, and its input and output.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use jackfield_contract::openrpc;

use crate::error::Error;
use crate::write;

/// Generates the clients of the methods in an OpenRPC document.
#[derive(Debug, Clone)]
#[must_use = "nothing is written before `generate` is called"]
pub struct Generator {
    document: Option<PathBuf>,
    out_dir: Option<PathBuf>,
    file_name: String,
}

impl Default for Generator {
    fn default() -> Self {
        Self::new()
    }
}

impl Generator {
    /// Returns a generator without a document.
    pub fn new() -> Self {
        Self { document: None, out_dir: None, file_name: "jackfield.rs".to_owned() }
    }

    /// Sets the path of the document, relative to the package.
    ///
    /// `jackfield describe --openrpc` writes it.
    pub fn document(mut self, path: impl AsRef<Path>) -> Self {
        self.document = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the directory that the file is written to. Default: `OUT_DIR`, which cargo sets for
    /// build scripts.
    pub fn out_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.out_dir = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the name of the file. Default: `jackfield.rs`.
    ///
    /// A build script that reads several documents needs one for each.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = name.into();
        self
    }

    /// Returns the text of the file. The same document always has the same text.
    ///
    /// # Errors
    ///
    /// There is no document, or it cannot be read, or it is not an OpenRPC document.
    pub fn source(&self) -> Result<String, Error> {
        let path = self.document.clone().ok_or(Error::NoDocument)?;
        let document = match fs::read(&path) {
            Ok(document) => document,
            Err(source) => return Err(Error::Read { path, source }),
        };

        match openrpc::read(&document) {
            Ok(contract) => Ok(write::file(&contract)),
            Err(source) => Err(Error::Invalid { path, source }),
        }
    }

    /// Writes the file, and asks cargo to run the build script again when the document changes.
    ///
    /// # Errors
    ///
    /// Those of [`Generator::source`], and the file cannot be written.
    pub fn generate(&self) -> Result<(), Error> {
        // Before anything can fail, so that a repaired document is noticed.
        if let Some(document) = &self.document {
            println!("cargo:rerun-if-changed={}", document.display());
        }
        let source = self.source()?;

        let out_dir = self.out_dir.clone().or_else(|| env::var_os("OUT_DIR").map(PathBuf::from));
        let path = out_dir.ok_or(Error::NoOutDir)?.join(&self.file_name);
        fs::write(&path, source).map_err(|source| Error::Write { path, source })
    }
}
