//! A service that stores the last reports of devices. It is the main example of the plugin API.
//!
//! `device.status.update` and `device.status.get` take microseconds and never wait, so they run
//! `inline`. `device.report` waits for the next update of a device, so it is `async`.

mod store;
#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::time::Duration;

use jackfield_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

use store::{Next, State, Status, Store, Update};

/// `[plugin.device.settings]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The number of updates to keep per device, 1 to 10,000.
    history: usize,
    /// The number of devices to keep, 1 to 10,000,000. Clients choose the ids, so this limits the
    /// memory.
    devices: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { history: 16, devices: 100_000 }
    }
}

/// Error code: the device is unknown.
const UNKNOWN_DEVICE: i64 = 404;
/// Error code: the device has not reported in time.
const NOTHING_REPORTED: i64 = 408;
/// Error code: the state was exported to another generation while the call waited. The client
/// should repeat the call.
const STATE_EXPORTED: i64 = 409;
/// Error code: the store holds as many devices as the settings allow.
const TOO_MANY_DEVICES: i64 = 507;

struct Device {
    store: Mutex<Store>,
}

impl Plugin for Device {
    fn start(host: &Host) -> Result<Self, Error> {
        let Settings { history, devices } = host.settings()?;
        if !(1..=10_000).contains(&history) {
            return Err(Error::internal("settings: history must be 1 to 10000"));
        }
        if !(1..=10_000_000).contains(&devices) {
            return Err(Error::internal("settings: devices must be 1 to 10000000"));
        }
        host.debug(format_args!("keeps {history} updates each of up to {devices} devices"));
        Ok(Self { store: Mutex::new(Store::new(history, devices)) })
    }

    /// Version 1 is the JSON of `State`.
    const STATE: Option<u32> = Some(1);

    fn export_state(&self) -> Result<Vec<u8>, Error> {
        let (state, waiting) = self.store().export();
        waiting.into_iter().for_each(std::task::Waker::wake);
        Ok(serde_json::to_vec(&state)?)
    }

    fn import_state(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        if schema != 1 {
            return Err(Error::internal(format!(
                "unknown state layout {schema}; this version imports layout 1"
            )));
        }

        let state: State = serde_json::from_slice(state)?;
        let imported = self.store().import(state);
        imported.ok_or_else(|| {
            Error::internal("settings: devices: the imported state has more devices; raise the limit")
        })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateParams {
    /// The id of the device, without control characters.
    #[schemars(length(min = 1, max = 128))]
    device_id: String,
    status: Status,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetParams {
    /// The id of the device, without control characters.
    #[schemars(length(min = 1, max = 128))]
    device_id: String,
    /// Whether to return the history, too.
    #[serde(default)]
    history: bool,
}

#[derive(Deserialize, JsonSchema)]
struct ListParams {
    /// List only devices in this status.
    status: Option<Status>,
    /// The number of devices to list, 1 to 1000.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
    /// List only ids after this one, which is the last id of the previous page.
    after: Option<String>,
}

fn default_limit() -> usize {
    100
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ReportParams {
    /// The id of the device, without control characters.
    #[schemars(length(min = 1, max = 128))]
    device_id: String,
    /// The longest wait in milliseconds. If missing, the call waits until its deadline.
    within_ms: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Updated {
    device_id: String,
    status: Status,
    /// The number of updates of this device so far.
    sequence: u64,
    /// The previous status.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Status>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Found {
    device_id: String,
    #[serde(flatten)]
    latest: Update,
    /// The stored updates, the oldest first, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Update>>,
}

#[derive(Serialize, JsonSchema)]
struct Listed {
    devices: Vec<Found>,
    /// The number of devices that have reported, in any status.
    total: usize,
}

/// Checks that an id has 1 to 128 characters and no control characters, because ids appear in logs
/// and URLs.
fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::invalid_params("deviceId", "must not be empty"));
    }
    if id.chars().count() > 128 || id.chars().any(char::is_control) {
        return Err(Error::invalid_params(
            "deviceId",
            "must have 1 to 128 characters and no control characters",
        ));
    }
    Ok(())
}

fn unknown_device(id: &str) -> Error {
    Error::new(UNKNOWN_DEVICE, format!("device {id:?} has not reported"))
}

impl Device {
    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        // A panic inside the store would leave it inconsistent, but none of its operations can
        // panic.
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the store for a call that was routed to this generation.
    fn serving_store(&self) -> std::sync::MutexGuard<'_, Store> {
        let mut store = self.store();
        store.resume();
        store
    }

    fn update(&self, params: UpdateParams) -> Result<Updated, Error> {
        let UpdateParams { device_id, status } = params;
        check_id(&device_id)?;

        let recorded = self.serving_store().record(&device_id, status);
        let (update, previous, waiting) =
            recorded.ok_or_else(|| Error::new(TOO_MANY_DEVICES, "the limit of devices is reached"))?;
        waiting.into_iter().for_each(std::task::Waker::wake);

        Ok(Updated { device_id, status, sequence: update.sequence, previous })
    }

    fn get(&self, params: GetParams) -> Result<Found, Error> {
        let GetParams { device_id, history } = params;
        check_id(&device_id)?;
        let store = self.serving_store();
        let latest = store.latest(&device_id).ok_or_else(|| unknown_device(&device_id))?;
        let history = history.then(|| store.history(&device_id));
        drop(store);
        Ok(Found { device_id, latest, history })
    }

    fn list(&self, params: ListParams) -> Result<Listed, Error> {
        let ListParams { status, limit, after } = params;
        if !(1..=1000).contains(&limit) {
            return Err(Error::invalid_params("limit", "must be 1 to 1000"));
        }
        let store = self.serving_store();
        let devices = store
            .list_after(after.as_deref())
            .filter(|(_, latest)| status.is_none_or(|status| latest.status == status))
            .take(limit)
            .map(|(id, latest)| Found { device_id: id.to_owned(), latest, history: None })
            .collect();
        Ok(Listed { devices, total: store.len() })
    }

    async fn report(self: Arc<Self>, params: ReportParams, cx: Context<'static>) -> Result<Found, Error> {
        let ReportParams { device_id, within_ms } = params;
        check_id(&device_id)?;
        let within = within_ms.map_or(cx.remaining(), Duration::from_millis);

        let next = self.next_update(&device_id);
        match first_of(next, cx.host().sleep(within)).await {
            Some(Next::Update(latest)) => Ok(Found { device_id, latest, history: None }),
            Some(Next::StateExported) => {
                Err(Error::new(STATE_EXPORTED, "the plugin is being replaced; repeat the call"))
            }
            None => Err(Error::new(
                NOTHING_REPORTED,
                format!("device {device_id:?} has not reported within {within:?}"),
            )),
        }
    }

    /// Returns a future that is ready with the next update of a device, or when the state was
    /// exported.
    fn next_update(self: &Arc<Self>, id: &str) -> impl Future<Output = Next> + Send + 'static {
        let seen = self.store().latest(id).map_or(0, |update| update.sequence);
        let this = Arc::clone(self);
        let id = id.to_owned();

        let mut ticket = store::Ticket::new(move |number, waker| match waker {
            Some(waker) => this.store().wait(&id, seen, number, waker),
            None => {
                this.store().stop_waiting(&id, number);
                None
            }
        });
        std::future::poll_fn(move |cx| ticket.poll(cx))
    }
}

/// Returns the output of the first future, or `None` if the second one is ready before it.
async fn first_of<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> Option<T> {
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(output) = first.as_mut().poll(cx) {
            return std::task::Poll::Ready(Some(output));
        }
        second.as_mut().poll(cx).map(|()| None)
    })
    .await
}

export_plugin!(Device {
    /// Stores the status of a device.
    inline "device.status.update" => update [
        errors(TOO_MANY_DEVICES = "the limit of devices is reached"),
        example({ "deviceId": "dev_123", "status": "online" }
            => { "deviceId": "dev_123", "status": "online", "sequence": 1 }),
    ],
    /// Returns the last status of a device.
    inline "device.status.get" => get [
        idempotent,
        errors(UNKNOWN_DEVICE = "the device has not reported"),
        example({ "deviceId": "dev_123" }
            => { "deviceId": "dev_123", "status": "online", "sequence": 1, "at": 1_700_000_000_000_u64 }),
    ],
    /// Lists devices with their last status, sorted by id.
    ///
    /// To read further pages, call it again with the last id of a page as `after`.
    inline "device.list" => list [idempotent, example({ "status": "online", "limit": 10 })],
    /// Waits for the next status of a device.
    async "device.report" => report [
        idempotent,
        errors(
            NOTHING_REPORTED = "the device has not reported in time",
            STATE_EXPORTED = "the plugin is being replaced; repeat the call",
        ),
        example({ "deviceId": "dev_123", "withinMs": 5000 }),
    ],
});
