//! The kinds of faults, and how a call ends that commits one of them.

use serde_json::Value;

use crate::support::Frame;
use crate::support::peer::{DEADLINE_EXCEEDED, INTERNAL_ERROR, PLUGIN_CRASHED};

const SIGILL: i64 = 4;
const SIGABRT: i64 = 6;
const SIGBUS: i64 = 7;
const SIGFPE: i64 = 8;
const SIGKILL: i64 = 9;
const SIGSEGV: i64 = 11;

/// The end of a call that commits a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// PLUGIN_CRASHED with one of these signals.
    Signal(&'static [i64]),
    /// PLUGIN_CRASHED with this exit code.
    Exit(i64),
    /// PLUGIN_CRASHED, whether the process ended before the host killed it or not.
    Ended,
    /// DEADLINE_EXCEEDED. The host kills the process later.
    Overdue,
    /// A result or an error of the method. The process continues.
    Answered,
}

/// One kind of fault, as the fixture `faults` names it.
pub(super) struct FaultKind {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
}

const fn kind(name: &'static str, outcome: Outcome) -> FaultKind {
    FaultKind { name, outcome }
}

pub(super) const KINDS: [FaultKind; 22] = [
    kind("null", Outcome::Signal(&[SIGSEGV])),
    kind("wild", Outcome::Signal(&[SIGSEGV])),
    kind("bus", Outcome::Signal(&[SIGBUS])),
    kind("illegal", Outcome::Signal(&[SIGILL])),
    kind("divide", Outcome::Signal(&[SIGFPE])),
    kind("abort", Outcome::Signal(&[SIGABRT])),
    kind("exit-0", Outcome::Exit(0)),
    kind("exit-1", Outcome::Exit(1)),
    kind("_exit", Outcome::Exit(1)),
    // The handler of the standard library reports the overflow and aborts.
    kind("overflow", Outcome::Signal(&[SIGABRT, SIGSEGV])),
    kind("small-overflow", Outcome::Signal(&[SIGABRT, SIGSEGV])),
    kind("loop", Outcome::Overdue),
    kind("memory", Outcome::Signal(&[SIGABRT])),
    kind("descriptors", Outcome::Answered),
    kind("threads", Outcome::Answered),
    kind("kill", Outcome::Signal(&[SIGKILL])),
    kind("stop", Outcome::Overdue),
    kind("close-descriptors", Outcome::Ended),
    kind("ignore-signals", Outcome::Overdue),
    kind("write-everywhere", Outcome::Ended),
    kind("deadlock", Outcome::Overdue),
    kind("dlopen", Outcome::Exit(3)),
];

impl Outcome {
    /// Returns whether the reply to the call that commits the fault is as expected.
    pub(super) fn allows(self, reply: &Frame, plugin: &str) -> bool {
        match self {
            Self::Signal(_) | Self::Exit(_) | Self::Ended => self.allows_crash(reply, plugin),
            Self::Overdue => reply.code() == Some(DEADLINE_EXCEEDED),
            Self::Answered => matches!(reply.code(), None | Some(INTERNAL_ERROR)),
        }
    }

    /// Returns whether the reply is PLUGIN_CRASHED and reports how the process has ended.
    pub(super) fn allows_crash(self, reply: &Frame, plugin: &str) -> bool {
        let data = &reply.json()["error"]["data"];
        let (signal, exit_code) = (data["signal"].as_i64(), data["exit_code"].as_i64());
        let is_cause = match self {
            Self::Signal(signals) => signal.is_some_and(|signal| signals.contains(&signal)),
            Self::Exit(code) => exit_code == Some(code),
            Self::Ended => signal.is_some() != exit_code.is_some(),
            Self::Overdue => signal == Some(SIGKILL),
            // The test ends the process.
            Self::Answered => signal == Some(SIGABRT),
        };
        is_cause
            && reply.code() == Some(PLUGIN_CRASHED)
            && data["plugin"] == plugin
            && (data["signal_name"] == Value::Null) == signal.is_none()
    }
}
