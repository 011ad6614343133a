//! Where other threads leave the replies of a connection, finished frames, and wake its task once for all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use atomic_waker::AtomicWaker;
use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::{Framing, Kind, ReplyHead, Version};

use super::flight::Key;
use crate::dispatch::{Asked, Ended};
use crate::plugin::Answer;

/// A reply on its way to its connection.
pub(super) struct Delivered {
    pub(super) key: Key,
    pub(super) frame: Vec<u8>,
    pub(super) ended: Ended,
}

/// The replies that wait for their connection's task.
#[derive(Default)]
pub(super) struct Mailbox {
    delivered: Mutex<Vec<Delivered>>,
    filled: AtomicBool,
    pub(super) waker: AtomicWaker,
}

impl Mailbox {
    fn deliver(&self, delivered: Delivered) {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).push(delivered);
        // The first one wakes; what comes before the task runs is found with it.
        if !self.filled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Swaps what was delivered into `taken`, which must be empty.
    pub(super) fn take(&self, taken: &mut Vec<Delivered>) {
        if self.filled.swap(false, Ordering::AcqRel) {
            std::mem::swap(&mut *self.delivered.lock().unwrap_or_else(PoisonError::into_inner), taken);
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
    pub(super) id: Option<Box<str>>,
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
