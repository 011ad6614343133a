//! Calls on their way to their generation's threads: what one turn begins is handed over together, under one lock and with
//! one notice for each thread that waits.
//!
//! With each by itself, the thread that reads and those that run fight for the queue's lock, at more cost than the call.

use std::sync::Arc;

use jackfield_protocol::Kind;

use super::Connection;
use super::in_flight::RequestKey;
use crate::clock::Time;
use crate::plugin::PluginCall;
use crate::routing::RequestError;

/// So many calls wait for one another at most: reading them takes some ten microseconds, about as long as waking a thread.
const TOGETHER: usize = 16;

/// Calls of one generation, of one way to run, that were begun in this turn and not yet handed over.
#[derive(Default)]
pub(super) struct SubmissionBatch {
    keys: Vec<RequestKey>,
    calls: Vec<Arc<PluginCall>>,
}

impl SubmissionBatch {
    /// Whether a call goes where those that are here go.
    fn takes(&self, call: &PluginCall) -> bool {
        let Some(first) = self.calls.first() else { return true };
        self.calls.len() < TOGETHER
            && Arc::ptr_eq(&first.generation, &call.generation)
            && first.facts.run == call.facts.run
    }
}

impl Connection {
    /// Has a request in flight begin on a thread of its generation, once it is handed over with others.
    pub(super) fn start(&mut self, key: RequestKey, out: &mut Vec<u8>, now: Time) {
        let Some(flight) = self.flights.get(key) else { return };
        let call = Arc::clone(&flight.call);
        if flight.kind == Kind::Sync {
            self.flights.running = Some(key);
        }
        if !self.thread.starts.borrow().takes(&call) {
            self.hand_over(out, now);
        }
        let mut starts = self.thread.starts.borrow_mut();
        starts.keys.push(key);
        starts.calls.push(call);
    }

    /// Hands over what was begun, before anything that takes its time and at the latest at the end of a round.
    #[inline]
    pub(super) fn hand_over(&mut self, out: &mut Vec<u8>, now: Time) {
        if !self.thread.starts.borrow().calls.is_empty() {
            self.hand_over_all(out, now);
        }
    }

    fn hand_over_all(&mut self, out: &mut Vec<u8>, now: Time) {
        let SubmissionBatch { mut keys, mut calls } = self.thread.starts.take();
        let (generation, run) = (Arc::clone(&calls[0].generation), calls[0].facts.run);
        let mut waiting = calls.drain(..);
        while let Err(why) = generation.submit(run, &mut waiting) {
            let Some(call) = waiting.next() else { break };
            let key = keys[keys.len() - 1 - waiting.len()];
            call.cancel();
            self.refuse_start(key, &RequestError::not_submitted(why, &generation.identity.plugin), out, now);
        }
        drop(waiting);
        keys.clear();
        self.thread.starts.replace(SubmissionBatch { keys, calls });
    }

    /// Answers a request whose call was not taken.
    pub(super) fn refuse_start(
        &mut self,
        key: RequestKey,
        failure: &RequestError,
        out: &mut Vec<u8>,
        now: Time,
    ) {
        if self.flights.running == Some(key) {
            self.flights.running = None;
        }
        self.end(key, failure, out, now);
    }
}
