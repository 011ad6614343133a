//! Plugins in worker processes: they answer as in the host, and their faults stay in their process.
//!
//! - The same results: `byte_equality` with `deterministic_methods` and `random_params`, `nested`,
//!   `lifecycle`.
//! - Hostile processes: `hostile`.
//! - Faults: `faults` with `fault_kinds`, `restarts`, `stuck`, `orphans`.
//! - Replacement: `switches` counts each request with `ledger`, `reload` repeats it many times.
//! - The sandbox: `sandbox`.
//! - Decisions: `automatic` after crashes of the host, `operation` by command.

mod automatic;
mod byte_equality;
mod deterministic_methods;
mod fault_kinds;
mod faults;
mod hostile;
mod ledger;
mod lifecycle;
mod nested;
mod operation;
mod orphans;
mod random_params;
mod reload;
mod restarts;
mod sandbox;
mod stuck;
mod switches;

use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::reload::image::Image;
use crate::support::wait::wait_for;
use crate::support::{HostBuilder, HostProcess, Peer};

/// Returns the configuration of a plugin in a worker, without a circuit breaker. `keys` are keys of
/// `[plugin.NAME]`, `worker` those of `[plugin.NAME.worker]`.
fn in_worker(plugin: &str, keys: &str, worker: &str) -> String {
    format!(
        "[plugin.{plugin}]\nisolation = \"worker\"\nbreaker = {{ failures = 0 }}\n{keys}\n\
        [plugin.{plugin}.worker]\n{worker}\n"
    )
}

/// Adds a plugin or fixture that runs in a worker.
fn add_in_worker(builder: HostBuilder, plugin: &str) -> HostBuilder {
    builder.plugin(plugin).config(&in_worker(plugin, "", ""))
}

/// Returns a copy of the fixture `faults`, whose methods begin with `fault_NUMBER`.
fn faults_copy(number: usize) -> Image {
    static FOUND: OnceLock<(Image, Vec<usize>)> = OnceLock::new();
    let (image, positions) = FOUND.get_or_init(|| {
        let image = Image::of("faults");
        let positions = image.positions("fault_", 2);
        (image, positions)
    });
    image.clone().overwritten(positions, format!("{number:02}").as_bytes())
}

/// The process that answers for the fixture `faults`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answering {
    pid: u32,
    version: u64,
    /// Calls of `hold` that this process has begun.
    held: u64,
}

impl Answering {
    /// Returns the process that runs this copy of the fixture.
    #[track_caller]
    fn of(peer: &mut Peer, copy: &str) -> Self {
        let process = peer.result(&format!("{copy}.process"), &Value::Null);
        let number = |name: &str| process[name].as_u64().unwrap_or_else(|| panic!("{name} in {process}"));
        Self {
            pid: u32::try_from(number("pid")).expect("a process id"),
            version: number("version"),
            held: number("held"),
        }
    }
}

/// Waits until another process than `previous` answers, and returns it.
#[track_caller]
fn wait_for_other(host: &HostProcess, copy: &str, previous: u32) -> Answering {
    let mut peer = host.peer();
    wait_for(format!("another process than {previous} answers"), || {
        let reply = peer.call(&format!("{copy}.process"), &Value::Null);
        let pid = reply.json()["result"]["pid"].as_u64()?;
        (pid != u64::from(previous)).then(|| Answering::of(&mut peer, copy))
    })
}

/// Sends a signal to a process.
#[track_caller]
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, signal).expect("the signal is sent");
}
