//! The place of one worker, which several processes have one after another.

use super::line_id::LineId;
use super::restart_policy::RestartPolicy;
use crate::clock::Time;

/// A place for one worker, of which a plugin has as many as `worker.count`.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) policy: RestartPolicy,

    /// The worker that takes calls, or takes its last ones.
    pub(super) current: Option<LineId>,

    /// The worker that starts.
    pub(super) starting: Option<LineId>,

    /// When the next one is started; [`Time::NEVER`] if none is due.
    pub(super) start_at: Time,

    /// Until then, the current worker is not replaced again, because a successor did not start.
    pub(super) hold_until: Time,

    /// The state of the last worker, for the next one.
    pub(super) carried: Option<Vec<u8>>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            current: None,
            starting: None,
            start_at: Time::NEVER,
            hold_until: Time(0),
            carried: None,
        }
    }
}

impl Slot {
    /// Returns whether the current worker may be replaced now.
    pub(super) fn may_replace(&self, now: Time) -> bool {
        self.current.is_some() && self.starting.is_none() && self.hold_until <= now
    }
}
