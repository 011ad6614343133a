//! The exit codes of the commands, as in sysexits.h where it has a fitting one.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The host ended because of a signal.
pub(super) const SUCCESS: u8 = 0;

/// The command was carried out with a negative result: an error reply, a refused file, a faulty
/// load.
pub(super) const FAILURE: u8 = 1;

/// `EX_USAGE`: the request cannot be sent with these arguments.
pub(super) const USAGE: u8 = 64;

/// `EX_UNAVAILABLE`: there is no host at the socket.
pub(super) const UNAVAILABLE: u8 = 69;

/// `EX_OSERR`: the operating system refused something that the command needs.
pub(super) const SYSTEM: u8 = 71;

/// `EX_IOERR`: the output cannot be written.
pub(super) const INPUT_OUTPUT: u8 = 74;

/// `EX_TEMPFAIL`: the time-out has passed, also that for the end of a host.
pub(super) const TIMED_OUT: u8 = 75;

/// `EX_PROTOCOL`: the peer at the socket does not speak the protocol.
pub(super) const PROTOCOL: u8 = 76;

/// `EX_CONFIG`: the configuration has a fault or is missing.
pub(super) const CONFIGURATION: u8 = 78;

/// SIGINT, as a shell reports it: 128 and the number of the signal.
pub(super) const INTERRUPTED: u8 = 130;

/// Prints `error` on stderr and returns `code` as the exit code of the program.
pub(super) fn fail(code: u8, error: &dyn Display) -> ExitCode {
    // A failed write changes nothing: the exit code reports the failure, too.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(code)
}
