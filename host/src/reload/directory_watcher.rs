//! The watch on the plugin directory: a hint that something changed, never the truth.

use std::ffi::OsString;
use std::path::Path;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{CommandSender, ReloadCommand};

/// Watches the directory that there is.
pub(super) struct DirectoryWatcher {
    orders: CommandSender,
    watching: Option<RecommendedWatcher>,
    /// Which directory, of those that the path has led to.
    which: Option<u64>,
}

impl DirectoryWatcher {
    /// `orders` are told when something happens.
    pub(super) fn new(orders: CommandSender) -> Self {
        Self { orders, watching: None, which: None }
    }

    /// Watches this directory from now on, and no other. Without the system's help, which is said once, it is still
    /// looked at every few seconds.
    pub(super) fn follow(&mut self, directory: Option<(&Path, u64)>) {
        let Some((directory, which)) = directory else {
            (self.watching, self.which) = (None, None);
            return;
        };
        if self.which == Some(which) {
            return;
        }
        self.which = Some(which);
        self.watching = match watch(directory, self.orders.clone()) {
            Ok(watching) => Some(watching),
            Err(error) => {
                let directory = directory.display();
                tracing::warn!(%directory, "it cannot be watched, and is looked at now and then: {error}");
                None
            }
        };
    }
}

fn watch(directory: &Path, orders: CommandSender) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if let Some(whole) = hint(event) {
            orders.send(ReloadCommand::Look(whole));
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// What an event says: nothing of interest, or that there is something to see, with the names of files that are
/// whole now. A lost event or a rescan names no file, and is a reason to look all the same.
fn hint(event: notify::Result<Event>) -> Option<Vec<OsString>> {
    let Ok(event) = event else { return Some(Vec::new()) };
    let names = || event.paths.iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect();
    if event.need_rescan() {
        return Some(Vec::new());
    }
    match event.kind {
        // Closed after writing, or renamed into place: nobody has more to write.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => Some(names()),
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => None,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => Some(Vec::new()),
    }
}
