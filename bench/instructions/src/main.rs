//! The host whose instructions are counted: `scripts/instructions` runs it under callgrind. `device.status.update` is a
//! method of this program, because valgrind lacks a syscall that the probe of a plugin's file needs; the way of a call
//! is the same from the socket to the ABI's function and back.

// The work itself, on the plugin's own store; the peers use more of it.
#[allow(dead_code)]
#[path = "../../peers/src/device.rs"]
mod device;

use std::process::ExitCode;

use jackfield::config::Config;
use jackfield::{Builder, Error, Methods};
use tokio::signal::unix::{SignalKind, signal};

use device::{Device, UpdateParams, Updated};

fn update(device: &Device, params: UpdateParams) -> Result<Updated, Error> {
    device.update(params).ok_or_else(|| Error::invalid_params("deviceId", "is none"))
}

fn main() -> ExitCode {
    let entry = jackfield::enter();
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: jackfield-instructions CONFIG");
        return ExitCode::from(64);
    };
    match run(&entry, file.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(entry: &jackfield::ProbeEntry, file: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load(file)?;
    jackfield::log::start(&config.log)?;
    let methods = Methods::new().inline("device.status.update", update);
    let host = Builder::new(config, entry).plugin("device", Device::new(), methods)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut ended = signal(SignalKind::terminate())?;
        host.run(async move {
            ended.recv().await;
        })
        .await
        .map_err(Into::into)
    })
}
