//! The host under a supervisor: a simulated one, the tools of systemd, and systemd as PID 1.

mod continuous_clients;
mod debian_package;
mod faults;
mod machine;
mod notifications;
mod reload;
mod sandbox;
mod shipped_units;
mod socket_activation;
pub(crate) mod supervisor;

use std::io::Write as _;

/// Reports on stderr, which the test harness does not capture here, that a test is skipped and why.
fn skipped(test: &str, missing: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: there is no {missing} here");
}
