//! `jackfield check`: finds all faults of the configuration and of the plugin files, without
//! binding a socket or running plugin code.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use jackfield::config::{Config, Pattern, RESERVED};
use jackfield::loader::{Inspection, LoadError, LoadErrorReason, PluginDirectory};

use super::config_file::load_config;
use super::exit_code::{CONFIGURATION, fail};
use super::inspect::refusal_line;

/// Prints every fault. The exit code is 78 if there is one.
pub(crate) fn check(file: Option<&Path>) -> ExitCode {
    let config = match load_config(file) {
        Ok(config) => config,
        Err(error) => return fail(CONFIGURATION, &error),
    };

    let (plugins, faults) = inspect_plugins(&config);
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        return ExitCode::from(CONFIGURATION);
    }

    warn_about_deprecated_keys(&config);
    note_unresolved_routes(&config, &plugins);
    note_quarantined(&config, &plugins);
    note_rolled_back(&config, &plugins);

    let methods: usize = plugins.values().map(|plugin| plugin.manifest.methods.len()).sum();
    println!("{}: no faults; {} plugins with {methods} methods", name_of(&config), plugins.len());
    ExitCode::SUCCESS
}

fn name_of(config: &Config) -> std::path::Display<'_> {
    config.file.as_deref().unwrap_or(Path::new("the configuration")).display()
}

/// Stages every plugin file as the host would. Returns the plugins by name, and the faults of the
/// others.
fn inspect_plugins(config: &Config) -> (BTreeMap<String, Inspection>, Vec<String>) {
    let path = &config.plugins.directory;
    let mut accepted = AcceptedPlugins::default();
    let mut faults = Vec::new();

    let listed = PluginDirectory::open(path).and_then(|directory| Ok((directory.list()?, directory)));
    let (files, directory) = match listed {
        Ok(listed) => listed,
        Err(refused) if refused.reason == LoadErrorReason::NotFound => {
            let path = path.display();
            eprintln!(
                "{path}: note: there is no such directory; no plugins are loaded (see plugins.directory)"
            );
            return (accepted.plugins, faults);
        }
        Err(refused) => {
            faults.push(refusal_line(path, &refused));
            return (accepted.plugins, faults);
        }
    };

    for file in files {
        let staged = directory.stage(&file, &config.plugins.trusted_keys).map(|staged| staged.inspection);
        if let Err(refused) = staged.and_then(|inspection| accepted.add(inspection)) {
            faults.push(refusal_line(&path.join(&file), &refused));
        }
    }
    (accepted.plugins, faults)
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

/// Prints the deprecated keys that the file sets. They are not faults: they work until version 1.0.
fn warn_about_deprecated_keys(config: &Config) {
    let file = name_of(config);
    for key in &config.deprecated {
        eprintln!("{file}:{}:{}: warning: {key}", key.place.line, key.place.column);
    }
}

/// Prints which plugins the host would not load because they are quarantined. The files are not
/// faulty in themselves.
fn note_quarantined(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let quarantined = jackfield::quarantined(&config.plugins.crash);

    for plugin in plugins.values().filter(|plugin| quarantined.contains(&plugin.hash.to_string())) {
        let (file, name) = (plugin.file.display(), &plugin.name);
        eprintln!(
            "{file}: note: plugin {name:?} is quarantined: it was running in too many crashes of the host; \
             replace the file, or run \"jackfield plugin reload {name}\""
        );
    }
}

/// Prints which plugins have files with contents that were rolled back, so that the host would load
/// the kept contents instead.
fn note_rolled_back(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let rejected = jackfield::rejected_contents(&config.plugins);

    for plugin in plugins.values() {
        let (file, name) = (plugin.file.display(), &plugin.name);
        if rejected.contains(&(name.clone(), plugin.hash.to_string())) {
            eprintln!(
                "{file}: note: the content of plugin {name:?} was rolled back and is not loaded; replace the file, or \
                 run \"jackfield plugin reload {name}\""
            );
        }
    }
}

/// Prints which enabled routes lead to a missing plugin or method. This is not a fault, because a
/// plugin file may be added while the host runs.
fn note_unresolved_routes(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let file = name_of(config);

    for route in config.routes.iter().filter(|route| route.enabled) {
        let place = format!("{file}:{}:{}", route.place.line, route.place.column);
        let name = &route.plugin;

        match (plugins.get(name), &route.method) {
            (None, pattern) => {
                eprintln!(
                    "{place}: note: route {pattern}: there is no plugin {name:?}; \
                     requests are answered PLUGIN_UNAVAILABLE"
                );
            }
            (Some(plugin), Pattern::Exact(method))
                if !plugin.manifest.methods.iter().any(|declared| declared.name == *method) =>
            {
                eprintln!(
                    "{place}: note: route {method}: plugin {name:?} has no such method; \
                     requests are answered METHOD_NOT_FOUND"
                );
            }
            (Some(_), _) => {}
        }
    }
}
