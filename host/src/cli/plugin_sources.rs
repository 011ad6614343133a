//! Watches the sources of plugin crates: their own directories, and those of the crates that they
//! depend on by path.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Time without changes before a crate is built: an editor saves a file in more than one step.
const REST: Duration = Duration::from_millis(100);

type WatchEvent = notify::Result<Event>;

/// The directories with the sources of each crate.
type SourceDirectories = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// The sources of plugin crates, watched for changes.
pub(super) struct PluginSources {
    watcher: RecommendedWatcher,
    events: Receiver<WatchEvent>,

    /// By the directory of the crate, which is always among its own directories.
    directories: SourceDirectories,
}

impl PluginSources {
    /// Watches the directories of these crates.
    ///
    /// # Errors
    ///
    /// The system cannot watch one of them.
    pub(super) fn watch(crates: Vec<PathBuf>) -> notify::Result<Self> {
        let (sender, events) = channel();
        let watcher = notify::recommended_watcher(move |event: WatchEvent| {
            // The receiver is missing when the program ends.
            let _ = sender.send(event);
        })?;

        let mut sources = Self { watcher, events, directories: SourceDirectories::new() };
        for crate_directory in crates {
            sources.watcher.watch(&crate_directory, RecursiveMode::Recursive)?;
            sources.directories.insert(crate_directory.clone(), [crate_directory].into());
        }
        Ok(sources)
    }

    /// Returns the directories of the crates.
    pub(super) fn crates(&self) -> Vec<PathBuf> {
        self.directories.keys().cloned().collect()
    }

    /// Watches the directories that a crate depends on, too. Earlier ones stay watched, because a
    /// manifest that is being edited may leave them out for a moment.
    ///
    /// # Errors
    ///
    /// The system cannot watch one of them. The others are watched.
    pub(super) fn add_dependencies(
        &mut self,
        crate_directory: &Path,
        dependencies: Vec<PathBuf>,
    ) -> notify::Result<()> {
        let mut watched = Ok(());
        let Some(known) = self.directories.get_mut(crate_directory) else { return watched };

        for dependency in dependencies {
            if !known.contains(&dependency) {
                let added = self.watcher.watch(&dependency, RecursiveMode::Recursive);
                known.insert(dependency);
                watched = watched.and(added);
            }
        }
        watched
    }

    /// Waits until sources have changed and have then rested, and returns the crates that they
    /// belong to; `None` if there will be no more events.
    pub(super) fn changed(&self) -> Option<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        while changed.is_empty() {
            add_changed(self.events.recv().ok()?, &self.directories, &mut changed);
        }

        loop {
            match self.events.recv_timeout(REST) {
                Ok(event) => add_changed(event, &self.directories, &mut changed),
                Err(RecvTimeoutError::Timeout) => return Some(changed),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// Adds the crates whose sources an event is about. After an error or a lost event, these are all.
fn add_changed(event: WatchEvent, directories: &SourceDirectories, changed: &mut BTreeSet<PathBuf>) {
    let Ok(event) = event else {
        changed.extend(directories.keys().cloned());
        return;
    };

    if event.need_rescan() {
        changed.extend(directories.keys().cloned());
    }
    if matches!(event.kind, EventKind::Access(_)) {
        return;
    }
    for (crate_directory, sources) in directories {
        let is_of_crate = |path: &PathBuf| sources.iter().any(|source| is_source(path, source));
        if event.paths.iter().any(is_of_crate) {
            changed.insert(crate_directory.clone());
        }
    }
}

/// Returns whether a file is in a crate, and is neither written by cargo nor a temporary file of an
/// editor.
fn is_source(path: &Path, crate_directory: &Path) -> bool {
    let Ok(relative) = path.strip_prefix(crate_directory) else { return false };
    let is_temporary =
        |part: &OsStr| part.to_str().is_some_and(|part| part.starts_with('.') || part.ends_with('~'));
    !relative.starts_with("target") && !relative.iter().any(is_temporary) && !relative.ends_with("Cargo.lock")
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind};

    use super::*;

    fn changed_by(path: &str, kind: EventKind) -> Vec<PathBuf> {
        let directories =
            [("/p/one", vec!["/p/one", "/shared"]), ("/p/two", vec!["/p/two", "/shared", "/p/two/inner"])]
                .map(|(name, sources)| (name.into(), sources.into_iter().map(PathBuf::from).collect()));
        let mut changed = BTreeSet::new();
        add_changed(Ok(Event::new(kind).add_path(path.into())), &directories.into(), &mut changed);
        changed.into_iter().collect()
    }

    #[test]
    fn finds_every_crate_that_a_changed_file_belongs_to() {
        let create = EventKind::Create(CreateKind::File);
        let [one, two] = ["/p/one", "/p/two"].map(PathBuf::from);

        assert_eq!(changed_by("/p/one/src/lib.rs", create), std::slice::from_ref(&one));
        assert_eq!(changed_by("/p/two/inner/src/lib.rs", create), std::slice::from_ref(&two));
        assert_eq!(changed_by("/shared/data.txt", create), [one, two]);
    }

    #[test]
    fn ignores_reads_and_files_that_are_not_sources() {
        let create = EventKind::Create(CreateKind::File);
        for path in ["/p/one/target/debug/x.o", "/shared/.lib.rs.swp", "/shared/Cargo.lock", "/p/three/a.rs"]
        {
            assert!(changed_by(path, create).is_empty(), "{path}");
        }
        assert!(changed_by("/shared/lib.rs", EventKind::Access(AccessKind::Any)).is_empty());
    }
}
