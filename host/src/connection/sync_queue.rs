//! The sync queue: the sync requests of one connection in the order of their arrival.
//!
//! Sync requests of a connection run one after another, so that the replies leave in the order of
//! the requests and each request sees the effect of the previous one. Async requests bypass the
//! queue.

use std::collections::VecDeque;

use super::request_key::RequestKey;

/// A sync request that waits for the previous ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SyncQueueEntry {
    /// The request was rejected. This is its reply.
    Reply(Vec<u8>),
    /// The request is in flight and has not been started.
    Call(RequestKey),
}

/// The sync request that runs, and those that wait for it.
#[derive(Default)]
pub(super) struct SyncQueue {
    /// The request that runs on another thread.
    running: Option<RequestKey>,
    waiting: VecDeque<SyncQueueEntry>,
    /// Replies in `waiting`.
    replies: usize,
}

impl SyncQueue {
    /// Returns whether a further sync request must wait.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || !self.waiting.is_empty()
    }

    /// Returns whether no request waits. One may be running.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns whether [`SyncQueue::pop`] would return an entry.
    pub(super) fn has_next(&self) -> bool {
        self.running.is_none() && !self.waiting.is_empty()
    }

    /// Returns how many replies wait.
    pub(super) fn replies(&self) -> usize {
        self.replies
    }

    pub(super) fn push(&mut self, entry: SyncQueueEntry) {
        self.replies += usize::from(matches!(entry, SyncQueueEntry::Reply(_)));
        self.waiting.push_back(entry);
    }

    /// Removes the first entry, unless a request is running.
    pub(super) fn pop(&mut self) -> Option<SyncQueueEntry> {
        if self.running.is_some() {
            return None;
        }
        let entry = self.waiting.pop_front()?;
        self.replies -= usize::from(matches!(entry, SyncQueueEntry::Reply(_)));
        Some(entry)
    }

    /// Marks a request as running: the others wait until it is [released](SyncQueue::release).
    pub(super) fn set_running(&mut self, key: RequestKey) {
        self.running = Some(key);
    }

    /// Lets the next request run, if the one that was running is `key`.
    pub(super) fn release(&mut self, key: RequestKey) {
        if self.running == Some(key) {
            self.running = None;
        }
    }

    pub(super) fn clear(&mut self) {
        self.running = None;
        self.waiting.clear();
        self.replies = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(place: usize) -> RequestKey {
        RequestKey { place, epoch: 0 }
    }

    #[test]
    fn returns_calls_and_replies_in_the_order_of_arrival() {
        let mut queue = SyncQueue::default();
        assert!(!queue.is_busy() && queue.pop().is_none());

        queue.push(SyncQueueEntry::Call(key(1)));
        queue.push(SyncQueueEntry::Reply(vec![2]));
        queue.push(SyncQueueEntry::Call(key(3)));
        assert!(queue.is_busy() && queue.has_next());
        assert_eq!(queue.replies(), 1);

        assert_eq!(queue.pop(), Some(SyncQueueEntry::Call(key(1))));
        assert_eq!(queue.pop(), Some(SyncQueueEntry::Reply(vec![2])));
        assert_eq!(queue.replies(), 0);
        assert_eq!(queue.pop(), Some(SyncQueueEntry::Call(key(3))));
        assert!(queue.is_empty() && !queue.is_busy());
    }

    #[test]
    fn holds_back_everything_while_a_request_runs() {
        let mut queue = SyncQueue::default();
        queue.set_running(key(1));
        queue.push(SyncQueueEntry::Reply(vec![2]));
        assert!(queue.is_busy() && !queue.has_next() && queue.pop().is_none());

        queue.release(key(7));
        assert!(queue.pop().is_none(), "another request was released");

        queue.release(key(1));
        assert_eq!(queue.pop(), Some(SyncQueueEntry::Reply(vec![2])));
    }

    #[test]
    fn is_idle_after_it_was_cleared() {
        let mut queue = SyncQueue::default();
        queue.set_running(key(1));
        queue.push(SyncQueueEntry::Reply(vec![2]));
        queue.push(SyncQueueEntry::Call(key(3)));

        queue.clear();
        assert!(!queue.is_busy() && queue.is_empty());
        assert_eq!(queue.replies(), 0);
    }
}
