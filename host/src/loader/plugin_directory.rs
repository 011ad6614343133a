//! The plugin directory: opened once its whole path is found to be safe, listed, and files staged out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

use super::load_error::{LoadError, LoadErrorReason};
use super::{FILE_MAX, StagedPlugin, inspection, safe_path, signature};
use crate::config::TrustedKey;

/// Set-user-ID and set-group-ID: such a file was made for other ends, and by somebody who may have others' rights.
const SET_ID: u32 = 0o6000;

/// The directory that plugins are loaded from, into which only root and the host's own user can put files.
///
/// It is held open: what is listed and staged comes from the directory that was checked, even when the path leads
/// to another one by now ([`PluginDirectory::is_current`]).
#[derive(Debug)]
pub struct PluginDirectory {
    fd: OwnedFd,
    path: PathBuf,
}

impl PluginDirectory {
    /// Opens the directory at `path`. It may be reached through symbolic links of root's or the host's user.
    ///
    /// # Errors
    /// It is not there, not a directory, or somebody else could change what is loaded from it: it, or a directory
    /// above it, belongs to another user or may be written by group or others. A directory above it may be written
    /// by all if it is root's and sticky, as /tmp is.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Ok(Self { fd: safe_path::open_directory(path)?, path: path.to_owned() })
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to this very directory, and not to one that took its place.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let (ours, there) = (fstat(&self.fd), rustix::fs::stat(&self.path));
        matches!((ours, there), (Ok(ours), Ok(there)) if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino))
    }

    /// The names of the plugin files: all `*.so`, in byte order, but for those that begin with `.`, `~` or `#`,
    /// which copying programs and editors use while they write.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<OsString>, LoadError> {
        let refused = |error| safe_path::refused_opening(&self.path, error);
        let mut names = Vec::new();
        // `read_from` opens it anew, so that each listing begins at the beginning.
        for entry in Dir::read_from(&self.fd).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let name = entry.file_name().to_bytes();
            let is_temporary = matches!(name.first(), Some(b'.' | b'~' | b'#'));
            if name.ends_with(b".so") && !is_temporary {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What the file system says of a file: cheap, to find out which files must be staged again.
    ///
    /// # Errors
    /// As for [`PluginDirectory::stage`], as far as it is seen without opening the file.
    pub fn stamp(&self, file_name: &OsStr) -> Result<FileStamp, LoadError> {
        inspection::required_name(file_name)?;
        let stamp = FileStamp::of(&self.checked(file_name)?);
        let stamp = stamp.ok_or_else(|| changed(&self.path.join(file_name)))?;
        Ok(stamp.beside(self.signature(file_name)))
    }

    /// Copies a file of the directory into a sealed memory file, and inspects the copy. The copy is private to this
    /// process: what happens to the file afterwards does not matter.
    ///
    /// # Errors
    /// The file is no regular file of root's or the host's user that only its owner may write, has another name
    /// (`nlink`) or a set-ID bit, is empty or larger than [`FILE_MAX`](super::FILE_MAX), changed while it was read,
    /// or its content would be refused by [`inspect`](super::inspect) with these `keys`.
    pub fn stage(&self, file_name: &OsStr, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        let name = inspection::required_name(file_name)?;
        let path = self.path.join(file_name);
        // Looked at before it is opened: opening a device or a FIFO can have effects.
        self.checked(file_name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.fd, file_name, flags, Mode::empty())
            .map_err(|error| safe_path::refused_opening(&path, error))?;
        let before = fstat(&file).map_err(|error| safe_path::refused_opening(&path, error))?;
        check_file(&path, &before)?;
        let mut file = File::from(file);
        let stamp = FileStamp::of(&before).ok_or_else(|| changed(&path))?.beside(self.signature(file_name));
        let staged = StagedPlugin::copy(&mut file, &path, name, stamp, |plugin, copy| match keys {
            [] => Ok(None),
            keys => signature::verify(&self.fd, file_name, plugin, copy, keys).map(Some),
        });
        // Also after a failure: half a file that is still being written is no fault of the plugin's.
        let after = fstat(&file).map_err(|error| safe_path::refused_opening(&path, error))?;
        if FileStamp::of(&after).is_none_or(|after| !after.has_equal_facts(&before)) {
            return Err(changed(&path));
        }
        staged
    }

    /// What the file system says of the signature of a file, if there is one.
    fn signature(&self, file_name: &OsStr) -> Option<FileStamp> {
        let stat = statat(&self.fd, signature::name_of(file_name), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileStamp::of(&stat)
    }

    fn checked(&self, file_name: &OsStr) -> Result<Stat, LoadError> {
        let path = self.path.join(file_name);
        let stat = statat(&self.fd, file_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| safe_path::refused_opening(&path, error))?;
        check_file(&path, &stat)?;
        Ok(stat)
    }
}

fn changed(path: &Path) -> LoadError {
    LoadError::new(
        LoadErrorReason::ChangedWhileRead,
        format_args!("{}: it is still being written; rename finished files into place", path.display()),
    )
}

/// Whether a file may be a plugin's, by what the file system says of it.
fn check_file(path: &Path, stat: &Stat) -> Result<(), LoadError> {
    let mode = stat.st_mode & 0o7777;
    let refuse =
        |reason, detail: String| Err(LoadError::new(reason, format!("{}: {detail}", path.display())));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => {
            return refuse(LoadErrorReason::Symlink, "a symbolic link; put the file itself there".to_owned());
        }
        _ => return refuse(LoadErrorReason::NotARegularFile, safe_path::kind_of(stat.st_mode).to_owned()),
    }
    if !safe_path::has_trusted_owner(stat) {
        return Err(safe_path::wrong_owner(path, path.file_name().unwrap_or_default(), stat));
    }
    if safe_path::is_writable_by_others(stat) {
        return refuse(LoadErrorReason::WritableByOthers, format!("mode {mode:04o}; chmod go-w"));
    }
    if mode & SET_ID != 0 {
        return refuse(LoadErrorReason::SetId, format!("mode {mode:04o}; chmod ug-s"));
    }
    if stat.st_nlink > 1 {
        return refuse(
            LoadErrorReason::HardLinked,
            format!("it has {} names; copy it instead", stat.st_nlink),
        );
    }
    match u64::try_from(stat.st_size).unwrap_or(0) {
        0 => refuse(LoadErrorReason::Empty, "the file has no content".to_owned()),
        size if size > FILE_MAX => refuse(LoadErrorReason::TooLarge, inspection::too_large().detail),
        _ => Ok(()),
    }
}

/// How old a change must be for a stamp to vouch for it. File systems note times by ticks (10 ms and less; 2 s on
/// FAT): two changes in one tick look like one.
const SETTLED: Duration = Duration::from_secs(3);

/// What the file system says of a file, to find out cheaply whether it may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    own: Facts,
    /// The same of the signature beside it.
    signature: Option<Facts>,
    /// Whether the last change of both was long ago when this was taken.
    settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    file: (u64, u64),
    size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Facts {
    fn are_at_rest_for(&self, length: Duration, now: SystemTime) -> bool {
        let since = u64::try_from(self.changed.0).unwrap_or(0);
        let since = Duration::new(since, u32::try_from(self.changed.1).unwrap_or(0));
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // A clock that was set back must not keep a file out for ever.
        now.checked_sub(since).is_none_or(|age| age >= length)
    }
}

impl FileStamp {
    /// `None` for a file that has been removed.
    fn of(stat: &Stat) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = (stat.st_ctime, stat.st_ctime_nsec);
        let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(changed.0);
        let own = Facts {
            file: (stat.st_dev, stat.st_ino),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed,
        };
        let settled = age > i64::try_from(SETTLED.as_secs()).unwrap_or(i64::MAX);
        (stat.st_nlink > 0).then_some(Self { own, signature: None, settled })
    }

    /// Of the file together with its signature.
    fn beside(self, signature: Option<Self>) -> Self {
        let settled = self.settled && signature.is_none_or(|signature| signature.settled);
        Self { signature: signature.map(|signature| signature.own), settled, ..self }
    }

    /// Whether nothing has happened to the file, and its signature, for `length` at `now`.
    #[must_use]
    pub fn is_at_rest_for(&self, length: Duration, now: SystemTime) -> bool {
        let at_rest = |facts: &Facts| facts.are_at_rest_for(length, now);
        at_rest(&self.own) && self.signature.as_ref().is_none_or(at_rest)
    }

    fn has_equal_facts(&self, stat: &Stat) -> bool {
        Self::of(stat).is_some_and(|other| other.own == self.own)
    }

    /// Whether the file has certainly not changed since `earlier` was taken. A file that had changed only just
    /// before `earlier` may have changed once more without a trace: then the answer is no, and its content decides.
    #[must_use]
    pub fn is_unchanged_since(&self, earlier: &Self) -> bool {
        earlier.settled && Self { settled: true, ..*self } == *earlier
    }
}

#[cfg(test)]
impl FileStamp {
    /// Returns the stamp that an invented file would have at `now`. `version` tells its states
    /// apart, `changed` is the time of its last change.
    pub(crate) fn invented(version: u64, changed: SystemTime, now: SystemTime) -> Self {
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let own = Facts {
            file: (1, version),
            size: 1,
            modified: (0, 0),
            changed: (seconds, since.subsec_nanos().into()),
        };
        let is_settled = now.duration_since(changed).is_ok_and(|age| age > SETTLED);
        Self { own, signature: None, settled: is_settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_vouches_only_for_changes_that_are_long_ago() {
        let own = Facts { file: (1, 2), size: 3, modified: (4, 5), changed: (6, 7) };
        let old = FileStamp { own, signature: None, settled: true };
        let fresh = FileStamp { settled: false, ..old };
        assert!(old.is_unchanged_since(&old) && fresh.is_unchanged_since(&old));
        assert!(!old.is_unchanged_since(&fresh));
        for other in [
            FileStamp { own: Facts { file: (1, 3), ..own }, ..old },
            FileStamp { own: Facts { size: 4, ..own }, ..old },
            FileStamp { own: Facts { modified: (4, 6), ..own }, ..old },
            FileStamp { own: Facts { changed: (6, 8), ..own }, ..old },
            FileStamp { signature: Some(own), ..old },
        ] {
            assert!(!other.is_unchanged_since(&old), "{other:?}");
        }
        assert!(!old.beside(Some(fresh)).settled && old.beside(Some(old)).settled);
    }
}
