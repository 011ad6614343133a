//! `jackfield dev`: builds and installs plugin crates whenever their sources change, while the host
//! serves.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use jackfield::ProbeEntry;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::config_file::load_config;
use super::exit_code::{CONFIGURATION, SYSTEM, fail};
use super::plugin_build::{self, BuiltPlugin};
use super::serve;

/// Time without changes before a crate is built: an editor saves a file in more than one step.
const REST: Duration = Duration::from_millis(100);

/// Builds and installs every plugin crate in the plugin directory, serves, and builds a crate again
/// whenever its source changes. If a build fails, the errors are printed and the installed library
/// stays.
pub(crate) fn dev(file: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    let directory = match load_config(file) {
        Ok(config) => config.plugins.directory,
        Err(error) => return fail(CONFIGURATION, &error),
    };
    let crates = match plugin_build::crates_in(&directory) {
        Ok(crates) if crates.is_empty() => {
            let directory = directory.display();
            return fail(
                CONFIGURATION,
                &format_args!(
                    "{directory}: there is no plugin crate in it (*/Cargo.toml); see plugins.directory"
                ),
            );
        }
        Ok(crates) => crates,
        Err(error) => return fail(SYSTEM, &format_args!("{}: {error}", directory.display())),
    };

    // Before the first build, so that a source that is saved during it is built next.
    let (watcher, events) = match watch(&crates) {
        Ok(watched) => watched,
        Err(error) => return fail(SYSTEM, &format_args!("cannot watch the plugin sources: {error}")),
    };
    for crate_directory in &crates {
        rebuild(crate_directory, &directory);
    }

    let spawned = thread::Builder::new().name("dev".into()).spawn(move || {
        rebuild_on_change(&events, &crates, &directory);
        drop(watcher);
    });
    if let Err(error) = spawned {
        return fail(SYSTEM, &format_args!("cannot start the build thread: {error}"));
    }
    // Output of plugins is not captured into the log: their author wants to see it unchanged.
    serve::run(file, entry, false)
}

type WatchEvent = notify::Result<Event>;

fn watch(crates: &[PathBuf]) -> notify::Result<(RecommendedWatcher, Receiver<WatchEvent>)> {
    let (sender, events) = channel();
    let mut watcher = notify::recommended_watcher(move |event: WatchEvent| {
        // The receiver is missing when the program ends.
        let _ = sender.send(event);
    })?;
    crates.iter().try_for_each(|source| watcher.watch(source, RecursiveMode::Recursive))?;
    Ok((watcher, events))
}

fn rebuild_on_change(events: &Receiver<WatchEvent>, crates: &[PathBuf], directory: &Path) {
    while let Ok(event) = events.recv() {
        let mut changed = BTreeSet::new();
        add_changed(event, crates, &mut changed);
        if changed.is_empty() {
            continue;
        }

        loop {
            match events.recv_timeout(REST) {
                Ok(event) => add_changed(event, crates, &mut changed),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        for crate_directory in changed {
            rebuild(&crate_directory, directory);
        }
    }
}

/// Adds the crates whose sources an event is about. After an error or a lost event, these are all.
fn add_changed(event: WatchEvent, crates: &[PathBuf], changed: &mut BTreeSet<PathBuf>) {
    let Ok(event) = event else {
        changed.extend(crates.iter().cloned());
        return;
    };

    if event.need_rescan() {
        changed.extend(crates.iter().cloned());
    }
    if matches!(event.kind, EventKind::Access(_)) {
        return;
    }
    for path in event.paths {
        let owner = crates.iter().find(|source| path.starts_with(source));
        if let Some(source) = owner.filter(|source| is_source(&path, source)) {
            changed.insert(source.clone());
        }
    }
}

/// Returns whether a file is neither written by cargo nor a temporary file of an editor.
fn is_source(path: &Path, crate_directory: &Path) -> bool {
    let relative = path.strip_prefix(crate_directory).unwrap_or(path);
    let is_temporary =
        |part: &OsStr| part.to_str().is_some_and(|part| part.starts_with('.') || part.ends_with('~'));
    !relative.starts_with("target") && !relative.iter().any(is_temporary) && !relative.ends_with("Cargo.lock")
}

fn rebuild(crate_directory: &Path, directory: &Path) {
    let began = Instant::now();
    let built = plugin_build::build(crate_directory);

    match built.and_then(|libraries| plugin_build::install(&libraries, directory)) {
        Ok(installed) => {
            let seconds = began.elapsed().as_secs_f32();
            for BuiltPlugin { name, .. } in installed {
                eprintln!("dev: plugin {name} built and installed in {seconds:.1} s");
            }
        }
        Err(error) => {
            let path = crate_directory.display();
            eprintln!("dev: {path}: {error}; the plugin file is unchanged");
        }
    }
}
