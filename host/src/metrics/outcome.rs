//! The classes that requests are counted by: how they were sent, how they ended, why they were
//! rejected.

use jackfield_protocol::{Code, Kind};

/// How a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Replies come in the order of the requests. A request in line framing is of this kind, too.
    Sync,

    /// A reply comes when it is ready.
    Async,
}

impl RequestKind {
    pub(crate) const ALL: [Self; 2] = [Self::Sync, Self::Async];

    /// Returns the kind of the request that a reply of `kind` belongs to.
    pub(crate) fn of_reply(kind: Kind) -> Self {
        if kind == Kind::Sync { Self::Sync } else { Self::Async }
    }

    /// Returns the value of the metrics label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

/// How a request ended: with a result, with an error code of the protocol, with a code of the
/// plugin's own, or abandoned. A small number that serves as an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome(u8);

const CODES: usize = Code::ALL.len();

impl Outcome {
    /// The number of outcomes.
    pub(crate) const COUNT: usize = CODES + 3;

    /// The request had a result.
    pub(crate) const OK: Self = Self(0);

    /// The plugin returned an error with a code of its own.
    pub(crate) const PLUGIN_ERROR: Self = Self((CODES + 1).to_le_bytes()[0]);

    /// The client closed the connection before the reply.
    pub(crate) const ABANDONED: Self = Self((CODES + 2).to_le_bytes()[0]);

    /// Returns the outcome of an error with this code on the wire.
    pub(crate) fn of_code(code: i64) -> Self {
        Code::from_i64(code).map_or(Self::PLUGIN_ERROR, Self::of)
    }

    /// Returns the outcome of an error with this code of the protocol.
    pub(crate) const fn of(code: Code) -> Self {
        Self(code as u8 + 1)
    }

    /// Iterates over all outcomes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=Self::ABANDONED.0).map(Self)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Returns the value of the metrics label: `ok`, `plugin_error`, `abandoned`, or the name of a
    /// code in lower case.
    pub(crate) fn label(self) -> String {
        match self {
            Self::OK => "ok".to_owned(),
            Self::PLUGIN_ERROR => "plugin_error".to_owned(),
            Self::ABANDONED => "abandoned".to_owned(),
            Self(index) => Code::ALL
                .get(usize::from(index) - 1)
                .map_or_else(String::new, |code| code.name().to_ascii_lowercase()),
        }
    }
}

macro_rules! rejections {
    ($($(#[$doc:meta])+ $name:ident = $label:literal),+ $(,)?) => {
        /// Why something was rejected before any plugin code ran for it: a metrics label.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum RejectionReason {
            $($(#[$doc])+ $name,)+
        }

        impl RejectionReason {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Returns the value of the metrics label.
            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }
        }
    };
}

rejections! {
    /// A connection above `limits.connections`.
    Connections = "connections",
    /// A request above `limits.in_flight`.
    InFlight = "in_flight",
    /// A request above the route's `max_in_flight`.
    Route = "route",
    /// The plugin's queue is full.
    Queue = "queue",
    /// A request above `limits.buffers`.
    Buffers = "buffers",
    /// The plugin is missing, its circuit breaker is open, or it has no thread left.
    Unavailable = "plugin_unavailable",
    /// The host is shutting down.
    GoingAway = "going_away",
    /// No route leads from the method's name to a plugin.
    MethodNotFound = "method_not_found",
    /// A connection or a request of a user who is not allowed.
    Denied = "permission_denied",
    /// A payload that is not a request, or an id that is already in flight.
    Invalid = "invalid",
    /// A frame above `limits.frame`.
    TooLarge = "frame_too_large",
    /// A version of the protocol that the host does not speak.
    Version = "unsupported_version",
    /// A frame that was begun and not completed in time.
    SlowFrame = "slow_frame",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn gives_every_outcome_an_index_and_a_label_of_its_own() {
        let labels: BTreeSet<_> = Outcome::all().map(Outcome::label).collect();
        assert_eq!((labels.len(), Outcome::all().count()), (Outcome::COUNT, Outcome::COUNT));

        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Outcome::of_code(code.as_i64()).index(), index + 1);
            assert_eq!(Outcome::of(*code).label().to_ascii_uppercase(), code.name());
        }
        assert_eq!(Outcome::of_code(1), Outcome::PLUGIN_ERROR);
    }

    #[test]
    fn numbers_the_rejection_reasons_in_the_order_of_their_list() {
        for (index, reason) in RejectionReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
