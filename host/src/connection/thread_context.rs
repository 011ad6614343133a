//! What the connections of one I/O thread share: buffers lent for a turn, counters, a timer, and what it is told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use super::activity::Activity;
use super::mailbox::ReplyBatch;
use super::submission_batch::SubmissionBatch;
use crate::metrics::ThreadCells;
use crate::routing::Dispatcher;
use crate::timer::TimerQueue;

/// What the connections of one I/O thread share.
pub(crate) struct ThreadContext {
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// What the thread counts.
    pub(crate) cells: ThreadCells,
    pub(crate) wakes: TimerQueue,
    pub(crate) stir: Activity,
    /// Set once: answer what is in flight, take nothing new, go.
    pub(crate) draining: Cell<bool>,
    /// Set once: every connection goes to the thread that takes this one's place.
    pub(crate) leaving: Cell<bool>,
    /// Set once: what is in flight gets no more time.
    pub(crate) hurrying: Cell<bool>,
    pub(super) buffers: RefCell<TurnBuffers>,
    /// Of the connection whose turn it is.
    pub(super) starts: RefCell<SubmissionBatch>,
}

/// The thread's buffers, lent to the connection whose turn it is.
#[derive(Default)]
pub(super) struct TurnBuffers {
    pub(super) read: BytesMut,
    pub(super) out: Vec<u8>,
    pub(super) delivered: ReplyBatch,
}

impl ThreadContext {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, wakes: TimerQueue) -> Rc<Self> {
        Rc::new(Self {
            cells: dispatcher.metrics.cells(),
            dispatcher,
            wakes,
            stir: Activity::default(),
            draining: Cell::new(false),
            leaving: Cell::new(false),
            hurrying: Cell::new(false),
            buffers: RefCell::default(),
            starts: RefCell::default(),
        })
    }
}
