//! The facts that travel with a request to the plugin besides its params: the caller, the trace,
//! the metadata.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// The type of params or of a result. The numbers are those of the content types of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum Content {
    /// One JSON document.
    #[default]
    Json = 0,
    /// Opaque bytes.
    Bytes = 3,
}

impl Content {
    /// Returns the content of a number that crossed the ABI. Every number but that of JSON stands
    /// for opaque bytes.
    pub(super) fn from_number(number: u32) -> Self {
        if number == Self::Json as u32 { Self::Json } else { Self::Bytes }
    }
}

/// A result of a method, with its type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallOutput {
    /// The type of the bytes.
    pub content: Content,
    /// The result.
    pub bytes: Vec<u8>,
}

impl CallOutput {
    /// Wraps the JSON of a result.
    #[must_use]
    pub fn json(bytes: Vec<u8>) -> Self {
        Self { content: Content::Json, bytes }
    }
}

/// A call to another method.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingCall<'a> {
    /// The name of the method.
    pub method: &'a str,
    /// The params: one JSON document, or opaque bytes.
    pub params: &'a [u8],
    /// The type of the params.
    pub content: Content,
    /// A time-out of its own. It does not extend the deadline of the calling method.
    pub timeout: Option<std::time::Duration>,
}

/// The sender of a request: the same for all requests of a connection.
#[derive(Debug)]
pub struct CallerFacts {
    origin: Origin,
    /// The caller as JSON, written at its first use.
    json: OnceLock<String>,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A process of this machine, at a listener.
    Local {
        /// The path of the listener's socket.
        listener: Arc<str>,
        /// The process, as the kernel reports it; `None` if it reports nothing.
        credentials: Option<Credentials>,
    },
    /// Another machine, through a proxy at a listener for such requests.
    Remote {
        /// The path of the listener's socket.
        listener: Arc<str>,
    },
    /// The program of the host itself.
    Program,
}

/// The credentials of a process, as the kernel reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process that connected. It may have ended, and another one may have its number.
    pub pid: u32,
}

impl CallerFacts {
    /// Creates the caller of the requests of one connection.
    #[must_use]
    pub fn new(origin: Origin) -> Arc<Self> {
        Arc::new(Self { origin, json: OnceLock::new() })
    }

    /// Returns where the requests come from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the caller as the JSON object that crosses the ABI: `{"local": {"listener": …,
    /// "uid": …, "gid": …, "pid": …}}`, `{"remote": {"listener": …}}`, or `{"program": {}}`.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
            match &self.origin {
                Origin::Local { listener, credentials } => {
                    let mut json = format!("{{\"local\":{{\"listener\":{}", text(listener));
                    if let Some(Credentials { uid, gid, pid }) = credentials {
                        // Writing to a String cannot fail.
                        let _ = write!(json, ",\"uid\":{uid},\"gid\":{gid},\"pid\":{pid}");
                    }
                    json + "}}"
                }
                Origin::Remote { listener } => format!("{{\"remote\":{{\"listener\":{}}}}}", text(listener)),
                Origin::Program => "{\"program\":{}}".to_owned(),
            }
        })
    }
}

/// The caller of a call, borrowed for as long as the call runs on the thread of its connection.
#[derive(Debug, Clone)]
pub enum CallerRef<'a> {
    /// Borrowed from the connection.
    Borrowed(&'a Arc<CallerFacts>),
    /// Shared with the connection.
    Shared(Arc<CallerFacts>),
}

impl CallerRef<'_> {
    /// Returns the program of the host as the caller.
    #[must_use]
    pub fn program() -> CallerRef<'static> {
        CallerRef::Shared(CallerFacts::new(Origin::Program))
    }

    /// Returns the caller.
    #[must_use]
    pub fn get(&self) -> &Arc<CallerFacts> {
        match self {
            Self::Borrowed(caller) => caller,
            Self::Shared(caller) => caller,
        }
    }

    /// Returns the same caller without borrowed data.
    #[must_use]
    pub fn to_shared(&self) -> CallerRef<'static> {
        CallerRef::Shared(Arc::clone(self.get()))
    }
}

/// Trace and metadata of a request.
#[derive(Debug, Default)]
pub struct CallContext {
    /// The trace that the call belongs to.
    pub trace: Option<TraceFacts>,
    /// The metadata that the client sent: a JSON object with strings.
    pub meta: Option<Box<str>>,
}

/// The place of a call in a trace.
#[derive(Debug)]
pub struct TraceFacts {
    /// The id of the trace.
    pub trace_id: [u8; 16],
    /// The span of this call if the host records one, otherwise the span of the caller.
    pub span_id: [u8; 8],
    /// The span that caused this call; `None` if the host records no span, or the first of the
    /// trace.
    pub parent_id: Option<[u8; 8]>,
    /// The trace flags of W3C Trace Context.
    pub flags: u8,
    /// Whether the host records a span for this call.
    pub is_recorded: bool,
    /// `tracestate` as the client sent it, as text.
    pub state: Option<Arc<str>>,
    /// `traceparent` for what the method calls, written at its first use.
    text: OnceLock<String>,
}

impl TraceFacts {
    /// Creates the place of a call.
    #[must_use]
    pub fn new(
        trace_id: [u8; 16],
        span_id: [u8; 8],
        parent_id: Option<[u8; 8]>,
        flags: u8,
        is_recorded: bool,
        state: Option<Arc<str>>,
    ) -> Self {
        Self { trace_id, span_id, parent_id, flags, is_recorded, state, text: OnceLock::new() }
    }

    /// Returns `traceparent` for what the method calls.
    #[must_use]
    pub fn traceparent(&self) -> &str {
        self.text.get_or_init(|| {
            let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
            format!("00-{trace:032x}-{span:016x}-{:02x}", self.flags)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_each_origin_as_json() {
        let listener = Arc::<str>::from("run/\"a\".sock");
        let credentials = Some(Credentials { uid: 1, gid: 2, pid: 3 });
        for (origin, json) in [
            (
                Origin::Local { listener: Arc::clone(&listener), credentials },
                r#"{"local":{"listener":"run/\"a\".sock","uid":1,"gid":2,"pid":3}}"#,
            ),
            (
                Origin::Local { listener: Arc::clone(&listener), credentials: None },
                r#"{"local":{"listener":"run/\"a\".sock"}}"#,
            ),
            (Origin::Remote { listener }, r#"{"remote":{"listener":"run/\"a\".sock"}}"#),
            (Origin::Program, r#"{"program":{}}"#),
        ] {
            assert_eq!(CallerFacts::new(origin).json(), json);
        }
    }

    #[test]
    fn writes_the_traceparent() {
        let facts = TraceFacts::new([0xAB; 16], [1; 8], None, 1, false, None);
        assert_eq!(facts.traceparent(), format!("00-{}-{}-01", "ab".repeat(16), "01".repeat(8)));
    }
}
