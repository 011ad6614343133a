//! Crashes of the host by plugin code: the next host reports what ran, and quarantines a plugin
//! after too many crashes.

mod attribution;
mod concurrent_plugins;
mod quarantine;
mod record;

use serde_json::json;

use crate::support::HostProcess;

/// Configuration without quarantine.
const NO_QUARANTINE: &str = "[plugins.crash]\nmost = 0\n";

/// Part of the log line about a call that ran in a crash.
const ATTRIBUTED: &str = "the previous host crashed while plugin ";

/// Crashes the host in a method of the fixture `dies` and asserts that the client's connection is
/// closed without a reply.
pub(crate) fn crash_in(host: &HostProcess, method: &str, id: &str, how: &str) {
    let mut peer = host.peer();
    peer.send_async(id, method, &json!({ "how": how }));
    peer.expect_close();
}

/// Waits for the log line about the plugin that ran, asserts that it has these fields, and returns
/// it.
#[track_caller]
fn assert_attributed(host: &HostProcess, fields: &[&str]) -> String {
    let line = host.wait_for_log(ATTRIBUTED);
    for field in fields {
        assert!(line.contains(field), "{field} in {line}");
    }
    line
}
