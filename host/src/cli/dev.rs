//! `jackfield dev`: the plugins' sources watched, built and put into place while the host serves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use jackfield::ProbeEntry;
use notify::{Event, EventKind, RecursiveMode, Watcher as _};

use super::build::{self, BuiltPlugin};
use super::{CONFIGURATION, SYSTEM, failed, load, serve};

/// How long nothing must have happened to the sources before they are built: an editor saves in more than one step.
const REST: Duration = Duration::from_millis(100);

/// Builds every plugin crate under the configured directory, installs what came of it, and serves; and again,
/// whenever a source changes. What does not build is shown, and the code before serves on.
pub(crate) fn dev(file: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    let directory = match load(file) {
        Ok(config) => config.plugins.directory,
        Err(unusable) => return failed(CONFIGURATION, &unusable),
    };
    let crates = match build::crates_in(&directory) {
        Ok(crates) if crates.is_empty() => {
            let directory = directory.display();
            return failed(
                CONFIGURATION,
                &format_args!("{directory}: there is no plugin crate in it (*/Cargo.toml)"),
            );
        }
        Ok(crates) => crates,
        Err(error) => return failed(SYSTEM, &format_args!("{}: {error}", directory.display())),
    };
    // Watched first: what is saved while the first build runs is built next.
    let (changed, changes) = channel();
    let watching = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Nobody listens any more when the host ends.
        let _ = changed.send(event);
    });
    let watching = watching.and_then(|mut watcher| {
        crates.iter().try_for_each(|source| watcher.watch(source, RecursiveMode::Recursive))?;
        Ok(watcher)
    });
    let watcher = match watching {
        Ok(watcher) => watcher,
        Err(error) => return failed(SYSTEM, &format_args!("the sources cannot be watched: {error}")),
    };
    for source in &crates {
        rebuild(source, &directory);
    }
    let builder = thread::Builder::new().name("dev".into());
    let building = builder.spawn(move || {
        build_on_change(&changes, &crates, &directory);
        drop(watcher);
    });
    if let Err(error) = building {
        return failed(SYSTEM, &error);
    }
    // Who writes a plugin looks at what it prints, as it is.
    serve::run(file, entry, false)
}

fn build_on_change(changes: &Receiver<notify::Result<Event>>, crates: &[PathBuf], directory: &Path) {
    while let Ok(event) = changes.recv() {
        let mut touched = BTreeSet::new();
        note(event, crates, &mut touched);
        if touched.is_empty() {
            continue;
        }
        loop {
            match changes.recv_timeout(REST) {
                Ok(event) => note(event, crates, &mut touched),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        for source in touched {
            rebuild(&source, directory);
        }
    }
}

/// Notes the crates whose sources an event is about. One that names nothing may be about any.
fn note(event: notify::Result<Event>, crates: &[PathBuf], touched: &mut BTreeSet<PathBuf>) {
    let Ok(event) = event else {
        touched.extend(crates.iter().cloned());
        return;
    };
    if event.need_rescan() {
        touched.extend(crates.iter().cloned());
    }
    if matches!(event.kind, EventKind::Access(_)) {
        return;
    }
    for path in event.paths {
        let owner = crates.iter().find(|source| path.starts_with(source));
        if let Some(source) = owner.filter(|source| is_source(&path, source)) {
            touched.insert(source.clone());
        }
    }
}

/// What cargo writes is no source, nor what an editor keeps beside one.
fn is_source(path: &Path, source: &Path) -> bool {
    let inside = path.strip_prefix(source).unwrap_or(path);
    let hidden = |part: &std::ffi::OsStr| {
        part.to_str().is_some_and(|part| part.starts_with('.') || part.ends_with('~'))
    };
    !inside.starts_with("target") && !inside.iter().any(hidden) && !inside.ends_with("Cargo.lock")
}

fn rebuild(source: &Path, directory: &Path) {
    let began = Instant::now();
    let shown = source.display();
    match build::build(source).and_then(|libraries| build::install(&libraries, directory)) {
        Ok(installed) => {
            for BuiltPlugin { name, .. } in installed {
                eprintln!("dev: {name} is built and in place after {:.1} s", began.elapsed().as_secs_f32());
            }
        }
        Err(error) => eprintln!("dev: {shown}: {error}; the code before serves on"),
    }
}
