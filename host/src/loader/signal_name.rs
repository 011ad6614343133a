//! The names of signals for messages.

use std::fmt;

/// A signal, shown by its number and its name, such as `signal 11 (SIGSEGV)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalNumber(pub(crate) i32);

/// The names of the signals from 1 on. Their numbers are the same on x86_64 and aarch64
/// (signal(7)).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

impl SignalNumber {
    /// Returns the name of the signal; `None` for real-time signals and for what is no signal.
    pub(crate) fn name(self) -> Option<&'static str> {
        let index = usize::try_from(self.0).ok()?.checked_sub(1)?;
        NAMES.get(index).copied()
    }
}

impl fmt::Display for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "signal {} ({name})", self.0),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_signals_by_their_numbers() {
        let names = [(libc::SIGHUP, "SIGHUP"), (libc::SIGTERM, "SIGTERM"), (libc::SIGSYS, "SIGSYS")];
        for (number, name) in names {
            assert_eq!(SignalNumber(number).to_string(), format!("signal {number} ({name})"));
        }
        assert_eq!([0, 32].map(|number| SignalNumber(number).to_string()), ["signal 0", "signal 32"]);
    }
}
