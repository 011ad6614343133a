//! The configuration file followed while the host serves: read anew when it changes, applied whole or not at all.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jackfield::Host;
use jackfield::config::Config;
use jackfield::log::Logging;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long nothing must have happened to the file before it is read: it is written in more than one step.
const REST: Duration = Duration::from_millis(200);
/// And while it is empty, or somebody has begun to write and has not closed it. Who does not go on for longer than this has
/// said what there is to say.
const UNFINISHED: Duration = Duration::from_secs(5);

/// What happened to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigChange {
    /// Somebody has begun to write it and has not closed it yet.
    Begun,
    /// It is as somebody wants it to be, as far as can be seen.
    Done,
}

/// What was read of the file.
pub(super) type ReadConfig = Result<Config, Vec<String>>;

/// What tells one content of the file from another, as far as can be seen without reading it.
#[derive(PartialEq)]
struct FileFingerprint {
    inode: u64,
    length: u64,
    modified: SystemTime,
}

impl FileFingerprint {
    fn of(file: &Path) -> Option<Self> {
        let facts = fs::metadata(file).ok()?;
        Some(Self { inode: facts.ino(), length: facts.len(), modified: facts.modified().ok()? })
    }

    /// How much longer it must not change to be read.
    fn still_to_rest(&self, last: ConfigChange) -> Option<Duration> {
        let rest = if last == ConfigChange::Begun || self.length == 0 { UNFINISHED } else { REST };
        // By a clock that was set back it is from a time to come, and nothing can be told.
        let age = self.modified.elapsed().ok()?;
        rest.checked_sub(age).filter(|left| !left.is_zero())
    }
}

/// A configuration file that is followed.
pub(super) struct ConfigWatcher {
    file: PathBuf,
    /// What was applied last.
    applied: Config,
    /// What was read last and refused, so that it is said once.
    refused: Option<Vec<String>>,
    changes: UnboundedReceiver<ConfigChange>,
    /// How it has changed last, when it was not yet read since.
    changing: Option<ConfigChange>,
    /// Gone, it watches no more.
    _watcher: Option<RecommendedWatcher>,
}

impl ConfigWatcher {
    /// Follows the file that `config` was read from. Where the system cannot watch it, only SIGHUP has it read.
    pub(super) fn start(config: &Config) -> Self {
        let (changed, changes) = unbounded_channel();
        let file = config.file.clone().unwrap_or_default();
        let watcher = watch(&file, move |change| {
            // Nobody listens any more when the host ends.
            let _ = changed.send(change);
        });
        if let Err(error) = &watcher {
            tracing::warn!(file = %file.display(), "it cannot be watched, and is read anew on SIGHUP: {error}");
        }
        Self { file, applied: config.clone(), refused: None, changes, changing: None, _watcher: watcher.ok() }
    }

    /// Ready when the file may have changed and is at rest: with what it says.
    pub(super) async fn changed(&mut self) -> ReadConfig {
        // Kept, because this future may be dropped before the file is at rest.
        let mut last = match self.changing {
            Some(change) => change,
            None => match self.changes.recv().await {
                Some(change) => change,
                // Nothing watches it.
                None => return std::future::pending().await,
            },
        };
        let mut rest = REST;
        loop {
            self.changing = Some(last);
            match tokio::time::timeout(rest, self.changes.recv()).await {
                Ok(Some(change)) => (last, rest) = (change, REST),
                Ok(None) | Err(_) => {
                    // The file itself is asked as well: on a busy machine it is told late what happens to it.
                    let found = FileFingerprint::of(&self.file);
                    let left = found.as_ref().and_then(|found| found.still_to_rest(last));
                    if let Some(left) = left {
                        rest = left;
                        continue;
                    }
                    let read = self.read();
                    if FileFingerprint::of(&self.file) == found {
                        self.changing = None;
                        return if found.is_some_and(|found| found.length == 0) {
                            Err(self.empty())
                        } else {
                            read
                        };
                    }
                    rest = REST;
                }
            }
        }
    }

    /// What the file says now, at rest or not.
    pub(super) fn read(&self) -> ReadConfig {
        Config::load(&self.file).map_err(|faults| faults.to_string().lines().map(str::to_owned).collect())
    }

    /// Without a word it is a configuration, and what is left of one that was to be written where there was no room: nobody
    /// is to be let in for that.
    fn empty(&self) -> Vec<String> {
        vec![format!("{}: it is empty; if that is meant, `jackfield reload` applies it", self.file.display())]
    }

    /// How long the host may take to answer what is in flight when it stops.
    pub(super) fn drain_timeout(&self) -> Duration {
        self.applied.timeouts.drain
    }

    /// Applies what was read, if it is something else than before.
    ///
    /// # Errors
    /// Every reason why nothing of it is applied; they are in the log, too.
    pub(super) async fn apply(
        &mut self,
        read: ReadConfig,
        host: &Host,
        logging: &Logging,
    ) -> Result<(), Vec<String>> {
        let read = match read {
            Ok(read) => read,
            Err(reasons) => return self.refuse(reasons),
        };
        if read == self.applied {
            self.refused = None;
            return Ok(());
        }
        match host.reconfigure(read.clone()).await {
            Ok(()) => {
                logging.set_level(read.log.level);
                tracing::info!(file = %self.file.display(), "the configuration has changed");
                (self.applied, self.refused) = (read, None);
                Ok(())
            }
            Err(reasons) => self.refuse(reasons),
        }
    }

    fn refuse(&mut self, reasons: Vec<String>) -> Result<(), Vec<String>> {
        if self.refused.as_ref() != Some(&reasons) {
            let lines = || reasons.iter().flat_map(|reason| reason.lines());
            tracing::error!(
                file = %self.file.display(),
                lines = lines().count(),
                "the configuration stays as it was, for the reasons in the lines that follow"
            );
            for line in lines() {
                tracing::error!("{line}");
            }
            self.refused = Some(reasons.clone());
        }
        Err(reasons)
    }
}

/// Watches the directory, not the file: who writes a new one renames it into place.
fn watch(file: &Path, changed: impl Fn(ConfigChange) + Send + 'static) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.canonicalize().map_err(|error: io::Error| notify::Error::io(error))?;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let change = match event {
            Ok(event) if event.need_rescan() => Some(ConfigChange::Done),
            Ok(event) => {
                let ours = event.paths.iter().any(|path| path.file_name() == name.as_deref());
                if ours { change_of(event.kind) } else { None }
            }
            Err(_) => Some(ConfigChange::Done),
        };
        change.into_iter().for_each(&changed);
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// What an event on the file says; nothing, if it was only read.
fn change_of(kind: EventKind) -> Option<ConfigChange> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(ConfigChange::Done),
        EventKind::Access(_) => None,
        // Made and not written yet, which a link never is: that is read a little later.
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(ConfigChange::Begun),
        _ => Some(ConfigChange::Done),
    }
}
