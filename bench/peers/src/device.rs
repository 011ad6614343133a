//! The work of `device.status.update`, on the store of the plugin, for every server that does the
//! same work.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

// The plugin uses all of it, these servers one method.
#[allow(dead_code)]
#[path = "../../../plugins/device/src/store.rs"]
mod store;

pub(crate) use store::Status;

/// The device that every load updates.
pub(crate) const DEVICE: &str = "dev_123";

/// The params of every load.
pub(crate) const PARAMS: &str = r#"{"deviceId":"dev_123","status":"online"}"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateParams {
    pub(crate) device_id: String,
    pub(crate) status: Status,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Updated {
    pub(crate) device_id: String,
    pub(crate) status: Status,
    /// Number of updates of this device.
    pub(crate) sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Status>,
}

/// The devices, with the default limits of the plugin.
pub(crate) struct Device(Mutex<store::Store>);

impl Device {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(store::Store::new(16, 100_000)))
    }

    /// Records an update as the plugin does. It returns `None` if the id is invalid or the store is
    /// full.
    pub(crate) fn update(&self, params: UpdateParams) -> Option<Updated> {
        let UpdateParams { device_id, status } = params;
        if device_id.is_empty() || device_id.chars().count() > 128 || device_id.chars().any(char::is_control)
        {
            return None;
        }

        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.resume();
        let (update, previous, waiting) = store.record(&device_id, status)?;
        drop(store);

        waiting.into_iter().for_each(std::task::Waker::wake);
        Some(Updated { device_id, status, sequence: update.sequence, previous })
    }
}
