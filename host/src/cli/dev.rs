//! `jackfield dev`: builds and installs plugin crates whenever their sources change, while the host
//! serves.

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use jackfield::ProbeEntry;
use jackfield::loader::PluginDirectory;

use super::config_file::load_config;
use super::exit_code::{CONFIGURATION, SYSTEM, fail};
use super::inspect::refusal_line;
use super::output::print_message;
use super::plugin_build::{self, BuiltPlugin};
use super::plugin_sources::PluginSources;
use super::{init, serve};

/// Builds and installs every plugin crate in the plugin directory, serves, and builds a crate again
/// whenever its source, or that of a crate that it depends on by path, changes. If a build fails,
/// the errors are printed and the installed library stays.
pub(crate) fn dev(file: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    if let Some(code) = init::run_as_init() {
        return code;
    }
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
    // The host would refuse every plugin that is built, and say so in the log only.
    if let Err(refused) = PluginDirectory::open(&directory) {
        return fail(CONFIGURATION, &refusal_line(&directory, &refused));
    }

    // Before the first build, so that a source that is saved during it is built next.
    let mut sources = match PluginSources::watch(crates) {
        Ok(sources) => sources,
        Err(error) => return fail(SYSTEM, &format_args!("cannot watch the plugin sources: {error}")),
    };
    for crate_directory in sources.crates() {
        rebuild(&crate_directory, &directory, &mut sources);
    }

    let spawned = thread::Builder::new().name("dev".into()).spawn(move || {
        while let Some(changed) = sources.changed() {
            for crate_directory in changed {
                rebuild(&crate_directory, &directory, &mut sources);
            }
        }
    });
    if let Err(error) = spawned {
        return fail(SYSTEM, &format_args!("cannot start the build thread: {error}"));
    }
    // Output of plugins is not captured into the log: their author wants to see it unchanged.
    serve::run(file, entry, false)
}

/// Builds and installs a crate, and watches the crates that it depends on by path.
fn rebuild(crate_directory: &Path, directory: &Path, sources: &mut PluginSources) {
    let began = Instant::now();
    let path = crate_directory.display();
    watch_dependencies(crate_directory, sources);

    let built = plugin_build::build(crate_directory);
    match built.and_then(|libraries| plugin_build::install(&libraries, directory)) {
        Ok(installed) => {
            let seconds = began.elapsed().as_secs_f32();
            for BuiltPlugin { name, .. } in installed {
                print_message(format_args!("dev: plugin {name} built and installed in {seconds:.1} s"));
            }
        }
        Err(error) => print_message(format_args!("dev: {path}: {error}; the plugin file is unchanged")),
    }
}

/// Watches the crates that a crate depends on by path. The manifest may have changed since the last
/// build. If it has a fault, the build prints that.
fn watch_dependencies(crate_directory: &Path, sources: &mut PluginSources) {
    let Some(dependencies) = plugin_build::path_dependencies(crate_directory) else { return };
    if let Err(error) = sources.add_dependencies(crate_directory, dependencies) {
        let path = crate_directory.display();
        print_message(format_args!(
            "dev: {path}: cannot watch a crate that it depends on: {error}; save a file of this crate after a \
             change there"
        ));
    }
}
