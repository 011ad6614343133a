//! The directory of a socket: created if it is missing, and checked for other users who could put
//! another socket into the place of this one.
//!
//! | Another user could change | Socket for clients | Admin socket |
//! |---|---|---|
//! | the directory itself | warning | refused |
//! | the directory, but it is sticky, as /tmp is | warning | warning |
//! | a directory above it, or a symbolic link on its path | warning | warning |
//!
//! A warning does not end the host where it may depend on such a directory: a volume that
//! containers share is often writable for all.

use std::path::Path;

use super::bind_error::{BindFault, UnsafeDirectory, system_error};
use crate::loader::unsafe_steps;
use crate::system_failure::create_directory;

/// The mode of a directory that the host creates, whatever the umask.
const CREATED_MODE: u32 = 0o755;

/// Creates the directory of a socket if it is missing.
///
/// # Errors
///
/// It cannot be created.
pub(super) fn create(socket: &Path) -> Result<(), BindFault> {
    let directory = directory_of(socket);
    create_directory(directory, CREATED_MODE).map_err(system_error(directory, "create the directory"))
}

/// Checks that no other user can replace the socket, and logs a warning if one can.
///
/// # Errors
///
/// Another user could replace the admin socket.
pub(super) fn check(socket: &Path, admin: bool) -> Result<(), BindFault> {
    // If the path cannot be examined, binding reports why.
    let mut steps = unsafe_steps(directory_of(socket)).unwrap_or_default();
    let last = steps.pop_if(|step| step.is_last);
    let is_refused = admin && last.as_ref().is_some_and(|step| !step.is_sticky);
    let Some(step) = last.or_else(|| steps.into_iter().next()) else { return Ok(()) };

    let directory = UnsafeDirectory(step);
    if is_refused {
        return Err(BindFault::UnsafeDirectory { socket: socket.to_owned(), directory });
    }
    let socket = socket.display();
    tracing::warn!(%socket, "{socket}: other users could replace this socket: {directory}");
    Ok(())
}

fn directory_of(socket: &Path) -> &Path {
    socket.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
