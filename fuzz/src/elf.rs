//! Plugin files: any bytes are refused with a reason, or read up to the manifest, without running
//! code of the file.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use jackfield::loader::{ContentHash, inspect};

thread_local! {
    /// The file that is rewritten for each input, in memory if `/dev/shm` exists.
    static PLUGIN: (PathBuf, File) = {
        let memory = PathBuf::from("/dev/shm");
        let directory = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
        let path = directory.join(format!("jackfield-fuzz-{}-{thread}.so", std::process::id()));
        let file = File::create(&path).expect("the plugin file is created");
        (path, file)
    };
}

/// Checks any bytes as a plugin file.
pub fn elf(input: &[u8]) {
    PLUGIN.with(|(path, file)| {
        file.set_len(input.len() as u64)
            .and_then(|()| file.write_all_at(input, 0))
            .expect("the file is written");

        match inspect(path, &[]) {
            Ok(inspection) => {
                assert_eq!((inspection.size, inspection.hash), (input.len() as u64, ContentHash::of(input)));
                assert!(inspection.needed.iter().all(|name| !name.is_empty() && !name.contains(['/', '$'])));
                assert!(inspection.manifest.fits_this_api());
            }
            Err(refused) => assert!(!refused.to_string().is_empty()),
        }
    });
}

/// Removes the file of this thread. Tests call it; a fuzzer runs until it is killed.
pub fn remove_file() {
    PLUGIN.with(|(path, _)| drop(fs::remove_file(path)));
}
