//! The values that the connections of one I/O thread share.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use super::activity::Activity;
use super::mailbox::ReplyBatch;
use super::submission_batch::SubmissionBatch;
use crate::metrics::ThreadCells;
use crate::routing::Dispatcher;
use crate::timer::TimerQueue;

/// Counters, timers, buffers and requests to end, shared by the connections of one I/O thread.
pub(crate) struct ThreadContext {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) cells: ThreadCells,
    pub(crate) timers: TimerQueue,
    pub(crate) activity: Activity,
    /// Set once: connections answer what is in flight, take no new requests, and close.
    pub(crate) is_draining: Cell<bool>,
    /// Set when another thread replaces this one: connections migrate to it.
    pub(crate) is_leaving: Cell<bool>,
    /// Set once: requests in flight are answered as if their deadlines had passed.
    pub(crate) is_hurrying: Cell<bool>,
    /// `None` while a turn has them, and after a turn that panicked.
    pub(super) buffers: Cell<Option<Box<TurnBuffers>>>,
}

/// The buffers of a thread, lent to the connection that runs. They are empty between turns.
#[derive(Default)]
pub(super) struct TurnBuffers {
    /// Bytes of the current read.
    pub(super) input: BytesMut,
    /// Replies that leave with the next write.
    pub(super) out: Vec<u8>,
    /// Replies that other threads left, while they are taken.
    pub(super) delivered: ReplyBatch,
    /// Calls that were started and go to the threads of their generation together.
    pub(super) submissions: SubmissionBatch,
}

impl ThreadContext {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, timers: TimerQueue) -> Rc<Self> {
        Rc::new(Self {
            cells: dispatcher.metrics.cells(),
            dispatcher,
            timers,
            activity: Activity::default(),
            is_draining: Cell::new(false),
            is_leaving: Cell::new(false),
            is_hurrying: Cell::new(false),
            buffers: Cell::default(),
        })
    }
}
