//! The share of its thread that one turn of a connection may take before the other connections run.

use std::time::Duration;

use crate::clock::Time;

/// Frames per turn. One read of small requests holds about as many, so that a well-behaved client
/// seldom leaves a frame for the next turn. The bound is needed because a frame may have only seven
/// bytes, of which one read holds nine thousand.
const FRAMES: u32 = 512;

/// Time for which a turn runs inline methods. It is long compared with the few microseconds that a
/// turn costs without them, and too short to be noticed by a client. A method that takes longer is
/// the last of its turn.
const LENGTH: Duration = Duration::from_micros(500);

/// The rest of a turn.
#[derive(Debug)]
pub(super) struct TurnQuota {
    frames_left: u32,
    until: Time,
    is_used_up: bool,
}

impl TurnQuota {
    /// Creates the quota of a turn that begins at `now`.
    pub(super) fn new(now: Time) -> Self {
        Self { frames_left: FRAMES, until: now.after(LENGTH), is_used_up: false }
    }

    /// Takes one frame, or one request of the sync queue, that was handled at `now`.
    pub(super) fn take(&mut self, now: Time) {
        self.frames_left = self.frames_left.saturating_sub(1);
        self.is_used_up = self.frames_left == 0 || now >= self.until;
    }

    /// Returns how many frames may still be taken.
    pub(super) fn frames_left(&self) -> u32 {
        self.frames_left
    }

    /// Returns whether everything that is left must wait for the next turn.
    pub(super) fn is_used_up(&self) -> bool {
        self.is_used_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_used_up_by_the_last_frame() {
        let now = Time::now();
        let mut quota = TurnQuota::new(now);
        for left in (1..FRAMES).rev() {
            quota.take(now);
            assert_eq!(quota.frames_left(), left);
        }
        assert!(!quota.is_used_up());

        quota.take(now);
        assert!(quota.is_used_up());
        quota.take(now);
        assert_eq!(quota.frames_left(), 0);
    }

    #[test]
    fn is_used_up_by_a_frame_that_ends_after_the_length_of_a_turn() {
        let now = Time::now();
        let mut quota = TurnQuota::new(now);
        quota.take(now.after(LENGTH / 2));
        assert!(!quota.is_used_up());

        quota.take(now.after(LENGTH));
        assert!(quota.is_used_up());
    }
}
