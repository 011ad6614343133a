//! The calls of one worker that do not end after their deadline, and what is done about the worker.
//!
//! ```text
//! Open ── deadline ──► Overdue ── grace ──► Stuck
//!   │                     │                   │
//!   └──────── End ────────┴─────── End ───────┘
//! ```
//!
//! | Open calls | The worker |
//! |---|---|
//! | an async call is stuck: the async thread does not run any more | is killed |
//! | a blocking call is stuck, and no thread has been free for `grace` | is killed |
//! | a blocking call is stuck, and other threads take calls | is replaced: it gets no more calls |
//! | it gets no more calls, and all that are left are stuck | is killed |
//!
//! The deadlines are those of the host: a call that is late for its client alone is not overdue.
//!
//! The time of `grace` begins when the host has noticed that the deadline has passed, because the
//! worker learns it from the host. A host that was stopped or had no processor thus kills nothing.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jackfield_plugin_api::Run;

use crate::clock::Time;
use crate::worker::message::CallNumber;

/// The action that a worker needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverdueAction {
    None,

    /// Start another worker, send no more calls to this one, and let its calls end.
    Replace,

    Kill,
}

/// Supervises the open calls of one worker. Costs O(log n) per call.
#[derive(Debug)]
pub(super) struct OverdueWatch {
    /// Threads for blocking calls.
    threads: usize,

    grace: Duration,

    blocking: CallDeadlines,
    asynchronous: CallDeadlines,

    /// No thread for blocking calls has been free since then, if each one has a call.
    taken_since: Time,

    is_draining: bool,

    /// The calls whose deadline has passed since they were last taken.
    noticed: Vec<CallNumber>,
}

impl OverdueWatch {
    pub(super) fn new(threads: usize, grace: Duration) -> Self {
        Self {
            threads: threads.max(1),
            grace,
            blocking: CallDeadlines::default(),
            asynchronous: CallDeadlines::default(),
            taken_since: Time(0),
            is_draining: false,
            noticed: Vec::new(),
        }
    }

    /// Notes that a call is sent. Each number is used once.
    pub(super) fn call_sent(&mut self, now: Time, call: CallNumber, run: Run, deadline: Time) {
        if run == Run::Async {
            self.asynchronous.open.insert((deadline, call));
            return;
        }

        self.blocking.open.insert((deadline, call));
        if self.blocking.len() == self.threads {
            self.taken_since = now;
        }
    }

    /// Notes that a call has ended, which was sent with these values.
    pub(super) fn call_ended(&mut self, now: Time, call: CallNumber, run: Run, deadline: Time) {
        if run == Run::Async {
            self.asynchronous.remove(call, deadline);
            return;
        }

        // The thread that has ended it was free, if only until it took the next one.
        self.blocking.remove(call, deadline);
        self.taken_since = now;
    }

    /// Notes that no more calls are sent to the worker.
    pub(super) fn begin_drain(&mut self) {
        self.is_draining = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Returns the number of blocking calls that had passed their deadline at the last check.
    pub(super) fn overdue_blocking(&self) -> usize {
        self.blocking.overdue.len()
    }

    /// Takes the calls whose deadline was found to have passed since the last time.
    pub(super) fn take_noticed(&mut self) -> Vec<CallNumber> {
        std::mem::take(&mut self.noticed)
    }

    /// Returns what is to be done now. Read what the worker has sent first.
    pub(super) fn check(&mut self, now: Time) -> OverdueAction {
        self.blocking.notice(now, &mut self.noticed);
        self.asynchronous.notice(now, &mut self.noticed);

        if [self.async_limit(), self.blocking_limit(), self.drain_limit()].iter().any(|limit| *limit <= now) {
            return OverdueAction::Kill;
        }
        if !self.is_draining && self.stuck_at() <= now {
            return OverdueAction::Replace;
        }
        OverdueAction::None
    }

    /// Returns when to check next; [`Time::NEVER`] if that depends on calls that are still to be
    /// sent. It is later than the last check unless calls were sent or have ended since.
    pub(super) fn next_check(&self, last: Time) -> Time {
        let deadline = self.blocking.next_deadline().min(self.asynchronous.next_deadline());
        let limit = self.async_limit().min(self.blocking_limit()).min(self.drain_limit());
        let stuck_at = self.stuck_at();
        let replace = if self.is_draining || stuck_at <= last { Time::NEVER } else { stuck_at };
        deadline.min(limit).min(replace)
    }

    /// Returns when the first overdue blocking call is stuck.
    fn stuck_at(&self) -> Time {
        self.blocking.first_noticed().map_or(Time::NEVER, |noticed| noticed.after(self.grace))
    }

    /// Returns when the async thread counts as stuck.
    fn async_limit(&self) -> Time {
        self.asynchronous.first_noticed().map_or(Time::NEVER, |noticed| noticed.after(self.grace))
    }

    /// Returns when the worker has had no free thread for `grace` after a deadline.
    fn blocking_limit(&self) -> Time {
        let is_taken = self.blocking.len() >= self.threads;
        let since = self.blocking.first_noticed().filter(|_| is_taken);
        since.map_or(Time::NEVER, |noticed| noticed.max(self.taken_since).after(self.grace))
    }

    /// Returns when all calls of a worker that gets no more are stuck.
    fn drain_limit(&self) -> Time {
        let waits = self.blocking.open.is_empty() && self.asynchronous.open.is_empty();
        if !self.is_draining || !waits {
            return Time::NEVER;
        }
        let last = self.blocking.last_noticed().max(self.asynchronous.last_noticed());
        last.map_or(Time::NEVER, |noticed| noticed.after(self.grace))
    }
}

/// The open calls of one kind.
#[derive(Debug, Default)]
struct CallDeadlines {
    /// Calls before their deadline.
    open: BTreeSet<(Time, CallNumber)>,

    overdue: BTreeSet<CallNumber>,

    /// The overdue calls in the order in which they were noticed, and when. The first and the last
    /// one have not ended, others may have.
    noticed: VecDeque<(Time, CallNumber)>,
}

impl CallDeadlines {
    fn len(&self) -> usize {
        self.open.len() + self.overdue.len()
    }

    fn next_deadline(&self) -> Time {
        self.open.first().map_or(Time::NEVER, |(deadline, _)| *deadline)
    }

    fn first_noticed(&self) -> Option<Time> {
        self.noticed.front().map(|(noticed, _)| *noticed)
    }

    fn last_noticed(&self) -> Option<Time> {
        self.noticed.back().map(|(noticed, _)| *noticed)
    }

    fn notice(&mut self, now: Time, found: &mut Vec<CallNumber>) {
        while self.next_deadline() <= now
            && let Some((_, call)) = self.open.pop_first()
        {
            self.overdue.insert(call);
            found.push(call);
            self.noticed.push_back((now, call));
        }
    }

    fn remove(&mut self, call: CallNumber, deadline: Time) {
        if self.open.remove(&(deadline, call)) || !self.overdue.remove(&call) {
            return;
        }

        while self.noticed.front().is_some_and(|(_, call)| !self.overdue.contains(call)) {
            self.noticed.pop_front();
        }
        while self.noticed.back().is_some_and(|(_, call)| !self.overdue.contains(call)) {
            self.noticed.pop_back();
        }
        if self.noticed.len() > 2 * self.overdue.len() + 16 {
            self.noticed.retain(|(_, call)| self.overdue.contains(call));
        }
    }
}

#[cfg(test)]
mod tests;
