//! Manifests: any bytes are refused with a reason, or are a manifest that reads the same when it is
//! written again.

use jackfield_plugin_api::Manifest;

/// Checks any bytes as the JSON of a manifest.
pub fn manifest(input: &[u8]) {
    match Manifest::parse(input) {
        Ok(read) => {
            let written = serde_json::to_vec(&read).expect("a manifest is JSON");
            assert_eq!(Manifest::parse(&written).as_ref(), Ok(&read));
            // The comparison accepts any version text.
            let _ = read.fits_this_api();
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
