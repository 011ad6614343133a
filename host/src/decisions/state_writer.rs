//! Writes the state directory on a thread of its own, because every write waits for the disk.
//!
//! The plugin owner hands over changes and goes on. A newer change replaces an older one that was
//! not written yet. The thread exists only while there is something to write.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::Instant;

use super::state_directory::StateDirectory;
use crate::loader::KeptImage;
use crate::log::printable;
use crate::sync::lock;

/// The changes that are to be written.
#[derive(Default)]
struct PendingState {
    log: Option<Vec<u8>>,

    /// The contents to keep by plugin; `None` for those to remove.
    kept: BTreeMap<String, Option<KeptImage>>,

    is_thread_running: bool,
}

struct Shared {
    directory: StateDirectory,
    pending: Mutex<PendingState>,

    /// Notified when the thread has nothing left to write.
    idle: Condvar,
}

/// Writes one state directory.
pub(super) struct StateWriter(Arc<Shared>);

impl StateWriter {
    pub(super) fn new(directory: StateDirectory) -> Self {
        Self(Arc::new(Shared { directory, pending: Mutex::default(), idle: Condvar::new() }))
    }

    pub(super) fn directory(&self) -> &StateDirectory {
        &self.0.directory
    }

    /// Has the decisions written.
    pub(super) fn write_log(&self, json: Vec<u8>) {
        self.change(|pending| pending.log = Some(json));
    }

    /// Has the content of a plugin kept; with `None`, the one that is kept is removed.
    pub(super) fn write_kept(&self, plugin: &str, image: Option<KeptImage>) {
        self.change(|pending| {
            pending.kept.insert(plugin.to_owned(), image);
        });
    }

    /// Waits until everything is written, but not longer than until `deadline`. Returns whether it
    /// is.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut pending = lock(&self.0.pending);
        while pending.is_thread_running {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            pending = match self.0.idle.wait_timeout(pending, left) {
                Ok((pending, _)) => pending,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    fn change(&self, change: impl FnOnce(&mut PendingState)) {
        let mut pending = lock(&self.0.pending);
        change(&mut pending);
        if pending.is_thread_running {
            return;
        }

        let shared = Arc::clone(&self.0);
        match Builder::new().name("state".into()).spawn(move || shared.write_all()) {
            Ok(_) => pending.is_thread_running = true,
            // The change stays pending, and is written with the next one.
            Err(error) => self.0.report("the state directory", &error),
        }
    }
}

impl Shared {
    /// Writes until nothing is left.
    fn write_all(&self) {
        loop {
            let mut pending = lock(&self.pending);
            let (log, kept) = (pending.log.take(), mem::take(&mut pending.kept));
            if log.is_none() && kept.is_empty() {
                self.end(pending);
                return;
            }
            drop(pending);

            // The decisions come first: without its kept content, a plugin is unavailable, which is
            // better than that the content serves that was decided against.
            if let Some(json) = log
                && let Err(error) = self.directory.write_log(&json)
            {
                self.report("the decisions", &error);
            }
            for (plugin, image) in kept {
                self.write_kept(&plugin, image.as_ref());
            }
        }
    }

    fn end(&self, mut pending: MutexGuard<'_, PendingState>) {
        pending.is_thread_running = false;
        self.idle.notify_all();
    }

    fn write_kept(&self, plugin: &str, image: Option<&KeptImage>) {
        let written = match image {
            Some(image) => self.directory.write_kept(image),
            None => self.directory.remove_kept(plugin),
        };
        if let Err(error) = written {
            self.report(&format!("the kept content of plugin {plugin}"), &error);
        }
    }

    fn report(&self, what: &str, error: &io::Error) {
        let directory = self.directory.path().display().to_string();
        let shown = printable(&directory);
        tracing::error!(
            %directory,
            %error,
            "cannot write {what} in {shown}: {error}; after a restart, content that was rolled back may serve again or \
             have no replacement"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::super::decision::{Decider, Decision};
    use super::super::decision_log::DecisionLog;
    use super::*;

    /// How long a test waits for the disk.
    const LIMIT: Duration = Duration::from_secs(30);

    fn json(hash: &str) -> Vec<u8> {
        let mut log = DecisionLog::default();
        log.add("device", Decision::now(hash.to_owned(), Decider::Host, "why".to_owned()));
        log.to_json().unwrap()
    }

    fn write_and_read(path: &Path) -> DecisionLog {
        let writer = StateWriter::new(StateDirectory::open(path).unwrap());
        assert!(writer.flush(Instant::now()), "there is nothing to write");
        for number in 0..50 {
            writer.write_log(json(&number.to_string()));
            writer.write_kept("device", None);
        }
        assert!(writer.flush(Instant::now() + LIMIT));
        writer.directory().read()
    }

    #[test]
    fn has_written_the_last_change_after_a_flush() {
        let path = std::env::temp_dir().join(format!("jackfield-writer-{}", std::process::id()));
        let log = write_and_read(&path);
        fs::remove_dir_all(&path).unwrap();

        assert_eq!(log.of("device").len(), 1);
        assert!(log.find("device", "49").is_some());
    }
}
