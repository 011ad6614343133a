//! Writes the output and the messages of a command.
//!
//! `println!` and `eprintln!` panic when the reader of a pipe has ended, as in
//! `jackfield check | head -1`. The commands therefore write with these functions; `main.rs` denies
//! the macros.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::command_error::CommandError;
use super::exit_code::fail;

/// Writes `text` to standard output, and returns `code`, or the exit code of the failed write.
pub(super) fn print_text(text: &str, code: ExitCode) -> ExitCode {
    let mut stdout = io::stdout().lock();

    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(error) => {
            let error = CommandError::Output(error);
            fail(error.exit_code(), &error)
        }
    }
}

/// Writes a line to standard error. If that fails, nobody is left to be notified.
pub(super) fn print_message(message: impl Display) {
    let _ = writeln!(io::stderr(), "{message}");
}
