//! Notes: what is no fault, because the host starts with it, but is probably not intended.

use std::collections::BTreeMap;

use jackfield::config::{
    Config, CrashAction, Isolation, Pattern, PluginConfig, Route, WorkerConfig, is_reserved,
};
use jackfield::loader::Inspection;

use super::place::AtPlace;
use crate::cli::output::print_message;

/// Prints all notes.
pub(super) fn print_all(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    warn_about_deprecated_keys(config);
    note_unused_sections(config, plugins);
    note_unused_workers(config);
    note_missing_sandbox_paths(config);
    note_unresolved_routes(config, plugins);
    note_missing_methods(config, plugins);
    note_crashing(config, plugins);
    note_rolled_back(config, plugins);
}

/// Prints the deprecated keys that the file sets. They are not faults: they work until version 1.0.
fn warn_about_deprecated_keys(config: &Config) {
    for key in &config.deprecated {
        print_message(format_args!("{}: warning: {key}", AtPlace(config, key.place)));
    }
}

/// Prints which sections `[plugin.NAME]` are for no plugin: a misspelled name has no effect.
fn note_unused_sections(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    for (name, own) in config.plugin.iter().filter(|(name, _)| !plugins.contains_key(*name)) {
        let place = AtPlace(config, own.place);
        print_message(format_args!(
            "{place}: note: [plugin.{name}]: there is no plugin {name:?}; the section has no effect"
        ));
    }
}

/// Prints which plugins have options for workers and do not run in any. A sandbox that is not in
/// force would otherwise go unnoticed.
fn note_unused_workers(config: &Config) {
    let may_isolate = config.plugins.crash.action == CrashAction::Worker;
    let is_unused = |own: &PluginConfig| {
        own.isolation == Isolation::InProcess && !may_isolate && own.worker != WorkerConfig::default()
    };
    for (name, own) in config.plugin.iter().filter(|(_, own)| is_unused(own)) {
        let place = AtPlace(config, own.place);
        print_message(format_args!(
            "{place}: note: [plugin.{name}.worker] has no effect while plugin {name:?} runs in the host; set isolation = \
             \"worker\""
        ));
    }
}

/// Prints which paths of sandboxes do not exist. The rules of a sandbox are made for files, so a
/// path that is created later stays out of reach.
fn note_missing_sandbox_paths(config: &Config) {
    for (name, own) in &config.plugin {
        let Some(sandbox) = &own.worker.sandbox else { continue };
        for path in sandbox.read.iter().chain(&sandbox.write).filter(|path| !path.exists()) {
            let (place, path) = (AtPlace(config, own.place), path.display());
            print_message(format_args!(
                "{place}: note: [plugin.{name}.worker.sandbox]: {path} does not exist, or cannot be seen by this \
                 user; a worker cannot use it, even if it is created later"
            ));
        }
    }
}

/// Prints which enabled routes lead to a missing plugin or method. This is not a fault, because a
/// plugin file may be added while the host runs.
fn note_unresolved_routes(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    for route in config.routes.iter().filter(|route| route.enabled) {
        let Route { method: pattern, plugin: name, .. } = route;
        let place = AtPlace(config, route.place);

        let Some(plugin) = plugins.get(name) else {
            print_message(format_args!(
                "{place}: note: route {pattern}: there is no plugin {name:?}; requests are answered \
                 PLUGIN_UNAVAILABLE"
            ));
            continue;
        };
        if plugin.manifest.methods.iter().any(|declared| pattern.matches(&declared.name)) {
            continue;
        }
        let missing = match pattern {
            Pattern::Exact(_) => "has no such method",
            Pattern::Prefix(_) => "has no method that it matches",
        };
        print_message(format_args!(
            "{place}: note: route {pattern}: plugin {name:?} {missing}; requests are answered METHOD_NOT_FOUND"
        ));
    }
}

/// Prints which listeners pass their lines to a method that no plugin has.
fn note_missing_methods(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let has = |method: &str| {
        let mut declared = plugins.values().flat_map(|plugin| &plugin.manifest.methods);
        declared.any(|other| other.name == method)
    };

    for listener in &config.listeners {
        let Some(method) = &listener.line.method else { continue };
        if !is_reserved(method) && !has(method) {
            let place = AtPlace(config, listener.place);
            print_message(format_args!(
                "{place}: note: listener.method: no plugin has the method {method}; every line is answered with an error"
            ));
        }
    }
}

/// Prints which plugins the host would not load because they are quarantined, and which it would
/// load into a worker because of a decision. The files are not faulty in themselves.
fn note_crashing(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let crashing = jackfield::quarantined(&config.plugins.crash);
    let in_host = plugins.values().filter(|plugin| config.isolation(&plugin.name) == Isolation::InProcess);

    for plugin in in_host {
        let (file, name, hash) = (plugin.file.display(), &plugin.name, plugin.hash.to_string());
        let is_crashing = crashing.contains(&hash);
        let is_moved = is_crashing && config.plugins.crash.action == CrashAction::Worker;
        if is_moved || jackfield::is_isolated(&config.plugins, name, &hash) {
            print_message(format_args!(
                "{file}: note: plugin {name:?} runs in a worker, because it was running in too many crashes of the \
                 host or an operator isolated it; \"jackfield plugin isolate {name} --off\" ends that"
            ));
        } else if is_crashing {
            print_message(format_args!(
                "{file}: note: plugin {name:?} is quarantined: it was running in too many crashes of the host; \
                 replace the file, or run \"jackfield plugin reload {name}\""
            ));
        }
    }
}

/// Prints which plugins have files with contents that were rolled back, so that the host would load
/// the kept contents instead.
fn note_rolled_back(config: &Config, plugins: &BTreeMap<String, Inspection>) {
    let rejected = jackfield::rejected_contents(&config.plugins);

    for plugin in plugins.values() {
        let (file, name) = (plugin.file.display(), &plugin.name);
        if rejected.contains(&(name.clone(), plugin.hash.to_string())) {
            print_message(format_args!(
                "{file}: note: the content of plugin {name:?} was rolled back and is not loaded; replace the file, or \
                 run \"jackfield plugin reload {name}\""
            ));
        }
    }
}
