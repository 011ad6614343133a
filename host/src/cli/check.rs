//! `jackfield check`: every fault of the configuration and of the plugins' files, and nothing bound.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use jackfield::config::{Config, Pattern, RESERVED};
use jackfield::loader::{Inspection, LoadError, LoadErrorReason, PluginDirectory};

use super::{CONFIGURATION, failed, fault, load};

/// Reads everything, prints every fault; exit code 78 if there is one.
pub(crate) fn check(file: Option<&Path>) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(unusable) => return failed(CONFIGURATION, &unusable),
    };
    let (plugins, faults) = read_plugins(&config);
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        return ExitCode::from(CONFIGURATION);
    }
    warn_of_deprecated(&config);
    warn_of_routes(&config, &plugins);
    warn_of_left_out(&config, &plugins);
    let methods: usize = plugins.values().map(|plugin| plugin.manifest.methods.len()).sum();
    let file = config.file.as_deref().unwrap_or(Path::new("the configuration")).display();
    println!("{file}: no fault; {} plugins with {methods} methods", plugins.len());
    ExitCode::SUCCESS
}

/// Stages every file as the host would, and runs none.
fn read_plugins(config: &Config) -> (BTreeMap<String, Inspection>, Vec<String>) {
    let path = &config.plugins.directory;
    let mut found = Found::default();
    let listed = PluginDirectory::open(path).and_then(|directory| Ok((directory.list()?, directory)));
    let (files, directory) = match listed {
        Ok(listed) => listed,
        Err(refused) if refused.reason == LoadErrorReason::NotFound => {
            eprintln!("{}: there is no such directory; no plugin will be loaded", path.display());
            return (found.plugins, Vec::new());
        }
        Err(refused) => return (found.plugins, vec![fault(path, &refused)]),
    };
    let mut faults = Vec::new();
    for file in files {
        let staged = directory.stage(&file, &config.plugins.trusted_keys).map(|staged| staged.inspection);
        if let Err(refused) = staged.and_then(|inspection| found.add(inspection)) {
            faults.push(fault(&path.join(&file), &refused));
        }
    }
    (found.plugins, faults)
}

/// The plugins that would be loaded, and whose each method would be: one name, one plugin; one method, one plugin.
#[derive(Default)]
struct Found {
    plugins: BTreeMap<String, Inspection>,
    owners: BTreeMap<String, String>,
}

impl Found {
    fn add(&mut self, inspection: Inspection) -> Result<(), LoadError> {
        let name = &inspection.name;
        if name == RESERVED || self.plugins.contains_key(name) {
            let detail = format!("another plugin is named {name:?} already");
            return Err(LoadError { reason: LoadErrorReason::NameTaken, detail });
        }
        let methods = || inspection.manifest.methods.iter().map(|method| &method.name);
        if let Some((method, owner)) = methods().find_map(|method| self.owners.get_key_value(method)) {
            let detail = format!("the method {method:?} belongs to the plugin {owner:?}");
            return Err(LoadError { reason: LoadErrorReason::MethodTaken, detail });
        }
        self.owners.extend(methods().map(|method| (method.clone(), name.clone())));
        self.plugins.insert(name.clone(), inspection);
        Ok(())
    }
}

/// A deprecated name is no fault: it works until version 1.0.
fn warn_of_deprecated(config: &Config) {
    let file = config.file.as_deref().unwrap_or(Path::new("the configuration")).display();
    for key in &config.deprecated {
        eprintln!("{file}:{}:{}: warning: {key}", key.place.line, key.place.column);
    }
}

/// No fault of the file's: the next host will leave it out all the same.
fn warn_of_left_out(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let left_out = jackfield::quarantined(&config.plugins.crash);
    for inspection in plugins.values().filter(|plugin| left_out.contains(&plugin.hash.to_string())) {
        let (file, name) = (inspection.file.display(), &inspection.name);
        eprintln!("{file}: note: the plugin {name:?} is left out: hosts died too often while it ran");
    }
}

/// A route to what is not there is no fault, for a plugin may be dropped in later; but it is worth a line.
fn warn_of_routes(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let file = config.file.as_deref().unwrap_or(Path::new("the configuration")).display();
    for route in config.routes.iter().filter(|route| route.enabled) {
        let place = format!("{file}:{}:{}", route.place.line, route.place.column);
        match (plugins.get(&route.plugin), &route.method) {
            (None, pattern) => {
                eprintln!(
                    "{place}: note: the route {pattern} leads to the plugin {:?}, which is not there",
                    route.plugin
                );
            }
            (Some(plugin), Pattern::Exact(method))
                if !plugin.manifest.methods.iter().any(|declared| declared.name == *method) =>
            {
                eprintln!("{place}: note: the plugin {:?} has no method {method:?}", route.plugin);
            }
            (Some(_), _) => {}
        }
    }
}
