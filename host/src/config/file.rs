//! Finds and reads the configuration file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::fault::{ConfigNotFound, Fault, Faults};
use super::position::{Place, Positions};
use super::units::{MIB, write_size};

/// The longest file that is read, in bytes: a thousand times the length of a long configuration.
const FILE_MAX: u64 = 4 * MIB;

/// Bytes of stack for parsing.
///
/// Tables can be nested about 6,500 deep: 80 levels of braces, the limit of the parser, times 80
/// keys with dots between. They are parsed and dropped by recursion, which needs more than the
/// usual 2 MiB of a thread. Pages of a stack that are not touched cost nothing.
const PARSER_STACK: usize = 64 << 20;

/// Reads the text of a file.
///
/// # Errors
///
/// One fault: the file cannot be read, is longer than [`FILE_MAX`], or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Faults> {
    let unreadable = |error: io::Error| {
        let remedy = "pass a file that this user can read".to_owned();
        Faults::whole(path, format!("cannot be read: {error}"), remedy)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        let problem = format!("is longer than {}", write_size(FILE_MAX));
        return Err(Faults::whole(path, problem, "pass a configuration file".to_owned()));
    }

    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let Place { line, column } = Positions::new(&text).place(valid);
        let problem = format!("byte 0x{:02X} is not UTF-8", error.as_bytes()[valid]);
        let remedy = "save the file as UTF-8".to_owned();
        Faults(vec![Fault { file: path.to_path_buf(), line, column, problem, remedy }])
    })
}

/// Returns the first path that exists.
///
/// A path whose existence cannot be determined counts as existing, so that reading it reports why.
pub(super) fn first_existing<'p>(
    paths: impl IntoIterator<Item = &'p Path>,
) -> Result<PathBuf, ConfigNotFound> {
    let mut missing = Vec::new();
    for path in paths {
        if !matches!(path.try_exists(), Ok(false)) {
            return Ok(path.to_path_buf());
        }
        missing.push(path.to_path_buf());
    }
    Err(ConfigNotFound { paths: missing })
}

/// Runs `parse` on a thread with [`PARSER_STACK`] bytes of stack.
pub(super) fn on_deep_stack<T: Send>(
    file: &Path,
    parse: impl FnOnce() -> Result<T, Faults> + Send,
) -> Result<T, Faults> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("config".to_owned()).stack_size(PARSER_STACK);
        match thread.spawn_scoped(scope, parse).map(|thread| thread.join()) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => {
                let problem = format!(
                    "cannot be parsed: cannot start a thread with {} MiB of stack: {error}",
                    PARSER_STACK >> 20
                );
                let remedy = "raise TasksMax= or the limit of the address space".to_owned();
                Err(Faults::whole(file, problem, remedy))
            }
        }
    })
}
