//! The manifest in a plugin's file: any bytes are one or are refused with words, and what is read is written the same.

use jackfield_plugin_api::Manifest;

/// Any bytes as the JSON of a manifest.
pub fn manifest(input: &[u8]) {
    match Manifest::parse(input) {
        Ok(read) => {
            let written = serde_json::to_vec(&read).expect("a manifest is JSON");
            assert_eq!(Manifest::parse(&written).as_ref(), Ok(&read));
            // Of any two versions it can be told whether they fit.
            let _ = read.fits_this_api();
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
