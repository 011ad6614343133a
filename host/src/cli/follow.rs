//! The configuration file followed while the host serves: read anew when it changes, applied whole or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jackfield::Host;
use jackfield::config::Config;
use jackfield::log::Logging;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long nothing must have happened to the file before it is read: it is written in more than one step.
const REST: Duration = Duration::from_millis(200);

/// A configuration file that is followed.
pub(super) struct Follower {
    file: PathBuf,
    /// What was applied last.
    applied: Config,
    /// What was read last and refused, so that it is said once.
    refused: Option<Vec<String>>,
    changes: UnboundedReceiver<()>,
    /// Whether it has changed and was not yet read.
    is_changing: bool,
    /// Gone, it watches no more.
    _watcher: Option<RecommendedWatcher>,
}

impl Follower {
    /// Follows the file that `config` was read from. Where the system cannot watch it, only SIGHUP has it read.
    pub(super) fn start(config: &Config) -> Self {
        let (changed, changes) = unbounded_channel();
        let file = config.file.clone().unwrap_or_default();
        let watcher = watch(&file, move || {
            // Nobody listens any more when the host ends.
            let _ = changed.send(());
        });
        if let Err(error) = &watcher {
            tracing::warn!(file = %file.display(), "it cannot be watched, and is read anew on SIGHUP: {error}");
        }
        Self {
            file,
            applied: config.clone(),
            refused: None,
            changes,
            is_changing: false,
            _watcher: watcher.ok(),
        }
    }

    /// Ready when the file may have changed, and is at rest.
    pub(super) async fn changed(&mut self) {
        // Kept, because this future may be dropped before the file is at rest.
        if !self.is_changing {
            if self.changes.recv().await.is_none() {
                // Nothing watches it.
                return std::future::pending().await;
            }
            self.is_changing = true;
        }
        while let Ok(Some(())) = tokio::time::timeout(REST, self.changes.recv()).await {}
        self.is_changing = false;
    }

    /// How long the host may take to answer what is in flight when it stops.
    pub(super) fn drain_timeout(&self) -> Duration {
        self.applied.timeouts.drain
    }

    /// Reads the file, and applies it if it says something else than before.
    ///
    /// # Errors
    /// Every reason why nothing of it is applied; they are in the log, too.
    pub(super) async fn apply(&mut self, host: &Host, logging: &Logging) -> Result<(), Vec<String>> {
        let read = match Config::load(&self.file) {
            Ok(read) => read,
            Err(faults) => return self.refuse(faults.to_string().lines().map(str::to_owned).collect()),
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
fn watch(file: &Path, changed: impl Fn() + Send + 'static) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.canonicalize().map_err(|error: io::Error| notify::Error::io(error))?;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let concerns = event.map_or(true, |event| {
            let ours = event.paths.iter().any(|path| path.file_name() == name.as_deref());
            let read = matches!(event.kind, EventKind::Access(kind) if !matches!(kind, notify::event::AccessKind::Close(notify::event::AccessMode::Write)));
            event.need_rescan() || (ours && !read)
        });
        if concerns {
            changed();
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
