//! The watch on the plugin directory: a hint that something changed, never the truth.

use std::ffi::OsString;
use std::path::Path;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{Order, Orders};

/// Watches until it is dropped.
pub(super) struct Watcher(Option<RecommendedWatcher>);

impl Watcher {
    /// Watches `directory`, if any, and sends an order to look when something happens in it. Without the system's
    /// help the directory is still looked at every few seconds.
    pub(super) fn start(directory: Option<&Path>, orders: &Orders) -> Self {
        let Some(directory) = directory else { return Self(None) };
        let hints = orders.clone();
        let watching = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Some(whole) = hint(event) {
                hints.send(Order::Look(whole));
            }
        });
        let watching = watching.and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => Self(Some(watcher)),
            Err(error) => {
                tracing::warn!(directory = %directory.display(), "it cannot be watched, and is looked at now and then: {error}");
                Self(None)
            }
        }
    }

    pub(super) fn is_watching(&self) -> bool {
        self.0.is_some()
    }
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
