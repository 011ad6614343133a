//! What a connection owes: its requests in flight by key, and the lane in which sync requests wait for their turn.
//!
//! Sync requests of one connection run one after another, so that replies leave in the order of the requests and a
//! request sees what the one before it did. Async requests pass the lane by.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use jackfield_plugin_api::Run;
use jackfield_protocol::{Kind, Version};
use slab::Slab;

use crate::clock::Time;
use crate::limits::Permit;
use crate::metrics::{MethodId, Outcome, RequestKind, ThreadCells};
use crate::plugin::PluginCall;

/// Names one request in flight. The epoch tells a late reply from one for a newer request in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestKey {
    place: usize,
    epoch: u64,
}

#[cfg(test)]
impl RequestKey {
    pub(super) fn of(place: usize) -> Self {
        Self { place, epoch: 0 }
    }
}

/// A request that was accepted and not yet answered.
pub(super) struct InFlightRequest {
    epoch: u64,
    pub(super) version: Version,
    /// The reply's kind.
    pub(super) kind: Kind,
    /// Its JSON token; the same text serves everybody who needs it.
    pub(super) id: Option<Arc<str>>,
    /// What it is counted under.
    pub(super) counted: MethodId,
    pub(super) accepted: Time,
    pub(super) deadline: Time,
    pub(super) timeout: Duration,
    pub(super) call: Arc<PluginCall>,
    pub(super) run: Run,
    /// Bytes of params that it holds.
    pub(super) held: usize,
    /// Whether it waits in the lane for its turn.
    waits: bool,
    /// Whether its deadline passed while it waited in the lane.
    pub(super) expired: bool,
    pub(super) _permit: Permit,
}

/// A request that is about to become a flight.
pub(super) struct AcceptedRequest {
    pub(super) version: Version,
    pub(super) kind: Kind,
    pub(super) id: Option<Arc<str>>,
    pub(super) counted: MethodId,
    pub(super) accepted: Time,
    pub(super) deadline: Time,
    pub(super) timeout: Duration,
    pub(super) run: Run,
}

/// A sync request's place in the order of replies.
pub(super) enum SyncQueueEntry {
    /// A reply that is ready.
    Reply(Vec<u8>),
    /// A call that is to be started.
    Call(RequestKey),
}

/// The requests in flight of one connection.
#[derive(Default)]
pub(super) struct InFlightTable {
    flights: Slab<InFlightRequest>,
    ids: HashSet<Arc<str>>,
    next_epoch: u64,
    /// The sync request that runs now.
    pub(super) running: Option<RequestKey>,
    lane: VecDeque<SyncQueueEntry>,
    /// Replies among the turns of the lane.
    ready: usize,
    /// Bytes of params of all of them.
    pub(super) held: usize,
    /// No deadline is earlier than this.
    earliest: Option<Time>,
}

impl InFlightTable {
    pub(super) fn len(&self) -> usize {
        self.flights.len() + self.ready
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.lane.is_empty()
    }

    /// Whether a sync request must wait for its turn.
    pub(super) fn lane_is_busy(&self) -> bool {
        self.running.is_some() || !self.lane.is_empty()
    }

    /// Puts a sync request's turn behind the others.
    pub(super) fn queue(&mut self, turn: SyncQueueEntry) {
        match turn {
            SyncQueueEntry::Reply(_) => self.ready += 1,
            SyncQueueEntry::Call(key) => self.set_waits(key, true),
        }
        self.lane.push_back(turn);
    }

    /// The next turn, if no sync request runs.
    pub(super) fn next_turn(&mut self) -> Option<SyncQueueEntry> {
        if self.running.is_some() {
            return None;
        }
        let turn = self.lane.pop_front()?;
        match turn {
            SyncQueueEntry::Reply(_) => self.ready -= 1,
            SyncQueueEntry::Call(key) => self.set_waits(key, false),
        }
        Some(turn)
    }

    /// Whether a sync request could have its turn now.
    pub(super) fn has_turn(&self) -> bool {
        self.running.is_none() && !self.lane.is_empty()
    }

    fn set_waits(&mut self, key: RequestKey, waits: bool) {
        if let Some(flight) = self.get_mut(key) {
            flight.waits = waits;
        }
    }

    /// Whether this id, as written, is in flight.
    pub(super) fn has_id(&self, id: &str) -> bool {
        !self.ids.is_empty() && self.ids.contains(id)
    }

    /// The key that the next flight will have: its call must know it before there is a flight.
    pub(super) fn next_key(&self) -> RequestKey {
        RequestKey { place: self.flights.vacant_key(), epoch: self.next_epoch }
    }

    /// Adds a flight under [`InFlightTable::next_key`].
    pub(super) fn add(
        &mut self,
        request: AcceptedRequest,
        call: Arc<PluginCall>,
        permit: Permit,
    ) -> RequestKey {
        let AcceptedRequest { version, kind, id, counted, accepted, deadline, timeout, run } = request;
        let key = self.next_key();
        self.next_epoch += 1;
        if let Some(id) = &id {
            self.ids.insert(Arc::clone(id));
        }
        let held = call.params.len();
        self.held += held;
        if self.earliest.is_none_or(|earliest| deadline < earliest) {
            self.earliest = Some(deadline);
        }
        let epoch = key.epoch;
        self.flights.insert(InFlightRequest {
            epoch,
            version,
            kind,
            id,
            counted,
            accepted,
            deadline,
            timeout,
            call,
            run,
            held,
            waits: false,
            expired: false,
            _permit: permit,
        });
        key
    }

    pub(super) fn get(&self, key: RequestKey) -> Option<&InFlightRequest> {
        self.flights.get(key.place).filter(|flight| flight.epoch == key.epoch)
    }

    fn get_mut(&mut self, key: RequestKey) -> Option<&mut InFlightRequest> {
        self.flights.get_mut(key.place).filter(|flight| flight.epoch == key.epoch)
    }

    /// Takes a flight out: it is answered, or given up.
    pub(super) fn remove(&mut self, key: RequestKey) -> Option<InFlightRequest> {
        self.get(key)?;
        let flight = self.flights.remove(key.place);
        self.held -= flight.held;
        if let Some(id) = &flight.id {
            self.ids.remove(id);
        }
        if self.flights.is_empty() {
            self.earliest = None;
        }
        Some(flight)
    }

    /// An instant before which no deadline passes.
    pub(super) fn earliest(&self) -> Option<Time> {
        self.earliest
    }

    /// Brings every deadline forward to `now`: the host ends, and nobody waits any longer.
    pub(super) fn hurry(&mut self, now: Time) {
        for (_, flight) in &mut self.flights {
            if flight.deadline > now {
                // What its client is told is the time that it really had.
                flight.timeout = flight.timeout.saturating_sub(flight.deadline.since(now));
                flight.deadline = now;
                self.earliest = Some(now);
            }
        }
    }

    /// The keys of those whose deadline has passed. Looks through all of them, at most once per timer.
    pub(super) fn expired(&mut self, now: Time) -> Vec<RequestKey> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let live = || self.flights.iter().filter(|(_, flight)| !flight.expired);
        let expired = live()
            .filter(|(_, flight)| flight.deadline <= now)
            .map(|(place, flight)| RequestKey { place, epoch: flight.epoch })
            .collect();
        self.earliest = live().map(|(_, flight)| flight.deadline).filter(|deadline| *deadline > now).min();
        expired
    }

    /// Marks a request if it waits in the lane: it never starts, and is told so in its turn. Whether it does wait.
    pub(super) fn expire_waiting(&mut self, key: RequestKey) -> bool {
        let Some(flight) = self.get_mut(key).filter(|flight| flight.waits) else { return false };
        flight.expired = true;
        flight.call.cancel();
        true
    }

    /// Gives everything up: nobody is there to be told.
    pub(super) fn abandon(&mut self, cells: &ThreadCells) {
        for flight in self.flights.drain() {
            flight.call.cancel();
            cells.count_ended(flight.counted, RequestKind::of_reply(flight.kind), Outcome::ABANDONED);
        }
        self.ids.clear();
        self.lane.clear();
        self.ready = 0;
        self.running = None;
        self.held = 0;
        self.earliest = None;
    }
}
