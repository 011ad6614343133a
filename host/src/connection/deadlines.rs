//! What ends a request or a connection: deadlines, slow frames, a peer that does not read or has gone, idleness.

use std::os::fd::AsFd;
use std::time::Duration;

use jackfield_protocol::Version;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

use super::{CloseReason, Connection, TurnBuffers};
use crate::clock::Time;
use crate::metrics::ThreadTotal;
use crate::routing::RequestError;

/// The slowest that a frame may come after its first seconds, in bytes a second. A body that is long gets time for
/// its size; one that trickles is cut: 64 KiB/s is far below what any local peer writes.
const SLOWEST: u64 = 64 * 1024;

/// How often a connection is looked at that is owed replies and not read from: nothing tells when its peer goes.
const LOOK: Duration = Duration::from_millis(250);

impl Connection {
    /// Takes the replies that other threads left.
    pub(super) fn take_delivered(&mut self, buffers: &mut TurnBuffers, now: Time) {
        let mut delivered = std::mem::take(&mut buffers.delivered);
        self.mailbox.take(&mut delivered, self.flights.len());
        delivered.drain(|reply, frame| {
            // Also one whose timer has not fired yet: a method that waits for another until their common deadline
            // fails just then, and the client must be told of the deadline, not of that failure.
            let in_time = self.flights.get(reply.key).is_some_and(|flight| flight.deadline > now);
            let Some(flight) = in_time.then(|| self.flights.remove(reply.key)).flatten() else {
                // Its deadline was answered or is about to be, and that is its one reply.
                self.thread.cells.add(ThreadTotal::LateResults, 1);
                return;
            };
            buffers.out.extend_from_slice(frame);
            self.ran(&flight, reply.ended, now);
            if self.flights.running == Some(reply.key) {
                self.flights.running = None;
            }
        });
        buffers.delivered = delivered;
    }

    /// Answers every request whose deadline has passed, and ends a connection whose frame is overdue.
    pub(super) fn expire(&mut self, out: &mut Vec<u8>, now: Time) {
        // Time in which nothing is read is not the peer's.
        if self.frame_begun.is_some() && !self.takes_requests(out) {
            self.frame_begun = Some((now, 0));
        }
        if self.closing.is_none() && self.frame_due().is_some_and(|at| at <= now) {
            let failure = RequestError::SlowFrame(self.rules.timeouts.frame);
            self.refuse_and_close(out, Version::V1_0, &failure, "a frame came too slowly");
        }
        for key in self.flights.expired(now) {
            if self.flights.expire_waiting(key) {
                continue;
            }
            let Some(flight) = self.flights.remove(key) else { continue };
            // What the host's own end cuts short is no fault of the plugin's.
            if !self.thread.hurrying.get() {
                flight.call.generation.record_timeout();
            }
            flight.call.cancel();
            let asked = self.asked(flight.version, flight.kind, flight.id.as_deref());
            let ended = asked.fail(out, &self.too_late(flight.timeout));
            self.ran(&flight, ended, now);
            if self.flights.running == Some(key) {
                self.flights.running = None;
            }
        }
    }

    /// Whether a limit of time has passed that ends the connection.
    fn overdue(&mut self, now: Time) -> Option<CloseReason> {
        let timeouts = &self.rules.timeouts;
        if self.outbox.gives_up(timeouts.write).is_some_and(|at| at <= now) {
            return Some(self.cut("the peer does not read"));
        }
        self.idle_until().is_some_and(|until| until <= now).then_some(CloseReason::Idle)
    }

    /// When a connection on which nothing is going on has been idle for too long.
    fn idle_until(&self) -> Option<Time> {
        let idle = self.flights.is_empty()
            && self.outbox.is_empty()
            && self.frame_begun.is_none()
            && self.waits.is_none();
        idle.then(|| self.last_active.after(self.rules.timeouts.idle))
    }

    fn frame_due(&self) -> Option<Time> {
        let (begun, bytes) = self.frame_begun?;
        let for_its_size = Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST);
        Some(begun.after(self.rules.timeouts.frame).after(for_its_size))
    }

    /// When the connection must look at the clock again, if nothing happens before.
    pub(super) fn next_instant(&self, now: Time) -> Time {
        let timeouts = &self.rules.timeouts;
        let look = self.is_deaf().then(|| now.after(LOOK));
        let given_up = self.outbox.gives_up(timeouts.write);
        [self.flights.earliest(), self.frame_due(), given_up, look, self.idle_until()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Time::NEVER)
    }

    /// Why a request has no result in time: the host's end may have cut its time short.
    pub(super) fn too_late(&self, timeout: Duration) -> RequestError {
        if self.thread.hurrying.get() {
            RequestError::CutShort(timeout)
        } else {
            RequestError::DeadlineExceeded(timeout)
        }
    }

    /// Whether the connection has come to its end, by itself, by its peer or by the clock.
    pub(super) fn is_over(&mut self, now: Time) -> Option<CloseReason> {
        let silent = self.flights.is_empty() && self.outbox.is_empty();
        if silent {
            if let Some(farewell) = self.closing {
                return Some(farewell);
            }
            let answered = self.manner.close_after_reply && self.replied;
            let nothing_to_come = self.read_closed && self.inbox.is_empty();
            if answered || nothing_to_come {
                return Some(CloseReason::Done);
            }
            // What the peer sent before is answered, also when the reactor has not told of it yet. And nothing may
            // come between looking and closing: what it sends from here on fails with it, what it sent is read, and
            // behind that is an end.
            if self.thread.draining.get()
                && self.inbox.is_empty()
                && !self.has_unread()
                && shutdown(&self.stream, Shutdown::Read).is_err()
            {
                return Some(CloseReason::Done);
            }
        } else if self.is_deaf() && self.has_hung_up() {
            return Some(self.lost());
        }
        self.overdue(now)
    }

    /// Whether requests are owed a reply and nothing is read, so that no read will tell of the peer's end.
    fn is_deaf(&self) -> bool {
        !self.flights.is_empty() && (self.read_closed || !self.takes_requests(&[]))
    }

    /// Whether the peer has closed both ways: one that closed its writing side still gets every reply.
    fn has_hung_up(&self) -> bool {
        self.polled().contains(PollFlags::HUP)
    }

    /// Whether there is something to read, if only the end.
    fn has_unread(&self) -> bool {
        !self.read_closed && self.polled().contains(PollFlags::IN)
    }

    /// What the system says of the socket just now.
    fn polled(&self) -> PollFlags {
        let mut polled = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&at_once)).map_or(PollFlags::empty(), |_| polled[0].revents())
    }
}
