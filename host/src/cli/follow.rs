//! The configuration file followed while the host serves: read anew when it changes, applied whole or not at all.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use jackfield::Host;
use jackfield::config::Config;
use jackfield::log::Logging;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long nothing must have happened to the file before it is read: it is written in more than one step.
const REST: Duration = Duration::from_millis(200);

type Applying = Pin<Box<dyn Future<Output = Result<(), Vec<String>>>>>;

/// A configuration file that is followed.
pub(super) struct Follower {
    file: PathBuf,
    /// What was applied last.
    applied: Config,
    /// What was read last and refused, so that it is said once.
    refused: Option<String>,
    changes: UnboundedReceiver<()>,
    /// When it changed last, until it is read.
    changed: Option<Instant>,
    /// What the host is applying: it may start plugins for that, and signals do not wait for them.
    applying: Option<(Config, Applying)>,
    /// Gone, it watches no more.
    _watcher: Option<RecommendedWatcher>,
}

/// What there is to do.
pub(super) enum Step {
    /// The file may say something else, and is at rest.
    Read,
    /// The host has applied it, or found why it cannot.
    Applied(Box<Config>, Result<(), Vec<String>>),
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
            changed: None,
            applying: None,
            _watcher: watcher.ok(),
        }
    }

    /// The next thing to do. Dropped before it is ready, nothing is lost.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            let rest = self.changed.filter(|_| self.applying.is_none()).map(|changed| changed + REST);
            let at_rest = async move {
                match rest {
                    Some(rest) => tokio::time::sleep_until(rest.into()).await,
                    None => std::future::pending().await,
                }
            };
            let applied = async {
                match &mut self.applying {
                    Some((_, applying)) => applying.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(()) = self.changes.recv() => self.changed = Some(Instant::now()),
                () = at_rest => {
                    self.changed = None;
                    return Step::Read;
                }
                result = applied => {
                    if let Some((config, _)) = self.applying.take() {
                        return Step::Applied(Box::new(config), result);
                    }
                }
            }
        }
    }

    /// Does it.
    pub(super) fn go_on(&mut self, step: Step, host: &Host, logging: &Logging) {
        match step {
            Step::Read => self.read(host),
            Step::Applied(config, Ok(())) => {
                logging.set_level(config.log.level);
                tracing::info!(file = %self.file.display(), "the configuration has changed");
                (self.applied, self.refused) = (*config, None);
            }
            Step::Applied(_, Err(reasons)) => self.refuse(&reasons.join("\n")),
        }
    }

    /// Reads the file, and has the host apply it if it says something else than before.
    pub(super) fn read(&mut self, host: &Host) {
        if self.applying.is_some() {
            // Once that is done.
            self.changed = Some(Instant::now());
            return;
        }
        let read = match Config::load(&self.file) {
            Ok(read) => read,
            Err(faults) => return self.refuse(&faults.to_string()),
        };
        if read == self.applied {
            self.refused = None;
            return;
        }
        let applying = Box::pin(host.reconfigure(read.clone()));
        self.applying = Some((read, applying));
    }

    fn refuse(&mut self, why: &str) {
        if self.refused.as_deref() == Some(why) {
            return;
        }
        tracing::error!(file = %self.file.display(), "the configuration stays as it was");
        for line in why.lines() {
            tracing::error!("{line}");
        }
        self.refused = Some(why.to_owned());
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
