//! The part of a message that has the sender of a request, and what else travels with the request
//! besides its params.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallContext, Credentials, Origin, TraceFacts};

/// Names the caller of a call by its place in a table that both ends of the channel keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentCaller<'a> {
    pub(crate) place: u8,
    /// The caller that has the place from now on; `None` if that does not change.
    pub(crate) origin: Option<SentOrigin<'a>>,
}

/// An [`Origin`] in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentOrigin<'a> {
    Local { listener: &'a str, credentials: Option<Credentials> },
    Remote { listener: &'a str },
    Program,
}

impl<'a> SentOrigin<'a> {
    pub(super) fn of(origin: &'a Origin) -> Self {
        match origin {
            Origin::Local { listener, credentials } => Self::Local { listener, credentials: *credentials },
            Origin::Remote { listener } => Self::Remote { listener },
            Origin::Program => Self::Program,
        }
    }

    pub(super) fn to_origin(self) -> Origin {
        match self {
            Self::Local { listener, credentials } => Origin::Local { listener: listener.into(), credentials },
            Self::Remote { listener } => Origin::Remote { listener: listener.into() },
            Self::Program => Origin::Program,
        }
    }
}

/// The place of a call in a trace, as far as its method may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentTrace<'a> {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) flags: u8,
    /// `tracestate` of the client.
    pub(crate) state: Option<&'a str>,
}

impl<'a> SentTrace<'a> {
    pub(crate) fn of(trace: &'a TraceFacts) -> Self {
        let TraceFacts { trace_id, span_id, flags, .. } = *trace;
        Self { trace_id, span_id, flags, state: trace.state.as_deref() }
    }

    /// Returns the same for the plugin of a worker. The host alone records spans.
    fn to_facts(self) -> TraceFacts {
        let Self { trace_id, span_id, flags, state } = self;
        TraceFacts::new(trace_id, span_id, None, flags, false, state.map(Arc::from))
    }
}

/// Returns trace and metadata for the plugin of a worker; `None` if the call has neither.
pub(crate) fn context_of(trace: Option<SentTrace<'_>>, meta: Option<&str>) -> Option<Arc<CallContext>> {
    let has_context = trace.is_some() || meta.is_some();
    has_context
        .then(|| Arc::new(CallContext { trace: trace.map(SentTrace::to_facts), meta: meta.map(Into::into) }))
}
