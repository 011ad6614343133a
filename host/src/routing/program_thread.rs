//! The state that a thread of the embedding program has for each host that it calls: counters, and
//! a slot in the crash record.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::dispatcher::Dispatcher;
use super::request_error::RequestError;
use crate::crash_record::RecordSlot;
use crate::metrics::ThreadCells;

thread_local! {
    static HOSTS: RefCell<Vec<(Weak<Dispatcher>, Rc<ThreadCells>)>> = const { RefCell::new(Vec::new()) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Upper bound for the depth in which methods on one thread call others through the program. It
/// ends a cycle long before the stack is full.
const MAX_DEPTH: u32 = 16;

impl Dispatcher {
    /// Passes the counters of this thread to `count`.
    pub(super) fn count_on_this_thread<T>(self: &Arc<Self>, count: impl FnOnce(&ThreadCells) -> T) -> T {
        let known = HOSTS.try_with(|hosts| {
            let hosts = hosts.borrow();
            let own = hosts.iter().find(|(host, _)| std::ptr::eq(host.as_ptr(), Arc::as_ptr(self)));
            own.map(|(_, cells)| Rc::clone(cells))
        });
        count(&known.ok().flatten().unwrap_or_else(|| self.add_this_thread()))
    }

    #[cold]
    fn add_this_thread(self: &Arc<Self>) -> Rc<ThreadCells> {
        let cells = Rc::new(self.metrics.cells());
        // The thread may end, so that it has no thread-local values any more.
        let _ = HOSTS.try_with(|hosts| {
            let mut hosts = hosts.borrow_mut();
            hosts.retain(|(host, _)| host.strong_count() > 0);
            hosts.push((Arc::downgrade(self), Rc::clone(&cells)));
        });
        RecordSlot::attach(self.crash_record.claim_slot());
        cells
    }
}

/// The right of this thread to run a method for the program, until it is dropped.
pub(super) struct ThreadDepth;

impl ThreadDepth {
    /// # Errors
    ///
    /// Too many methods on this thread have called one another.
    pub(super) fn enter() -> Result<Self, RequestError> {
        let depth = DEPTH.get();
        if depth >= MAX_DEPTH {
            return Err(RequestError::TooDeep(MAX_DEPTH));
        }
        DEPTH.set(depth + 1);
        Ok(Self)
    }
}

impl Drop for ThreadDepth {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
