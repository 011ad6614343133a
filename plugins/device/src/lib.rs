//! Devices and what they last reported: a small real service, and the shop window of the plugin API.
//!
//! `device.status.update` and `device.status.get` take microseconds and never wait, so they run `inline`;
//! `device.report` waits for the next update of a device, so it is `async`.

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
    /// How many updates of a device are kept, 1 to 10,000.
    history: usize,
    /// How many devices are kept, 1 to 10,000,000: ids come from outside, and memory is bounded.
    devices: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { history: 16, devices: 100_000 }
    }
}

/// No such device.
const UNKNOWN_DEVICE: i64 = 404;
/// Nothing was reported in time.
const NOTHING_REPORTED: i64 = 408;
/// The devices went to another generation while a call waited here: it is to be made once more.
const HANDED_OVER: i64 = 409;
/// There is no room for another device.
const TOO_MANY_DEVICES: i64 = 507;

struct Device {
    store: Mutex<Store>,
}

impl Plugin for Device {
    fn start(host: &Host) -> Result<Self, Error> {
        let Settings { history, devices } = host.settings()?;
        if !(1..=10_000).contains(&history) {
            return Err(Error::internal("settings: history: 1 to 10000"));
        }
        if !(1..=10_000_000).contains(&devices) {
            return Err(Error::internal("settings: devices: 1 to 10000000"));
        }
        host.debug(format_args!("keeps {history} updates of up to {devices} devices"));
        Ok(Self { store: Mutex::new(Store::new(history, devices)) })
    }

    /// The JSON of `State`.
    const STATE: Option<u32> = Some(1);

    fn hand_over(&self) -> Result<Vec<u8>, Error> {
        let (state, waiting) = self.store().hand_over();
        waiting.into_iter().for_each(std::task::Waker::wake);
        Ok(serde_json::to_vec(&state)?)
    }

    fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        if schema != 1 {
            return Err(Error::internal(format!("a state of layout {schema} is not known here")));
        }
        let state: State = serde_json::from_slice(state)?;
        let taken = self.store().take_over(state);
        taken.ok_or_else(|| Error::internal("settings: devices: there are more already"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateParams {
    device_id: String,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetParams {
    device_id: String,
    /// Whether the history comes with it.
    #[serde(default)]
    history: bool,
}

#[derive(Deserialize)]
struct ListParams {
    /// Only devices in this status.
    status: Option<Status>,
    #[serde(default = "most_listed")]
    limit: usize,
    /// Only ids after this one: the last of the page before.
    after: Option<String>,
}

fn most_listed() -> usize {
    100
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportParams {
    device_id: String,
    /// How long to wait, in milliseconds; as long as the call may take, if it is not there.
    within_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    device_id: String,
    status: Status,
    /// How many updates of this device there were.
    sequence: u64,
    /// The status before.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Status>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    device_id: String,
    #[serde(flatten)]
    latest: Update,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Update>>,
}

#[derive(Serialize)]
struct Listed {
    devices: Vec<Found>,
    total: usize,
}

/// Ids are 1 to 128 characters without control characters: they go into logs and URLs.
fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::invalid_params("deviceId", "is empty"));
    }
    if id.chars().count() > 128 || id.chars().any(char::is_control) {
        return Err(Error::invalid_params(
            "deviceId",
            "is not 1 to 128 characters without control characters",
        ));
    }
    Ok(())
}

fn unknown(id: &str) -> Error {
    Error::new(UNKNOWN_DEVICE, format!("no device {id:?} has reported"))
}

impl Device {
    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        // A panic in the store would leave it half changed; none of its steps can.
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The store for a call that was routed here.
    fn serving(&self) -> std::sync::MutexGuard<'_, Store> {
        let mut store = self.store();
        store.is_in_service();
        store
    }

    fn update(&self, params: UpdateParams) -> Result<Updated, Error> {
        let UpdateParams { device_id, status } = params;
        check_id(&device_id)?;
        let recorded = self.serving().record(&device_id, status);
        let (update, previous, waiting) =
            recorded.ok_or_else(|| Error::new(TOO_MANY_DEVICES, "there is no room for another device"))?;
        waiting.into_iter().for_each(std::task::Waker::wake);
        Ok(Updated { device_id, status, sequence: update.sequence, previous })
    }

    fn get(&self, params: GetParams) -> Result<Found, Error> {
        let GetParams { device_id, history } = params;
        check_id(&device_id)?;
        let store = self.serving();
        let latest = store.latest(&device_id).ok_or_else(|| unknown(&device_id))?;
        let history = history.then(|| store.history(&device_id));
        drop(store);
        Ok(Found { device_id, latest, history })
    }

    fn list(&self, params: ListParams) -> Result<Listed, Error> {
        let ListParams { status, limit, after } = params;
        if !(1..=1000).contains(&limit) {
            return Err(Error::invalid_params("limit", "is not 1 to 1000"));
        }
        let store = self.serving();
        let devices = store
            .after(after.as_deref())
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
            Some(Next::HandedOver) => {
                Err(Error::new(HANDED_OVER, "the service is being replaced: ask again"))
            }
            None => {
                Err(Error::new(NOTHING_REPORTED, format!("{device_id:?} reported nothing within {within:?}")))
            }
        }
    }

    /// Ready with the next update of a device, or when there will be none here.
    fn next_update(self: &Arc<Self>, id: &str) -> impl Future<Output = Next> + Send + 'static {
        let seen = self.store().latest(id).map_or(0, |update| update.sequence);
        let (this, id) = (Arc::clone(self), id.to_owned());
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

/// The first future's output, or `None` when the second is ready before it.
async fn first_of<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> Option<T> {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(output) = first.as_mut().poll(cx) {
            return std::task::Poll::Ready(Some(output));
        }
        second.as_mut().poll(cx).map(|()| None)
    })
    .await
}

export_plugin!(Device {
    inline "device.status.update" => update,
    inline "device.status.get" => get,
    inline "device.list" => list,
    async "device.report" => report,
});
