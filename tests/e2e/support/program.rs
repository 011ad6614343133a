//! Commands of the program that end by themselves: their exit code and what they print.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use super::build::artifacts;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `jackfield` with these words in this directory, to its end.
pub(crate) fn jackfield<W: AsRef<OsStr>>(directory: &Path, words: &[W]) -> Finished {
    finish(Command::new(&artifacts().program).args(words).current_dir(directory))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } = command.output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    Finished { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}
