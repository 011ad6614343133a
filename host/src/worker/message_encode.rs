//! Writes messages. Numbers are big-endian; texts in a head follow their length.

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{Content, Credentials};

use super::message::{
    CallMessage, HostMessage, MessageEnd, WorkerMessage, call_flags, end_tag, kind, nested_flags, origin_tag,
};
use super::message_context::{SentCaller, SentOrigin, SentTrace};

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
        MessageEnd::DoneBytes(_) => out.push(end_tag::DONE_BYTES),
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
        MessageEnd::Done(result) | MessageEnd::DoneBytes(result) => result,
        MessageEnd::Failed { data, .. } => data.unwrap_or_default().as_bytes(),
        MessageEnd::Panicked(text) => text.as_bytes(),
        MessageEnd::Cancelled => &[],
    }
}

fn put_call(out: &mut Vec<u8>, message: &CallMessage<'_>) {
    let CallMessage { call, method, depth, deadline, id, caller, trace, meta, .. } = *message;
    out.extend_from_slice(&call.to_be_bytes());
    out.extend_from_slice(&method.to_be_bytes());
    out.push(flags_of(message));
    out.extend_from_slice(&depth.to_be_bytes());
    out.extend_from_slice(&deadline.to_be_bytes());
    put_text(out, id);

    put_caller(out, caller);
    if let Some(SentTrace { trace_id, span_id, flags, state }) = trace {
        out.extend_from_slice(&trace_id);
        out.extend_from_slice(&span_id);
        out.push(flags);
        state.iter().for_each(|state| put_text(out, state));
    }
    meta.iter().for_each(|meta| put_text(out, meta));
}

fn flags_of(message: &CallMessage<'_>) -> u8 {
    let CallMessage { run, content, caller, trace, meta, .. } = *message;
    let run = if run == Run::Async { call_flags::ASYNC } else { call_flags::BLOCKING };
    let fields = [
        (content == Content::Bytes, call_flags::BYTES),
        (caller.origin.is_some(), call_flags::ORIGIN),
        (trace.is_some(), call_flags::TRACE),
        (trace.is_some_and(|trace| trace.state.is_some()), call_flags::STATE),
        (meta.is_some(), call_flags::META),
    ];
    fields.iter().fold(run, |flags, (is_set, flag)| if *is_set { flags | flag } else { flags })
}

fn put_caller(out: &mut Vec<u8>, caller: SentCaller<'_>) {
    out.push(caller.place);
    match caller.origin {
        None => {}
        Some(SentOrigin::Local { listener, credentials: Some(Credentials { uid, gid, pid }) }) => {
            out.push(origin_tag::LOCAL);
            put_text(out, listener);
            [uid, gid, pid].iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        }
        Some(SentOrigin::Local { listener, credentials: None }) => {
            out.push(origin_tag::UNKNOWN);
            put_text(out, listener);
        }
        Some(SentOrigin::Remote { listener }) => {
            out.push(origin_tag::REMOTE);
            put_text(out, listener);
        }
        Some(SentOrigin::Program) => out.push(origin_tag::PROGRAM),
    }
}

impl ChannelMessage for HostMessage<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Start(_) => kind::START,
            Self::Call(_) => kind::CALL,
            Self::Cancel { .. } => kind::CANCEL,
            Self::Reply { .. } => kind::REPLY,
            Self::Export => kind::EXPORT,
            Self::Import { .. } => kind::IMPORT,
            Self::Stop => kind::STOP,
        }
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Start(_) | Self::Export | Self::Stop => {}
            Self::Call(call) => put_call(out, &call),
            Self::Cancel { call, ends_nested } => {
                out.extend_from_slice(&call.to_be_bytes());
                out.push(u8::from(ends_nested));
            }
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
            Self::Cancel { .. } | Self::Export | Self::Stop => &[],
        }
    }
}

impl ChannelMessage for WorkerMessage<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Step(_) => kind::STEP,
            Self::Described { .. } => kind::DESCRIBED,
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
            Self::Described { is_known, .. } => out.push(u8::from(is_known)),
            Self::Refused { reason, .. } => put_text(out, reason),
            Self::Log { level, call, .. } => {
                out.push(level);
                out.extend_from_slice(&call.to_be_bytes());
            }
            Self::End { call, end } => {
                out.extend_from_slice(&call.to_be_bytes());
                put_end(out, end);
            }
            Self::Nested { nested, parent, waits, timeout, content, method, .. } => {
                out.extend_from_slice(&nested.to_be_bytes());
                out.extend_from_slice(&parent.to_be_bytes());
                let waits = if waits { nested_flags::WAITS } else { 0 };
                out.push(waits | if content == Content::Bytes { nested_flags::BYTES } else { 0 });
                out.extend_from_slice(&timeout.to_be_bytes());
                put_text(out, method);
            }
            Self::NestedCancelled(nested) => out.extend_from_slice(&nested.to_be_bytes()),
            Self::PhaseEnd(end) => put_end(out, end),
        }
    }

    fn tail(&self) -> &[u8] {
        match *self {
            Self::Step(text) | Self::Described { text, .. } | Self::Ready { enforced: text } => {
                text.as_bytes()
            }
            Self::Refused { detail, .. } => detail.as_bytes(),
            Self::Log { line, .. } => line.as_bytes(),
            Self::End { end, .. } | Self::PhaseEnd(end) => end_tail(end),
            Self::Nested { params, .. } => params,
            Self::NestedCancelled(_) => &[],
        }
    }
}
