//! The phases of a connection, and the reasons why it ends.
//!
//! ```text
//!               the peer closes its writing side
//!     Open ───────────────────────────────────────► ReadClosed
//!      │                                                 │
//!      │ a frame is too slow or cannot be followed,      │
//!      │ the peer closes its writing side in a line,     │
//!      │ reading fails,                                  │ first reply with
//!      │ first reply with `close_after_reply`            │ `close_after_reply`
//!      ▼                                                 │
//!   Closing(reason) ◄────────────────────────────────────┘
//! ```
//!
//! A connection that is `ReadClosed` or `Closing` ends as soon as no request is in flight and
//! everything is written. On a thread that drains, an `Open` one does, too. In every phase a
//! connection ends at once if writing fails, if the peer hangs up, or if a time limit of the
//! connection passes.

use std::fmt;

/// The reason why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The peer closed the connection, or every request was answered and no more can come.
    Done,
    /// Nothing happened for longer than `timeouts.idle`.
    Idle,
    /// A frame or a write made no progress, or the framing cannot be trusted.
    Cut(&'static str),
    /// The peer closed the connection while requests were in flight.
    Abandoned,
    /// The peer closed its writing side within a line, which was not run.
    Unterminated,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("no more requests"),
            Self::Idle => f.write_str("idle for longer than timeouts.idle"),
            Self::Cut(why) => f.write_str(why),
            Self::Abandoned => f.write_str("the client closed the connection with requests in flight"),
            Self::Unterminated => {
                f.write_str("the last line had no newline and was not run (listener.run_unterminated)")
            }
        }
    }
}

/// How far a connection has come towards its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests are read and answered.
    Open,
    /// The peer will send no more. Requests in flight are answered. Nothing is left in the inbox,
    /// because bytes are only read when every whole frame in it has been decoded. The exception is
    /// a last line without a newline that waits at a gate.
    ReadClosed,
    /// Nothing more is read. The connection closes once everything is written.
    Closing(CloseReason),
}

impl Phase {
    /// Returns whether further bytes may arrive and are read.
    pub(super) fn is_open(self) -> bool {
        self == Self::Open
    }

    /// Returns whether no request is taken any more.
    pub(super) fn is_closing(self) -> bool {
        matches!(self, Self::Closing(_))
    }

    /// Begins to close without a fault, unless the connection is closing already.
    pub(super) fn finish(&mut self) {
        if !self.is_closing() {
            *self = Self::Closing(CloseReason::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_reason_when_it_is_finished_while_closing() {
        let mut phase = Phase::Closing(CloseReason::Cut("fault"));
        phase.finish();
        assert_eq!(phase, Phase::Closing(CloseReason::Cut("fault")));
        assert!(phase.is_closing() && !phase.is_open());

        for mut phase in [Phase::Open, Phase::ReadClosed] {
            assert!(!phase.is_closing());
            phase.finish();
            assert_eq!(phase, Phase::Closing(CloseReason::Done));
        }
    }
}
