//! The mailbox of a connection: where other threads leave finished reply frames.
//!
//! The first reply wakes the connection's task. Those that follow before it runs are found with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::ReplyHead;

use super::request_key::RequestKey;
use crate::metrics::Metrics;
use crate::plugin::ReplySink;
use crate::routing::{ReplyContext, ReplyOutcome};
use crate::sync::lock;

/// Largest frame, in bytes, that is copied to the frames that wait. Copying costs less than memory
/// of its own, which one thread allocates and another one frees.
const SMALL_FRAME: usize = 16 * 1024;

/// Capacity, in bytes, that the mailbox of a connection without requests in flight may keep. It is
/// little compared with the connection itself, and enough for a client with one request at a time.
const KEPT_BYTES: usize = 512;

/// As [`KEPT_BYTES`], in replies.
const KEPT_REPLIES: usize = 4;

/// A reply on its way to its connection.
pub(super) struct DeliveredReply {
    pub(super) key: RequestKey,
    frame: ReplyFrame,
    pub(super) outcome: ReplyOutcome,
}

enum ReplyFrame {
    /// Length of the frame, which follows the previous small ones.
    Small(usize),
    Large(Vec<u8>),
}

/// Replies in the order of their arrival.
#[derive(Default)]
pub(super) struct ReplyBatch {
    replies: Vec<DeliveredReply>,
    /// The small frames, one after another.
    small_frames: Vec<u8>,
}

impl ReplyBatch {
    fn push(&mut self, key: RequestKey, frame: &mut Vec<u8>, outcome: ReplyOutcome) {
        let frame = if frame.len() <= SMALL_FRAME {
            self.small_frames.extend_from_slice(frame);
            ReplyFrame::Small(frame.len())
        } else {
            ReplyFrame::Large(std::mem::take(frame))
        };
        self.replies.push(DeliveredReply { key, frame, outcome });
    }

    /// Passes every reply and its frame to `each`, and removes them.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&DeliveredReply, &[u8])) {
        let mut rest = &*self.small_frames;
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
        self.small_frames.clear();
        self.small_frames.shrink_to(4 * SMALL_FRAME);
    }

    /// Returns whether the capacity is small enough to be kept by an idle connection.
    fn is_small(&self) -> bool {
        self.small_frames.capacity() <= KEPT_BYTES && self.replies.capacity() <= KEPT_REPLIES
    }
}

/// The replies that wait for their connection's task.
pub(super) struct Mailbox {
    /// `None` once the connection is closed.
    delivered: Mutex<Option<ReplyBatch>>,
    is_filled: AtomicBool,
    waker: AtomicWaker,
    metrics: Arc<Metrics>,
}

impl Mailbox {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            delivered: Mutex::new(Some(ReplyBatch::default())),
            is_filled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            metrics: Arc::clone(metrics),
        })
    }

    /// Sets the task that a reply wakes.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the connection's task.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Closes the mailbox. Replies that are in it, and those that still come, are late results.
    pub(super) fn close(&self) {
        let left = lock(&self.delivered).take().unwrap_or_default();
        self.metrics.counters.late_results.add(left.replies.len() as u64);
    }

    fn deliver(&self, key: RequestKey, frame: &mut Vec<u8>, outcome: ReplyOutcome) {
        match &mut *lock(&self.delivered) {
            Some(waiting) => waiting.push(key, frame, outcome),
            None => {
                self.metrics.counters.late_results.add(1);
                return;
            }
        }

        if !self.is_filled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Returns whether replies wait.
    pub(super) fn is_filled(&self) -> bool {
        self.is_filled.load(Ordering::Relaxed)
    }

    /// Moves the replies into `taken`, which must be empty, and keeps its memory for later replies,
    /// unless none are expected. `in_flight` is the number of requests in flight.
    pub(super) fn take(&self, taken: &mut ReplyBatch, in_flight: usize) {
        if self.is_filled()
            && self.is_filled.swap(false, Ordering::AcqRel)
            && let Some(waiting) = &mut *lock(&self.delivered)
        {
            std::mem::swap(waiting, taken);
            if taken.replies.len() >= in_flight && !waiting.is_small() {
                *waiting = ReplyBatch::default();
            }
        }
    }
}

/// Writes the reply to one request on another thread and delivers it to the connection's mailbox.
pub(super) struct MailboxSink {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) key: RequestKey,
    /// How the reply is written, without the id.
    pub(super) reply: ReplyContext<'static>,
    pub(super) id: Option<Arc<str>>,
    pub(super) plugin: Arc<str>,
    /// Largest payload of a result that the host sends, in bytes.
    pub(super) limit: u32,
}

impl MailboxSink {
    fn reply_context(&self) -> ReplyContext<'_> {
        self.reply.with_id(self.id.as_deref())
    }
}

impl ReplySink for MailboxSink {
    fn open(&self, out: &mut Vec<u8>) -> Option<ReplyHead> {
        Some(self.reply_context().open(out))
    }

    fn close(&self, head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        let context = self.reply_context();
        let head = head.unwrap_or_else(|| context.open(out));

        let outcome = context.close(head, out, end, &self.plugin, self.limit);
        self.mailbox.deliver(self.key, out, outcome);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::wake_count::WakeCount;

    fn key(place: usize) -> RequestKey {
        RequestKey { place, epoch: 0 }
    }

    #[test]
    fn returns_replies_in_order_each_with_its_own_frame() {
        let sizes = [0, 1, SMALL_FRAME, SMALL_FRAME + 1, 7, 3 * SMALL_FRAME, 0, 200];
        let mut batch = ReplyBatch::default();
        for round in 0..2u8 {
            for (place, size) in sizes.into_iter().enumerate() {
                let mut frame = vec![u8::try_from(place).unwrap() + round; size];
                batch.push(key(place), &mut frame, ReplyOutcome::Error(place.try_into().unwrap()));
            }

            let mut seen = Vec::new();
            batch.drain(|reply, frame| {
                let ReplyOutcome::Error(place) = reply.outcome else { panic!("{:?}", reply.outcome) };
                let place = usize::try_from(place).unwrap();
                assert_eq!((reply.key, frame.len()), (key(place), sizes[place]));
                assert!(frame.iter().all(|byte| usize::from(*byte) == place + usize::from(round)));
                seen.push(place);
            });
            assert!(seen.into_iter().eq(0..sizes.len()));
        }
        batch.drain(|_, _| panic!("a reply was returned twice"));
    }

    #[test]
    fn keeps_only_little_memory_while_nothing_is_in_flight() {
        let mut batch = ReplyBatch::default();
        batch.push(key(0), &mut vec![0; 300], ReplyOutcome::Result);
        assert!(batch.is_small());
        (0..10).for_each(|_| batch.push(key(0), &mut vec![0; 300], ReplyOutcome::Result));
        assert!(!batch.is_small());

        let mailbox = Mailbox::new(&Arc::default());
        mailbox.deliver(key(0), &mut vec![1], ReplyOutcome::Result);
        batch.drain(|_, _| {});
        mailbox.take(&mut batch, 1);
        assert!(lock(&mailbox.delivered).as_ref().is_some_and(ReplyBatch::is_small));
    }

    #[test]
    fn wakes_once_for_replies_that_are_taken_together() {
        let wakes = Arc::<WakeCount>::default();
        let mailbox = Mailbox::new(&Arc::default());
        mailbox.register(&Waker::from(Arc::clone(&wakes)));
        mailbox.deliver(key(1), &mut vec![1], ReplyOutcome::Result);
        mailbox.deliver(key(2), &mut vec![2], ReplyOutcome::Result);
        assert!(mailbox.is_filled());
        assert_eq!(wakes.get(), 1);

        let (mut batch, mut taken) = (ReplyBatch::default(), Vec::new());
        mailbox.take(&mut batch, 2);
        batch.drain(|reply, frame| taken.push((reply.key, frame.to_vec())));
        assert_eq!(taken, [(key(1), vec![1]), (key(2), vec![2])]);
        assert!(!mailbox.is_filled());

        mailbox.register(&Waker::from(Arc::clone(&wakes)));
        mailbox.deliver(key(3), &mut vec![3], ReplyOutcome::Result);
        assert_eq!(wakes.get(), 2);
    }

    #[test]
    fn counts_replies_as_late_once_it_is_closed() {
        let metrics = Arc::<Metrics>::default();
        let mailbox = Mailbox::new(&metrics);
        mailbox.deliver(key(1), &mut vec![1], ReplyOutcome::Result);
        mailbox.close();
        assert_eq!(metrics.counters.late_results.read(), 1);

        mailbox.deliver(key(2), &mut vec![2], ReplyOutcome::Result);
        mailbox.close();
        assert_eq!(metrics.counters.late_results.read(), 2);
    }
}
