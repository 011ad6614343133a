//! The cells of one thread: written by that thread alone, so that counting is a load, an addition and a store.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::histogram::HistogramCells;
use super::{MethodId, Metrics, Outcome, RejectionReason, RequestKind};
use crate::sync::lock;

/// A number that one thread makes larger and others read.
#[derive(Debug, Default)]
pub(super) struct CounterCell(AtomicU64);

impl CounterCell {
    /// Only for the one thread that writes it. What it wrote before is seen by whoever sees this.
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + more, Ordering::Release);
    }

    /// Another value, larger or smaller; only for the one thread that writes it.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What one thread counts of one method.
#[derive(Default)]
pub(super) struct MethodCells {
    pub(super) accepted: [CounterCell; RequestKind::ALL.len()],
    pub(super) ended: [[CounterCell; Outcome::COUNT]; RequestKind::ALL.len()],
    pub(super) seconds: HistogramCells,
}

macro_rules! totals {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// What is counted of a thread as a whole.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ThreadTotal {
            $($(#[$doc])+ $name,)+
        }

        impl ThreadTotal {
            pub(super) const COUNT: usize = [$(Self::$name),+].len();
        }
    };
}

totals! {
    /// Bytes read from clients.
    BytesIn,
    /// Bytes written to clients.
    BytesOut,
    /// Heartbeats answered.
    Heartbeats,
    /// Frames of an unknown kind, read and thrown away.
    UnknownKinds,
    /// Results that came after their deadline was answered: dropped.
    LateResults,
}

type Methods = Vec<Option<Arc<MethodCells>>>;

/// What one thread counts, as others see it.
#[derive(Default)]
pub(super) struct Shard {
    methods: Mutex<Methods>,
    pub(super) rejected: [CounterCell; RejectionReason::ALL.len()],
    pub(super) totals: [CounterCell; ThreadTotal::COUNT],
}

impl Shard {
    fn methods(&self) -> MutexGuard<'_, Methods> {
        lock(&self.methods)
    }

    /// The cells of a method by its number; `None` when the thread has not counted it.
    pub(super) fn method(&self, place: usize) -> Option<Arc<MethodCells>> {
        self.methods().get(place)?.clone()
    }
}

/// What one thread counts, as that thread sees it. There is one at a time for each shard, and it stays on its thread.
pub(crate) struct ThreadCells {
    shard: Arc<Shard>,
    /// The same cells as in the shard, to be found without its lock.
    methods: RefCell<Methods>,
    metrics: Arc<Metrics>,
}

impl ThreadCells {
    pub(super) fn new(shard: Arc<Shard>, metrics: Arc<Metrics>) -> Self {
        let methods = RefCell::new(shard.methods().clone());
        Self { shard, methods, metrics }
    }

    fn with(&self, method: MethodId, count: impl FnOnce(&MethodCells)) {
        if let Some(Some(cells)) = self.methods.borrow().get(method.place()) {
            count(cells);
            return;
        }
        count(&self.make(method));
    }

    /// The first request for the method on this thread.
    #[cold]
    fn make(&self, method: MethodId) -> Arc<MethodCells> {
        let place = method.place();
        let made = Arc::<MethodCells>::default();
        let mut methods = self.shard.methods();
        if methods.len() <= place {
            methods.resize(place + 1, None);
        }
        methods[place] = Some(Arc::clone(&made));
        self.methods.borrow_mut().clone_from(&methods);
        made
    }

    /// A request was accepted. It will be told to have ended exactly once, here or on another thread.
    pub(crate) fn accepted(&self, method: MethodId, kind: RequestKind) {
        self.with(method, |cells| cells.accepted[kind as usize].add(1));
    }

    /// A request that was accepted has its reply, or needs none any more.
    pub(crate) fn ended(&self, method: MethodId, kind: RequestKind, outcome: Outcome) {
        self.with(method, |cells| cells.ended[kind as usize][outcome.place()].add(1));
    }

    /// A request was really begun, and answered so long after it was accepted. Told before it is told to have ended.
    pub(crate) fn ran(&self, method: MethodId, length: Duration) {
        self.with(method, |cells| cells.seconds.add(length));
    }

    /// Something was turned away.
    pub(crate) fn rejected(&self, why: RejectionReason) {
        self.shard.rejected[why as usize].add(1);
    }

    /// So much more of something.
    pub(crate) fn add(&self, total: ThreadTotal, more: u64) {
        self.shard.totals[total as usize].add(more);
    }
}

impl Drop for ThreadCells {
    fn drop(&mut self) {
        self.metrics.take_back(Arc::clone(&self.shard));
    }
}
