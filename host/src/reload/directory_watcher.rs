//! Watches the plugin directory. An event is a hint to scan the directory and nothing more.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::command::{CommandSender, ReloadCommand};
use super::directory_scan::SCAN_INTERVAL;
use crate::loader::SIGNATURE_SUFFIX;
use crate::log::{ShortDuration, printable};
use crate::system_failure::WatchFailure;

/// Watches one directory at a time.
pub(super) struct DirectoryWatcher {
    commands: CommandSender,
    watcher: Option<RecommendedWatcher>,

    /// The number of the directory that is watched, or that could not be. A scan counts the
    /// directories that it opens.
    followed: Option<u64>,
}

impl DirectoryWatcher {
    /// Returns a watcher that asks for scans through `commands`.
    pub(super) fn new(commands: CommandSender) -> Self {
        Self { commands, watcher: None, followed: None }
    }

    /// Watches this directory and no other from now on.
    ///
    /// A directory that cannot be watched is logged once. The periodic scans still cover it.
    pub(super) fn follow(&mut self, directory: Option<(&Path, u64)>) {
        let Some((path, number)) = directory else {
            self.watcher = None;
            self.followed = None;
            return;
        };
        if self.followed == Some(number) {
            return;
        }

        self.followed = Some(number);
        self.watcher = match watch(path, self.commands.clone()) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                let error = WatchFailure(&error);
                let directory = path.display().to_string();
                let (shown, interval) = (printable(&directory), ShortDuration(SCAN_INTERVAL));
                tracing::warn!(
                    %directory,
                    "plugin directory {shown} cannot be watched: {error}; it is scanned every {interval}"
                );
                None
            }
        };
    }
}

fn watch(directory: &Path, commands: CommandSender) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if let Some(complete) = complete_files(event) {
            commands.send(ReloadCommand::Scan { complete });
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Returns the names of the files that an event shows to be complete, or `None` if the event is no
/// reason to scan. If the event does not show which plugin files have changed, it names none: every
/// file is examined then.
fn complete_files(event: notify::Result<Event>) -> Option<Vec<OsString>> {
    let Ok(event) = event else { return Some(Vec::new()) };
    if event.need_rescan() {
        return Some(Vec::new());
    }

    match event.kind {
        // The file was closed after writing, or renamed into place: its writer is done.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
            let names = || event.paths.iter().filter_map(|path| path.file_name());
            // A complete signature does not make its plugin file complete.
            let is_signature = names().any(|name| name.as_bytes().ends_with(SIGNATURE_SUFFIX.as_bytes()));
            Some(if is_signature { Vec::new() } else { names().map(ToOwned::to_owned).collect() })
        }
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => None,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag};

    use super::*;

    fn event(kind: EventKind) -> notify::Result<Event> {
        Ok(Event::new(kind).add_path("/plugins/a.so".into()))
    }

    #[test]
    fn names_files_that_were_closed_or_renamed_into_place() {
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));

        assert_eq!(complete_files(event(closed)), Some(vec!["a.so".into()]));
        assert_eq!(complete_files(event(renamed)), Some(vec!["a.so".into()]));
    }

    #[test]
    fn names_no_file_when_a_signature_is_complete() {
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let signature = Event::new(closed).add_path("/plugins/a.so.minisig".into());

        assert_eq!(complete_files(Ok(signature)), Some(vec![]));
    }

    #[test]
    fn ignores_reads_and_writes_before_the_close() {
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Read));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));

        assert_eq!(complete_files(event(opened)), None);
        assert_eq!(complete_files(event(written)), None);
    }

    #[test]
    fn scans_without_a_named_file_for_other_changes_and_lost_events() {
        let created = EventKind::Create(CreateKind::File);
        let lost = Event::new(EventKind::Access(AccessKind::Any)).set_flag(Flag::Rescan);

        assert_eq!(complete_files(event(created)), Some(vec![]));
        assert_eq!(complete_files(Ok(lost)), Some(vec![]));
        assert_eq!(complete_files(Err(notify::Error::generic("overflow"))), Some(vec![]));
    }
}
