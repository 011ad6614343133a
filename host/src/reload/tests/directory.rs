//! An invented plugin directory.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::plugin::{Content, Contents};
use super::{TestClock, error};
use crate::config::TrustedKey;
use crate::loader::{FileStamp, LoadError, LoadErrorReason, StagedPlugin};
use crate::reload::plugin_files::{OpenDirectory, PluginFiles};
use crate::sync::lock;

/// One file.
#[derive(Clone)]
struct InventedFile {
    content: Content,
    version: u64,
    changed: SystemTime,

    /// Why the file cannot be a plugin file.
    unusable: Option<LoadError>,

    /// Why the file cannot be staged.
    unstageable: Option<LoadError>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<OsString, InventedFile>,
    next_version: u64,

    /// Tells the directories apart that the path leads to; `None` if it leads to none.
    directory: Option<u64>,

    /// A file that is listed although it was removed.
    ghost: Option<OsString>,

    /// The number of changes of names, and the time of the last one.
    names: u64,
    names_changed: Option<SystemTime>,

    costs: ScanCosts,
}

/// The numbers of operations on the directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScanCosts {
    pub(super) listings: usize,
    pub(super) examined: usize,
    pub(super) read: usize,
}

impl State {
    fn change_names(&mut self, now: SystemTime) {
        self.names += 1;
        self.names_changed = Some(now);
    }
}

/// The directory, and everything that its path leads to later.
#[derive(Clone)]
pub(super) struct InventedDirectory {
    state: Arc<Mutex<State>>,
    contents: Contents,
    clock: TestClock,
}

impl InventedDirectory {
    pub(super) fn new(contents: Contents, clock: TestClock) -> Self {
        let state = State { directory: Some(1), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), contents, clock }
    }

    pub(super) fn opener(&self) -> OpenDirectory {
        let this = self.clone();
        Box::new(move |_: &Path| match lock(&this.state).directory {
            Some(number) => Ok(Box::new(Opened { number, directory: this.clone() })),
            None => Err(error(LoadErrorReason::NotFound)),
        })
    }

    /// Writes a file, now.
    pub(super) fn write(&self, file: &str, content: &Content) {
        self.contents.add(content);
        let mut state = lock(&self.state);
        state.next_version += 1;
        if !state.files.contains_key(OsStr::new(file)) {
            state.change_names(self.clock.now().wall);
        }
        let written = InventedFile {
            content: content.clone(),
            version: state.next_version,
            changed: self.clock.now().wall,
            unusable: None,
            unstageable: None,
        };
        state.files.insert(file.into(), written);
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        let mut state = lock(&self.state);
        let file = state.files.remove(OsStr::new(from)).expect("the file exists");
        state.change_names(self.clock.now().wall);
        state.files.insert(to.into(), file);
    }

    pub(super) fn remove(&self, file: &str) {
        let mut state = lock(&self.state);
        state.files.remove(OsStr::new(file)).expect("the file exists");
        state.change_names(self.clock.now().wall);
    }

    /// Returns the numbers of operations since the last call.
    pub(super) fn take_costs(&self) -> ScanCosts {
        std::mem::take(&mut lock(&self.state).costs)
    }

    /// Removes a file that the next listings still contain.
    pub(super) fn remove_after_listing(&self, file: &str) {
        self.remove(file);
        lock(&self.state).ghost = Some(file.into());
    }

    /// Makes a file one that cannot be a plugin file.
    pub(super) fn make_unusable(&self, file: &str, reason: LoadErrorReason) {
        self.with(file, |file| file.unusable = Some(error(reason)));
    }

    /// Makes the staging of a file fail, until `None` is set.
    pub(super) fn set_staging_error(&self, file: &str, reason: Option<LoadErrorReason>) {
        self.with(file, |file| file.unstageable = reason.map(error));
    }

    /// Has the path lead to another directory with the same files, or to none.
    pub(super) fn replace_directory(&self, number: Option<u64>) {
        lock(&self.state).directory = number;
    }

    fn with(&self, file: &str, change: impl FnOnce(&mut InventedFile)) {
        let mut state = lock(&self.state);
        change(state.files.get_mut(OsStr::new(file)).expect("the file exists"));
    }

    fn file(&self, file: &OsStr) -> Result<InventedFile, LoadError> {
        let found = lock(&self.state).files.get(file).cloned();
        found.ok_or_else(|| error(LoadErrorReason::NotFound))
    }

    fn stamp_of(&self, file: &InventedFile) -> FileStamp {
        FileStamp::invented(file.version, file.changed, self.clock.now().wall)
    }
}

/// The directory, opened.
struct Opened {
    number: u64,
    directory: InventedDirectory,
}

impl PluginFiles for Opened {
    fn is_current(&self) -> bool {
        lock(&self.directory.state).directory == Some(self.number)
    }

    fn own_stamp(&self) -> Option<FileStamp> {
        let state = lock(&self.directory.state);
        let changed = state.names_changed.unwrap_or(SystemTime::UNIX_EPOCH);
        Some(FileStamp::invented(state.names, changed, self.directory.clock.now().wall))
    }

    fn list(&self) -> Result<Vec<OsString>, LoadError> {
        let mut state = lock(&self.directory.state);
        state.costs.listings += 1;
        Ok(state.files.keys().chain(&state.ghost).cloned().collect())
    }

    fn stamp(&self, file: &OsStr) -> Result<FileStamp, LoadError> {
        lock(&self.directory.state).costs.examined += 1;
        let file = self.directory.file(file)?;
        match &file.unusable {
            Some(unusable) => Err(unusable.clone()),
            None => Ok(self.directory.stamp_of(&file)),
        }
    }

    fn stage(&self, file: &OsStr, _keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        lock(&self.directory.state).costs.read += 1;
        let found = self.directory.file(file)?;
        match found.unusable.as_ref().or(found.unstageable.as_ref()) {
            Some(refused) => Err(refused.clone()),
            None => found.content.stage(file, self.directory.stamp_of(&found)),
        }
    }
}
