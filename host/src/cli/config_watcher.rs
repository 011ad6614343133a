//! Follows the configuration file while the host serves: a changed file is read, and applied as a
//! whole or not at all. `config_changes` notices the changes.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jackfield::config::{Config, Faults};
use jackfield::log::{Counted, Logging};
use jackfield::{Host, WithRemedy};
use tokio::sync::oneshot;

use super::config_changes::{ConfigChange, ConfigChanges, FileFingerprint};

/// Time without changes before the file is read: it may be written in more than one step.
const REST: Duration = Duration::from_millis(200);

/// As [`REST`], if it is not known whether a process still writes the file.
const FOUND_REST: Duration = Duration::from_secs(1);

/// As [`REST`], while the file is empty, or is opened for writing and not closed. After this time
/// it counts as complete.
const UNFINISHED_REST: Duration = Duration::from_secs(5);

/// A configuration that was read, or the faults of the file.
pub(super) type ReadConfig = Result<Config, Vec<String>>;

/// Returns the time for which the file must still not change before it is read.
fn remaining_rest(file: &FileFingerprint, last: ConfigChange) -> Option<Duration> {
    let rest = match last {
        ConfigChange::Begun => UNFINISHED_REST,
        _ if file.length == 0 => UNFINISHED_REST,
        ConfigChange::Found => FOUND_REST,
        ConfigChange::Done => REST,
    };
    // After the clock was set back, the time of the change may be in the future. It is then
    // ignored.
    let age = file.modified.elapsed().ok()?;
    rest.checked_sub(age).filter(|left| !left.is_zero())
}

/// Watches the configuration file and applies its changes.
pub(super) struct ConfigWatcher {
    file: PathBuf,

    /// The configuration in effect.
    applied: Config,

    /// The faults that were logged last, so that they are not logged again.
    refused: Option<Vec<String>>,

    changes: ConfigChanges,

    /// The last change, if the file was not read since.
    unread_change: Option<ConfigChange>,

    /// The last result of a read. A comparison that leads to the same one has no effect.
    last_read: ReadConfig,
}

impl ConfigWatcher {
    /// Watches the file that `config` was read from.
    pub(super) fn start(config: &Config) -> Self {
        let file = config.file.clone().unwrap_or_default();
        Self {
            changes: ConfigChanges::of(&file),
            file,
            applied: config.clone(),
            refused: None,
            unread_change: None,
            last_read: Ok(config.clone()),
        }
    }

    /// Waits until the file may have changed and has not changed for [`REST`], and returns what was
    /// read. May be dropped at any time: the change is then reported by the next call.
    pub(super) async fn changed(&mut self) -> ReadConfig {
        loop {
            let (read, last) = self.read_after_change().await;
            let is_known = last == ConfigChange::Found && read == self.last_read;
            if !is_known {
                return read;
            }
        }
    }

    /// Returns what was read after the next change, and the last change before that.
    async fn read_after_change(&mut self) -> (ReadConfig, ConfigChange) {
        let mut last = match self.unread_change {
            Some(change) => change,
            None => self.changes.next().await,
        };
        let mut rest = REST;

        loop {
            self.unread_change = Some(last);
            if let Ok(change) = tokio::time::timeout(rest, self.changes.next()).await {
                (last, rest) = (last.and_then(change), REST);
                continue;
            }

            // The file itself is examined as well: on a busy machine events arrive late.
            let fingerprint = FileFingerprint::of(&self.file);
            if let Some(left) = fingerprint.as_ref().and_then(|found| remaining_rest(found, last)) {
                rest = left;
                continue;
            }
            let read = self.read().await;
            if FileFingerprint::of(&self.file) != fingerprint {
                rest = REST;
                continue;
            }

            self.unread_change = None;
            let is_emptied = fingerprint.is_some_and(|found| found.length == 0) && read != self.last_read;
            return (if is_emptied { Err(self.empty_fault()) } else { read }, last);
        }
    }

    /// Reads the file now, on a thread of its own.
    ///
    /// The caller handles the signals meanwhile: the thread may have to wait for a plugin that is
    /// loaded or unloaded, like every thread that starts.
    pub(super) async fn read(&self) -> ReadConfig {
        let (sender, read) = oneshot::channel();
        let file = self.file.clone();
        let load = move || {
            jackfield::touch_thread_locals();
            let faults = |faults: Faults| faults.to_string().lines().map(str::to_owned).collect();
            // The receiver is missing if a signal ends the host.
            let _ = sender.send(Config::load(&file).map_err(faults));
        };

        let shown = self.file.display();
        if let Err(error) = thread::Builder::new().name("config-read".into()).spawn(load) {
            return Err(vec![format!(
                "{shown}: cannot be read: cannot start a thread: {}",
                WithRemedy(&error)
            )]);
        }
        read.await.unwrap_or_else(|_| Err(vec![format!("{shown}: cannot be read: its thread panicked")]))
    }

    /// Returns the fault of an empty file. It is a valid configuration, but also what remains of a
    /// file that was written to a full disk, and its defaults admit clients that the previous
    /// configuration excluded.
    fn empty_fault(&self) -> Vec<String> {
        vec![format!(
            "{}: the file is empty; if that is intended, run \"jackfield reload\" to apply it",
            self.file.display()
        )]
    }

    /// Returns the time that the host may take to answer the requests in flight when it stops.
    pub(super) fn drain_timeout(&self) -> Duration {
        self.applied.timeouts.drain
    }

    /// Applies what was read, if it differs from the configuration in effect.
    ///
    /// # Errors
    ///
    /// Every reason why nothing was applied. The reasons are also logged.
    pub(super) async fn apply(
        &mut self,
        read: ReadConfig,
        host: &Host,
        logging: &Logging,
    ) -> Result<(), Vec<String>> {
        self.last_read = read.clone();
        let config = match read {
            Ok(config) => config,
            Err(reasons) => return self.refuse(reasons),
        };
        if config == self.applied {
            self.refused = None;
            return Ok(());
        }

        match host.reconfigure(config.clone()).await {
            Ok(()) => {
                logging.set_level(config.log.level);
                let file = self.file.display();
                tracing::info!(%file, "configuration {file} applied");
                self.applied = config;
                self.refused = None;
                Ok(())
            }
            Err(reasons) => self.refuse(reasons),
        }
    }

    /// Logs the reasons, unless they were logged last, and returns them.
    fn refuse(&mut self, reasons: Vec<String>) -> Result<(), Vec<String>> {
        if self.refused.as_ref() != Some(&reasons) {
            let file = self.file.display();
            let faults: Vec<_> = reasons.iter().flat_map(|reason| reason.lines()).collect();
            tracing::error!(
                %file,
                faults = faults.len(),
                "configuration {file} not applied, the previous one stays in effect: {}: {}",
                Counted(faults.len(), "fault"),
                faults.join(" | ")
            );
            self.refused = Some(reasons.clone());
        }
        Err(reasons)
    }
}
