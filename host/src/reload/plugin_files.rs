//! The plugin directory, as far as reloads use it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::TrustedKey;
use crate::loader::{FileStamp, LoadError, PluginDirectory, StagedPlugin};

/// The files of an opened plugin directory. Unit tests replace it.
pub(super) trait PluginFiles: Send {
    /// See [`PluginDirectory::is_current`].
    fn is_current(&self) -> bool;
    /// See [`PluginDirectory::own_stamp`].
    fn own_stamp(&self) -> Option<FileStamp>;
    /// See [`PluginDirectory::list`].
    fn list(&self) -> Result<Vec<OsString>, LoadError>;
    /// See [`PluginDirectory::stamp`].
    fn stamp(&self, file: &OsStr) -> Result<FileStamp, LoadError>;
    /// See [`PluginDirectory::stage`].
    fn stage(&self, file: &OsStr, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError>;
}

impl PluginFiles for PluginDirectory {
    fn is_current(&self) -> bool {
        self.is_current()
    }

    fn own_stamp(&self) -> Option<FileStamp> {
        self.own_stamp()
    }

    fn list(&self) -> Result<Vec<OsString>, LoadError> {
        self.list()
    }

    fn stamp(&self, file: &OsStr) -> Result<FileStamp, LoadError> {
        self.stamp(file)
    }

    fn stage(&self, file: &OsStr, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        self.stage(file, keys)
    }
}

/// Opens the plugin directory at a path.
pub(super) type OpenDirectory = Box<dyn Fn(&Path) -> Result<Box<dyn PluginFiles>, LoadError> + Send>;
