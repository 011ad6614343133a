//! `jackfield check`: finds all faults of the configuration and of the plugin files, without
//! binding a socket or, unless `--probe` is passed, running plugin code.

mod notes;
mod place;
mod plugin_files;

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jackfield::ProbeEntry;
use jackfield::config::{Config, Place};
use jackfield::loader::Prober;
use jackfield::log::Counted;
use nix::unistd::Group;

use super::config_file::load_config;
use super::exit_code::{CONFIGURATION, fail};
use super::output::{print_message, print_text};
use place::{AtPlace, name_of};
use plugin_files::inspect_plugins;

/// The arguments of `jackfield check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Also start and stop each plugin with its settings in a separate process, as the host does
    /// before it loads a plugin. Run this as the user of the host and in its working directory
    #[arg(long)]
    probe: bool,
}

/// Prints every fault. The exit code is 78 if there is one.
pub(crate) fn check(args: &CheckArgs, file: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    let config = match load_config(file) {
        Ok(config) => config,
        Err(error) => return fail(CONFIGURATION, &error),
    };
    let prober = args.probe.then(|| Prober::this_program(entry));

    let (plugins, mut faults) = inspect_plugins(&config, prober.as_ref());
    faults.extend(missing_groups(&config));
    for fault in &faults {
        print_message(fault);
    }
    if !faults.is_empty() {
        return ExitCode::from(CONFIGURATION);
    }

    notes::print_all(&config, &plugins);
    let methods: usize = plugins.values().map(|plugin| plugin.manifest.methods.len()).sum();
    let (file, plugins, methods) =
        (name_of(&config), Counted(plugins.len(), "plugin"), Counted(methods, "method"));
    print_text(&format!("{file}: no faults; {plugins} with {methods}\n"), ExitCode::SUCCESS)
}

/// Returns a fault for each listener whose group does not exist. The host looks the group up when
/// it binds the socket, and not for a socket that systemd has passed to it.
fn missing_groups(config: &Config) -> Vec<String> {
    let fault = |place: Place, group: &str| {
        let place = AtPlace(config, place);
        let label = "listener.group";
        match Group::from_name(group) {
            Ok(Some(_)) => None,
            Ok(None) => Some(format!(
                "{place}: {label}: the group {group:?} does not exist; write the name of an existing group"
            )),
            Err(error) => Some(format!(
                "{place}: {label}: the group {group:?} cannot be looked up: {error}; repair the name service of the \
                 system"
            )),
        }
    };
    let listeners = config.listeners.iter();
    listeners.filter_map(|listener| fault(listener.place, listener.group.as_deref()?)).collect()
}
