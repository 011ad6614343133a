//! The reading side of a connection: bytes that are not requests yet.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use jackfield_protocol::{FrameLimit, Framing};

use super::framing::Framer;
use crate::clock::Time;
use crate::routing::{GateOpened, StateTransferGate};

/// Slowest rate at which a frame may arrive after `timeouts.frame`, in bytes per second. A long
/// frame gets time for its size, a trickling one is cut off: every local peer writes far more than
/// 64 KiB/s.
const SLOWEST_RATE: u64 = 64 * 1024;

/// A frame of which only a part has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartialFrame {
    since: Time,
    /// Bytes that have arrived, since `since`.
    received: u64,
    /// Bytes of the whole frame, as the peer claims.
    needed: u64,
}

impl PartialFrame {
    fn new(since: Time, received: usize, needed: u64) -> Self {
        Self { since, received: received as u64, needed }
    }

    /// Returns when the rest must have arrived, unless more of it arrives before.
    fn deadline(&self, timeout: Duration) -> Time {
        let for_its_size = Duration::from_millis(self.received.saturating_mul(1000) / SLOWEST_RATE);
        self.since.after(timeout).after(for_its_size)
    }
}

/// The bytes that have arrived and are not decoded yet.
pub(super) struct Reader {
    pub(super) framer: Framer,
    /// Bytes of a frame that is not complete, or of requests that must wait.
    pub(super) inbox: BytesMut,
    partial_frame: Option<PartialFrame>,
    /// Opens when the plugin of the first request in the inbox has transferred its state.
    gate: Option<GateOpened>,
    /// When that request has arrived.
    gated_arrival: Option<Time>,
}

impl Reader {
    pub(super) fn new(framing: Framing, limit: FrameLimit) -> Self {
        Self {
            framer: Framer::new(framing, limit),
            inbox: BytesMut::new(),
            partial_frame: None,
            gate: None,
            gated_arrival: None,
        }
    }

    /// Returns how many bytes of the frame at the front have not arrived, as far as the peer
    /// claims.
    pub(super) fn missing(&self) -> u64 {
        let needed = self.partial_frame.map_or(0, |partial| partial.needed);
        needed.saturating_sub(self.inbox.len() as u64)
    }

    /// Returns whether a frame has begun to arrive.
    pub(super) fn has_partial_frame(&self) -> bool {
        self.partial_frame.is_some()
    }

    /// Returns when the frame that has begun must be complete.
    pub(super) fn frame_deadline(&self, timeout: Duration) -> Option<Time> {
        self.partial_frame.map(|partial| partial.deadline(timeout))
    }

    /// Notes that the frame at the front is incomplete. `received` bytes of it have arrived.
    pub(super) fn set_partial_frame(&mut self, now: Time, received: usize, needed: u64) {
        match &mut self.partial_frame {
            Some(partial) => partial.needed = needed,
            None => self.partial_frame = Some(PartialFrame::new(now, received, needed)),
        }
    }

    pub(super) fn clear_partial_frame(&mut self) {
        self.partial_frame = None;
    }

    /// Counts bytes that have arrived for the frame that has begun, if there is one.
    pub(super) fn count_received(&mut self, count: usize) {
        if let Some(partial) = &mut self.partial_frame {
            partial.received += count as u64;
        }
    }

    /// Restarts the time for the frame that has begun: time in which the connection does not read
    /// is not the peer's.
    pub(super) fn restart_frame_time(&mut self, now: Time) {
        if let Some(partial) = &mut self.partial_frame {
            *partial = PartialFrame::new(now, 0, partial.needed);
        }
    }

    /// Keeps the bytes of `input` from `consumed` on.
    pub(super) fn keep_rest(&mut self, mut input: BytesMut, consumed: usize) {
        let rest = input.len() - consumed;
        if rest <= consumed {
            // A small rest must not keep the memory of a large frame.
            self.inbox.extend_from_slice(&input[consumed..]);
        } else {
            input.advance(consumed);
            self.inbox = input;
        }
    }

    /// Ends the line that has begun.
    pub(super) fn append_newline(&mut self) {
        self.partial_frame = None;
        self.inbox.extend_from_slice(b"\n");
    }

    /// Discards everything that has arrived.
    pub(super) fn clear(&mut self) {
        self.inbox = BytesMut::new();
        self.partial_frame = None;
    }

    /// Leaves the request at the front of the inbox until `gate` opens.
    /// It has arrived at `arrived`.
    pub(super) fn wait_at(&mut self, gate: &Arc<StateTransferGate>, arrived: Time) {
        self.gate = Some(GateOpened::of(gate));
        self.gated_arrival = Some(arrived);
    }

    /// Returns when the request at the front has arrived, if it has waited at a gate. The time that
    /// its client waits includes that.
    #[inline]
    pub(super) fn take_arrival(&mut self) -> Option<Time> {
        self.gated_arrival.take()
    }

    /// Returns whether the request at the front waits at a gate.
    pub(super) fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Lets the request at the front continue if its gate has opened. Otherwise the task is woken
    /// when it opens.
    pub(super) fn poll_gate(&mut self, cx: &mut Context<'_>) {
        if self.gate.as_mut().is_some_and(|opened| Pin::new(opened).poll(cx).is_ready()) {
            self.gate = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn reader() -> Reader {
        Reader::new(Framing::Binary, FrameLimit::default())
    }

    #[test]
    fn grants_a_frame_time_for_the_bytes_that_have_arrived() {
        let start = Time::now();
        let mut reader = reader();
        reader.count_received(1_000_000);
        assert_eq!(reader.frame_deadline(TIMEOUT), None);

        reader.set_partial_frame(start, 7, 1 << 20);
        assert_eq!(reader.frame_deadline(TIMEOUT), Some(start.after(TIMEOUT)));
        reader.count_received(3 * 64 * 1024 - 7);
        let for_its_size = Duration::from_secs(3);
        assert_eq!(reader.frame_deadline(TIMEOUT), Some(start.after(TIMEOUT).after(for_its_size)));

        // The time of a frame that is still incomplete does not begin again.
        reader.set_partial_frame(start.after(TIMEOUT), 7, 1 << 20);
        assert_eq!(reader.frame_deadline(TIMEOUT), Some(start.after(TIMEOUT).after(for_its_size)));
        reader.clear_partial_frame();
        assert!(!reader.has_partial_frame());
    }

    #[test]
    fn restarts_the_time_of_a_frame_that_has_begun_and_no_other() {
        let start = Time::now();
        let now = start.after(TIMEOUT);
        let mut reader = reader();
        reader.restart_frame_time(now);
        assert!(!reader.has_partial_frame());

        reader.set_partial_frame(start, 64 * 1024, 100_000);
        reader.restart_frame_time(now);
        assert_eq!(reader.frame_deadline(TIMEOUT), Some(now.after(TIMEOUT)));
        assert_eq!(reader.missing(), 100_000);
    }

    #[test]
    fn knows_how_much_of_a_frame_is_missing() {
        let mut reader = reader();
        reader.inbox.extend_from_slice(&[0; 10]);
        assert_eq!(reader.missing(), 0);

        reader.set_partial_frame(Time::now(), 10, 7);
        assert_eq!(reader.missing(), 0);
        reader.set_partial_frame(Time::now(), 10, 50);
        assert_eq!(reader.missing(), 40);
        reader.clear();
        assert_eq!((reader.missing(), reader.inbox.capacity()), (0, 0));
    }

    #[test]
    fn does_not_keep_the_memory_of_a_large_frame_for_a_small_rest() {
        let large = |len: usize| (0..len).map(|at| at.to_le_bytes()[0]).collect::<BytesMut>();
        let mut reader = reader();
        reader.keep_rest(large(100_000), 99_999);
        assert_eq!(reader.inbox.len(), 1);
        assert!(reader.inbox.capacity() < 1000);

        reader.clear();
        reader.keep_rest(large(100_000), 10);
        assert_eq!(&reader.inbox[..], &large(100_000)[10..]);
    }

    #[test]
    fn waits_at_a_gate_until_it_opens() {
        let gate = Arc::<StateTransferGate>::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut reader = reader();
        reader.poll_gate(&mut cx);
        assert!(!reader.is_gated());

        reader.wait_at(&gate, Time::now());
        reader.poll_gate(&mut cx);
        assert!(reader.is_gated());
        gate.open();
        reader.poll_gate(&mut cx);
        assert!(!reader.is_gated());
    }
}
