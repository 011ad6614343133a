//! The work of `device.status.update` in each of the three ways to run, and an echo. The bytes `copy000`, which every
//! method begins with, are written over in the file where many plugins are needed.

use jackfield_plugin_api::prelude::*;
use serde_json::value::RawValue;

// The peers use all of it.
#[allow(dead_code)]
#[path = "../../src/device.rs"]
mod device;

use device::{Device, UpdateParams, Updated};

/// Also written over: another number is another content, which a host loads anew.
#[used]
static CONTENT: [u8; 14] = *b"CONTENT-000000";

struct Copy(Device);

impl Plugin for Copy {
    fn start(host: &Host) -> Result<Self, Error> {
        host.debug(format_args!("{}", String::from_utf8_lossy(std::hint::black_box(&CONTENT))));
        Ok(Self(Device::new()))
    }
}

impl Copy {
    fn update(&self, params: UpdateParams) -> Result<Updated, Error> {
        self.0.update(params).ok_or_else(|| Error::invalid_params("deviceId", "is none"))
    }

    async fn update_async(self: Arc<Self>, params: UpdateParams) -> Result<Updated, Error> {
        self.update(params)
    }

    fn echo(&self, params: Box<RawValue>) -> Result<Box<RawValue>, Error> {
        Ok(params)
    }
}

export_plugin!(Copy {
    inline "copy000.inline" => update,
    blocking "copy000.blocking" => update,
    async "copy000.async" => update_async,
    inline "copy000.echo" => echo,
});
