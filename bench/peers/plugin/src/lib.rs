//! The work of `device.status.update` as an `inline`, a `blocking` and an `async` method, and an
//! echo.
//!
//! All method names begin with `copy000`. The comparison overwrites these bytes in the file to make
//! many plugins of it.

use jackfield_plugin_api::prelude::*;
use serde_json::value::RawValue;

// The servers of the comparison use all of it.
#[allow(dead_code)]
#[path = "../../src/device.rs"]
mod device;

use device::{Device, UpdateParams, Updated};

/// Bytes that the comparison overwrites with another number. The file then has another content,
/// which a host loads as a new version.
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
        self.0.update(params).ok_or_else(|| Error::invalid_params("deviceId", "is not a valid id"))
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
