//! Commands that end by themselves: their exit codes and their output.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use super::build::artifacts;

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code, or -1 if a signal ended the command.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `jackfield` with these arguments in this directory and waits for its end.
pub(crate) fn jackfield<A: AsRef<OsStr>>(directory: &Path, args: &[A]) -> Finished {
    finish(Command::new(&artifacts().program).args(args).current_dir(directory))
}

/// Runs a command and waits for its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } = command.output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    Finished { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}
