//! Start and stop: sockets that are taken only when they are dead, and ends that leave nobody
//! without an answer.

mod configuration_faults;
mod shutdown;
mod socket_files;

use crate::support::HostBuilder;
use crate::support::HostProcess;

/// `EX_OSERR`: the system would not let the host start.
const SYSTEM: i32 = 71;
/// `EX_CONFIG`: the configuration is at fault.
const CONFIGURATION: i32 = 78;

/// A host that does not start: its exit code, and what it said.
#[track_caller]
fn refused_start(builder: HostBuilder) -> (i32, String) {
    let mut host: HostProcess = builder.spawn();
    let ended = host.wait();
    (ended.code().unwrap_or(-1), host.log())
}
