//! The wire protocol as values and bytes: frames, envelopes, and their faults.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod buffer;
mod code;
mod codec;
mod depth;
mod envelope;
mod envelope_error;
mod header;
mod id;
mod json;
pub mod limits;
mod line;
mod members;
mod reply;
mod scan;
mod write;

pub use buffer::{Frame, FrameBuffer, Received, RefusedFrame};
pub use code::{Code, Retry, is_reserved};
pub use codec::{Decoder, FrameError, FrameLimit, Step};
pub use envelope::{InvalidRequest, Request};
pub use envelope_error::EnvelopeError;
pub use header::{Header, Kind, UnsupportedVersion, Version};
pub use id::Id;
pub use json::Json;
pub use limits::HEADER_LEN;
pub use line::{LineDecoder, LineStep};
pub use reply::{InvalidReply, Outcome, RemoteError, Reply};
pub use write::{
    Framing, ReplyHead, ReplyTooLarge, RequestTooLarge, begin_result, write_error, write_heartbeat,
    write_request,
};
