//! Where other threads leave the replies of a connection, finished frames, and wake its task once for all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use atomic_waker::AtomicWaker;
use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::{Framing, Kind, ReplyHead, Version};

use super::in_flight::RequestKey;
use crate::plugin::ReplySink;
use crate::routing::{Dispatcher, ReplyContext, ReplyOutcome};
use crate::sync::lock;

/// A frame up to this many bytes is copied to the others that wait: that costs less than memory of its own that one
/// thread takes and another gives back.
const SMALL: usize = 16 * 1024;

/// What a connection may keep that is owed nothing, in bytes and in replies: little beside what it is itself, and enough
/// for one that asks one thing at a time.
const KEPT: (usize, usize) = (512, 4);

/// A reply on its way to its connection.
pub(super) struct DeliveredReply {
    pub(super) key: RequestKey,
    frame: ReplyFrame,
    pub(super) ended: ReplyOutcome,
}

enum ReplyFrame {
    /// So many bytes, behind those of the small ones before it.
    Small(usize),
    Large(Vec<u8>),
}

/// Replies in the order in which they came.
#[derive(Default)]
pub(super) struct ReplyBatch {
    replies: Vec<DeliveredReply>,
    /// The small frames.
    small: Vec<u8>,
}

impl ReplyBatch {
    fn add(&mut self, key: RequestKey, frame: &mut Vec<u8>, ended: ReplyOutcome) {
        let frame = if frame.len() <= SMALL {
            self.small.extend_from_slice(frame);
            ReplyFrame::Small(frame.len())
        } else {
            ReplyFrame::Large(std::mem::take(frame))
        };
        self.replies.push(DeliveredReply { key, frame, ended });
    }

    /// Gives every reply and its frame, and forgets them.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&DeliveredReply, &[u8])) {
        let mut rest = &*self.small;
        for reply in &self.replies {
            match &reply.frame {
                ReplyFrame::Small(length) => {
                    let (frame, behind) = rest.split_at(*length);
                    rest = behind;
                    each(reply, frame);
                }
                ReplyFrame::Large(frame) => each(reply, frame),
            }
        }
        self.replies.clear();
        self.small.clear();
        self.small.shrink_to(4 * SMALL);
    }

    fn is_kept(&self) -> bool {
        self.small.capacity() <= KEPT.0 && self.replies.capacity() <= KEPT.1
    }
}

/// The replies that wait for their connection's task.
pub(super) struct Mailbox {
    /// `None` once the connection has gone.
    delivered: Mutex<Option<ReplyBatch>>,
    filled: AtomicBool,
    pub(super) waker: AtomicWaker,
    dispatcher: Arc<Dispatcher>,
}

impl Mailbox {
    pub(super) fn new(dispatcher: &Arc<Dispatcher>) -> Arc<Self> {
        Arc::new(Self {
            delivered: Mutex::new(Some(ReplyBatch::default())),
            filled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            dispatcher: Arc::clone(dispatcher),
        })
    }

    /// Takes no more: what is here, and what still comes, is too late.
    pub(super) fn close(&self) {
        let left = lock(&self.delivered).take().unwrap_or_default();
        self.dispatcher.metrics.counters.late_results.add(left.replies.len() as u64);
    }

    fn deliver(&self, key: RequestKey, frame: &mut Vec<u8>, ended: ReplyOutcome) {
        match &mut *lock(&self.delivered) {
            Some(waiting) => waiting.add(key, frame, ended),
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

    /// Puts what was delivered into `taken`, which must be empty; `owed` are the replies that there are to be, with
    /// those. Its memory is left here for those that are still to come.
    pub(super) fn take(&self, taken: &mut ReplyBatch, owed: usize) {
        if self.is_filled()
            && self.filled.swap(false, Ordering::AcqRel)
            && let Some(waiting) = &mut *lock(&self.delivered)
        {
            std::mem::swap(waiting, taken);
            if taken.replies.len() >= owed && !waiting.is_kept() {
                *waiting = ReplyBatch::default();
            }
        }
    }
}

/// How one request of a connection is answered from another thread.
pub(super) struct MailboxSink {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) key: RequestKey,
    pub(super) framing: Framing,
    pub(super) version: Version,
    pub(super) kind: Kind,
    pub(super) id: Option<Arc<str>>,
    pub(super) plugin: Arc<str>,
    /// The largest payload of a reply, in bytes.
    pub(super) limit: u32,
}

impl MailboxSink {
    fn asked(&self) -> ReplyContext<'_> {
        ReplyContext { framing: self.framing, version: self.version, kind: self.kind, id: self.id.as_deref() }
    }
}

impl ReplySink for MailboxSink {
    fn open(&self, out: &mut Vec<u8>) -> Option<ReplyHead> {
        Some(self.asked().open(out))
    }

    fn close(&self, head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        let asked = self.asked();
        let head = head.unwrap_or_else(|| asked.open(out));
        let ended = asked.close(head, out, end, &self.plugin, self.limit);
        self.mailbox.deliver(self.key, out, ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_given_back_in_order_each_with_its_frame() {
        let sizes = [0, 1, SMALL, SMALL + 1, 7, 3 * SMALL, 0, 200];
        let mut delivery = ReplyBatch::default();
        for round in 0..2u8 {
            for (place, size) in sizes.into_iter().enumerate() {
                let mut frame = vec![u8::try_from(place).unwrap() + round; size];
                delivery.add(
                    RequestKey::of(place),
                    &mut frame,
                    ReplyOutcome::Error(place.try_into().unwrap()),
                );
            }
            let mut seen = Vec::new();
            delivery.drain(|reply, frame| {
                let ReplyOutcome::Error(place) = reply.ended else { panic!("{:?}", reply.ended) };
                let place = usize::try_from(place).unwrap();
                assert_eq!((reply.key, frame.len()), (RequestKey::of(place), sizes[place]));
                assert!(frame.iter().all(|byte| usize::from(*byte) == place + usize::from(round)));
                seen.push(place);
            });
            assert!(seen.into_iter().eq(0..sizes.len()));
        }
        delivery.drain(|_, _| panic!("one was given twice"));
    }

    #[test]
    fn little_is_kept_by_one_that_is_owed_nothing() {
        let mut delivery = ReplyBatch::default();
        delivery.add(RequestKey::of(0), &mut vec![0; 300], ReplyOutcome::Result);
        assert!(delivery.is_kept());
        (0..10).for_each(|_| delivery.add(RequestKey::of(0), &mut vec![0; 300], ReplyOutcome::Result));
        assert!(!delivery.is_kept());
    }
}
