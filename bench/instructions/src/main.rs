//! The host whose instructions per request are counted: `scripts/instructions` runs it under
//! callgrind.
//!
//! `device.status.update` is a method of this program, because valgrind does not support a system
//! call of the plugin probe. From the socket to the function of the ABI and back, a call takes the
//! same path as in a plugin.

// The work is that of the servers of the comparison, which use more of it.
#[allow(dead_code)]
#[path = "../../peers/src/device.rs"]
mod device;

use std::path::Path;
use std::process::ExitCode;

use jackfield::config::Config;
use jackfield::{Builder, Error, Methods};
use tokio::signal::unix::{SignalKind, signal};

use device::{Device, UpdateParams, Updated};

/// sysexits.h, `EX_USAGE`.
const EX_USAGE: u8 = 64;

fn update(device: &Device, params: UpdateParams) -> Result<Updated, Error> {
    device.update(params).ok_or_else(|| Error::invalid_params("deviceId", "is not a valid id"))
}

fn main() -> ExitCode {
    let entry = jackfield::enter();
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: jackfield-instructions CONFIG");
        return ExitCode::from(EX_USAGE);
    };
    match run(&entry, file.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(entry: &jackfield::ProbeEntry, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load(file)?;
    jackfield::log::start(&config.log)?;

    let methods = Methods::new().inline("device.status.update", update);
    let host = Builder::new(config, entry).plugin("device", Device::new(), methods)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;

    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        host.run(async move {
            terminate.recv().await;
        })
        .await
        .map_err(Into::into)
    })
}
