//! The resources that requests are rejected for.

/// The resource that a request was rejected for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ExhaustedResource {
    Connections,
    InFlight,

    /// The permits of the route.
    Route,

    /// The queue of the plugin.
    Queue,

    Buffers,
}

impl ExhaustedResource {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Connections => "too many connections (limits.connections)",
            Self::InFlight => "too many requests are in flight (limits.in_flight)",
            Self::Route => "too many requests of this route are in flight (max_in_flight)",
            Self::Queue => "the queue of the plugin is full (plugin.NAME.queue)",
            Self::Buffers => "the host has no buffer space left (limits.buffers)",
        }
    }
}
