//! The messages between a host and a worker: one frame each, with the header of the protocol for
//! clients and kinds of its own.
//!
//! ```text
//! host                                   worker
//!   │── Start ─────────────────────────────►│ limits, sandbox, dlopen, start, self-test
//!   │◄──────── Step…, Ready or Refused ─────│
//!   │── Call, Cancel ──────────────────────►│
//!   │◄────────────────────────────── End ───│ exactly one for each Call
//!   │◄────── Nested, NestedCancelled ───────│ a method calls another one
//!   │── Reply ─────────────────────────────►│ at most one for each Nested
//!   │── Export, Import, Stop ──────────────►│ one at a time
//!   │◄───────────────────────── PhaseEnd ───│
//!   │◄────────────────────────────── Log ───│ at any time
//! ```
//!
//! The worker is not trusted: [`WorkerMessage::decode`] accepts nothing but well-formed messages, and
//! the host checks every number in them.

use jackfield_plugin_api::Run;

use super::message_fields::{Fields, put_bytes};

/// Why the body of a frame is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMessage {
    #[error("no message has the kind 0x{0:02x}")]
    Kind(u8),
    #[error("a field is truncated")]
    Truncated,
    #[error("there are bytes after the last field")]
    Surplus,
    #[error("a field has an invalid value")]
    Value,
}

/// The kinds of messages, as in the header of their frames. Clients use none of them.
pub(crate) mod kind {
    pub(crate) const START: u8 = 0x21;
    pub(crate) const CALL: u8 = 0x22;
    pub(crate) const CANCEL: u8 = 0x23;
    pub(crate) const REPLY: u8 = 0x24;
    pub(crate) const EXPORT: u8 = 0x25;
    pub(crate) const IMPORT: u8 = 0x26;
    pub(crate) const STOP: u8 = 0x27;

    pub(crate) const STEP: u8 = 0x41;
    pub(crate) const REFUSED: u8 = 0x42;
    pub(crate) const READY: u8 = 0x43;
    pub(crate) const LOG: u8 = 0x44;
    pub(crate) const END: u8 = 0x45;
    pub(crate) const NESTED: u8 = 0x46;
    pub(crate) const NESTED_CANCELLED: u8 = 0x47;
    pub(crate) const PHASE_END: u8 = 0x48;
}

/// The number of a call on its channel, which the host chooses. The host uses no number twice.
pub(crate) type CallNumber = u64;

/// The number of a nested call on its channel, which the worker chooses.
pub(crate) type NestedNumber = u64;

/// A call for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallMessage<'a> {
    pub(crate) call: CallNumber,
    pub(crate) method: u32,
    /// Never [`Run::Inline`].
    pub(crate) run: Run,
    pub(crate) depth: u32,
    /// In nanoseconds of the clock of the host, which the worker adopts.
    pub(crate) deadline: u64,
    /// The id of the request.
    pub(crate) id: &'a str,
    pub(crate) params: &'a [u8],
}

/// The reply of a method, or the error in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageEnd<'a> {
    /// The JSON of the result.
    Done(&'a [u8]),
    Failed {
        code: i64,
        message: &'a str,
        /// JSON.
        data: Option<&'a str>,
    },
    /// The text of the panic.
    Panicked(&'a str),
    /// The call was cancelled or waited past its deadline, and has no result.
    Cancelled,
}

/// A message to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostMessage<'a> {
    /// The JSON of a [`WorkerSpec`](super::spec::WorkerSpec). It is the first message.
    Start(&'a [u8]),
    Call(CallMessage<'a>),
    /// Nobody waits for the result of a call any more. Its `End` is still expected.
    Cancel(CallNumber),
    /// The reply to a nested call. Never `Cancelled`.
    Reply { nested: NestedNumber, end: MessageEnd<'a> },
    Export,
    Import { schema: u32, state: &'a [u8] },
    /// Stops the instance. The worker ends after the `PhaseEnd`.
    Stop,
}

/// A message from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerMessage<'a> {
    /// The name of the step of the start that begins.
    Step(&'a str),
    /// The plugin is refused, for the [`LoadErrorReason`](crate::loader::LoadErrorReason) with this
    /// code. The worker ends.
    Refused { reason: &'a str, detail: &'a str },
    /// The instance is started and tested. The text says what is enforced, and what is not.
    Ready { enforced: &'a str },
    /// A line for the log. `level` is the number of a [`jackfield_plugin_api::Level`]; `call` is the
    /// call that runs on the thread that logs, or 0.
    Log { level: u8, call: CallNumber, line: &'a str },
    /// The end of a call.
    End { call: CallNumber, end: MessageEnd<'a> },
    /// A method calls another one. `timeout` is in nanoseconds; 0 stands for none of its own.
    Nested {
        nested: NestedNumber,
        /// The call that runs the calling method.
        parent: CallNumber,
        /// Whether a thread waits for the reply.
        waits: bool,
        timeout: u64,
        method: &'a str,
        params: &'a [u8],
    },
    /// Nothing waits for the reply to a nested call any more.
    NestedCancelled(NestedNumber),
    /// The end of an `Export` (`Done` has the state), `Import` or `Stop` (`Done` is empty). Never
    /// `Cancelled`.
    PhaseEnd(MessageEnd<'a>),
}

const DONE: u8 = 0;
const FAILED: u8 = 1;
const PANICKED: u8 = 2;
const CANCELLED: u8 = 3;

impl<'a> MessageEnd<'a> {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Done(result) => {
                out.push(DONE);
                out.extend_from_slice(result);
            }
            Self::Failed { code, message, data } => {
                out.push(FAILED);
                out.extend_from_slice(&code.to_be_bytes());
                put_bytes(out, message.as_bytes());
                out.push(u8::from(data.is_some()));
                out.extend_from_slice(data.unwrap_or_default().as_bytes());
            }
            Self::Panicked(text) => {
                out.push(PANICKED);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Cancelled => out.push(CANCELLED),
        }
    }

    fn decode(mut fields: Fields<'a>) -> Result<Self, InvalidMessage> {
        match fields.byte()? {
            DONE => Ok(Self::Done(fields.rest())),
            FAILED => {
                let code = fields.u64()?.cast_signed();
                let message = fields.text()?;
                let has_data = fields.flag()?;
                let data = fields.rest_text()?;
                if !has_data && !data.is_empty() {
                    return Err(InvalidMessage::Surplus);
                }
                Ok(Self::Failed { code, message, data: has_data.then_some(data) })
            }
            PANICKED => Ok(Self::Panicked(fields.rest_text()?)),
            CANCELLED => fields.end().map(|()| Self::Cancelled),
            _ => Err(InvalidMessage::Value),
        }
    }
}

const BLOCKING: u8 = 1;
const ASYNC: u8 = 2;

impl<'a> HostMessage<'a> {
    pub(crate) fn kind(&self) -> u8 {
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

    /// Appends the body of the message, without a header.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Start(spec) => out.extend_from_slice(spec),
            Self::Call(CallMessage { call, method, run, depth, deadline, id, params }) => {
                out.extend_from_slice(&call.to_be_bytes());
                out.extend_from_slice(&method.to_be_bytes());
                out.push(if run == Run::Async { ASYNC } else { BLOCKING });
                out.extend_from_slice(&depth.to_be_bytes());
                out.extend_from_slice(&deadline.to_be_bytes());
                put_bytes(out, id.as_bytes());
                out.extend_from_slice(params);
            }
            Self::Cancel(call) => out.extend_from_slice(&call.to_be_bytes()),
            Self::Reply { nested, end } => {
                out.extend_from_slice(&nested.to_be_bytes());
                end.encode(out);
            }
            Self::Export | Self::Stop => {}
            Self::Import { schema, state } => {
                out.extend_from_slice(&schema.to_be_bytes());
                out.extend_from_slice(state);
            }
        }
    }

    /// Reads the body of a frame of this kind.
    ///
    /// # Errors
    ///
    /// It is no message to a worker.
    pub(crate) fn decode(kind: u8, body: &'a [u8]) -> Result<Self, InvalidMessage> {
        let mut fields = Fields::of(body);
        match kind {
            kind::START => Ok(Self::Start(body)),
            kind::CALL => {
                let (call, method) = (fields.u64()?, fields.u32()?);
                let run = match fields.byte()? {
                    BLOCKING => Run::Blocking,
                    ASYNC => Run::Async,
                    _ => return Err(InvalidMessage::Value),
                };
                let (depth, deadline, id) = (fields.u32()?, fields.u64()?, fields.text()?);
                let params = fields.rest();
                Ok(Self::Call(CallMessage { call, method, run, depth, deadline, id, params }))
            }
            kind::CANCEL => {
                let call = fields.u64()?;
                fields.end().map(|()| Self::Cancel(call))
            }
            kind::REPLY => Ok(Self::Reply { nested: fields.u64()?, end: MessageEnd::decode(fields)? }),
            kind::EXPORT => fields.end().map(|()| Self::Export),
            kind::IMPORT => Ok(Self::Import { schema: fields.u32()?, state: fields.rest() }),
            kind::STOP => fields.end().map(|()| Self::Stop),
            other => Err(InvalidMessage::Kind(other)),
        }
    }
}

impl<'a> WorkerMessage<'a> {
    pub(crate) fn kind(&self) -> u8 {
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

    /// Appends the body of the message, without a header.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Step(step) => out.extend_from_slice(step.as_bytes()),
            Self::Refused { reason, detail } => {
                put_bytes(out, reason.as_bytes());
                out.extend_from_slice(detail.as_bytes());
            }
            Self::Ready { enforced } => out.extend_from_slice(enforced.as_bytes()),
            Self::Log { level, call, line } => {
                out.push(level);
                out.extend_from_slice(&call.to_be_bytes());
                out.extend_from_slice(line.as_bytes());
            }
            Self::End { call, end } => {
                out.extend_from_slice(&call.to_be_bytes());
                end.encode(out);
            }
            Self::Nested { nested, parent, waits, timeout, method, params } => {
                out.extend_from_slice(&nested.to_be_bytes());
                out.extend_from_slice(&parent.to_be_bytes());
                out.push(u8::from(waits));
                out.extend_from_slice(&timeout.to_be_bytes());
                put_bytes(out, method.as_bytes());
                out.extend_from_slice(params);
            }
            Self::NestedCancelled(nested) => out.extend_from_slice(&nested.to_be_bytes()),
            Self::PhaseEnd(end) => end.encode(out),
        }
    }

    /// Reads the body of a frame of this kind.
    ///
    /// # Errors
    ///
    /// It is no message of a worker.
    pub(crate) fn decode(kind: u8, body: &'a [u8]) -> Result<Self, InvalidMessage> {
        let mut fields = Fields::of(body);
        match kind {
            kind::STEP => Ok(Self::Step(fields.rest_text()?)),
            kind::REFUSED => Ok(Self::Refused { reason: fields.text()?, detail: fields.rest_text()? }),
            kind::READY => Ok(Self::Ready { enforced: fields.rest_text()? }),
            kind::LOG => {
                Ok(Self::Log { level: fields.byte()?, call: fields.u64()?, line: fields.rest_text()? })
            }
            kind::END => Ok(Self::End { call: fields.u64()?, end: MessageEnd::decode(fields)? }),
            kind::NESTED => Ok(Self::Nested {
                nested: fields.u64()?,
                parent: fields.u64()?,
                waits: fields.flag()?,
                timeout: fields.u64()?,
                method: fields.text()?,
                params: fields.rest(),
            }),
            kind::NESTED_CANCELLED => {
                let nested = fields.u64()?;
                fields.end().map(|()| Self::NestedCancelled(nested))
            }
            kind::PHASE_END => Ok(Self::PhaseEnd(MessageEnd::decode(fields)?)),
            other => Err(InvalidMessage::Kind(other)),
        }
    }
}
