//! Opens directories by paths that no other user can redirect.
//!
//! The path is opened step by step. A step that another user could change is refused.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::load_error::{LoadError, LoadErrorReason};

/// Maximum number of symbolic links on a path, the limit of Linux (path_resolution(7)).
pub(super) const LINKS_MAX: u32 = 40;

const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Flags for the directories of a path: they are only opened to reach the next one.
pub(super) const STEP_FLAGS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Returns the error for a file that the system did not open or read.
pub(super) fn refused_opening(path: &Path, error: Errno) -> LoadError {
    let reason = match error {
        Errno::NOENT => LoadErrorReason::NotFound,
        Errno::LOOP => LoadErrorReason::Symlink,
        Errno::NOTDIR => LoadErrorReason::NotADirectory,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => LoadErrorReason::NoResources,
        // Sockets cannot be opened, and neither can device files without a device.
        Errno::NXIO | Errno::NODEV => LoadErrorReason::NotARegularFile,
        _ => LoadErrorReason::Unreadable,
    };
    LoadError::of_system(reason, format_args!("{}: cannot open it", path.display()), &error.into())
}

/// Returns the detail for a file that is not a regular one.
pub(super) fn not_regular(mode: u32) -> String {
    format!("the file is {}; install a regular file", kind_of(mode))
}

/// Returns the type of a file in words.
fn kind_of(mode: u32) -> &'static str {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of an unknown type",
    }
}

/// Returns whether root or the host's user owns the file. Any other owner could change it at any
/// time.
pub(super) fn has_trusted_owner(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}

/// Returns whether group or others may write to the file.
pub(super) fn is_writable_by_others(stat: &Stat) -> bool {
    stat.st_mode & GROUP_AND_OTHERS_WRITE != 0
}

/// A directory or a symbolic link on a path that other users could change.
#[derive(Debug)]
pub(crate) struct UnsafeStep {
    name: OsString,
    owner: u32,

    /// The permission bits, those with special meaning included.
    mode: u32,

    /// Whether the path ends here.
    pub(crate) is_last: bool,

    /// Whether its mode is the reason, and not its owner.
    pub(crate) is_writable: bool,

    /// Whether other users can add entries, but neither change nor remove existing ones.
    pub(crate) is_sticky: bool,
}

impl UnsafeStep {
    /// Returns the step if other users could change it, or what the path leads to through it.
    fn find(name: &OsStr, stat: Stat, position: StepPosition) -> Option<Self> {
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let has_trusted_owner = has_trusted_owner(&stat);
        // The mode of a link has no effect.
        let is_writable = has_trusted_owner && !is_link && is_writable_by_others(&stat);
        let is_sticky = is_writable && stat.st_mode & STICKY != 0;

        // In a sticky directory of root, such as /tmp, others can add entries, but neither change
        // nor remove existing ones.
        let protects_entries = position == StepPosition::Ancestor && is_sticky && stat.st_uid == 0;
        let is_unsafe = !has_trusted_owner || (is_writable && !protects_entries);
        let is_last = position == StepPosition::Last;
        is_unsafe.then(|| Self {
            name: name.to_owned(),
            owner: stat.st_uid,
            mode: stat.st_mode & 0o7777,
            is_last,
            is_writable,
            is_sticky,
        })
    }

    /// Returns the refusal of a plugin directory with this path.
    fn refused(&self, path: &Path) -> LoadError {
        if !self.is_writable {
            return wrong_owner(path, &self.name, self.owner);
        }
        let detail = format!(
            "{}: the directory {:?} on this path has mode {:04o}, so other users could install plugins; run chmod go-w",
            path.display(),
            self.name.as_bytes().escape_ascii().to_string(),
            self.mode
        );
        LoadError::new(LoadErrorReason::DirectoryWritable, detail)
    }
}

impl fmt::Display for UnsafeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_bytes().escape_ascii().to_string();
        if self.is_writable {
            write!(f, "the directory {name:?} has mode {:04o}", self.mode)
        } else {
            write!(f, "{name:?} belongs to user {}", self.owner)
        }
    }
}

/// Opens the directory at `path`, relative to the working directory.
///
/// Every directory on the path is checked, and every symbolic link is resolved here instead of in
/// the kernel, so that nobody but the owner of the directory and root can redirect the path.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, LoadError> {
    let directory = walk(path, &mut |step| Err(step.refused(path)))?;

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&directory, ".", flags, Mode::empty()).map_err(|error| refused_opening(path, error))
}

/// Returns what other users could change on the path of a directory.
///
/// # Errors
///
/// The path does not lead to a directory, or cannot be examined.
pub(crate) fn unsafe_steps(path: &Path) -> Result<Vec<UnsafeStep>, LoadError> {
    let mut steps = Vec::new();
    walk(path, &mut |step| {
        steps.push(step);
        Ok(())
    })?;
    Ok(steps)
}

/// Follows a path step by step, and returns the directory that it leads to. Each step that other
/// users could change is passed to `on_unsafe`, whose error ends the walk.
fn walk(
    path: &Path,
    on_unsafe: &mut dyn FnMut(UnsafeStep) -> Result<(), LoadError>,
) -> Result<OwnedFd, LoadError> {
    let refused = |error| refused_opening(path, error);
    let mut check = |name: &OsStr, stat, position| match UnsafeStep::find(name, stat, position) {
        Some(step) => on_unsafe(step),
        None => Ok(()),
    };
    let absolute = std::path::absolute(path).map_err(|error| {
        LoadError::new(LoadErrorReason::NotFound, format_args!("{}: {error}", path.display()))
    })?;

    let mut directory = openat(CWD, "/", STEP_FLAGS, Mode::empty()).map_err(refused)?;
    check(OsStr::new("/"), fstat(&directory).map_err(refused)?, StepPosition::Ancestor)?;

    let mut steps = steps_of(&absolute);
    let mut links = 0;
    while let Some(step) = steps.pop_front() {
        let stat = statat(&directory, &step, AtFlags::SYMLINK_NOFOLLOW).map_err(refused)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            links += 1;
            if links > LINKS_MAX {
                return Err(refused(Errno::LOOP));
            }
            check(&step, stat, StepPosition::Ancestor)?;
            let target = readlinkat(&directory, &step, Vec::new()).map_err(refused)?;
            let target = OsString::from_vec(target.into_bytes());
            if Path::new(&target).is_absolute() {
                directory = openat(CWD, "/", STEP_FLAGS, Mode::empty()).map_err(refused)?;
            }
            steps_of(Path::new(&target)).into_iter().rev().for_each(|step| steps.push_front(step));
            continue;
        }

        directory = openat(&directory, &step, STEP_FLAGS, Mode::empty()).map_err(refused)?;
        let position = if steps.is_empty() { StepPosition::Last } else { StepPosition::Ancestor };
        check(&step, fstat(&directory).map_err(refused)?, position)?;
    }
    Ok(directory)
}

/// Returns the target of a symbolic link that has a trusted owner.
pub(super) fn read_link(
    directory: impl AsFd,
    path: &Path,
    step: &OsStr,
    stat: &Stat,
) -> Result<OsString, LoadError> {
    refuse_unsafe(path, step, *stat, StepPosition::Ancestor)?;
    let target = readlinkat(directory, step, Vec::new()).map_err(|error| refused_opening(path, error))?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// Returns the components of a path, without the root of an absolute one.
pub(super) fn steps_of(path: &Path) -> VecDeque<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StepPosition {
    Ancestor,
    Last,
}

/// Checks that no other user can change the entries of a directory that the path leads through.
pub(super) fn check_directory(
    directory: impl AsFd,
    path: &Path,
    step: &OsStr,
    position: StepPosition,
) -> Result<(), LoadError> {
    let stat = fstat(directory).map_err(|error| refused_opening(path, error))?;
    refuse_unsafe(path, step, stat, position)
}

fn refuse_unsafe(path: &Path, step: &OsStr, stat: Stat, position: StepPosition) -> Result<(), LoadError> {
    UnsafeStep::find(step, stat, position).map_or(Ok(()), |found| Err(found.refused(path)))
}

/// Returns the error for a file or directory of another user.
pub(super) fn wrong_owner(path: &Path, name: &OsStr, owner: u32) -> LoadError {
    let detail = format!(
        "{}: {:?} belongs to user {}; change its owner to root or to the user of the host ({})",
        path.display(),
        name.as_bytes().escape_ascii().to_string(),
        owner,
        geteuid().as_raw()
    );
    LoadError::new(LoadErrorReason::WrongOwner, detail)
}
