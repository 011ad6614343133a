//! The spans that wait for their export: bounded in number and in bytes, without a lock.
//!
//! Threads that serve put spans in and never wait. Only the exporter takes spans out, and it waits
//! for time or for [`SpanQueue::wake`] instead of the queue, so that no span costs a wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::Notify;

use super::span::QueuedSpan;

/// Average memory per span for which the queue has room. Spans of the host have about 400 bytes;
/// spans that clients hand over can have 40 KiB.
const BYTES_PER_SPAN: usize = 1024;

/// How much waits.
#[derive(Default)]
struct Backlog {
    spans: AtomicUsize,
    bytes: AtomicUsize,
}

/// The end of the queue for the threads that serve.
pub(super) struct SpanQueue {
    sender: SyncSender<Box<QueuedSpan>>,
    backlog: Arc<Backlog>,
    max_spans: usize,

    /// Notified when half of the queue is used.
    wake: Arc<Notify>,
}

/// The end of the queue for the exporter.
pub(super) struct QueuedSpans {
    receiver: Receiver<Box<QueuedSpan>>,
    backlog: Arc<Backlog>,
    pub(super) wake: Arc<Notify>,
}

impl SpanQueue {
    pub(super) fn new(max_spans: usize) -> (Self, QueuedSpans) {
        let (sender, receiver) = sync_channel(max_spans);
        let (backlog, wake) = (Arc::<Backlog>::default(), Arc::<Notify>::default());
        let spans = QueuedSpans { receiver, backlog: Arc::clone(&backlog), wake: Arc::clone(&wake) };
        (Self { sender, backlog, max_spans, wake }, spans)
    }

    /// Puts a span into the queue, and returns whether it had room.
    pub(super) fn push(&self, span: QueuedSpan) -> bool {
        let bytes = span.bytes();
        // Counted first, so that the exporter never subtracts what was not added.
        let held = self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let waiting = self.backlog.spans.fetch_add(1, Ordering::Relaxed) + 1;

        let has_room = held <= self.max_spans * BYTES_PER_SPAN;
        if !has_room || self.sender.try_send(Box::new(span)).is_err() {
            self.backlog.remove(bytes);
            return false;
        }
        if waiting == self.max_spans / 2 {
            self.wake.notify_one();
        }
        true
    }
}

impl QueuedSpans {
    /// Takes spans until there are `max_spans`, or until they have `max_bytes`.
    pub(super) fn take(&self, max_spans: usize, max_bytes: usize) -> Vec<QueuedSpan> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < max_spans && bytes < max_bytes {
            let Ok(span) = self.receiver.try_recv() else { break };
            bytes += span.bytes();
            self.backlog.remove(span.bytes());
            taken.push(*span);
        }
        taken
    }
}

impl Backlog {
    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.spans.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::{AttributeValue, ReportedSpan, SpanPlace};
    use super::*;

    fn span(text: usize) -> QueuedSpan {
        let place = SpanPlace { trace_id: [1; 16], span_id: [1; 8], parent_id: None, flags: 1, state: None };
        QueuedSpan::Reported(ReportedSpan {
            place,
            service: "s".into(),
            name: "n".to_owned(),
            kind: 1,
            start: 1,
            end: 2,
            attributes: vec![("a".to_owned(), AttributeValue::Text("x".repeat(text)))],
            error: None,
        })
    }

    #[test]
    fn refuses_spans_beyond_its_number() {
        let (queue, spans) = SpanQueue::new(64);
        assert_eq!((0..100).filter(|_| queue.push(span(1))).count(), 64);
        assert_eq!(spans.take(10, usize::MAX).len(), 10);
        assert_eq!((0..100).filter(|_| queue.push(span(1))).count(), 10);
        assert_eq!(spans.take(1000, usize::MAX).len(), 64);
        assert_eq!(spans.backlog.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn refuses_spans_beyond_its_bytes() {
        let (queue, spans) = SpanQueue::new(64);
        assert_eq!((0..100).filter(|_| queue.push(span(10 * 1024))).count(), 6);
        assert_eq!(spans.take(64, 15 * 1024).len(), 2, "a batch ends once it has its bytes");
        assert!(queue.push(span(10 * 1024)));
    }

    #[test]
    fn wakes_the_exporter_once_when_it_is_half_full() {
        let (queue, spans) = SpanQueue::new(64);
        let wakes = || {
            let mut notified = std::pin::pin!(spans.wake.notified());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            std::future::Future::poll(notified.as_mut(), &mut context).is_ready()
        };

        (0..31).for_each(|_| assert!(queue.push(span(1))));
        assert!(!wakes());
        (0..10).for_each(|_| assert!(queue.push(span(1))));
        assert!(wakes() && !wakes());
    }

    #[test]
    fn never_blocks_when_the_exporter_has_ended() {
        let (queue, spans) = SpanQueue::new(64);
        drop(spans);
        assert!(!queue.push(span(1)));
    }
}
