//! `jackfield check`: every fault of the configuration and of the plugins' files, and nothing bound.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use jackfield::config::{Config, Pattern};
use jackfield::load::{Directory, Inspection, Reason, plugin_name};

use super::{CONFIGURATION, failed, load};

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
    warn_of_routes(&config, &plugins);
    if !faults.is_empty() {
        return ExitCode::from(CONFIGURATION);
    }
    let methods: usize = plugins.values().map(|plugin| plugin.manifest.methods.len()).sum();
    let file = config.file.as_deref().unwrap_or(Path::new("the configuration")).display();
    println!("{file}: no fault; {} plugins with {methods} methods", plugins.len());
    ExitCode::SUCCESS
}

/// Stages every file as the host would, and runs none.
fn read_plugins(config: &Config) -> (BTreeMap<String, Inspection>, Vec<String>) {
    let path = &config.plugins.directory;
    let mut plugins = BTreeMap::new();
    let mut faults = Vec::new();
    let listed = Directory::open(path).and_then(|directory| Ok((directory.list()?, directory)));
    let (files, directory) = match listed {
        Ok(listed) => listed,
        Err(refused) if refused.reason == Reason::NotFound => {
            eprintln!("{}: there is no such directory; no plugin will be loaded", path.display());
            return (plugins, faults);
        }
        Err(refused) => return (plugins, vec![format!("{}: {refused}", path.display())]),
    };
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let at = path.join(&file);
        let Some(name) = plugin_name(&file) else {
            faults.push(format!("{}: a plugin's name is 1 to 64 letters, digits, _ and -", at.display()));
            continue;
        };
        let inspection = match directory.stage(&file) {
            Ok(staged) => staged.inspection,
            Err(refused) => {
                faults.push(format!("{}: {refused}", at.display()));
                continue;
            }
        };
        for method in &inspection.manifest.methods {
            if let Some(owner) = owners.get(&method.name) {
                faults.push(format!(
                    "{}: {}: {:?} belongs to the plugin {owner:?}",
                    at.display(),
                    Reason::MethodTaken,
                    method.name
                ));
            }
            owners.entry(method.name.clone()).or_insert_with(|| name.clone());
        }
        if plugins.insert(name.clone(), inspection).is_some() {
            faults.push(format!(
                "{}: {}: another file is the plugin {name:?}",
                at.display(),
                Reason::NameTaken
            ));
        }
    }
    (plugins, faults)
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
