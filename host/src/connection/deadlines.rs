//! Time limits: of requests, of incomplete frames, of writes, and of idle connections.

use std::time::Duration;

use jackfield_protocol::{Framing, Version};
use tokio::net::UnixStream;

use super::finished_request::FinishedRequest;
use super::phase::CloseReason;
use super::pipeline::RequestPipeline;
use super::state::ConnectionState;
use super::turn::Turn;
use crate::clock::Time;
use crate::routing::{LineError, RequestError};

/// How often a connection is checked for a hang-up while it is owed replies and not read from:
/// nothing reports meanwhile that its peer has gone.
const HANG_UP_INTERVAL: Duration = Duration::from_millis(250);

impl RequestPipeline {
    /// Answers every request whose deadline has passed.
    fn expire(&mut self, turn: &mut Turn<'_>) {
        for key in self.in_flight.expired(turn.now) {
            if let Some(queued) = self.in_flight.expire_queued(key) {
                queued.call.cancel();
                continue;
            }
            let Some(entry) = self.in_flight.remove(key) else { continue };
            let call = &entry.request.call;

            if call.facts.is_deadline_of_client() {
                // The plugin is at fault only if the method runs beyond the limit of the host.
                call.cancel_early();
            } else {
                // If the end of the host has cut the time short, the plugin is not at fault.
                if !turn.thread.is_hurrying.get() {
                    call.generation.record_timeout(call.decided_trial());
                }
                call.cancel();
            }

            let error = turn.deadline_error(entry.timeout);
            let reply_at = turn.buffers.out.len();
            let outcome = Self::reply_context_of(&entry).fail(&mut turn.buffers.out, &error);
            self.finish(turn, &FinishedRequest::of_entry(&entry, Some(&error)), outcome, reply_at);
        }
    }
}

impl ConnectionState {
    /// Answers every request whose deadline has passed, and ends or rejects an incomplete frame
    /// whose time has passed.
    pub(super) fn expire(&mut self, stream: &UnixStream, turn: &mut Turn<'_>) {
        if self.reader.has_partial_frame() {
            self.expire_partial_frame(stream, turn);
        }
        self.requests.expire(turn);
    }

    /// Ends a line after a pause, and begins to close a connection whose frame is overdue.
    fn expire_partial_frame(&mut self, stream: &UnixStream, turn: &mut Turn<'_>) {
        if !self.accepts_requests(turn) {
            self.reader.restart_frame_time(turn.now);
        }
        if self.end_line_after_pause(stream, turn) {
            return;
        }

        let timeout = turn.rules.timeouts.frame;
        let frame_deadline = self.reader.frame_deadline(timeout);
        if !self.phase.is_closing() && frame_deadline.is_some_and(|at| at <= turn.now) {
            let (error, why) = match self.identity().options.framing {
                Framing::Binary => (RequestError::SlowFrame(timeout), "a frame came too slowly"),
                Framing::Line => {
                    (RequestError::Line(LineError::Slow(timeout)), "a line had no newline in time")
                }
            };
            self.close_with_error(turn, Version::V1_0, error, why);
        }
    }

    /// Returns why the connection ends if one of its own time limits has passed.
    pub(super) fn expired_time_limit(&self, turn: &Turn<'_>) -> Option<CloseReason> {
        let write_deadline = self.outbox.deadline(turn.rules.timeouts.write);
        if write_deadline.is_some_and(|at| at <= turn.now) {
            return Some(self.close_by_host(turn, "the peer does not read"));
        }
        self.idle_deadline(turn).is_some_and(|at| at <= turn.now).then_some(CloseReason::Idle)
    }

    /// Returns when the connection needs a turn, if nothing happens before.
    pub(super) fn next_deadline(&self, turn: &Turn<'_>) -> Time {
        let timeouts = &turn.rules.timeouts;
        let deadlines = Deadlines {
            request: self.requests.in_flight.earliest_deadline(),
            frame: self.partial_frame_deadline(turn),
            write: self.outbox.deadline(timeouts.write),
            hang_up: self.cannot_notice_hang_up(turn).then(|| turn.now.after(HANG_UP_INTERVAL)),
            idle: self.idle_deadline(turn),
        };
        deadlines.earliest()
    }

    /// Returns when the frame that has begun must be complete, or ends by a pause.
    fn partial_frame_deadline(&self, turn: &Turn<'_>) -> Option<Time> {
        let deadline = self.reader.frame_deadline(turn.rules.timeouts.frame)?;
        Some(self.pause_deadline(turn).map_or(deadline, |pause| pause.min(deadline)))
    }

    /// Returns when a connection on which nothing is going on has been idle for too long.
    fn idle_deadline(&self, turn: &Turn<'_>) -> Option<Time> {
        let is_idle =
            self.has_nothing_to_send() && !self.reader.has_partial_frame() && !self.reader.is_gated();
        is_idle.then(|| self.last_active.after(turn.rules.timeouts.idle))
    }

    /// Returns whether replies are owed and nothing is read, so that no read reports the peer's
    /// end.
    pub(super) fn cannot_notice_hang_up(&self, turn: &Turn<'_>) -> bool {
        if self.requests.in_flight.is_empty() {
            return false;
        }
        let is_reading = self.phase.is_open() && self.accepts_requests(turn);
        !is_reading
    }
}

/// When a connection needs a turn although nothing happens; `None` where nothing is due.
#[derive(Debug, Default, Clone, Copy)]
struct Deadlines {
    /// The first deadline of a request in flight.
    request: Option<Time>,
    /// An incomplete frame must be complete, or ends by a pause.
    frame: Option<Time>,
    /// The peer must have accepted a byte.
    write: Option<Time>,
    /// The socket is checked for a hang-up.
    hang_up: Option<Time>,
    /// The connection has been idle for too long.
    idle: Option<Time>,
}

impl Deadlines {
    fn earliest(&self) -> Time {
        [self.request, self.frame, self.write, self.hang_up, self.idle]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Time::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_acts_while_nothing_is_due() {
        assert_eq!(Deadlines::default().earliest(), Time::NEVER);
    }

    #[test]
    fn acts_at_the_earliest_of_all_deadlines() {
        let [first, second, third] =
            [1, 2, 3].map(|seconds| Some(Time::now().after(Duration::from_secs(seconds))));
        let none = Deadlines::default();

        for (deadlines, earliest) in [
            (Deadlines { request: first, frame: second, ..none }, first),
            (Deadlines { frame: first, write: third, ..none }, first),
            (Deadlines { write: second, hang_up: third, ..none }, second),
            (Deadlines { hang_up: first, idle: second, ..none }, first),
            (Deadlines { request: third, idle: second, ..none }, second),
        ] {
            assert_eq!(Some(deadlines.earliest()), earliest, "{deadlines:?}");
        }
    }
}
