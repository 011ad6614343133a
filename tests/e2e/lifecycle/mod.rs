//! Start and shutdown: invalid configurations, socket files, containers, and requests in flight
//! when the host ends.

mod config_aliases;
mod configuration_faults;
mod container;
mod first_process;
mod lost_sockets;
mod shutdown;
mod shutdown_during_reload;
mod socket_files;
mod start;
mod start_faults;

use crate::support::HostBuilder;
use crate::support::HostProcess;

/// `EX_OSERR`: the host cannot start because of the system.
const EX_OSERR: i32 = 71;
/// `EX_CONFIG`: the configuration is invalid.
const EX_CONFIG: i32 = 78;

/// Starts a host that must fail, and returns its exit code and its log.
#[track_caller]
fn refused_start(builder: HostBuilder) -> (i32, String) {
    let mut host: HostProcess = builder.spawn();
    let ended = host.wait();
    (ended.code().unwrap_or(-1), host.log())
}
