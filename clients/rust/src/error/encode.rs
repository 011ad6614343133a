//! The reasons why a request cannot be encoded.

/// Why a request cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The method does not have 1 to 256 bytes; the value is its length.
    #[error("a method has 1 to 256 bytes, this one has {0}")]
    MethodLength(usize),
    /// The params have no JSON form.
    #[error("the params cannot be written as JSON: {0}")]
    Params(#[from] serde_json::Error),
    /// The `traceparent` is not one of W3C Trace Context, version 00; the value is its text.
    #[error("traceparent: {0:?} is not 00-TRACE-SPAN-FLAGS of W3C Trace Context in lower case")]
    TraceParent(String),
    /// There is a `tracestate` without a `traceparent`, which a host ignores.
    #[error("tracestate: it belongs to a traceparent; set that, too")]
    TraceStateAlone,
    /// The `tracestate` has more than 512 bytes; the value is its length.
    #[error("tracestate: it has at most 512 bytes, this one has {0}")]
    TraceStateLength(usize),
    /// The metadata has more than 16 members; the value is their number.
    #[error("meta: a call has at most 16 members, this one has {0}")]
    MetaMembers(usize),
    /// The names and values of the metadata have more than 2,048 bytes; the value is their length.
    #[error("meta: names and values have at most 2048 bytes, these have {0}")]
    MetaBytes(usize),
    /// A member of the metadata has an empty name.
    #[error("meta: a name is empty")]
    MetaName,
    /// The payload is longer than a header can announce, 4 GiB - 1; the value is its length.
    #[error("the payload has {0} bytes; a frame holds at most 4294967295 (4 GiB - 1)")]
    TooLarge(usize),
}
