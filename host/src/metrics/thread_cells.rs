//! The cells of one thread. Only that thread writes them, so that counting needs no atomic
//! read-modify-write operation.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::counters::CounterCell;
use super::histogram::HistogramCells;
use super::method_names::MethodId;
use super::outcome::{Outcome, RejectionReason, RequestKind};
use crate::sync::lock;

/// The counts of one method on one thread.
#[derive(Default)]
pub(super) struct MethodCells {
    pub(super) accepted: [CounterCell; RequestKind::ALL.len()],
    pub(super) ended: [[CounterCell; Outcome::COUNT]; RequestKind::ALL.len()],
    pub(super) seconds: HistogramCells,
}

macro_rules! totals {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// A number that each thread counts over all methods.
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
    /// Frames of an unknown kind, read and discarded.
    UnknownKinds,
    /// Hellos answered.
    Hellos,
    /// Requests that their clients cancelled.
    Cancels,
    /// Cancellations whose request was answered already, or never existed.
    UnknownCancels,
    /// Late results, dropped because their request had been answered DEADLINE_EXCEEDED.
    LateResults,
}

type MethodTable = Vec<Option<Arc<MethodCells>>>;

/// The counts of one thread, as readers see them.
#[derive(Default)]
pub(super) struct Shard {
    methods: Mutex<MethodTable>,
    pub(super) rejected: [CounterCell; RejectionReason::ALL.len()],
    pub(super) totals: [CounterCell; ThreadTotal::COUNT],
}

impl Shard {
    fn methods(&self) -> MutexGuard<'_, MethodTable> {
        lock(&self.methods)
    }

    /// Returns the cells of the method with this index; `None` if the thread has not counted it.
    pub(super) fn method(&self, index: usize) -> Option<Arc<MethodCells>> {
        self.methods().get(index)?.clone()
    }
}

/// The shards of a host, one for each thread that counts. A thread that ends leaves its shard, with
/// the counts in it, to the next thread.
#[derive(Default)]
pub(super) struct ShardPool(Mutex<ShardList>);

#[derive(Default)]
struct ShardList {
    all: Vec<Arc<Shard>>,
    idle: Vec<Arc<Shard>>,
}

impl ShardPool {
    /// Returns an idle shard, or a new one.
    fn take(&self) -> Arc<Shard> {
        let mut shards = lock(&self.0);

        shards.idle.pop().unwrap_or_else(|| {
            let shard = Arc::<Shard>::default();
            shards.all.push(Arc::clone(&shard));
            shard
        })
    }

    fn put_back(&self, shard: Arc<Shard>) {
        lock(&self.0).idle.push(shard);
    }

    /// Reads all shards while none is added, so that every sum of a snapshot is over the same ones.
    /// Only a thread that starts or ends has to wait for that.
    pub(super) fn with_all<T>(&self, read: impl FnOnce(&[Arc<Shard>]) -> T) -> T {
        read(&lock(&self.0).all)
    }
}

/// The counts of one thread, as that thread sees them. They never leave their thread, and a shard
/// belongs to at most one `ThreadCells` at a time.
pub(crate) struct ThreadCells {
    shard: Arc<Shard>,

    /// The same cells as in the shard, to be found without its lock.
    methods: RefCell<MethodTable>,

    pool: Arc<ShardPool>,
}

impl ThreadCells {
    pub(super) fn new(pool: &Arc<ShardPool>) -> Self {
        let shard = pool.take();
        let methods = RefCell::new(shard.methods().clone());
        Self { shard, methods, pool: Arc::clone(pool) }
    }

    fn with(&self, method: MethodId, count: impl FnOnce(&MethodCells)) {
        if let Some(Some(cells)) = self.methods.borrow().get(method.index()) {
            count(cells);
            return;
        }
        count(&self.add_method(method));
    }

    /// Adds cells for the method when this thread counts its first request for it.
    #[cold]
    fn add_method(&self, method: MethodId) -> Arc<MethodCells> {
        let index = method.index();
        let cells = Arc::<MethodCells>::default();
        let mut methods = self.shard.methods();

        if methods.len() <= index {
            methods.resize(index + 1, None);
        }
        methods[index] = Some(Arc::clone(&cells));
        self.methods.borrow_mut().clone_from(&methods);
        cells
    }

    /// Counts an accepted request. Its end must be counted exactly once, on this thread or another.
    #[inline]
    pub(crate) fn count_accepted(&self, method: MethodId, kind: RequestKind) {
        self.with(method, |cells| cells.accepted[kind as usize].add(1));
    }

    /// Counts the end of an accepted request: it has its reply, or no longer needs one.
    #[inline]
    pub(crate) fn count_ended(&self, method: MethodId, kind: RequestKind, outcome: Outcome) {
        self.with(method, |cells| cells.ended[kind as usize][outcome.index()].add(1));
    }

    /// Counts a request that was run, and the time from its acceptance to its reply. Its end must
    /// be counted afterwards.
    #[inline]
    pub(crate) fn count_run(&self, method: MethodId, length: Duration) {
        self.with(method, |cells| cells.seconds.add(length));
    }

    pub(crate) fn count_rejected(&self, reason: RejectionReason) {
        self.shard.rejected[reason as usize].add(1);
    }

    /// Adds `count` to a total of the thread.
    pub(crate) fn add(&self, total: ThreadTotal, count: u64) {
        self.shard.totals[total as usize].add(count);
    }
}

impl Drop for ThreadCells {
    fn drop(&mut self) {
        self.pool.put_back(Arc::clone(&self.shard));
    }
}
