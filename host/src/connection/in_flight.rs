//! The requests in flight of one connection: by key, by id, and by deadline.
//!
//! The table does not know what a request is, only when it expires and whether it waits in the sync
//! queue. Every accepted request is an entry until it is answered, and only
//! [`InFlightTable::remove`] takes an entry out: a request whose entry is missing has had its
//! reply.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use slab::Slab;

use super::request_key::RequestKey;
use super::sync_queue::{SyncQueue, SyncQueueEntry};
use crate::clock::Time;

/// A request that was accepted and not answered yet.
pub(super) struct InFlightEntry<T> {
    epoch: u64,
    /// The JSON token of its id, shared by everything that needs it.
    pub(super) id: Option<Arc<str>>,
    pub(super) deadline: Time,
    /// The time from acceptance to `deadline`.
    pub(super) timeout: Duration,
    /// Bytes of memory that it holds.
    bytes: usize,
    queued: QueueState,
    pub(super) request: T,
}

/// Whether an entry waits in the sync queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QueueState {
    NotQueued,
    Queued,
    /// Its deadline passed in the queue. It never starts; its reply waits for the previous ones.
    Expired,
    /// It was cancelled in the queue. It never starts, either.
    Cancelled,
}

impl<T> InFlightEntry<T> {
    /// Returns whether the deadline has passed at `now`, or passed while the request was queued.
    pub(super) fn is_expired(&self, now: Time) -> bool {
        self.queued == QueueState::Expired || self.deadline <= now
    }

    /// Returns whether the request was cancelled while it was queued.
    pub(super) fn is_cancelled(&self) -> bool {
        self.queued == QueueState::Cancelled
    }

    /// Returns whether the request never starts, although its reply waits in the sync queue.
    fn is_over(&self) -> bool {
        matches!(self.queued, QueueState::Expired | QueueState::Cancelled)
    }
}

/// The requests in flight of one connection.
pub(super) struct InFlightTable<T> {
    entries: Slab<InFlightEntry<T>>,
    ids: HashMap<Arc<str>, RequestKey>,
    next_epoch: u64,
    sync_queue: SyncQueue,
    /// Bytes of memory that the entries hold.
    bytes: usize,
    /// No deadline is earlier than this.
    earliest_deadline: Option<Time>,
}

impl<T> Default for InFlightTable<T> {
    fn default() -> Self {
        Self {
            entries: Slab::new(),
            ids: HashMap::new(),
            next_epoch: 0,
            sync_queue: SyncQueue::default(),
            bytes: 0,
            earliest_deadline: None,
        }
    }
}

impl<T> InFlightTable<T> {
    /// Returns the number of requests, those included whose reply waits in the sync queue.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.sync_queue.replies()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.sync_queue.is_empty()
    }

    /// Returns the bytes of memory that the requests hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether a request with this id, compared as JSON token, is in flight.
    pub(super) fn contains_id(&self, id: &str) -> bool {
        !self.ids.is_empty() && self.ids.contains_key(id)
    }

    /// Returns the key of the request with this id, unless it is cancelled or expired already and
    /// only its reply waits in the sync queue.
    pub(super) fn key_to_cancel(&self, id: &str) -> Option<RequestKey> {
        let key = self.ids.get(id).copied()?;
        self.get(key).is_some_and(|entry| !entry.is_over()).then_some(key)
    }

    /// Returns the key of the next entry. A call needs to know it before its entry exists.
    pub(super) fn next_key(&self) -> RequestKey {
        RequestKey { place: self.entries.vacant_key(), epoch: self.next_epoch }
    }

    /// Adds an entry under [`InFlightTable::next_key`]. `bytes` is the memory that it holds.
    pub(super) fn insert(
        &mut self,
        id: Option<Arc<str>>,
        deadline: Time,
        timeout: Duration,
        bytes: usize,
        request: T,
    ) -> RequestKey {
        let key = self.next_key();
        self.next_epoch += 1;
        self.bytes += bytes;

        if let Some(id) = &id {
            self.ids.insert(Arc::clone(id), key);
        }
        if self.earliest_deadline.is_none_or(|earliest| deadline < earliest) {
            self.earliest_deadline = Some(deadline);
        }

        let (epoch, queued) = (key.epoch, QueueState::NotQueued);
        self.entries.insert(InFlightEntry { epoch, id, deadline, timeout, bytes, queued, request });
        key
    }

    pub(super) fn get(&self, key: RequestKey) -> Option<&InFlightEntry<T>> {
        self.entries.get(key.place).filter(|entry| entry.epoch == key.epoch)
    }

    fn get_mut(&mut self, key: RequestKey) -> Option<&mut InFlightEntry<T>> {
        self.entries.get_mut(key.place).filter(|entry| entry.epoch == key.epoch)
    }

    /// Removes an entry, because its request is answered. If it was the running sync request, the
    /// next one of the queue may run.
    pub(super) fn remove(&mut self, key: RequestKey) -> Option<InFlightEntry<T>> {
        self.get(key)?;
        let entry = self.entries.remove(key.place);

        self.bytes -= entry.bytes;
        self.sync_queue.release(key);
        if let Some(id) = &entry.id {
            self.ids.remove(id);
        }
        if self.entries.is_empty() {
            self.earliest_deadline = None;
        }

        Some(entry)
    }

    /// Returns an instant before which no deadline passes.
    pub(super) fn earliest_deadline(&self) -> Option<Time> {
        self.earliest_deadline
    }

    /// Brings every deadline forward to `now`, because the host ends.
    pub(super) fn expire_all(&mut self, now: Time) {
        for (_, entry) in &mut self.entries {
            if entry.deadline > now {
                // The error reply states the time that the request really had.
                entry.timeout = entry.timeout.saturating_sub(entry.deadline.since(now));
                entry.deadline = now;
                self.earliest_deadline = Some(now);
            }
        }
    }

    /// Returns the keys of the requests whose deadline has passed, without those that
    /// [`InFlightTable::expire_queued`] or [`InFlightTable::cancel_queued`] has marked. It visits
    /// every entry, at most once per timer.
    pub(super) fn expired(&mut self, now: Time) -> Vec<RequestKey> {
        if self.earliest_deadline.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }

        let live = || self.entries.iter().filter(|(_, entry)| !entry.is_over());
        let expired = live()
            .filter(|(_, entry)| entry.deadline <= now)
            .map(|(place, entry)| RequestKey { place, epoch: entry.epoch })
            .collect();

        self.earliest_deadline = live().map(|(_, entry)| entry.deadline).filter(|at| *at > now).min();
        expired
    }

    /// Marks a request as expired if it waits in the sync queue, and returns it. It stays in the
    /// queue, because its reply must not overtake the previous ones.
    pub(super) fn expire_queued(&mut self, key: RequestKey) -> Option<&T> {
        let entry = self.get_mut(key).filter(|entry| entry.queued == QueueState::Queued)?;
        entry.queued = QueueState::Expired;
        Some(&entry.request)
    }

    /// Marks a request as cancelled if it waits in the sync queue, and returns it, as
    /// [`InFlightTable::expire_queued`] does.
    pub(super) fn cancel_queued(&mut self, key: RequestKey) -> Option<&T> {
        let entry = self.get_mut(key).filter(|entry| entry.queued == QueueState::Queued)?;
        entry.queued = QueueState::Cancelled;
        Some(&entry.request)
    }

    /// Removes everything and passes each request to `abandon`: the peer has gone, nothing is
    /// answered.
    pub(super) fn abandon(&mut self, abandon: impl FnMut(T)) {
        self.entries.drain().map(|entry| entry.request).for_each(abandon);
        self.ids.clear();
        self.sync_queue.clear();
        self.bytes = 0;
        self.earliest_deadline = None;
    }
}

/// The sync queue.
impl<T> InFlightTable<T> {
    /// Returns whether a further sync request must wait in the queue.
    pub(super) fn is_sync_busy(&self) -> bool {
        self.sync_queue.is_busy()
    }

    /// Returns whether [`InFlightTable::next_queued`] would return an entry.
    pub(super) fn has_next_queued(&self) -> bool {
        self.sync_queue.has_next()
    }

    /// Puts the reply to a rejected sync request behind the requests that wait.
    pub(super) fn queue_reply(&mut self, frame: Vec<u8>) {
        self.sync_queue.push(SyncQueueEntry::Reply(frame));
    }

    /// Puts a sync request behind the requests that wait.
    pub(super) fn queue_call(&mut self, key: RequestKey) {
        if let Some(entry) = self.get_mut(key) {
            entry.queued = QueueState::Queued;
        }
        self.sync_queue.push(SyncQueueEntry::Call(key));
    }

    /// Takes the next entry from the queue, unless a sync request is running.
    pub(super) fn next_queued(&mut self) -> Option<SyncQueueEntry> {
        let next = self.sync_queue.pop()?;
        if let SyncQueueEntry::Call(key) = next
            && let Some(entry) = self.get_mut(key)
            && entry.queued == QueueState::Queued
        {
            entry.queued = QueueState::NotQueued;
        }
        Some(next)
    }

    /// Marks a sync request as running. It runs until it is removed.
    pub(super) fn set_running(&mut self, key: RequestKey) {
        self.sync_queue.set_running(key);
    }
}

#[cfg(test)]
mod tests;
