//! The turn of a connection: rounds of taking replies, reading, running and writing.

use std::future::Future as _;
use std::pin::pin;

use tokio::net::UnixStream;

use super::phase::{CloseReason, Phase};
use super::socket;
use super::state::ConnectionState;
use super::turn::Turn;
use crate::clock::Time;
use crate::metrics::ThreadTotal;

/// Rounds per turn, each with at most one read, before the other connections of the thread run. See
/// also [`TurnQuota`](super::turn_quota::TurnQuota).
const ROUNDS: usize = 4;

/// How a round ended.
enum RoundEnd {
    /// There was progress: another round may find more.
    Progress,
    /// There is nothing to do until the task is woken.
    Idle,
    Closed(CloseReason),
}

impl ConnectionState {
    /// Runs rounds until there is nothing to do, the quota is used up, or the connection ends.
    pub(super) fn run_turn(&mut self, stream: &mut UnixStream, turn: &mut Turn<'_>) -> Option<CloseReason> {
        for round in 0..ROUNDS {
            if round > 0 && self.requests.mailbox.is_filled() {
                // The clock is read again, because replies may have arrived after the turn began.
                turn.now = Time::now();
            }

            match self.run_round(stream, turn) {
                RoundEnd::Closed(reason) => return Some(reason),
                RoundEnd::Idle => return None,
                RoundEnd::Progress if turn.quota.is_used_up() => break,
                RoundEnd::Progress => {}
            }
        }

        // The task runs again after the thread has looked at its other sockets.
        let _ = pin!(tokio::task::yield_now()).poll(&mut turn.context());
        None
    }

    fn run_round(&mut self, stream: &mut UnixStream, turn: &mut Turn<'_>) -> RoundEnd {
        if self.reader.is_gated() {
            self.reader.poll_gate(&mut turn.context());
        }
        self.requests.take_replies(turn);
        self.expire(stream, turn);
        // Run sync requests whose predecessor has ended, and those that the previous turn left.
        self.requests.run_sync_queue(turn);

        let was_full = !self.accepts_requests(turn);
        let has_progress = self.ingest(stream, turn);
        self.requests.submit(turn);
        if let Err(reason) = self.flush(stream, turn) {
            return RoundEnd::Closed(reason);
        }
        if let Some(reason) = self.close_reason(stream, turn) {
            return RoundEnd::Closed(reason);
        }

        // The bytes of a request that found no room wait in the inbox. Nothing wakes this task for
        // them when there is room again, so the turn continues.
        let has_room_again = was_full && self.accepts_requests(turn);
        let may_continue = has_progress || has_room_again || self.requests.in_flight.has_next_queued();
        if !may_continue || self.awaits_peer(stream, turn) {
            return RoundEnd::Idle;
        }
        RoundEnd::Progress
    }

    /// Writes everything that is ready.
    ///
    /// # Errors
    ///
    /// Returns why the connection ends: writing failed, or the peer does not read while the buffer
    /// budget is used up.
    fn flush(&mut self, stream: &mut UnixStream, turn: &mut Turn<'_>) -> Result<(), CloseReason> {
        let mut cx = turn.context();
        let is_adding = !self.outbox.is_empty() && !turn.buffers.out.is_empty();

        match self.outbox.flush(stream, &mut cx, &mut turn.buffers.out, turn.now) {
            Ok(0) if is_adding && turn.thread.dispatcher.budget.is_spent() => {
                Err(self.close_by_host(turn, "the peer does not read, and limits.buffers is used up"))
            }
            Ok(0) => Ok(()),
            Ok(sent) => {
                turn.thread.cells.add(ThreadTotal::BytesOut, sent as u64);
                self.last_active = turn.now;
                Ok(())
            }
            Err(_) => Err(self.reason_after_io_error()),
        }
    }

    /// Returns why the connection ends now, if it does: it is finished, its peer has hung up, or
    /// one of its time limits has passed.
    fn close_reason(&mut self, stream: &UnixStream, turn: &Turn<'_>) -> Option<CloseReason> {
        if self.identity().options.close_after_reply && turn.replies > 0 {
            self.phase.finish();
        }

        if self.has_nothing_to_send() {
            let is_draining = turn.thread.is_draining.get() && self.reader.inbox.is_empty();
            match self.phase {
                Phase::Closing(reason) => return Some(reason),
                Phase::ReadClosed if self.reader.inbox.is_empty() => return Some(CloseReason::Done),
                Phase::Open if is_draining && close_reading_or_end(stream) => return Some(CloseReason::Done),
                Phase::Open | Phase::ReadClosed => {}
            }
        } else if self.cannot_notice_hang_up(turn) && socket::has_hung_up(stream) {
            return Some(self.reason_after_io_error());
        }
        self.expired_time_limit(turn)
    }
}

/// Closes the reading direction of a connection that has nothing to send and whose thread drains.
/// Returns whether the connection has to end now, because reading cannot be closed.
///
/// Bytes that have arrived are read and answered first, even if the reactor has not reported them
/// yet. Once reading is closed, no request can get lost between this check and the end: later
/// writes of the peer fail at the peer, and the next read returns the bytes that arrived before,
/// followed by the end of the stream, which ends the connection.
fn close_reading_or_end(stream: &UnixStream) -> bool {
    !socket::has_unread(stream) && !socket::close_reading(stream)
}
