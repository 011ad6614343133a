//! How much of its thread one turn of a connection may take, before the thread's other connections have theirs.

use std::time::Duration;

use crate::clock::Time;

/// Frames of one turn: about what one read of small requests holds, so that a client in good order seldom leaves any.
/// A frame may be seven bytes, of which a read holds nine thousand.
const FRAMES: u32 = 512;

/// How long a turn runs inline methods: long beside the few microseconds that a turn costs by itself, short beside
/// what a client notices. A method that takes longer has the turn for itself.
const LENGTH: Duration = Duration::from_micros(500);

/// What is left of a turn.
#[derive(Debug)]
pub(super) struct TurnQuota {
    frames: u32,
    until: Time,
    used_up: bool,
}

impl TurnQuota {
    /// A whole turn, from `now` on.
    pub(super) fn new(now: Time) -> Self {
        Self { frames: FRAMES, until: now.after(LENGTH), used_up: false }
    }

    /// Takes one frame, or one request of the lane, that was done with at `now`.
    pub(super) fn take(&mut self, now: Time) {
        self.frames = self.frames.saturating_sub(1);
        self.used_up = self.frames == 0 || now >= self.until;
    }

    /// How many frames may still be taken.
    pub(super) fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether what is left must wait for the next turn.
    pub(super) fn is_used_up(&self) -> bool {
        self.used_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_by_frames_or_by_time() {
        let now = Time::now();
        let mut quota = TurnQuota::new(now);
        (1..FRAMES).for_each(|_| quota.take(now));
        assert!(!quota.is_used_up());
        quota.take(now);
        assert!(quota.is_used_up());
        let mut quota = TurnQuota::new(now);
        quota.take(now.after(LENGTH / 2));
        assert!(!quota.is_used_up());
        quota.take(now.after(LENGTH));
        assert!(quota.is_used_up());
    }
}
