//! Whether a manifest allows its plugin into this host: one manifest, readable, fitting, with sound method names.

use std::collections::HashSet;

use jackfield_plugin_api::manifest::{ManifestError, PanicStrategy, is_method_name};
use jackfield_plugin_api::{API_VERSION, Manifest};

use super::load_error::{LoadError, LoadErrorReason};
use crate::config::RESERVED;

/// Reads the one manifest out of the notes of a file that are addressed to us.
pub(super) fn read(notes: &[&[u8]]) -> Result<Manifest, LoadError> {
    let json = match notes {
        [] => {
            let detail = "the file has no Jackfield manifest: it exports no plugin with `export_plugin!`";
            return Err(LoadError::new(LoadErrorReason::NoManifest, detail));
        }
        [json] => json,
        // Two plugins linked into one file: only one of them could have the root module's symbol.
        several => {
            let detail = format!("the file has {} manifests; a file is one plugin", several.len());
            return Err(LoadError::new(LoadErrorReason::ManifestInvalid, detail));
        }
    };
    let manifest = Manifest::parse(json).map_err(|error| {
        let detail = match error {
            ManifestError::Unreadable(why) => why,
            ManifestError::Layout(_) => error.to_string(),
        };
        LoadError::new(LoadErrorReason::ManifestUnreadable, detail)
    })?;
    check(&manifest)?;
    Ok(manifest)
}

fn check(manifest: &Manifest) -> Result<(), LoadError> {
    if !manifest.fits_this_api() {
        let detail = format!(
            "built against plugin API {}, this host speaks {API_VERSION}; build it against that one",
            manifest.api
        );
        return Err(LoadError::new(LoadErrorReason::ApiVersion, detail));
    }
    if manifest.panic == PanicStrategy::Abort {
        let detail =
            "built with panic = \"abort\": a panic of it would end the host; build it with \"unwind\"";
        return Err(LoadError::new(LoadErrorReason::PanicAbort, detail));
    }
    let mut names = HashSet::new();
    for method in &manifest.methods {
        if !is_method_name(&method.name) {
            let detail = format!("{:?} is no method name", shortened(&method.name));
            return Err(LoadError::new(LoadErrorReason::ManifestInvalid, detail));
        }
        if method.name.split('.').next() == Some(RESERVED) {
            let detail = format!("{:?}: names that begin with {RESERVED} are the host's own", method.name);
            return Err(LoadError::new(LoadErrorReason::ManifestInvalid, detail));
        }
        if !names.insert(&method.name) {
            let detail = format!("the method {} is declared twice", method.name);
            return Err(LoadError::new(LoadErrorReason::ManifestInvalid, detail));
        }
    }
    Ok(())
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(80)]
}
