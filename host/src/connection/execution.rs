//! Requests in flight: begun in their turn on a thread of their generation, and answered, once.

use std::sync::Arc;

use jackfield_plugin_api::Run;
use jackfield_protocol::Kind;

use super::Connection;
use super::in_flight::{InFlightRequest, RequestKey, SyncQueueEntry};
use crate::clock::Time;
use crate::metrics::RequestKind;
use crate::plugin::SuspendedCall;
use crate::routing::{ReplyOutcome, RequestError, RouteTarget};

impl Connection {
    /// Has a request in flight whose future was begun here go on on its generation's thread.
    pub(super) fn go_on(&mut self, key: RequestKey, suspended: SuspendedCall, out: &mut Vec<u8>, now: Time) {
        let Some(flight) = self.flights.get(key) else { return };
        let call = Arc::clone(&flight.call);
        if flight.kind == Kind::Sync {
            self.flights.running = Some(key);
        }
        if let Err(why) = call.generation.resume(&call, suspended) {
            call.cancel();
            self.refuse_start(
                key,
                &RequestError::not_submitted(why, &call.generation.identity.plugin),
                out,
                now,
            );
        }
    }

    /// Answers a request in flight with a failure. Was it not begun at all, its time is no time of its method's.
    pub(super) fn end(&mut self, key: RequestKey, failure: &RequestError, out: &mut Vec<u8>, now: Time) {
        let Some(flight) = self.flights.remove(key) else { return };
        let ended = self.asked(flight.version, flight.kind, flight.id.as_deref()).fail(out, failure);
        if failure.rejection().is_some() {
            self.rejected(failure);
            self.answered(flight.counted, RequestKind::of_reply(flight.kind), ended);
            self.note_flight(&flight, ended, now);
        } else {
            self.ran(&flight, ended, now);
        }
    }

    /// Counts the reply to a request that was in flight.
    pub(super) fn ran(&mut self, flight: &InFlightRequest, ended: ReplyOutcome, now: Time) {
        self.thread.cells.count_run(flight.counted, now.since(flight.accepted));
        self.tell_answered(flight, ended, now);
        self.answered(flight.counted, RequestKind::of_reply(flight.kind), ended);
        self.note_flight(flight, ended, now);
    }

    /// Lets sync requests have their turn until one of them runs elsewhere, or the thread's other connections are due.
    pub(super) fn next_turn(&mut self, out: &mut Vec<u8>, now: Time) {
        let mut now = now;
        while !self.quota.is_used_up()
            && let Some(turn) = self.flights.next_turn()
        {
            let key = match turn {
                SyncQueueEntry::Reply(frame) => {
                    out.extend_from_slice(&frame);
                    continue;
                }
                SyncQueueEntry::Call(key) => key,
            };
            let Some(flight) = self.flights.get(key) else { continue };
            if flight.expired || flight.deadline <= now {
                let failure = self.too_late(flight.timeout);
                flight.call.cancel();
                self.end(key, &failure, out, now);
            } else if flight.run == Run::Inline {
                let Some(flight) = self.flights.remove(key) else { continue };
                let call = &flight.call;
                call.mark_started(now);
                let target = RouteTarget {
                    generation: Arc::clone(&call.generation),
                    method: call.method,
                    counted: flight.counted,
                    declared: flight.run,
                    timeout: flight.timeout,
                    permits: None,
                    allow: None,
                    held: None,
                };
                let asked = self.asked(flight.version, flight.kind, flight.id.as_deref());
                let ended = self.run_here(&target, &call.facts, &call.params, asked, out, &mut now);
                self.ran(&flight, ended, now);
                self.quota.take(now);
            } else {
                self.start(key, out, now);
            }
        }
    }
}
