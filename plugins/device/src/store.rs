//! The devices in memory: a bounded history of each, and the calls that wait for its next update.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use jackfield_plugin_api::{JsonSchema, schemars};
use serde::{Deserialize, Serialize};

/// The status that a device reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Online,
    Offline,
    Busy,
    Error,
}

/// One report of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Update {
    pub(crate) status: Status,
    /// The number of this update, counted per device from 1.
    pub(crate) sequence: u64,
    /// The time of the update, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

#[derive(Default)]
struct Device {
    /// The oldest update comes first.
    updates: VecDeque<Update>,
    /// The waiting calls, by ticket number.
    waiting: HashMap<u64, Waker>,
}

/// The result of waiting for an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Update(Update),
    /// The state was exported to another generation, so no update will arrive here.
    StateExported,
}

/// The exported state: the stored updates of every device, the oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    devices: BTreeMap<String, VecDeque<Update>>,
}

/// The store of all devices. A device that only has waiting calls counts, too.
pub(crate) struct Store {
    devices: BTreeMap<String, Device>,
    /// Updates to keep per device.
    history: usize,
    /// Devices to keep.
    devices_max: usize,
    last_ticket: u64,
    /// Whether the state was exported and no call was routed here since.
    is_exported: bool,
}

impl Store {
    pub(crate) fn new(history: usize, devices_max: usize) -> Self {
        Self { devices: BTreeMap::new(), history, devices_max, last_ticket: 0, is_exported: false }
    }

    /// Exports the state, and returns the wakers of the waiting calls, which then end with
    /// [`Next::StateExported`].
    pub(crate) fn export(&mut self) -> (State, Vec<Waker>) {
        self.is_exported = true;
        let waiting = self
            .devices
            .values_mut()
            .flat_map(|device| device.waiting.drain())
            .map(|(_, waker)| waker)
            .collect();

        let reported = self.devices.iter().filter(|(_, device)| !device.updates.is_empty());
        let devices = reported.map(|(id, device)| (id.clone(), device.updates.clone())).collect();
        (State { devices }, waiting)
    }

    /// Continues to serve after an export. A call is routed here only if the other generation has
    /// not imported the state.
    pub(crate) fn resume(&mut self) {
        self.is_exported = false;
    }

    /// Imports the state of another generation, limited to the newest updates of each device.
    ///
    /// Returns `None` if there are more devices than this store may keep.
    pub(crate) fn import(&mut self, state: State) -> Option<()> {
        if state.devices.len() > self.devices_max {
            return None;
        }
        for (id, mut updates) in state.devices {
            updates.drain(..updates.len().saturating_sub(self.history));
            self.devices.insert(id, Device { updates, waiting: HashMap::new() });
        }
        Some(())
    }

    /// Returns the device, and adds it if it is unknown. Returns `None` if the limit is reached.
    fn get_or_add(&mut self, id: &str) -> Option<&mut Device> {
        if !self.devices.contains_key(id) {
            if self.devices.len() >= self.devices_max {
                return None;
            }
            self.devices.insert(id.to_owned(), Device::default());
        }
        self.devices.get_mut(id)
    }

    /// Records an update, and returns it with the previous status and the wakers of the waiting
    /// calls.
    ///
    /// Returns `None` if the device is unknown and the limit of devices is reached.
    pub(crate) fn record(
        &mut self,
        id: &str,
        status: Status,
    ) -> Option<(Update, Option<Status>, Vec<Waker>)> {
        let history = self.history;
        let device = self.get_or_add(id)?;

        let previous = device.updates.back().cloned();
        let sequence = previous.as_ref().map_or(1, |update| update.sequence + 1);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let update = Update { status, sequence, at: u64::try_from(at).unwrap_or(u64::MAX) };

        if device.updates.len() >= history {
            device.updates.pop_front();
        }
        device.updates.push_back(update.clone());
        let waiting = device.waiting.drain().map(|(_, waker)| waker).collect();
        Some((update, previous.map(|update| update.status), waiting))
    }

    /// Returns the latest update of a device.
    pub(crate) fn latest(&self, id: &str) -> Option<Update> {
        self.devices.get(id)?.updates.back().cloned()
    }

    /// Returns the stored updates of a device, the oldest first.
    pub(crate) fn history(&self, id: &str) -> Vec<Update> {
        self.devices.get(id).map(|device| device.updates.iter().cloned().collect()).unwrap_or_default()
    }

    /// Returns the devices that have reported, sorted by id, from the first id after `after`.
    pub(crate) fn list_after<'a>(
        &'a self,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, Update)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let devices = self.devices.range::<str, _>((from, Bound::Unbounded));
        devices.filter_map(|(id, device)| Some((id.as_str(), device.updates.back()?.clone())))
    }

    /// Returns the number of devices that have reported.
    pub(crate) fn len(&self) -> usize {
        self.devices.values().filter(|device| !device.updates.is_empty()).count()
    }

    /// Returns the latest update if its number is above `seen`. Otherwise returns `None` and wakes
    /// `waker` at the next update.
    ///
    /// If the device is unknown and the limit of devices is reached, `waker` is not stored, so the
    /// call waits until its time-out.
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
        if self.is_exported {
            return Some(Next::StateExported);
        }

        let number = *ticket.get_or_insert_with(|| {
            self.last_ticket += 1;
            self.last_ticket
        });
        if let Some(device) = self.get_or_add(id) {
            device.waiting.insert(number, waker.clone());
        }
        None
    }

    /// Removes the waiting call with this ticket.
    pub(crate) fn stop_waiting(&mut self, id: &str, ticket: &mut Option<u64>) {
        let Some(number) = ticket.take() else { return };
        let Some(device) = self.devices.get_mut(id) else { return };
        device.waiting.remove(&number);
        if device.updates.is_empty() && device.waiting.is_empty() {
            self.devices.remove(id);
        }
    }
}

/// A waiting call. Dropping it removes the call from the store, so that a cancelled call leaves
/// nothing behind.
pub(crate) struct Ticket<F: FnMut(&mut Option<u64>, Option<&Waker>) -> Option<Next>> {
    number: Option<u64>,
    visit: F,
}

impl<F: FnMut(&mut Option<u64>, Option<&Waker>) -> Option<Next>> Ticket<F> {
    /// Creates a ticket. `visit` must wait when called with a waker, and stop waiting when called
    /// without one.
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
