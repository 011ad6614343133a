//! A temporary directory for one test.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Longest path of a scratch directory. A socket path has 107 bytes (unix(7)); this leaves 47 for
/// the part below the directory.
const LONGEST: usize = 60;

/// A directory that only the current user can enter. It is removed with all of its content when
/// dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("jft-{}-{number}", std::process::id());
        let mut path = std::env::temp_dir().join(&name);
        if path.as_os_str().len() > LONGEST {
            path = Path::new("/tmp").join(name);
        }

        // A killed process with the same process id may have left it.
        let _ = fs::remove_dir_all(&path);

        fs::DirBuilder::new().mode(0o700).create(&path).expect("a scratch directory");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, sets its mode to 0644 independently of the umask, and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).expect("a file in the scratch directory");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("the file's mode");
        path
    }

    /// Creates a directory and sets its mode to 0755 independently of the umask.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).expect("a directory in the scratch directory");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("the directory's mode");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.path);
        if !std::thread::panicking() {
            removed.expect("the scratch directory is removed");
            assert!(!self.path.exists());
        }
    }
}
