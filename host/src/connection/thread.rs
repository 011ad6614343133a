//! What the connections of one I/O thread share: buffers lent for a turn, counters, a timer, and what it is told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use super::mailbox::Delivery;
use super::starts::Starts;
use super::stir::Stir;
use crate::clock::Wakes;
use crate::dispatch::Dispatcher;
use crate::metrics::Cells;

/// What the connections of one I/O thread share.
pub(crate) struct Thread {
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// What the thread counts.
    pub(crate) cells: Cells,
    pub(crate) wakes: Wakes,
    pub(crate) stir: Stir,
    /// Set once: answer what is in flight, take nothing new, go.
    pub(crate) draining: Cell<bool>,
    /// Set once: every connection goes to the thread that takes this one's place.
    pub(crate) leaving: Cell<bool>,
    /// Set once: what is in flight gets no more time.
    pub(crate) hurrying: Cell<bool>,
    pub(super) buffers: RefCell<Buffers>,
    /// Of the connection whose turn it is.
    pub(super) starts: RefCell<Starts>,
}

/// The thread's buffers, lent to the connection whose turn it is.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) read: BytesMut,
    pub(super) out: Vec<u8>,
    pub(super) delivered: Delivery,
}

impl Thread {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, wakes: Wakes) -> Rc<Self> {
        Rc::new(Self {
            cells: dispatcher.metrics.cells(),
            dispatcher,
            wakes,
            stir: Stir::default(),
            draining: Cell::new(false),
            leaving: Cell::new(false),
            hurrying: Cell::new(false),
            buffers: RefCell::default(),
            starts: RefCell::default(),
        })
    }
}
