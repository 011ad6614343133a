//! The devices in memory: a bounded history each, and who waits for the next update.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What a device says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Online,
    Offline,
    Busy,
    Error,
}

/// One update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) status: Status,
    /// Counts the updates of this device, from 1.
    pub(crate) sequence: u64,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

#[derive(Default)]
struct Known {
    updates: VecDeque<Update>,
    waiting: HashMap<u64, Waker>,
}

/// What a wait came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Update(Update),
    /// The devices are with another generation: no update will come here.
    HandedOver,
}

/// The store as one generation hands it to the next: every device with the updates kept, the oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    devices: BTreeMap<String, VecDeque<Update>>,
}

/// What is known of all devices. A device that is only waited for counts as one.
pub(crate) struct Store {
    devices: BTreeMap<String, Known>,
    history: usize,
    most: usize,
    next_ticket: u64,
    handed_over: bool,
}

impl Store {
    pub(crate) fn new(history: usize, most: usize) -> Self {
        Self { devices: BTreeMap::new(), history, most, next_ticket: 0, handed_over: false }
    }

    /// Everything, for the next generation; who waits here is woken, and told so.
    pub(crate) fn hand_over(&mut self) -> (State, Vec<Waker>) {
        self.handed_over = true;
        let waiting =
            self.devices.values_mut().flat_map(|known| known.waiting.drain()).map(|(_, waker)| waker);
        let waiting = waiting.collect();
        let reported = self.devices.iter().filter(|(_, known)| !known.updates.is_empty());
        let devices = reported.map(|(id, known)| (id.clone(), known.updates.clone())).collect();
        (State { devices }, waiting)
    }

    /// The next generation has not taken it, or this call would not be here.
    pub(crate) fn is_in_service(&mut self) {
        self.handed_over = false;
    }

    /// What another generation knew, as far as this one's bounds hold it: the newest updates of each device.
    /// `None`: there are more devices than may be kept.
    pub(crate) fn take_over(&mut self, state: State) -> Option<()> {
        if state.devices.len() > self.most {
            return None;
        }
        for (id, mut updates) in state.devices {
            updates.drain(..updates.len().saturating_sub(self.history));
            self.devices.insert(id, Known { updates, waiting: HashMap::new() });
        }
        Some(())
    }

    fn known(&mut self, id: &str) -> Option<&mut Known> {
        if !self.devices.contains_key(id) {
            if self.devices.len() >= self.most {
                return None;
            }
            self.devices.insert(id.to_owned(), Known::default());
        }
        self.devices.get_mut(id)
    }

    /// Notes an update; gives back what it is, the status before, and who waits for it. `None`: there is no room.
    pub(crate) fn record(
        &mut self,
        id: &str,
        status: Status,
    ) -> Option<(Update, Option<Status>, Vec<Waker>)> {
        let history = self.history;
        let known = self.known(id)?;
        let previous = known.updates.back().cloned();
        let sequence = previous.as_ref().map_or(1, |update| update.sequence + 1);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let update = Update { status, sequence, at: u64::try_from(at).unwrap_or(u64::MAX) };
        if known.updates.len() >= history {
            known.updates.pop_front();
        }
        known.updates.push_back(update.clone());
        let waiting = known.waiting.drain().map(|(_, waker)| waker).collect();
        Some((update, previous.map(|update| update.status), waiting))
    }

    pub(crate) fn latest(&self, id: &str) -> Option<Update> {
        self.devices.get(id)?.updates.back().cloned()
    }

    /// The updates kept, the oldest first.
    pub(crate) fn history(&self, id: &str) -> Vec<Update> {
        self.devices.get(id).map(|known| known.updates.iter().cloned().collect()).unwrap_or_default()
    }

    /// The devices that have reported, by id, after `after`.
    pub(crate) fn after<'a>(&'a self, after: Option<&'a str>) -> impl Iterator<Item = (&'a str, Update)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let devices = self.devices.range::<str, _>((from, Bound::Unbounded));
        devices.filter_map(|(id, known)| Some((id.as_str(), known.updates.back()?.clone())))
    }

    /// How many devices have reported.
    pub(crate) fn len(&self) -> usize {
        self.devices.values().filter(|known| !known.updates.is_empty()).count()
    }

    /// The update after number `seen`, or `None` and `waker` is woken when it comes. With no room for a device that
    /// nobody has heard of, the wait is for nothing, and ends with its time.
    pub(crate) fn wait(
        &mut self,
        id: &str,
        seen: u64,
        ticket: &mut Option<u64>,
        waker: &Waker,
    ) -> Option<Next> {
        if let Some(update) = self.latest(id).filter(|update| update.sequence > seen) {
            return Some(Next::Update(update));
        }
        if self.handed_over {
            return Some(Next::HandedOver);
        }
        let number = *ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            self.next_ticket
        });
        if let Some(known) = self.known(id) {
            known.waiting.insert(number, waker.clone());
        }
        None
    }

    /// Nobody waits by this ticket any more.
    pub(crate) fn stop_waiting(&mut self, id: &str, ticket: &mut Option<u64>) {
        let Some(number) = ticket.take() else { return };
        let Some(known) = self.devices.get_mut(id) else { return };
        known.waiting.remove(&number);
        if known.updates.is_empty() && known.waiting.is_empty() {
            self.devices.remove(id);
        }
    }
}

/// A place in the queue of those who wait; given up when dropped, so that a cancelled call leaves nothing behind.
pub(crate) struct Ticket<F: FnMut(&mut Option<u64>, Option<&Waker>) -> Option<Next>> {
    number: Option<u64>,
    visit: F,
}

impl<F: FnMut(&mut Option<u64>, Option<&Waker>) -> Option<Next>> Ticket<F> {
    /// `visit` waits with a waker, and stops waiting without one.
    pub(crate) fn new(visit: F) -> Self {
        Self { number: None, visit }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        (self.visit)(&mut self.number, Some(cx.waker())).map_or(Poll::Pending, Poll::Ready)
    }
}

impl<F: FnMut(&mut Option<u64>, Option<&Waker>) -> Option<Next>> Drop for Ticket<F> {
    fn drop(&mut self) {
        (self.visit)(&mut self.number, None);
    }
}
