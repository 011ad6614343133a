//! Checks that the manifest of a plugin fits this host and names valid methods.

use std::collections::HashSet;

use jackfield_plugin_api::manifest::{PanicStrategy, is_method_name};
use jackfield_plugin_api::{API_VERSION, Manifest};

use super::load_error::{LoadError, LoadErrorReason};
use crate::config::is_reserved;

/// Bytes of a method name that are repeated to the operator.
const SHOWN_MAX: usize = 80;

/// Reads the manifest from the manifest notes of a file, of which there must be exactly one.
pub(super) fn read(notes: &[&[u8]]) -> Result<Manifest, LoadError> {
    let json = match notes {
        [] => {
            let detail =
                "the file has no Jackfield manifest, so it is not a plugin; export one with export_plugin!";
            return Err(LoadError::new(LoadErrorReason::NoManifest, detail));
        }
        [json] => json,
        // Two plugins were linked into one file. Only one of them could have the symbol of the root
        // module.
        several => {
            return Err(invalid(format!(
                "the file has {} manifests; link each plugin into a file of its own",
                several.len()
            )));
        }
    };

    let manifest = Manifest::parse(json).map_err(|error| {
        let detail = format_args!("{error}; build the file with plugin API {API_VERSION}");
        LoadError::new(LoadErrorReason::ManifestUnreadable, detail)
    })?;

    // The methods of a plugin that was built for another API stay known, so that their callers
    // learn why the plugin is unavailable.
    let methods = check_methods(&manifest);
    check_build(&manifest).map_err(|refused| match methods {
        Ok(()) => refused.with_methods(&manifest.methods),
        Err(_) => refused,
    })?;
    methods?;
    Ok(manifest)
}

/// Checks the API version and the panic strategy.
fn check_build(manifest: &Manifest) -> Result<(), LoadError> {
    if !manifest.fits_this_api() {
        let detail = format!(
            "the file was built with plugin API {}, but this host requires {API_VERSION}; build it with that version",
            manifest.api
        );
        return Err(LoadError::new(LoadErrorReason::ApiVersion, detail));
    }
    if !manifest.is_supported() {
        let detail = format!(
            "the file requires a host with plugin API {} or later, but this host has {API_VERSION}; install a newer \
             host, or an older version of the plugin",
            manifest.min_host()
        );
        return Err(LoadError::new(LoadErrorReason::ApiVersion, detail));
    }
    if manifest.panic == PanicStrategy::Abort {
        let detail =
            "the file was built with panic = \"abort\", so a panic would end the host; use \"unwind\"";
        return Err(LoadError::new(LoadErrorReason::PanicAbort, detail));
    }
    Ok(())
}

/// Checks that all methods have different valid names that the host does not reserve.
fn check_methods(manifest: &Manifest) -> Result<(), LoadError> {
    let mut names = HashSet::new();
    for method in &manifest.methods {
        let name = &method.name;
        if !is_method_name(name) {
            let shown = &name[..name.floor_char_boundary(SHOWN_MAX)];
            return Err(invalid(format!(
                "{shown:?} is not a method name; write segments of letters, digits, _ and -, separated by dots"
            )));
        }
        if is_reserved(name) {
            let (segment, _) = name.split_once('.').unwrap_or((name, ""));
            return Err(invalid(format!(
                "the method name {name:?} begins with {segment}, which is reserved for the host; rename it"
            )));
        }
        if !names.insert(name) {
            return Err(invalid(format!("the method {name:?} is declared twice; rename one of them")));
        }
    }
    Ok(())
}

fn invalid(detail: String) -> LoadError {
    LoadError::new(LoadErrorReason::ManifestInvalid, detail)
}
