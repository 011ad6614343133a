//! Finds the file behind an entry of the plugin directory.
//!
//! An entry may be a symbolic link, as in a ConfigMap or a projected volume, where each entry leads
//! through the link `..data` to a directory that is replaced as a whole:
//!
//! ```text
//! libdevice.so -> ..data/libdevice.so
//! ..data       -> ..2026_11_30
//! ..2026_11_30/libdevice.so
//! ```
//!
//! The links are resolved here, one component at a time and relative to directories that are held
//! open, instead of in the kernel. `openat2(RESOLVE_BENEATH)` would also keep the path below the
//! directory, but would not show the components, whose owners and modes must be checked.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use super::load_error::{LoadError, LoadErrorReason};
use super::safe_path::{self, LINKS_MAX, STEP_FLAGS, StepPosition};

/// The file that an entry leads to: not a symbolic link when it was examined, and not opened.
pub(super) struct ResolvedEntry<'d> {
    root: BorrowedFd<'d>,

    /// The directory that contains the file, if it is not the plugin directory itself.
    directory: Option<OwnedFd>,
    name: OsString,

    /// The metadata of the file.
    pub(super) stat: Stat,
}

impl<'d> ResolvedEntry<'d> {
    /// Resolves the entry `name` of `root`. Messages name the entry by `path`.
    ///
    /// # Errors
    ///
    /// There is no such entry. Or it is a symbolic link that leads out of `root`, also if it would
    /// return; that leads to nothing; or through a link or a directory that another user could
    /// change.
    pub(super) fn of(root: BorrowedFd<'d>, path: &Path, name: &OsStr) -> Result<Self, LoadError> {
        let mut steps = safe_path::steps_of(Path::new(name));
        // The directories between `root` and the next step.
        let mut below: Vec<OwnedFd> = Vec::new();
        let mut links = 0;

        while let Some(step) = steps.pop_front() {
            if step == ".." {
                below.pop().ok_or_else(|| leads_out(path))?;
                continue;
            }

            let parent = below.last().map_or(root, |directory| directory.as_fd());
            let stat = statat(parent, &step, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| unresolved(path, error, links))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(unresolved(path, Errno::LOOP, links));
                    }
                    let target = safe_path::read_link(parent, path, &step, &stat)?;
                    if Path::new(&target).is_absolute() {
                        return Err(leads_out(path));
                    }
                    let target = safe_path::steps_of(Path::new(&target));
                    target.into_iter().rev().for_each(|step| steps.push_front(step));
                }
                _ if steps.is_empty() => return Ok(Self { root, directory: below.pop(), name: step, stat }),
                _ => {
                    let directory = openat(parent, &step, STEP_FLAGS, Mode::empty())
                        .map_err(|error| unresolved(path, error, links))?;
                    safe_path::check_directory(&directory, path, &step, StepPosition::Last)?;
                    below.push(directory);
                }
            }
        }
        Err(LoadError::new(
            LoadErrorReason::NotARegularFile,
            format_args!(
                "{}: the symbolic link leads to a directory; install a regular file",
                path.display()
            ),
        ))
    }

    /// Opens the file for reading. It may be another one by now, so the caller checks what was
    /// opened.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        // NONBLOCK: opening a FIFO must not wait for another process.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let directory = self.directory.as_ref().map_or(self.root, |directory| directory.as_fd());
        openat(directory, &self.name, flags, Mode::empty())
    }
}

fn leads_out(path: &Path) -> LoadError {
    LoadError::new(
        LoadErrorReason::Symlink,
        format_args!(
            "{}: the symbolic link leads out of the plugin directory; install the file itself, or a relative \
             link to a file below the directory",
            path.display()
        ),
    )
}

/// Returns the error for a step that was not found or opened after this number of links.
fn unresolved(path: &Path, error: Errno, links: u32) -> LoadError {
    let detail = match error {
        Errno::NOENT | Errno::NOTDIR if links > 0 => {
            "the symbolic link leads to nothing; install the file again"
        }
        Errno::LOOP => "the symbolic link leads to itself; install the file itself",
        _ => return safe_path::refused_opening(path, error),
    };
    LoadError::new(LoadErrorReason::Symlink, format_args!("{}: {detail}", path.display()))
}
