//! The calls that methods in one worker make to other methods.
//!
//! The dispatcher starts each, and the supervisor polls it: when it is woken and at its deadline. A
//! nested call ends when its reply was sent, when the worker cancels it, or when the worker ends.

use std::task::{Poll, Waker};
use std::time::Duration;

use jackfield_plugin_api::Error;
use jackfield_plugin_api::abi::CallReply;
use rustc_hash::FxHashMap;

use super::super::host_services::NestedReply;
use crate::clock::Time;
use crate::worker::channel_writer::ChannelWriter;
use crate::worker::message::{HostMessage, MessageEnd, NestedNumber};

/// Nested calls that one worker may have at a time. Each belongs to a call that the host has sent,
/// so a plugin that is not faulty stays far below.
const CALLS_MAX: usize = 65_536;

struct RunningNested {
    reply: Box<dyn NestedReply>,
    waker: Waker,
}

/// The running nested calls of one worker.
#[derive(Default)]
pub(super) struct NestedCalls {
    running: FxHashMap<NestedNumber, RunningNested>,
}

impl NestedCalls {
    /// Returns whether the worker may make this call: its number is not in use, and there are not
    /// too many.
    pub(super) fn admits(&self, nested: NestedNumber) -> bool {
        self.running.len() < CALLS_MAX && !self.running.contains_key(&nested)
    }

    /// Takes a call that was started, and sends the reply if there is one already.
    pub(super) fn start(
        &mut self,
        nested: NestedNumber,
        reply: Box<dyn NestedReply>,
        waker: Waker,
        writer: &ChannelWriter,
    ) {
        self.running.insert(nested, RunningNested { reply, waker });
        self.poll(nested, writer);
    }

    /// Polls a call, if it still runs, and sends its reply if there is one.
    pub(super) fn poll(&mut self, nested: NestedNumber, writer: &ChannelWriter) {
        let Some(running) = self.running.get_mut(&nested) else { return };
        let polled = running.reply.poll(&running.waker);
        if let Poll::Ready(reply) = polled {
            self.running.remove(&nested);
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
        self.running.remove(&nested);
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

/// Queues the reply to a nested call.
fn send(writer: &ChannelWriter, nested: NestedNumber, reply: &CallReply) {
    let end = match reply {
        Ok(result) => MessageEnd::Done(result),
        Err(error) => failed(error),
    };
    writer.queue_host(&HostMessage::Reply { nested, end });
}

fn failed(error: &Error) -> MessageEnd<'_> {
    MessageEnd::Failed { code: error.code(), message: error.message(), data: error.data_json() }
}
