//! The writer of requests.

use std::io::Write as _;

use crate::block::put_bytes_block;
use crate::codec::FrameLimit;
use crate::header::{KIND_BIT, Kind, Version};
use crate::json::Json;
use crate::write_frame::{
    Framing, begin_envelope, begin_frame, finish_frame, put_bytes_envelope, write_string,
};

/// The payload of a request is longer than a header can announce. Nothing of the request is left in
/// the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a request of {length} bytes is over the limit of {limit} bytes")]
pub struct RequestTooLarge {
    /// Length that the payload would have, in bytes.
    pub length: usize,
    /// The limit in bytes: 4 GiB - 1.
    pub limit: u32,
}

/// The params of a request.
#[derive(Clone, Copy, Debug)]
pub enum RequestParams<'a> {
    /// No member `params`.
    None,
    /// Any JSON.
    Json(Json<'a>),
    /// Opaque bytes. The request must be of version 1.2.
    Bytes(&'a [u8]),
}

impl<'a> From<Option<Json<'a>>> for RequestParams<'a> {
    fn from(params: Option<Json<'a>>) -> RequestParams<'a> {
        params.map_or(RequestParams::None, RequestParams::Json)
    }
}

/// The members of a request that travel with it to the plugin, as a client writes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestMembers<'a> {
    /// How long the client still waits, in milliseconds; 0 writes no member.
    pub deadline_ms: u32,
    /// `traceparent`.
    pub traceparent: Option<&'a str>,
    /// `tracestate`.
    pub tracestate: Option<&'a str>,
    /// The JSON object `meta`.
    pub meta: Option<&'a str>,
}

/// Writes a request: `{"id"?, "method", …, "params"?}`.
///
/// `id` is a JSON token: a string with its quotes, or an integer.
///
/// # Errors
///
/// The payload is longer than a header can announce (4 GiB - 1). The output is as it was before.
pub fn write_request(
    out: &mut Vec<u8>,
    version: Version,
    kind: Kind,
    id: Option<&str>,
    method: &str,
    members: RequestMembers<'_>,
    params: RequestParams<'_>,
) -> Result<(), RequestTooLarge> {
    let start = match params {
        RequestParams::Bytes(bytes) => {
            let kind = Kind::from_wire(kind.wire() | KIND_BIT);
            let start = begin_frame(out, Framing::Binary, version, kind);
            put_bytes_block(out, false);
            put_bytes_envelope(out, |out| put_request_envelope(out, id, method, members, None));
            out.extend_from_slice(bytes);
            start
        }
        RequestParams::None | RequestParams::Json(_) => {
            let start = begin_frame(out, Framing::Binary, version, kind);
            let params = if let RequestParams::Json(params) = params { Some(params) } else { None };
            put_request_envelope(out, id, method, members, params);
            start
        }
    };

    let limit = FrameLimit::MAX;
    finish_frame(out, Framing::Binary, start, limit)
        .map_err(|length| RequestTooLarge { length, limit: limit.bytes() })
}

fn put_request_envelope(
    out: &mut Vec<u8>,
    id: Option<&str>,
    method: &str,
    members: RequestMembers<'_>,
    params: Option<Json<'_>>,
) {
    begin_envelope(out, id);
    out.extend_from_slice(b"\"method\":");
    write_string(out, method);

    if members.deadline_ms > 0 {
        // Writing to a Vec cannot fail.
        let _ = write!(out, ",\"deadline_ms\":{}", members.deadline_ms);
    }
    for (name, text) in [("traceparent", members.traceparent), ("tracestate", members.tracestate)] {
        if let Some(text) = text {
            let _ = write!(out, ",\"{name}\":");
            write_string(out, text);
        }
    }
    for (name, json) in [("meta", members.meta), ("params", params.map(Json::get))] {
        if let Some(json) = json {
            let _ = write!(out, ",\"{name}\":");
            out.extend_from_slice(json.as_bytes());
        }
    }
    out.push(b'}');
}
