//! Faults that the process does not survive: the next host names what ran, and leaves out what it
//! died of too often.

mod attribution;
mod concurrent_plugins;
mod quarantine;
mod record;

use serde_json::json;

use crate::support::HostProcess;

/// However often it dies, no plugin is left out.
const NEVER: &str = "[plugins.deaths]\nmost = 0\n";

/// Has the host die in a method of the fixture `dies`; the client sees nothing but the end of its
/// connection.
fn kill_by(host: &HostProcess, method: &str, id: &str, how: &str) {
    let mut peer = host.peer();
    peer.send_async(id, method, &json!({ "how": how }));
    peer.expect_close();
}

/// The line that names what ran, with these fields.
#[track_caller]
fn assert_named(host: &HostProcess, fields: &[&str]) -> String {
    let line = host.wait_for_log("the host before died while this ran");
    for field in fields {
        assert!(line.contains(field), "{field} in {line}");
    }
    line
}
