//! The file of a bound socket: recognized by device and inode, and changed only through a
//! descriptor of the file itself, because its path may lead to another file by then.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::unistd::Group;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, chownat, fstat, lstat, open};
use rustix::io::Errno;

use super::bind_error::{BindFault, system_error};

const PERMISSIONS: u32 = 0o777;

/// Identifies the file of a socket. The number of the inode is not given to another file while the
/// socket is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketFile {
    device: u64,
    inode: u64,
}

/// A reason why no client can reach a socket by its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketFileLoss {
    Removed,
    /// The path leads to another file.
    Replaced(SocketFile),
}

impl SocketFileLoss {
    /// Returns the word for messages.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Replaced(_) => "replaced",
        }
    }
}

impl SocketFile {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    /// Returns the file at `path`; `None` if there is none, or it cannot be found out.
    pub(super) fn at(path: &Path) -> Option<Self> {
        lstat(path).ok().map(|stat| Self::of(&stat))
    }

    /// Returns what happened to this file; `None` if `path` still leads to it, or that cannot be
    /// found out.
    pub(super) fn loss(self, path: &Path) -> Option<SocketFileLoss> {
        match lstat(path) {
            Ok(stat) => {
                let found = Self::of(&stat);
                (found != self).then_some(SocketFileLoss::Replaced(found))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Some(SocketFileLoss::Removed),
            Err(_) => None,
        }
    }

    /// Removes the file, unless `path` leads to another one by now.
    pub(super) fn remove(self, path: &Path) {
        if Self::at(path) == Some(self) {
            let _ = fs::remove_file(path);
        }
    }

    /// Sets the group and the mode of the file.
    ///
    /// # Errors
    ///
    /// The path leads to another file by now, or a system call failed.
    pub(super) fn set_permissions(
        self,
        path: &Path,
        group: Option<&Group>,
        mode: u32,
    ) -> Result<(), BindFault> {
        let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| system_error(path, "open the socket file")(error.into()))?;
        let stat =
            fstat(&file).map_err(|error| system_error(path, "inspect the socket file")(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket || Self::of(&stat) != self {
            return Err(BindFault::InUse { socket: path.to_owned() });
        }

        if let Some(group) = group {
            let gid = rustix::fs::Gid::from_raw(group.gid.as_raw());
            chownat(&file, "", None, Some(gid), AtFlags::EMPTY_PATH)
                .map_err(|error| system_error(path, "set the group")(error.into()))?;
        }
        // Only what the umask removed is missing.
        if stat.st_mode & PERMISSIONS != mode {
            set_mode(&file, mode).map_err(system_error(path, "set the mode"))?;
        }
        Ok(())
    }
}

/// Sets the mode of a file that was opened with `O_PATH`, for which `fchmod(2)` fails.
fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("jackfield-socket-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn changes_no_file_that_took_the_place_of_the_socket() {
        let scratch = Scratch::new("replaced");
        let (path, precious) = (scratch.0.join("x.sock"), scratch.0.join("precious"));
        fs::write(&precious, "").unwrap();
        fs::set_permissions(&precious, Permissions::from_mode(0o600)).unwrap();
        symlink(&precious, &path).unwrap();

        let link = SocketFile::at(&path).unwrap();
        assert!(link.set_permissions(&path, None, 0o666).is_err());

        assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "the link is left alone");
    }

    #[test]
    fn finds_that_the_file_was_removed_or_replaced() {
        let scratch = Scratch::new("loss");
        let path = scratch.0.join("x.sock");
        let _socket = UnixListener::bind(&path).unwrap();
        let file = SocketFile::at(&path).unwrap();
        file.set_permissions(&path, None, 0o620).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o620);
        assert_eq!(file.loss(&path), None);

        fs::rename(&path, scratch.0.join("away.sock")).unwrap();
        assert_eq!(file.loss(&path), Some(SocketFileLoss::Removed));

        fs::write(&path, "").unwrap();
        let other = SocketFile::at(&path).unwrap();
        assert_eq!(file.loss(&path), Some(SocketFileLoss::Replaced(other)));
        assert!(file.set_permissions(&path, None, 0o666).is_err());
        file.remove(&path);
        assert!(path.exists(), "a file of others is not removed");

        fs::rename(scratch.0.join("away.sock"), &path).unwrap();
        assert_eq!(file.loss(&path), None);
        file.remove(&path);
        assert!(!path.exists());
    }
}
