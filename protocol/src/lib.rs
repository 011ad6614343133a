//! The wire protocol as values and bytes: frames, envelopes, and their faults.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod block;
mod buffer;
mod capability;
mod code;
mod codec;
mod context;
mod depth;
mod envelope;
mod envelope_error;
mod header;
mod hello;
mod id;
mod json;
pub mod limits;
mod line;
mod members;
mod reply;
mod scan;
mod write_frame;
mod write_reply;
mod write_request;

pub use block::{BlockError, ContentType, ExtensionBlock, Timing, split_bytes_body};
pub use buffer::{Frame, FrameBuffer, Received, RefusedFrame};
pub use capability::Capabilities;
pub use code::{Code, Retry, is_reserved};
pub use codec::{Decoder, FrameError, FrameLimit, Step};
pub use context::{CarriedMembers, RequestContext, TraceParent};
pub use envelope::{InvalidRequest, Request, parse_cancel};
pub use envelope_error::EnvelopeError;
pub use header::{Header, Kind, UnsupportedVersion, Version};
pub use hello::Hello;
pub use id::Id;
pub use json::Json;
pub use limits::HEADER_LEN;
pub use line::{LineDecoder, LineStep};
pub use reply::{InvalidReply, Outcome, RemoteError, Reply};
pub use write_frame::{Framing, write_cancel, write_going_away, write_heartbeat};
pub use write_reply::{ReplyForm, ReplyHead, ReplyTooLarge, begin_result, write_error, write_error_within};
pub use write_request::{RequestMembers, RequestParams, RequestTooLarge, write_request};
