//! The limit for how long calls are held during one step of a replacement.
//!
//! A start may take as long as `plugins.probe`, but calls must not wait for that. When a step
//! exceeds the limit, the calls that wait, and those that follow, are answered PLUGIN_UNAVAILABLE
//! until the replacement has ended. The step itself goes on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::host_thread::HostThread;
use crate::log::ShortDuration;
use crate::routing::{Dispatcher, RoutingTable, StateTransferGate};
use crate::sync::lock;

/// How long the thread sleeps at a time while no step runs. A change wakes it.
const IDLE_WAIT: Duration = Duration::from_secs(3600);

/// How the calls of the plugins are held.
///
/// ```text
/// Starting ──► Idle ◄──► Step
///    │          │         │ the limit has passed
///    │          ▼         ▼
///    └───────► Over ◄─────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum HoldState {
    /// The thread does not watch yet.
    Starting,

    /// No step runs.
    Idle,

    /// A step runs, for which calls are held until this instant.
    Step(Instant),

    /// Calls are not held any more.
    Over,
}

struct Hold {
    dispatcher: Arc<Dispatcher>,

    /// The table that rejects the calls.
    rejecting: Arc<RoutingTable>,

    gate: Arc<StateTransferGate>,
    limit: Duration,

    /// The plugins whose calls are held, for the log.
    plugins: String,

    state: Mutex<HoldState>,
    changed: Condvar,
}

/// Ends the hold of calls when a step takes too long.
pub(super) struct HoldLimit {
    hold: Arc<Hold>,
    thread: Option<HostThread>,
}

impl HoldLimit {
    /// Starts a thread that watches the steps, and waits until it does.
    ///
    /// A [`HostThread`] touches its thread-locals first, and has to do that before the first step:
    /// a constructor of a plugin that runs in a step keeps other threads from using one for the
    /// first time.
    pub(super) fn new(
        dispatcher: &Arc<Dispatcher>,
        rejecting: RoutingTable,
        gate: &Arc<StateTransferGate>,
        limit: Duration,
        plugins: String,
    ) -> Self {
        let hold = Arc::new(Hold {
            dispatcher: Arc::clone(dispatcher),
            rejecting: Arc::new(rejecting),
            gate: Arc::clone(gate),
            limit,
            plugins,
            state: Mutex::new(HoldState::Starting),
            changed: Condvar::new(),
        });

        let watched = Arc::clone(&hold);
        let thread = HostThread::spawn("hold-limit", move || watched.watch()).ok();
        if thread.is_none() {
            // Without a thread nothing would bound the wait.
            hold.release(&mut lock(&hold.state));
        }
        let is_starting = |state: &mut HoldState| *state == HoldState::Starting;
        drop(hold.changed.wait_while(lock(&hold.state), is_starting));
        Self { hold, thread }
    }

    /// Runs one step on this thread, and ends the hold if the step takes longer than the limit.
    pub(super) fn run<T>(&self, step: impl FnOnce() -> T) -> T {
        self.hold.change(HoldState::Idle, HoldState::Step(Instant::now() + self.hold.limit));
        let result = step();
        self.hold.end_step();
        result
    }
}

impl Drop for HoldLimit {
    fn drop(&mut self) {
        self.hold.set(HoldState::Over);
        if let Some(thread) = self.thread.take() {
            // The thread runs no code of a plugin, so it ends soon. If it does not, it is left.
            let _ = thread.join_before(Instant::now() + self.hold.limit);
        }
    }
}

impl Hold {
    /// Watches the steps until the hold is over.
    fn watch(&self) {
        self.change(HoldState::Starting, HoldState::Idle);

        let mut state = lock(&self.state);
        loop {
            let left = match *state {
                HoldState::Over => return,
                HoldState::Starting | HoldState::Idle => IDLE_WAIT,
                HoldState::Step(until) => until.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return self.release(&mut state);
            }
            let waited = self.changed.wait_timeout(state, left);
            // Nothing panics while it holds the lock.
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&self, new: HoldState) {
        *lock(&self.state) = new;
        self.changed.notify_all();
    }

    /// Changes the state, if it is `from`.
    fn change(&self, from: HoldState, to: HoldState) {
        let mut state = lock(&self.state);
        if *state == from {
            *state = to;
            self.changed.notify_all();
        }
    }

    fn end_step(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, HoldState::Step(_)) {
            *state = HoldState::Idle;
        }
    }

    /// Ends the hold. The caller has the lock, so that no step ends meanwhile.
    fn release(&self, state: &mut HoldState) {
        *state = HoldState::Over;
        // The table first: calls look their method up again when the gate opens.
        self.dispatcher.publish(&self.rejecting);
        self.gate.open();

        let (plugins, limit) = (&self.plugins, ShortDuration(self.limit));
        tracing::warn!(
            plugin = %plugins,
            "plugin {plugins}: its replacement takes longer than {limit}; its calls are answered PLUGIN_UNAVAILABLE \
             until it serves again"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::thread;

    use super::*;
    use crate::config::Config;
    use crate::plugin::test_support::memory_crash_record;
    use crate::routing::{ConnectionRules, GateOpened};

    fn hold(limit: Duration) -> (HoldLimit, Arc<StateTransferGate>) {
        let dispatcher = Dispatcher::new(ConnectionRules::of(&Config::default()), memory_crash_record());
        let gate = Arc::default();
        (HoldLimit::new(&dispatcher, RoutingTable::empty(), &gate, limit, "device".to_owned()), gate)
    }

    fn is_open(gate: &Arc<StateTransferGate>) -> bool {
        pin!(GateOpened::of(gate)).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn opens_the_gate_while_a_step_exceeds_the_limit() {
        let (limit, gate) = hold(Duration::from_millis(1));

        let was_opened = limit.run(|| {
            while !is_open(&gate) {
                thread::yield_now();
            }
            true
        });

        assert!(was_opened);
        assert!(limit.run(|| is_open(&gate)), "it stays open for further steps");
    }

    #[test]
    fn leaves_the_gate_closed_between_and_after_short_steps() {
        let (limit, gate) = hold(Duration::from_secs(3600));
        for _ in 0..3 {
            assert!(!limit.run(|| is_open(&gate)));
        }
        drop(limit);
        assert!(!is_open(&gate));
    }
}
