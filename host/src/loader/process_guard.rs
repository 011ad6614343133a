//! Finds state of the whole process that plugins changed while the host serves, and restores it as
//! far as that is safe.
//!
//! | State | When it was changed |
//! |---|---|
//! | Signal handlers, working directory, umask | restored |
//! | Signal masks of I/O threads | restored by the threads themselves |
//! | Environment, resource limits, privileges, descriptors | reported |
//!
//! The environment is not restored, because other threads may read it. A descriptor cannot be
//! opened again. Masks of the threads of plugins belong to the plugins. The locale is not compared,
//! because C offers no way to read it while another thread changes it.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::process::{fchdir, umask};

use super::process_state::{ProcessState, UMASK};
use super::signal_name::SignalNumber;
use super::signal_state::{SignalHandlers, SignalMask};

/// The state of this process as it must be, and the means to restore it.
pub(crate) struct ProcessGuard {
    expected: ProcessState,
    handlers: SignalHandlers,

    /// The signals that the threads of the host block.
    pub(crate) signal_mask: SignalMask,

    /// The working directory; `None` if it cannot be opened.
    directory: Option<OwnedFd>,
}

/// The changes since the previous check, in words.
#[derive(Debug, Default)]
pub(crate) struct StateChanges {
    pub(crate) restored: Vec<String>,
    pub(crate) reported: Vec<String>,
}

impl ProcessGuard {
    /// Takes the current state as the reference. Call it before plugins are loaded, and after the
    /// program has set its signal handlers.
    pub(crate) fn begin() -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(".", flags, Mode::empty()).ok();
        Self {
            expected: ProcessState::while_serving(),
            handlers: SignalHandlers::current(),
            signal_mask: SignalMask::of_current_thread(),
            directory,
        }
    }

    /// Compares the state with the reference, and restores what can be restored. Everything else
    /// becomes the new reference, so that it is reported once.
    ///
    /// Takes less than a millisecond. With `compares_descriptors`, those that were open at the
    /// beginning must still be open.
    pub(crate) fn check(&mut self, compares_descriptors: bool) -> StateChanges {
        let handler = |signal| format!("the handler of {}", SignalNumber(signal));
        let mut restored: Vec<_> = self.handlers.restore().into_iter().map(handler).collect();

        // The handlers are restored first, so that the state shows only what else was changed.
        let mut current = self.expected.again();
        if self.restore_directory(&mut current) {
            restored.push("the working directory".to_owned());
        }
        if self.restore_umask(&mut current) {
            restored.push("the umask".to_owned());
        }
        if !compares_descriptors {
            current.descriptors.clone_from(&self.expected.descriptors);
        }

        let reported = self.expected.changes(&current);
        self.expected.adopt(current);
        StateChanges { restored, reported }
    }

    /// Returns whether a thread of the host blocks other signals than it must.
    pub(crate) fn has_other_mask(&self, tid: u32) -> bool {
        SignalMask::of_thread(tid).is_some_and(|mask| mask != self.signal_mask)
    }

    /// Restores the working directory, and returns whether it was another one.
    fn restore_directory(&self, current: &mut ProcessState) -> bool {
        let Some(directory) =
            self.directory.as_ref().filter(|_| current.directory != self.expected.directory)
        else {
            return false;
        };

        // A directory that was renamed is still the same one.
        let identity = |fd: &OwnedFd| fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let now = open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
        let is_same = now.as_ref().and_then(identity) == identity(directory);
        if !is_same && fchdir(directory).is_err() {
            return false;
        }
        current.directory = std::env::current_dir().ok();
        !is_same
    }

    /// Restores the umask, and returns whether it was another one.
    fn restore_umask(&self, current: &mut ProcessState) -> bool {
        let Some(expected) = self.expected.status.get(UMASK) else { return false };
        let Ok(mask) = u32::from_str_radix(expected, 8) else { return false };
        if current.status.get(UMASK) == Some(expected) {
            return false;
        }

        umask(Mode::from_raw_mode(mask));
        current.status.insert(UMASK, expected.clone());
        true
    }
}
