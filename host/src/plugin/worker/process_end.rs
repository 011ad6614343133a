//! How the end of a worker process reads in messages.

use std::fmt;

use jackfield_plugin_api::abi::ProcessEnd;

use crate::loader::SignalNumber;

/// Shows how a process ended, such as `signal 11 (SIGSEGV)` or `exit code 0`.
pub(super) struct ProcessEndText<'a>(pub(super) &'a ProcessEnd);

impl fmt::Display for ProcessEndText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ProcessEnd::Signal(signal) => SignalNumber(*signal).fmt(f),
            ProcessEnd::ExitCode(code) => write!(f, "exit code {code}"),
            ProcessEnd::Unknown => f.write_str("an unknown status"),
        }
    }
}
