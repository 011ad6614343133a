//! The rules for every plugin file: its name, its size, and how its content is read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use super::load_error::{LoadError, LoadErrorReason};

/// The smallest plugin file, in bytes. A shorter one is empty.
pub const FILE_MIN: u64 = 1;

/// The largest plugin file, in bytes. Debug builds of plugins with many dependencies have about
/// 50 MiB. A copy of the file is kept in memory for as long as its code is loaded.
pub const FILE_MAX: u64 = 256 << 20;

/// The longest plugin name, in bytes. The name is part of metric labels, log fields and the name of
/// the memory file.
const NAME_MAX: usize = 64;

/// Bytes of one read.
const READ_SIZE: usize = 128 << 10;

/// Returns the name of the plugin in a file: the stem without a leading `lib`, which Cargo adds.
///
/// Returns `None` for files that are not `*.so`, and for names other than 1 to 64 ASCII letters,
/// digits, `_` and `-`.
#[must_use]
pub fn plugin_name(file_name: &OsStr) -> Option<String> {
    let stem = file_name.to_str()?.strip_suffix(".so")?;
    let name = stem.strip_prefix("lib").unwrap_or(stem);
    let is_valid = (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    is_valid.then(|| name.to_owned())
}

/// Returns the same as [`plugin_name`], or an error that states the rule.
pub(super) fn required_name(file_name: &OsStr) -> Result<String, LoadError> {
    plugin_name(file_name).ok_or_else(|| {
        let shown = String::from_utf8_lossy(file_name.as_bytes());
        let detail = format!(
            "the file name {shown:?} is not NAME.so with a NAME of 1 to {NAME_MAX} letters, digits, _ and -; rename it"
        );
        LoadError::new(LoadErrorReason::FileName, detail)
    })
}

/// Reads `file` to its end, passes each part to `consume`, and returns the length.
///
/// # Errors
///
/// The file cannot be read, is empty or larger than [`FILE_MAX`], or `consume` failed.
pub(super) fn read_content(
    file: &mut File,
    mut consume: impl FnMut(&[u8]) -> Result<(), LoadError>,
) -> Result<u64, LoadError> {
    let mut buffer = vec![0; READ_SIZE];
    let mut size = 0;

    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(LoadError::of_system(
                    LoadErrorReason::Unreadable,
                    "cannot read the file",
                    &error,
                ));
            }
        };
        size += read as u64;
        if size > FILE_MAX {
            return Err(too_large());
        }
        consume(&buffer[..read])?;
    }

    if size < FILE_MIN {
        Err(LoadError::new(LoadErrorReason::Empty, "the file is empty; install it again"))
    } else {
        Ok(size)
    }
}

/// Returns the error for a file of more than [`FILE_MAX`] bytes.
pub(super) fn too_large() -> LoadError {
    let detail = format_args!("the file is larger than {} MiB; strip its debug information", FILE_MAX >> 20);
    LoadError::new(LoadErrorReason::TooLarge, detail)
}
