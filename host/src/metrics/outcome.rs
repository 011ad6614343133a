//! How requests are told apart: how they were asked, how they ended, why they were turned away.

use jackfield_protocol::{Code, Kind};

/// How a request was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Replies in the order of the requests; a line is one, too.
    Sync,
    /// Replies when they are ready.
    Async,
}

impl RequestKind {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Sync, Self::Async];

    /// By the kind of the reply.
    pub(crate) fn of_reply(kind: Kind) -> Self {
        if kind == Kind::Sync { Self::Sync } else { Self::Async }
    }

    /// As a label says it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

/// How a request ended: with a result, with one of the protocol's codes, with a plugin's own, or with nobody there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome(u8);

const CODES: usize = Code::ALL.len();

impl Outcome {
    /// How many there are.
    pub(crate) const COUNT: usize = CODES + 3;
    /// With a result.
    pub(crate) const OK: Self = Self(0);
    /// With an error that the plugin gave a number of its own.
    pub(crate) const PLUGIN_ERROR: Self = Self((CODES + 1).to_le_bytes()[0]);
    /// Not at all: its client had gone.
    pub(crate) const ABANDONED: Self = Self((CODES + 2).to_le_bytes()[0]);

    /// With this code.
    pub(crate) fn of_code(code: i64) -> Self {
        Code::from_i64(code).map_or(Self::PLUGIN_ERROR, Self::of)
    }

    /// With this code of the protocol.
    pub(crate) const fn of(code: Code) -> Self {
        Self(code as u8 + 1)
    }

    /// Every one.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=Self::ABANDONED.0).map(Self)
    }

    pub(super) fn place(self) -> usize {
        usize::from(self.0)
    }

    /// As a label says it: `ok`, `plugin_error`, `abandoned`, or a code's name in small letters.
    pub(crate) fn label(self) -> String {
        match self {
            Self::OK => "ok".to_owned(),
            Self::PLUGIN_ERROR => "plugin_error".to_owned(),
            Self::ABANDONED => "abandoned".to_owned(),
            Self(place) => Code::ALL
                .get(usize::from(place) - 1)
                .map_or_else(String::new, |code| code.name().to_ascii_lowercase()),
        }
    }
}

macro_rules! rejections {
    ($($(#[$doc:meta])+ $name:ident = $label:literal),+ $(,)?) => {
        /// Why something was turned away before any code of a plugin ran for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum RejectionReason {
            $($(#[$doc])+ $name,)+
        }

        impl RejectionReason {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As a label says it.
            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }
        }
    };
}

rejections! {
    /// A connection past `limits.connections`.
    Connections = "connections",
    /// Past `limits.in_flight`.
    InFlight = "in_flight",
    /// Past the route's `max_in_flight`.
    Route = "route",
    /// The plugin's queue is full.
    Queue = "queue",
    /// Past `limits.buffers`.
    Buffers = "buffers",
    /// The plugin is not there, fails too often, or has no thread left.
    Unavailable = "plugin_unavailable",
    /// The host ends.
    GoingAway = "going_away",
    /// No route leads from the method's name to a plugin.
    MethodNotFound = "method_not_found",
    /// A connection or a request of a user who is not allowed.
    Denied = "permission_denied",
    /// A payload that is no request, or an id that is in flight already.
    Invalid = "invalid",
    /// A frame past `limits.frame`.
    TooLarge = "frame_too_large",
    /// A version of the protocol that the host does not speak.
    Version = "unsupported_version",
    /// A frame that was begun and not finished in time.
    SlowFrame = "slow_frame",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_a_place_and_a_name_of_its_own() {
        let labels: BTreeSet<_> = Outcome::all().map(Outcome::label).collect();
        assert_eq!((labels.len(), Outcome::all().count()), (Outcome::COUNT, Outcome::COUNT));
        for (place, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Outcome::of_code(code.as_i64()).place(), place + 1);
            assert_eq!(Outcome::of(*code).label().to_ascii_uppercase(), code.name());
        }
        assert_eq!(Outcome::of_code(1), Outcome::PLUGIN_ERROR);
        for (place, rejection) in RejectionReason::ALL.iter().enumerate() {
            assert_eq!(*rejection as usize, place);
        }
    }
}
