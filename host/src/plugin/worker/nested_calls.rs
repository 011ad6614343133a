//! The calls that methods in one worker make to other methods.
//!
//! The dispatcher starts each, and the supervisor polls it: when it is woken and at its deadline. A
//! nested call ends when its reply was sent, when the worker cancels it, or when the worker ends.

use std::task::{Poll, Waker};
use std::time::Duration;

use jackfield_plugin_api::Error;
use jackfield_plugin_api::abi::{CallOutput, CallReply, Content};
use jackfield_protocol::Code;
use rustc_hash::FxHashMap;

use super::super::nested_caller::NestedReply;
use crate::clock::Time;
use crate::worker::channel_writer::ChannelWriter;
use crate::worker::message::{HostMessage, MessageEnd, NestedNumber};

/// Nested calls that one worker may have at a time. Each belongs to a call that the host has sent,
/// so a plugin that is not faulty stays far below.
const CALLS_MAX: usize = 65_536;

/// Bytes of params that the running nested calls of one worker may have.
const PARAMS_MAX: usize = 64 << 20;

struct RunningNested {
    reply: Box<dyn NestedReply>,
    waker: Waker,

    /// The length of its params, which the host keeps until it ends.
    params: usize,
}

/// The running nested calls of one worker.
#[derive(Default)]
pub(super) struct NestedCalls {
    running: FxHashMap<NestedNumber, RunningNested>,

    /// The bytes of the params of all of them.
    params: usize,
}

impl NestedCalls {
    /// Returns whether the worker may make this call: its number is not in use, and there are not
    /// too many.
    pub(super) fn admits(&self, nested: NestedNumber) -> bool {
        self.running.len() < CALLS_MAX && !self.running.contains_key(&nested)
    }

    /// Returns whether the host can keep this many bytes of params in addition.
    pub(super) fn has_room(&self, params: usize) -> bool {
        self.running.is_empty() || self.params + params <= PARAMS_MAX
    }

    /// Takes a call that was started with this many bytes of params, and sends the reply if there
    /// is one already.
    pub(super) fn start(
        &mut self,
        nested: NestedNumber,
        params: usize,
        reply: Box<dyn NestedReply>,
        waker: Waker,
        writer: &ChannelWriter,
    ) {
        self.running.insert(nested, RunningNested { reply, waker, params });
        self.params += params;
        self.poll(nested, writer);
    }

    /// Polls a call, if it still runs, and sends its reply if there is one.
    pub(super) fn poll(&mut self, nested: NestedNumber, writer: &ChannelWriter) {
        let Some(running) = self.running.get_mut(&nested) else { return };
        let polled = running.reply.poll(&running.waker);
        if let Poll::Ready(reply) = polled {
            self.cancel(nested);
            send(writer, nested, &reply);
        }
    }

    /// Polls the calls whose deadline has passed.
    pub(super) fn poll_expired(&mut self, now: Time, writer: &ChannelWriter) {
        let expired = self.running.iter().filter(|(_, running)| running.reply.deadline() <= now);
        let expired: Vec<_> = expired.map(|(nested, _)| *nested).collect();
        expired.into_iter().for_each(|nested| self.poll(nested, writer));
    }

    /// Ends a call, because nothing in the worker waits for it any more.
    pub(super) fn cancel(&mut self, nested: NestedNumber) {
        if let Some(ended) = self.running.remove(&nested) {
            self.params -= ended.params;
        }
    }

    /// Returns the next deadline.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.running.values().map(|running| running.reply.deadline()).min()
    }
}

/// Returns the time-out that a worker has named.
pub(super) fn timeout_of(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

/// Queues the reply to a nested call that the host does not start, because those that run have too
/// many bytes of params.
pub(super) fn refuse(writer: &ChannelWriter, nested: NestedNumber) {
    let message = "overloaded: the nested calls of the plugin have too many bytes of params";
    let data = r#"{"retry_after_ms":100}"#.to_owned();
    let error = Error::from_wire(Code::Overloaded.as_i64(), message.to_owned(), Some(data));
    send(writer, nested, &Err(error));
}

/// Queues the reply to a nested call.
fn send(writer: &ChannelWriter, nested: NestedNumber, reply: &CallReply) {
    let end = match reply {
        Ok(CallOutput { content: Content::Json, bytes }) => MessageEnd::Done(bytes),
        Ok(CallOutput { content: Content::Bytes, bytes }) => MessageEnd::DoneBytes(bytes),
        Err(error) => failed(error),
    };
    writer.queue_host(&HostMessage::Reply { nested, end });
}

fn failed(error: &Error) -> MessageEnd<'_> {
    MessageEnd::Failed { code: error.code(), message: error.message(), data: error.data_json() }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::worker::channel_test_support::channel;
    use crate::worker::channel_writer::WhenFull;

    struct Never;

    impl NestedReply for Never {
        fn poll(&mut self, _waker: &Waker) -> Poll<CallReply> {
            Poll::Pending
        }

        fn deadline(&self) -> Time {
            Time::NEVER
        }
    }

    #[test]
    fn bounds_the_params_of_running_calls() {
        let (writer, _reader) = channel(WhenFull::Return);
        let mut calls = NestedCalls::default();
        assert!(calls.has_room(PARAMS_MAX + 1), "a single call of any size");
        for nested in 0..64 {
            assert!(calls.has_room(1 << 20));
            calls.start(nested, 1 << 20, Box::new(Never), Waker::noop().clone(), &writer);
        }
        assert!(!calls.has_room(1));

        calls.cancel(7);
        calls.cancel(7);
        assert!(calls.has_room(1 << 20) && !calls.has_room((1 << 20) + 1));
    }
}
