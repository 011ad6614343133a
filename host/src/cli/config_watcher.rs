//! Follows the configuration file while the host serves: a changed file is read, and applied as a
//! whole or not at all.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use jackfield::config::{Config, Faults};
use jackfield::log::{Counted, Logging};
use jackfield::{Host, WatchFailure, WithRemedy};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

/// Time without changes before the file is read: it may be written in more than one step.
const REST: Duration = Duration::from_millis(200);

/// As [`REST`], while the file is empty, or is opened for writing and not closed. After this time
/// it counts as complete.
const UNFINISHED_REST: Duration = Duration::from_secs(5);

/// A change of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigChange {
    /// A process has begun to write the file and has not closed it yet.
    Begun,
    /// The file is complete, as far as can be known.
    Done,
}

/// A configuration that was read, or the faults of the file.
pub(super) type ReadConfig = Result<Config, Vec<String>>;

/// Identifies one content of the file, as far as possible without reading it.
#[derive(PartialEq)]
struct FileFingerprint {
    inode: u64,
    length: u64,
    modified: SystemTime,
}

impl FileFingerprint {
    fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self { inode: metadata.ino(), length: metadata.len(), modified: metadata.modified().ok()? })
    }

    /// Returns the time for which the file must still not change before it is read.
    fn remaining_rest(&self, last: ConfigChange) -> Option<Duration> {
        let is_unfinished = last == ConfigChange::Begun || self.length == 0;
        let rest = if is_unfinished { UNFINISHED_REST } else { REST };
        // After the clock was set back, the time of the change may be in the future. It is then
        // ignored.
        let age = self.modified.elapsed().ok()?;
        rest.checked_sub(age).filter(|left| !left.is_zero())
    }
}

/// Watches the configuration file and applies its changes.
pub(super) struct ConfigWatcher {
    file: PathBuf,

    /// The configuration in effect.
    applied: Config,

    /// The faults that were logged last, so that they are not logged again.
    refused: Option<Vec<String>>,

    changes: UnboundedReceiver<ConfigChange>,

    /// The last change, if the file was not read since.
    unread_change: Option<ConfigChange>,

    /// Dropping it ends the watch.
    _watcher: Option<RecommendedWatcher>,
}

impl ConfigWatcher {
    /// Watches the file that `config` was read from. If that is impossible, a reload must be
    /// requested.
    pub(super) fn start(config: &Config) -> Self {
        let (sender, changes) = unbounded_channel();
        let file = config.file.clone().unwrap_or_default();

        let watcher = watch(&file, move |change| {
            // The thread is one of `notify`. If it waited for a plugin while it wakes the receiver,
            // nothing else could wake the receiver meanwhile.
            jackfield::touch_thread_locals();
            // The receiver is missing when the host ends.
            let _ = sender.send(change);
        });
        if let Err(error) = &watcher {
            let error = WatchFailure(error);
            let file = file.display();
            tracing::warn!(
                %file,
                "{file} cannot be watched for changes: {error}; run \"jackfield reload\" after a change"
            );
        }
        Self {
            file,
            applied: config.clone(),
            refused: None,
            changes,
            unread_change: None,
            _watcher: watcher.ok(),
        }
    }

    /// Waits until the file may have changed and has not changed for [`REST`], and returns what was
    /// read. May be dropped at any time: the change is then reported by the next call.
    pub(super) async fn changed(&mut self) -> ReadConfig {
        let mut last = match self.unread_change {
            Some(change) => change,
            None => match self.changes.recv().await {
                Some(change) => change,
                // The file is not watched.
                None => return std::future::pending().await,
            },
        };
        let mut rest = REST;

        loop {
            self.unread_change = Some(last);
            if let Ok(Some(change)) = tokio::time::timeout(rest, self.changes.recv()).await {
                (last, rest) = (change, REST);
                continue;
            }

            // The file itself is examined as well: on a busy machine events arrive late.
            let fingerprint = FileFingerprint::of(&self.file);
            if let Some(left) = fingerprint.as_ref().and_then(|found| found.remaining_rest(last)) {
                rest = left;
                continue;
            }
            let read = self.read().await;
            if FileFingerprint::of(&self.file) != fingerprint {
                rest = REST;
                continue;
            }

            self.unread_change = None;
            let is_empty = fingerprint.is_some_and(|found| found.length == 0);
            return if is_empty { Err(self.empty_fault()) } else { read };
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

/// Watches the directory of the file, because a new file may be renamed into its place.
fn watch(file: &Path, changed: impl Fn(ConfigChange) + Send + 'static) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.canonicalize().map_err(|error: io::Error| notify::Error::io(error))?;

    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let change = match event {
            Ok(event) if event.need_rescan() => Some(ConfigChange::Done),
            Ok(event) => {
                let is_ours = event.paths.iter().any(|path| path.file_name() == name.as_deref());
                if is_ours { change_of(event.kind) } else { None }
            }
            Err(_) => Some(ConfigChange::Done),
        };
        change.into_iter().for_each(&changed);
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Returns the change that an event on the file stands for; `None` if the file was only read.
fn change_of(kind: EventKind) -> Option<ConfigChange> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(ConfigChange::Done),
        EventKind::Access(_) => None,
        // A file that was created is still to be written. A link is complete, and read a little
        // later than necessary.
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(ConfigChange::Begun),
        _ => Some(ConfigChange::Done),
    }
}
