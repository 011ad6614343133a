//! The reply to a call of the embedding program: where it arrives, and what is left to do then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};

use jackfield_plugin_api::Error;
use jackfield_plugin_api::abi::{CallEnd, CallOutput, CallReply};
use jackfield_protocol::ReplyHead;

use super::deadline_watch::WatchedDeadline;
use super::dispatcher::Dispatcher;
use super::nested_call::PendingCall;
use super::program_accounting::{CountedCall, ProgramEnd};
use super::reply_slot::into_reply;
use super::request_error::RequestError;
use crate::clock::Time;
use crate::limits::Permit;
use crate::metrics::MethodId;
use crate::plugin::{ReplySink, ReplySlot};
use crate::sync::lock;

/// The result that the program receives, or the error.
pub(crate) type ProgramReply = Result<CallOutput, ProgramError>;

/// The error of a call, and whether the method returned it.
#[derive(Debug)]
pub(crate) struct ProgramError {
    pub(crate) error: Error,
    pub(crate) is_of_method: bool,
}

impl From<RequestError> for ProgramError {
    fn from(error: RequestError) -> Self {
        Self { error: error.into(), is_of_method: false }
    }
}

/// Returns how a call ended, for its accounts.
pub(super) fn end_of(reply: &ProgramReply) -> ProgramEnd {
    match reply {
        Ok(_) => ProgramEnd::Result,
        Err(ProgramError { error, .. }) => ProgramEnd::Error(error.code()),
    }
}

/// The part of a reply that the call and the one that waits for it share.
pub(super) struct SharedReply {
    slot: Arc<ReplySlot>,

    /// The place among the requests in flight, until there is a reply or nobody waits for it.
    permit: Mutex<Option<Permit>>,

    /// Whether the method itself returned the error in the slot.
    is_of_method: AtomicBool,
}

impl SharedReply {
    pub(super) fn new(slot: Arc<ReplySlot>, permit: Permit) -> Self {
        Self { slot, permit: Mutex::new(Some(permit)), is_of_method: AtomicBool::new(false) }
    }

    fn give_permit_back(&self) {
        let permit = lock(&self.permit).take();
        drop(permit);
    }
}

/// Puts the result of a call into its slot.
pub(super) struct ProgramSink {
    pub(super) reply: Arc<SharedReply>,

    /// The plugin that is called.
    pub(super) plugin: Arc<str>,
}

impl ReplySink for ProgramSink {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        let is_of_method = matches!(end, CallEnd::Failed { .. });
        self.reply.is_of_method.store(is_of_method, Ordering::Release);
        self.reply.give_permit_back();
        self.reply.slot.fill(into_reply(end, std::mem::take(out), &self.plugin));
    }
}

/// A call of the program that was submitted. Dropping it cancels the call.
pub(crate) struct PendingProgramCall {
    pending: PendingCall,
    shared: Arc<SharedReply>,
    _watched: WatchedDeadline,
    dispatcher: Weak<Dispatcher>,
    counted: MethodId,
    accepted: Time,

    /// Whether the end of the call was counted.
    is_finished: bool,
}

impl PendingProgramCall {
    pub(super) fn new(
        pending: PendingCall,
        shared: Arc<SharedReply>,
        watched: WatchedDeadline,
        dispatcher: Weak<Dispatcher>,
        counted: MethodId,
        accepted: Time,
    ) -> Self {
        Self { pending, shared, _watched: watched, dispatcher, counted, accepted, is_finished: false }
    }

    /// Takes the reply if it has arrived, or the deadline has passed. Otherwise `waker` is woken
    /// then.
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<ProgramReply> {
        let reply = match self.pending.poll(waker) {
            Some(reply) => self.ended(reply),
            None if Time::now() >= self.pending.deadline() => self.expired(),
            None => return Poll::Pending,
        };
        self.finish(end_of(&reply));
        Poll::Ready(reply)
    }

    /// Waits on this thread for the reply.
    pub(super) fn wait(mut self) -> ProgramReply {
        let reply = match self.pending.wait_for_slot() {
            Some(reply) => self.ended(reply),
            None => self.expired(),
        };
        self.finish(end_of(&reply));
        reply
    }

    /// Returns what the program receives of this reply. The wait is cancelled at the deadline, or
    /// when the host ends.
    fn ended(&self, reply: CallReply) -> ProgramReply {
        if reply.is_err() && self.shared.slot.is_cancelled() {
            return self.expired();
        }
        let is_of_method = self.shared.is_of_method.load(Ordering::Acquire);
        reply.map_err(|error| ProgramError { error, is_of_method })
    }

    fn expired(&self) -> ProgramReply {
        let is_cut = self.dispatcher.upgrade().is_none_or(|dispatcher| dispatcher.deadlines.is_cut());
        if is_cut && Time::now() < self.pending.deadline() {
            return Err(RequestError::CutShort(self.pending.timeout()).into());
        }
        self.pending.expire_at_depth_0();
        Err(RequestError::DeadlineExceeded(self.pending.timeout()).into())
    }

    fn finish(&mut self, end: ProgramEnd) {
        self.is_finished = true;
        self.shared.give_permit_back();
        let Some(dispatcher) = self.dispatcher.upgrade() else { return };
        let call = self.pending.call();

        let accepted = CountedCall {
            generation: &call.generation,
            method: call.method,
            counted: self.counted,
            facts: &call.facts,
            accepted: self.accepted,
            begun: call.started_at(),
        };
        dispatcher.finish_program_call(&accepted, Time::now(), end);
    }
}

impl Drop for PendingProgramCall {
    fn drop(&mut self) {
        if !self.is_finished {
            self.finish(ProgramEnd::Abandoned);
        }
    }
}
