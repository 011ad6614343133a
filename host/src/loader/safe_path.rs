//! Paths and what stands at their end: opened step by step, each step refused where others could change it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::load_error::{LoadError, LoadErrorReason};

/// How many symbolic links a path may lead through: Linux's own limit (path_resolution(7)).
const LINKS_MAX: u32 = 40;
const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The refusal of what the system would not open or read.
pub(super) fn refused_opening(path: &Path, error: Errno) -> LoadError {
    let reason = match error {
        Errno::NOENT => LoadErrorReason::NotFound,
        Errno::LOOP => LoadErrorReason::Symlink,
        Errno::NOTDIR => LoadErrorReason::NotADirectory,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => LoadErrorReason::NoResources,
        // A socket cannot be opened, nor a device that is not there.
        Errno::NXIO | Errno::NODEV => LoadErrorReason::NotARegularFile,
        _ => LoadErrorReason::Unreadable,
    };
    LoadError::new(reason, format_args!("{}: {error}", path.display()))
}

/// The word for a file's type.
pub(super) fn kind_of(mode: u32) -> &'static str {
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

/// Whether only root and the user that the host runs as own it: anybody else could change it at any time.
pub(super) fn has_trusted_owner(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}

pub(super) fn is_writable_by_others(stat: &Stat) -> bool {
    stat.st_mode & GROUP_AND_OTHERS_WRITE != 0
}

/// Opens the directory at `path` (relative: from the working directory), such that nobody but its owner and root
/// could have led the way elsewhere: every directory on it is checked, and every symbolic link followed by hand.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, LoadError> {
    let refused = |error| refused_opening(path, error);
    let absolute = std::path::absolute(path).map_err(|error| {
        LoadError::new(LoadErrorReason::NotFound, format_args!("{}: {error}", path.display()))
    })?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, "/", flags, Mode::empty()).map_err(refused)?;
    check_directory(&here, path, OsStr::new("/"), PathEnd::OnTheWay)?;
    let mut steps = steps_of(&absolute);
    let mut links = 0;
    while let Some(step) = steps.pop_front() {
        let stat = statat(&here, &step, AtFlags::SYMLINK_NOFOLLOW).map_err(refused)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            links += 1;
            if links > LINKS_MAX {
                return Err(refused(Errno::LOOP));
            }
            if !has_trusted_owner(&stat) {
                return Err(wrong_owner(path, &step, &stat));
            }
            let target = readlinkat(&here, &step, Vec::new()).map_err(refused)?;
            let target = OsString::from_vec(target.into_bytes());
            if Path::new(&target).is_absolute() {
                here = openat(CWD, "/", flags, Mode::empty()).map_err(refused)?;
            }
            for step in steps_of(Path::new(&target)).into_iter().rev() {
                steps.push_front(step);
            }
            continue;
        }
        here = openat(&here, &step, flags, Mode::empty()).map_err(refused)?;
        let place = if steps.is_empty() { PathEnd::TheEnd } else { PathEnd::OnTheWay };
        check_directory(&here, path, &step, place)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&here, ".", flags, Mode::empty()).map_err(refused)
}

fn steps_of(path: &Path) -> VecDeque<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PathEnd {
    OnTheWay,
    TheEnd,
}

fn check_directory(directory: impl AsFd, path: &Path, step: &OsStr, place: PathEnd) -> Result<(), LoadError> {
    let stat = rustix::fs::fstat(directory).map_err(|error| refused_opening(path, error))?;
    if !has_trusted_owner(&stat) {
        return Err(wrong_owner(path, step, &stat));
    }
    // In a sticky directory of root's, such as /tmp, others can add names but not change or remove ours.
    let others_are_kept_off = place == PathEnd::OnTheWay && stat.st_mode & STICKY != 0 && stat.st_uid == 0;
    if is_writable_by_others(&stat) && !others_are_kept_off {
        let detail = format!(
            "{}: the directory {:?} on its way has mode {:04o}: others could put files there; chmod go-w",
            path.display(),
            step.as_bytes().escape_ascii().to_string(),
            stat.st_mode & 0o7777
        );
        return Err(LoadError::new(LoadErrorReason::DirectoryWritable, detail));
    }
    Ok(())
}

pub(super) fn wrong_owner(path: &Path, name: &OsStr, stat: &Stat) -> LoadError {
    let detail = format!(
        "{}: {:?} belongs to user {}, neither root nor the user that the host runs as ({})",
        path.display(),
        name.as_bytes().escape_ascii().to_string(),
        stat.st_uid,
        geteuid().as_raw()
    );
    LoadError::new(LoadErrorReason::WrongOwner, detail)
}
