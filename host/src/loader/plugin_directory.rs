//! The plugin directory: opened after its whole path was checked, listed, and files staged from it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, statat};
use rustix::io::Errno;

use super::file_stamp::FileStamp;
use super::load_error::{LoadError, LoadErrorReason};
use super::plugin_file::{FILE_MAX, required_name, too_large};
use super::resolved_entry::ResolvedEntry;
use super::staged::StagedPlugin;
use super::{safe_path, signature};
use crate::config::TrustedKey;

/// Set-user-ID and set-group-ID. A file with these bits was made for another purpose, and by a user
/// who may have the rights of others.
const SET_ID: u32 = 0o6000;

/// The directory that plugins are loaded from. Only root and the host's own user can put files into
/// it.
///
/// It is held open: files are listed and staged from the directory that was checked, even if the
/// path leads to another directory by now ([`PluginDirectory::is_current`]).
#[derive(Debug)]
pub struct PluginDirectory {
    fd: OwnedFd,
    path: PathBuf,
}

impl PluginDirectory {
    /// Opens the directory at `path`. The path may contain symbolic links that belong to root or to
    /// the host's user.
    ///
    /// # Errors
    ///
    /// The directory is missing or is not a directory, or another user could change what is loaded
    /// from it: the directory, or one above it, belongs to another user, or group or others may
    /// write to it. A directory above it may be writable for all if it belongs to root and is
    /// sticky, as /tmp is.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Ok(Self { fd: safe_path::open_directory(path)?, path: path.to_owned() })
    }

    /// Returns the path by which the directory was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the path still leads to this directory, and not to one that replaced it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let (Ok(opened), Ok(current)) = (fstat(&self.fd), rustix::fs::stat(&self.path)) else {
            return false;
        };
        (opened.st_dev, opened.st_ino) == (current.st_dev, current.st_ino)
    }

    /// Returns the names of the plugin files in byte order: all `*.so` except those that begin with
    /// `.`, `~` or `#`, which copy programs and editors use while they write.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<OsString>, LoadError> {
        let refused = |error| safe_path::refused_opening(&self.path, error);

        let mut names = Vec::new();
        // `read_from` opens the directory again, so that every listing starts at the beginning.
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

    /// Returns the metadata of the directory itself, which changes whenever a name is added,
    /// removed or replaced. `None` if it cannot be read.
    #[must_use]
    pub fn own_stamp(&self) -> Option<FileStamp> {
        FileStamp::of(&fstat(&self.fd).ok()?)
    }

    /// Returns the metadata of a file. A scan uses it to find the files that must be staged again.
    ///
    /// # Errors
    ///
    /// Those of [`PluginDirectory::stage`] that are found without opening the file.
    pub fn stamp(&self, file_name: &OsStr) -> Result<FileStamp, LoadError> {
        required_name(file_name)?;
        let entry = self.checked_entry(file_name)?;
        let stamp = FileStamp::of(&entry.stat);
        let stamp = stamp.ok_or_else(|| changed_while_read(&self.path.join(file_name)))?;
        Ok(stamp.with_signature(self.signature_stamp(file_name)))
    }

    /// Copies a file of the directory into a sealed memory file, and inspects the copy.
    ///
    /// The copy is private to this process, so later changes of the file do not affect it.
    ///
    /// # Errors
    ///
    /// The file, or the one that a symbolic link leads to, is not a regular file that belongs to
    /// root or the host's user and that only its owner may write, has a second name (`nlink`) or a
    /// set-ID bit, is empty or larger than [`FILE_MAX`], or changed while it was read; a link leads
    /// out of the directory, or through a directory that another user could change; or
    /// [`inspect`](super::inspect) would refuse its content with these `keys`.
    pub fn stage(&self, file_name: &OsStr, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        let name = required_name(file_name)?;
        let path = self.path.join(file_name);
        let refused = |error| safe_path::refused_opening(&path, error);

        // Checked before it is opened: opening a device or a FIFO can have side effects.
        let file = self.checked_entry(file_name)?.open().map_err(|error| match error {
            // It was no link a moment ago.
            Errno::LOOP => changed_while_read(&path),
            error => refused(error),
        })?;
        let before = fstat(&file).map_err(refused)?;
        check_file(&path, &before)?;

        let mut file = File::from(file);
        let stamp = FileStamp::of(&before).ok_or_else(|| changed_while_read(&path))?;
        let stamp = stamp.with_signature(self.signature_stamp(file_name));
        let staged = StagedPlugin::copy(&mut file, &path, name, stamp, |plugin, copy| match keys {
            [] => Ok(None),
            keys => {
                let open = |signature: &OsStr| self.open_signature(signature);
                signature::verify(open, file_name, plugin, copy, keys).map(Some)
            }
        });

        // Checked even after an error: an incomplete copy of a file is not a fault of the plugin.
        let after = fstat(&file).map_err(refused)?;
        if FileStamp::of(&after).is_none_or(|after| !after.has_same_metadata(&before)) {
            return Err(changed_while_read(&path));
        }
        // The signature may belong to another file, by which this one was replaced meanwhile.
        staged.map_err(|error| match self.checked_entry(file_name) {
            Ok(entry) if !stamp.has_same_metadata(&entry.stat) => changed_while_read(&path),
            _ => error,
        })
    }

    fn signature_stamp(&self, file_name: &OsStr) -> Option<FileStamp> {
        let name = signature::signature_name(file_name);
        // Most files have none, and there may be many of them.
        let stat = statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => FileStamp::of(&self.entry(&name).ok()?.stat),
            _ => FileStamp::of(&stat),
        }
    }

    fn open_signature(&self, name: &OsStr) -> Result<OwnedFd, LoadError> {
        self.entry(name)?.open().map_err(|error| safe_path::refused_opening(&self.path.join(name), error))
    }

    /// Returns the file behind an entry that may be a plugin file.
    fn checked_entry(&self, file_name: &OsStr) -> Result<ResolvedEntry<'_>, LoadError> {
        let entry = self.entry(file_name)?;
        check_file(&self.path.join(file_name), &entry.stat)?;
        Ok(entry)
    }

    fn entry(&self, name: &OsStr) -> Result<ResolvedEntry<'_>, LoadError> {
        ResolvedEntry::of(self.fd.as_fd(), &self.path.join(name), name)
    }
}

fn changed_while_read(path: &Path) -> LoadError {
    LoadError::new(
        LoadErrorReason::ChangedWhileRead,
        format_args!(
            "{}: the file is being written; write it under another name and rename it into place",
            path.display()
        ),
    )
}

/// Checks by its metadata whether a file may be a plugin file.
fn check_file(path: &Path, stat: &Stat) -> Result<(), LoadError> {
    let mode = stat.st_mode & 0o7777;
    let refuse =
        |reason, detail: String| Err(LoadError::new(reason, format!("{}: {detail}", path.display())));

    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        _ => return refuse(LoadErrorReason::NotARegularFile, safe_path::not_regular(stat.st_mode)),
    }

    if !safe_path::has_trusted_owner(stat) {
        return Err(safe_path::wrong_owner(path, path.file_name().unwrap_or_default(), stat.st_uid));
    }
    if safe_path::is_writable_by_others(stat) {
        return refuse(
            LoadErrorReason::WritableByOthers,
            format!("its group or others can write to the file (mode {mode:04o}); run chmod go-w"),
        );
    }
    if mode & SET_ID != 0 {
        return refuse(
            LoadErrorReason::SetId,
            format!("the file has the set-user-ID or set-group-ID bit (mode {mode:04o}); run chmod ug-s"),
        );
    }
    if stat.st_nlink > 1 {
        let detail = format!("the file has {} names (hard links); install a copy instead", stat.st_nlink);
        return refuse(LoadErrorReason::HardLinked, detail);
    }

    match u64::try_from(stat.st_size).unwrap_or(0) {
        0 => refuse(LoadErrorReason::Empty, "the file is empty; install it again".to_owned()),
        size if size > FILE_MAX => refuse(LoadErrorReason::TooLarge, too_large().detail),
        _ => Ok(()),
    }
}
