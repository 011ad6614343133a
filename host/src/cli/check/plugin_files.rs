//! The plugin files: staged as the host stages them, and probed if that is wanted.

use std::collections::BTreeMap;

use jackfield::config::{Config, Isolation, PluginConfig, RESERVED, ReplacePolicy};
use jackfield::loader::{
    Inspection, LoadError, LoadErrorReason, PluginDirectory, ProbeDepth, Prober, StagedPlugin,
    check_worker_count,
};

use super::place::AtPlace;
use crate::cli::inspect::refusal_line;
use crate::cli::output::print_message;

/// Stages every plugin file as the host would, and probes it if there is a prober. Returns the
/// plugins by name, and the faults of the others.
pub(super) fn inspect_plugins(
    config: &Config,
    prober: Option<&Prober>,
) -> (BTreeMap<String, Inspection>, Vec<String>) {
    let path = &config.plugins.directory;
    let mut accepted = AcceptedPlugins::default();
    let mut faults = Vec::new();

    let listed = PluginDirectory::open(path).and_then(|directory| Ok((directory.list()?, directory)));
    let (files, directory) = match listed {
        Ok(listed) => listed,
        Err(refused) if refused.reason == LoadErrorReason::NotFound => {
            let path = path.display();
            print_message(format_args!(
                "{path}: note: there is no such directory; no plugins are loaded (see plugins.directory)"
            ));
            return (accepted.plugins, faults);
        }
        Err(refused) => {
            faults.push(refusal_line(path, &refused));
            return (accepted.plugins, faults);
        }
    };

    for file in files {
        let path = path.join(&file);
        let staged = match directory.stage(&file, &config.plugins.trusted_keys) {
            Ok(staged) => staged,
            Err(refused) => {
                faults.push(refusal_line(&path, &refused));
                continue;
            }
        };

        let own = config.plugin.get(&staged.inspection.name);
        let checked = check_workers(&staged.inspection, own);
        if let Err(refused) = checked.and_then(|()| accepted.add(staged.inspection.clone())) {
            faults.push(refusal_line(&path, &refused));
        } else if let Some(Err(refused)) = prober.map(|prober| probe(prober, &staged, config)) {
            let fault = refusal_line(&path, &refused);
            let place = own.map(|own| format!("; its settings are in {}", AtPlace(config, own.place)));
            faults.push(fault + &place.unwrap_or_default());
        }
    }
    (accepted.plugins, faults)
}

/// Checks the number of workers of a plugin that runs in workers.
fn check_workers(inspection: &Inspection, own: Option<&PluginConfig>) -> Result<(), LoadError> {
    match own.filter(|own| own.isolation == Isolation::Worker) {
        Some(own) => check_worker_count(&inspection.name, inspection.manifest.state, own.worker.count),
        None => Ok(()),
    }
}

/// Probes a plugin with its settings. A plugin of which only one instance can run is not started,
/// because the host may be running it.
fn probe(prober: &Prober, staged: &StagedPlugin, config: &Config) -> Result<(), LoadError> {
    let name = &staged.inspection.name;
    let depth = match config.replace_policy(name) {
        ReplacePolicy::StartFirst => ProbeDepth::Start,
        ReplacePolicy::StopFirst => {
            let file = staged.inspection.file.display();
            print_message(format_args!(
                "{file}: note: plugin {name:?} is not started, because its replace policy is stop-first; its \
                 settings are not checked"
            ));
            ProbeDepth::Code
        }
    };

    let own = config.plugin.get(name);
    let settings = own.map_or_else(|| "{}".to_owned(), |own| own.settings.to_string());
    let isolation = own.map(|own| own.isolation).unwrap_or_default();
    let prober = prober.for_isolation(isolation);
    prober.probe_unless(&|| false, depth, staged, settings.as_bytes(), config.plugins.probe)
}

/// The plugins that the host would load. A plugin name belongs to one file, and a method to one
/// plugin.
#[derive(Default)]
struct AcceptedPlugins {
    plugins: BTreeMap<String, Inspection>,

    /// The plugin of each method.
    owners: BTreeMap<String, String>,
}

impl AcceptedPlugins {
    fn add(&mut self, inspection: Inspection) -> Result<(), LoadError> {
        let name = &inspection.name;
        if name == RESERVED || self.plugins.contains_key(name) {
            let detail = format!("another plugin is named {name:?} already; rename the file");
            return Err(LoadError::new(LoadErrorReason::NameTaken, detail));
        }
        let methods = || inspection.manifest.methods.iter().map(|method| &method.name);
        if let Some((method, owner)) = methods().find_map(|method| self.owners.get_key_value(method)) {
            let detail = format!("the method {method:?} belongs to the plugin {owner:?}");
            return Err(LoadError::new(LoadErrorReason::MethodTaken, detail));
        }

        self.owners.extend(methods().map(|method| (method.clone(), name.clone())));
        self.plugins.insert(name.clone(), inspection);
        Ok(())
    }
}
