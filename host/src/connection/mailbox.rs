//! Where other threads leave the replies of a connection, finished frames, and wake its task once for all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atomic_waker::AtomicWaker;
use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::{Framing, Kind, ReplyHead, Version};

use super::flight::Key;
use crate::dispatch::{Asked, Dispatcher, Ended};
use crate::plugin::Answer;

/// A reply on its way to its connection.
pub(super) struct Delivered {
    pub(super) key: Key,
    pub(super) frame: Vec<u8>,
    pub(super) ended: Ended,
}

/// The replies that wait for their connection's task.
pub(super) struct Mailbox {
    /// `None` once the connection has gone.
    delivered: Mutex<Option<Vec<Delivered>>>,
    filled: AtomicBool,
    pub(super) waker: AtomicWaker,
    dispatcher: Arc<Dispatcher>,
}

impl Mailbox {
    pub(super) fn new(dispatcher: &Arc<Dispatcher>) -> Arc<Self> {
        Arc::new(Self {
            delivered: Mutex::new(Some(Vec::new())),
            filled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            dispatcher: Arc::clone(dispatcher),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Delivered>>> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more: what is here, and what still comes, is too late.
    pub(super) fn close(&self) {
        let left = self.lock().take().unwrap_or_default();
        self.dispatcher.metrics.counters.late_results.add(left.len() as u64);
    }

    fn deliver(&self, delivered: Delivered) {
        match &mut *self.lock() {
            Some(waiting) => waiting.push(delivered),
            None => {
                self.dispatcher.metrics.counters.late_results.add(1);
                return;
            }
        }
        // The first one wakes; what comes before the task runs is found with it.
        if !self.filled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether there are any.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Swaps what was delivered into `taken`, which must be empty.
    pub(super) fn take(&self, taken: &mut Vec<Delivered>) {
        if self.filled.swap(false, Ordering::AcqRel)
            && let Some(waiting) = &mut *self.lock()
        {
            std::mem::swap(waiting, taken);
        }
    }
}

/// How one request of a connection is answered from another thread.
pub(super) struct ToConnection {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) key: Key,
    pub(super) framing: Framing,
    pub(super) version: Version,
    pub(super) kind: Kind,
    pub(super) id: Option<Arc<str>>,
    pub(super) plugin: Arc<str>,
    /// The largest payload of a reply, in bytes.
    pub(super) limit: u32,
}

impl ToConnection {
    fn asked(&self) -> Asked<'_> {
        Asked { framing: self.framing, version: self.version, kind: self.kind, id: self.id.as_deref() }
    }
}

impl Answer for ToConnection {
    fn open(&self, out: &mut Vec<u8>) -> Option<ReplyHead> {
        Some(self.asked().open(out))
    }

    fn close(&self, head: Option<ReplyHead>, mut out: Vec<u8>, end: CallEnd) {
        let asked = self.asked();
        let head = head.unwrap_or_else(|| asked.open(&mut out));
        let ended = asked.close(head, &mut out, end, &self.plugin, self.limit);
        self.mailbox.deliver(Delivered { key: self.key, frame: out, ended });
    }
}
