//! Writes messages. Numbers are big-endian; texts in a head follow their length.

use jackfield_plugin_api::Run;

use super::message::{CallMessage, HostMessage, MessageEnd, WorkerMessage, end_tag, kind, run_tag};

/// A message of either end.
pub(crate) trait ChannelMessage {
    /// Returns the kind in the header of the frame.
    fn kind(&self) -> u8;

    /// Appends the message without its tail.
    fn encode_head(&self, out: &mut Vec<u8>);

    /// Returns the last field of the message, which extends to its end; empty if there is none.
    fn tail(&self) -> &[u8];
}

/// Appends text after its length.
fn put_text(out: &mut Vec<u8>, text: &str) {
    // A longer field would make the message longer than any message may be.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_end(out: &mut Vec<u8>, end: MessageEnd<'_>) {
    match end {
        MessageEnd::Done(_) => out.push(end_tag::DONE),
        MessageEnd::Failed { code, message, data } => {
            out.push(end_tag::FAILED);
            out.extend_from_slice(&code.to_be_bytes());
            put_text(out, message);
            out.push(u8::from(data.is_some()));
        }
        MessageEnd::Panicked(_) => out.push(end_tag::PANICKED),
        MessageEnd::Cancelled => out.push(end_tag::CANCELLED),
    }
}

fn end_tail(end: MessageEnd<'_>) -> &[u8] {
    match end {
        MessageEnd::Done(result) => result,
        MessageEnd::Failed { data, .. } => data.unwrap_or_default().as_bytes(),
        MessageEnd::Panicked(text) => text.as_bytes(),
        MessageEnd::Cancelled => &[],
    }
}

impl ChannelMessage for HostMessage<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Start(_) => kind::START,
            Self::Call(_) => kind::CALL,
            Self::Cancel(_) => kind::CANCEL,
            Self::Reply { .. } => kind::REPLY,
            Self::Export => kind::EXPORT,
            Self::Import { .. } => kind::IMPORT,
            Self::Stop => kind::STOP,
        }
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Start(_) | Self::Export | Self::Stop => {}
            Self::Call(CallMessage { call, method, run, depth, deadline, id, .. }) => {
                out.extend_from_slice(&call.to_be_bytes());
                out.extend_from_slice(&method.to_be_bytes());
                out.push(if run == Run::Async { run_tag::ASYNC } else { run_tag::BLOCKING });
                out.extend_from_slice(&depth.to_be_bytes());
                out.extend_from_slice(&deadline.to_be_bytes());
                put_text(out, id);
            }
            Self::Cancel(call) => out.extend_from_slice(&call.to_be_bytes()),
            Self::Reply { nested, end } => {
                out.extend_from_slice(&nested.to_be_bytes());
                put_end(out, end);
            }
            Self::Import { schema, .. } => out.extend_from_slice(&schema.to_be_bytes()),
        }
    }

    fn tail(&self) -> &[u8] {
        match *self {
            Self::Start(spec) => spec,
            Self::Call(CallMessage { params, .. }) => params,
            Self::Reply { end, .. } => end_tail(end),
            Self::Import { state, .. } => state,
            Self::Cancel(_) | Self::Export | Self::Stop => &[],
        }
    }
}

impl ChannelMessage for WorkerMessage<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Step(_) => kind::STEP,
            Self::Refused { .. } => kind::REFUSED,
            Self::Ready { .. } => kind::READY,
            Self::Log { .. } => kind::LOG,
            Self::End { .. } => kind::END,
            Self::Nested { .. } => kind::NESTED,
            Self::NestedCancelled(_) => kind::NESTED_CANCELLED,
            Self::PhaseEnd(_) => kind::PHASE_END,
        }
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Step(_) | Self::Ready { .. } => {}
            Self::Refused { reason, .. } => put_text(out, reason),
            Self::Log { level, call, .. } => {
                out.push(level);
                out.extend_from_slice(&call.to_be_bytes());
            }
            Self::End { call, end } => {
                out.extend_from_slice(&call.to_be_bytes());
                put_end(out, end);
            }
            Self::Nested { nested, parent, waits, timeout, method, .. } => {
                out.extend_from_slice(&nested.to_be_bytes());
                out.extend_from_slice(&parent.to_be_bytes());
                out.push(u8::from(waits));
                out.extend_from_slice(&timeout.to_be_bytes());
                put_text(out, method);
            }
            Self::NestedCancelled(nested) => out.extend_from_slice(&nested.to_be_bytes()),
            Self::PhaseEnd(end) => put_end(out, end),
        }
    }

    fn tail(&self) -> &[u8] {
        match *self {
            Self::Step(text) | Self::Ready { enforced: text } => text.as_bytes(),
            Self::Refused { detail, .. } => detail.as_bytes(),
            Self::Log { line, .. } => line.as_bytes(),
            Self::End { end, .. } | Self::PhaseEnd(end) => end_tail(end),
            Self::Nested { params, .. } => params,
            Self::NestedCancelled(_) => &[],
        }
    }
}
