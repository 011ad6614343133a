//! The host under a supervisor: with a faked one, with systemd's own tools, and with systemd as PID
//! 1.

mod continuous_clients;
mod debian_package;
mod faults;
mod machine;
mod notifications;
mod reload;
mod shipped_units;
mod socket_activation;
mod supervisor;

use std::io::Write as _;

/// Says on the test run's own stderr, which nobody captures, that a test was skipped and what is
/// missing for it.
fn skipped(test: &str, missing: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: there is no {missing} here");
}
