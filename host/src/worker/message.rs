//! The messages between a host and a worker: one frame each, with the header of the protocol for
//! clients and kinds of its own.
//!
//! ```text
//! host                                   worker
//!   │── Start ─────────────────────────────►│ limits, sandbox, dlopen, start, self-test
//!   │◄─ Step…, Described…, Ready or Refused │
//!   │── Call, Cancel ──────────────────────►│
//!   │◄────────────────────────────── End ───│ exactly one for each Call
//!   │◄────── Nested, NestedCancelled ───────│ a method calls another one
//!   │── Reply ─────────────────────────────►│ at most one for each Nested
//!   │── Export, Import, Stop ──────────────►│ one at a time
//!   │◄───────────────────────── PhaseEnd ───│
//!   │◄────────────────────────────── Log ───│ at any time
//! ```
//!
//! A message is a head of a few numbers and names, and a tail: its params, result or text. A large
//! tail may travel in a memory file ([`PayloadFile`](super::payload_file::PayloadFile)).
//!
//! The worker is not trusted: [`WorkerMessage::decode`] accepts nothing but well-formed messages.
//! It accepts any number and any text in them, and any bytes as JSON: the host checks those.

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::Content;

use super::message_context::{SentCaller, SentTrace};

/// Why the payload of a frame is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMessage {
    #[error("no message has the kind 0x{0:02x}")]
    Kind(u8),
    #[error("a field is truncated")]
    Truncated,
    #[error("a message has bytes after its last field")]
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
    pub(crate) const DESCRIBED: u8 = 0x49;
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
    /// The effective deadline, in nanoseconds of the clock of the host, which the worker adopts.
    /// The host supervises its own deadline itself.
    pub(crate) deadline: u64,
    pub(crate) content: Content,
    /// The id of the request.
    pub(crate) id: &'a str,
    pub(crate) caller: SentCaller<'a>,
    pub(crate) trace: Option<SentTrace<'a>>,
    /// The metadata of the request, as a JSON object.
    pub(crate) meta: Option<&'a str>,
    pub(crate) params: &'a [u8],
}

/// The reply of a method, or the error in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageEnd<'a> {
    /// The JSON of the result.
    Done(&'a [u8]),
    /// A result that is opaque bytes.
    DoneBytes(&'a [u8]),
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
    Cancel {
        call: CallNumber,
        /// Whether the calls that its method makes end with it.
        ends_nested: bool,
    },
    /// The reply to a nested call. Never `Cancelled`.
    Reply {
        nested: NestedNumber,
        end: MessageEnd<'a>,
    },
    Export,
    Import {
        schema: u32,
        state: &'a [u8],
    },
    /// Stops the instance. The worker ends after the `PhaseEnd`.
    Stop,
}

/// A message from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerMessage<'a> {
    /// The name of the step of the start that begins.
    Step(&'a str),
    /// The next part of the description of the methods, a JSON document or nothing; or why it is
    /// missing. Only in its step of the start.
    Described { is_known: bool, text: &'a str },
    /// The plugin is refused, for the [`LoadErrorReason`](crate::loader::LoadErrorReason) with this
    /// code. The worker ends.
    Refused { reason: &'a str, detail: &'a str },
    /// The instance is started and tested. The text says what is enforced, and what is not.
    Ready { enforced: &'a str },
    /// A line for the log. `level` is the number of a [`jackfield_plugin_api::Level`]; `call` is
    /// the call that runs on the thread that logs, or 0.
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
        content: Content,
        method: &'a str,
        params: &'a [u8],
    },
    /// Nothing waits for the reply to a nested call any more.
    NestedCancelled(NestedNumber),
    /// The end of an `Export` (`Done` has the state), `Import` or `Stop` (`Done` is empty). Never
    /// `Cancelled`.
    PhaseEnd(MessageEnd<'a>),
}

/// The byte that each [`MessageEnd`] begins with.
pub(super) mod end_tag {
    pub(in super::super) const DONE: u8 = 0;
    pub(in super::super) const FAILED: u8 = 1;
    pub(in super::super) const PANICKED: u8 = 2;
    pub(in super::super) const CANCELLED: u8 = 3;
    pub(in super::super) const DONE_BYTES: u8 = 4;
}

/// The bits of the byte in a call that says how it runs and which fields it has.
pub(super) mod call_flags {
    /// One of the two values below.
    pub(in super::super) const RUN: u8 = 0x03;
    pub(in super::super) const BLOCKING: u8 = 0x01;
    pub(in super::super) const ASYNC: u8 = 0x02;

    /// The params are opaque bytes.
    pub(in super::super) const BYTES: u8 = 0x04;
    pub(in super::super) const ORIGIN: u8 = 0x08;
    pub(in super::super) const TRACE: u8 = 0x10;
    /// Only together with `TRACE`.
    pub(in super::super) const STATE: u8 = 0x20;
    pub(in super::super) const META: u8 = 0x40;

    pub(in super::super) const ALL: u8 = RUN | BYTES | ORIGIN | TRACE | STATE | META;
}

/// The bits of the byte in a nested call.
pub(super) mod nested_flags {
    pub(in super::super) const WAITS: u8 = 0x01;
    /// The params are opaque bytes.
    pub(in super::super) const BYTES: u8 = 0x02;
}

/// The byte that each origin begins with.
pub(super) mod origin_tag {
    pub(in super::super) const LOCAL: u8 = 0;
    /// Without credentials.
    pub(in super::super) const UNKNOWN: u8 = 1;
    pub(in super::super) const REMOTE: u8 = 2;
    pub(in super::super) const PROGRAM: u8 = 3;
}
