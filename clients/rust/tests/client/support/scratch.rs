//! A temporary directory of one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A temporary directory, removed when dropped.
///
/// Its path is short, because the path of a socket is limited to 107 bytes (unix(7)).
#[derive(Debug)]
pub(crate) struct ScratchDirectory(PathBuf);

impl ScratchDirectory {
    pub(crate) fn new() -> ScratchDirectory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new("/tmp").join(format!("jfc-{}-{number}", std::process::id()));

        // An earlier process with the same id may have been killed and have left it.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("create a scratch directory");
        ScratchDirectory(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            removed.expect("remove the scratch directory");
        }
    }
}
